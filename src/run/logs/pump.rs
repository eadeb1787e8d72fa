//! The one task that reads what all services print.
//!
//! Every pipe is in one epoll set of the pump's own, which the runtime sees as a single
//! descriptor: a thousand services cost it one registration, and one wake-up serves all that have
//! something. The task yields between rounds, so that the supervisor, on the same thread,
//! gets its turn under any flood. Nothing ticks while nothing is printed.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::epoll::{Epoll, EpollCreateFlags};
use super::handle::Message;
use super::intake::{Intake, Round};
use super::writer::LogFiles;
use super::{LogFeed, LogSink, PumpHandle};
use crate::run::news::News;
use crate::run::news::{Notice, NoticeLevel};

/// Reads the output of all services of a stack, see [`PumpHandle`].
#[derive(Debug)]
pub struct Pump<S> {
    message_rx: mpsc::UnboundedReceiver<Message>,
    epoll: AsyncFd<EpollFd>,
    intake: Intake<S>,
}

impl<S: LogSink> Pump<S> {
    /// A pump that logs to `log_dir` and marks what it writes with `run` (`STACK_RUN`). Must be
    /// called within a runtime that has I/O and time. Nothing is created on disk before the first
    /// byte of output. Viewers learn of output from the feed.
    pub fn new(log_dir: PathBuf, run: u64, sink: S) -> io::Result<(PumpHandle, LogFeed, Self)> {
        let (message_tx, message_rx) = mpsc::unbounded_channel();
        let epoll = EpollFd(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let pump = Self {
            message_rx,
            epoll: watch(epoll)?,
            intake: Intake::new(LogFiles::new(log_dir, run), sink),
        };
        Ok((PumpHandle::new(message_tx), pump.intake.feed(), pump))
    }

    /// Works until the last handle is dropped; then logs what the pipes hold and closes them.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Wake::Message(Some(message)) => {
                    handle(&mut self.intake, &self.epoll.get_ref().0, message);
                }
                Wake::Message(None) => break,
                Wake::Due => self
                    .intake
                    .flush_due(&self.epoll.get_ref().0, Instant::now()),
                Wake::Readable => {
                    // `WouldBlock` clears the readiness, and only an epoll set that has just been
                    // seen empty may be forgotten. What comes after that look wakes the runtime
                    // again, since it is told of every arrival in the set.
                    let is_idle = self
                        .epoll
                        .try_io(Interest::READABLE, |epoll| {
                            // Mostly one round takes all there is, and the second sees that
                            // without a way through the runtime.
                            let mut is_busy = || self.intake.round(&epoll.0) == Round::Worked;
                            if is_busy() && is_busy() {
                                Ok(())
                            } else {
                                Err(io::ErrorKind::WouldBlock.into())
                            }
                        })
                        .is_err();
                    // The timer does not get its turn while there is something to read.
                    self.intake
                        .flush_due(&self.epoll.get_ref().0, Instant::now());
                    if !is_idle {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        self.intake.close_all(&self.epoll.get_ref().0);
    }

    /// Waits for the next thing to do.
    async fn next(&mut self) -> Wake {
        let deadline = self.intake.deadline();
        tokio::select! {
            biased;
            message = self.message_rx.recv() => Wake::Message(message),
            Ok(_guard) = self.epoll.readable() => Wake::Readable,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Wake::Due,
        }
    }
}

/// Why the pump woke up.
enum Wake {
    /// Somebody spoke to it, or nobody will any more.
    Message(Option<Message>),
    /// Some pipe may have something.
    Readable,
    /// An unfinished line has waited long enough.
    Due,
}

fn handle<S: LogSink>(intake: &mut Intake<S>, epoll: &Epoll, message: Message) {
    match message {
        Message::Register {
            fd,
            unit,
            stream,
            attempt,
            limits,
            is_own,
        } => {
            intake.limit(&unit, limits);
            let registered = intake.register(epoll, (fd, is_own), unit.clone(), stream, attempt);
            if let Err(error) = registered {
                intake.notice(Notice::about(
                    Some(unit),
                    NoticeLevel::Error,
                    News::LogNotRead {
                        error: error.to_string(),
                    },
                ));
            }
        }
        Message::Change {
            unit,
            expected,
            limits,
        } => {
            intake.limit(&unit, limits);
            intake.expect(&unit, expected);
        }
        Message::Hurry { unit } => intake.hurry(&unit, Instant::now()),
        Message::Drain {
            unit,
            attempt,
            done_tx,
        } => {
            // Who asked may have lost interest; the output is drained all the same.
            let _ = done_tx.send(intake.drain(epoll, &unit, attempt));
        }
        // Who asked may have lost interest.
        Message::Clear { units, done_tx } => drop(done_tx.send(intake.clear(&units))),
        Message::Close { unit } => intake.close(epoll, &unit),
    }
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe for the sake of types whose descriptor may change or be \
              closed; `EpollFd` owns one and keeps it"
)]
fn watch(epoll: EpollFd) -> io::Result<AsyncFd<EpollFd>> {
    AsyncFd::with_interest(epoll, Interest::READABLE)
}

/// An epoll set that can be waited for in another one.
#[derive(Debug)]
struct EpollFd(Epoll);

impl AsRawFd for EpollFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
