//! The way to stdout and stderr: what was said, in order, as fast as its reader takes it.
//!
//! A write to a terminal or a pipe may block for ever, and their descriptors are shared with other
//! programs, which a non-blocking mode would break. So a terminal is opened once more, for us alone,
//! and a pipe is given at a time what it takes without blocking once the kernel calls it writable.
//! Where the two lead to one place, all of it stands in one lane, in the order in which it was said;
//! else each has its own, so that neither waits behind the other.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::termios::tcgetsid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a pipe takes at once as soon as it takes anything (`PIPE_BUF`).
const PIECE: usize = 4096;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Out,
    Err,
}

/// Both streams, and what is on its way to them.
#[derive(Debug)]
pub(super) struct Outlet {
    streams: [Stream; 2],
    /// One for each stream. Where both lead to one place the first is for both.
    lanes: [Lane; 2],
    is_one_place: bool,
}

/// What waits for one place.
#[derive(Debug)]
struct Lane {
    queue: VecDeque<(Target, Vec<u8>)>,
    /// How much of the first in the queue has been written.
    written: usize,
    /// The room of what was written last: room that is given back costs more to have again than to fill.
    spare: Vec<u8>,
    /// When something was last taken from it.
    taken_at: Instant,
}

#[derive(Debug)]
struct Stream {
    file: Arc<File>,
    /// Tells when it takes something; none for a file, which always does. Made with the first write,
    /// as that is within a runtime.
    ready: OnceCell<Option<AsyncFd<Arc<File>>>>,
    state: State,
}

/// Whether what is said on a stream is still written. The services matter more than their output
/// here, which is in the log files anyway.
#[derive(Debug)]
enum State {
    Open,
    /// Nobody reads any more, or the disk behind is full: what is said is thrown away. Why, if its
    /// reader cannot know.
    Gone(Option<io::Error>),
    /// Nobody has read for too long: what is said is thrown away, and its lines are counted.
    GivenUp {
        lines: usize,
    },
}

impl Outlet {
    pub(super) fn new(streams: [OwnedFd; 2]) -> Self {
        let lane = || Lane {
            queue: VecDeque::new(),
            written: 0,
            spare: Vec::new(),
            taken_at: Instant::now(),
        };
        Self {
            is_one_place: is_one_place(&streams),
            streams: streams.map(|stream| Stream {
                file: Arc::new(File::from(own_terminal(&stream).unwrap_or(stream))),
                ready: OnceCell::new(),
                state: State::Open,
            }),
            lanes: [lane(), lane()],
        }
    }

    /// Whether both streams lead to one place.
    pub(super) fn is_one_place(&self) -> bool {
        self.is_one_place
    }

    fn lane(&self, target: Target) -> usize {
        if self.is_one_place {
            Target::Out as usize
        } else {
            target as usize
        }
    }

    /// Where what is said next on a stream is put.
    pub(super) fn buffer(&mut self, target: Target) -> &mut Vec<u8> {
        let lane = self.lane(target);
        let Lane { queue, spare, .. } = &mut self.lanes[lane];
        if queue.back().is_none_or(|(last, _)| *last != target) {
            queue.push_back((target, mem::take(spare)));
        }
        let last = queue.len() - 1;
        &mut queue[last].1
    }

    /// How many bytes wait before what would be said on a stream now.
    pub(super) fn len(&self, target: Target) -> usize {
        self.lanes[self.lane(target)].len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.len() == 0)
    }

    /// Whether nobody reads a stream any more.
    pub(super) fn is_gone(&self, target: Target) -> bool {
        match &self.streams[target as usize].state {
            State::Gone(_) => true,
            State::Open | State::GivenUp { .. } => false,
        }
    }

    /// Why a stream cannot be written, if its reader cannot know.
    pub(super) fn fault(&self, target: Target) -> Option<&io::Error> {
        match &self.streams[target as usize].state {
            State::Gone(fault) => fault.as_ref(),
            State::Open | State::GivenUp { .. } => None,
        }
    }

    /// Gives up the place to which a stream leads: what waits there, or is said later, is only counted.
    pub(super) fn give_up(&mut self, target: Target) {
        let lane = self.lane(target);
        for target in [Target::Out, Target::Err] {
            if self.lane(target) == lane {
                let state = &mut self.streams[target as usize].state;
                match state {
                    State::Open => *state = State::GivenUp { lines: 0 },
                    State::Gone(_) | State::GivenUp { .. } => {}
                }
            }
        }
        let lane = &mut self.lanes[lane];
        let mut written = mem::take(&mut lane.written);
        for (target, bytes) in lane.queue.drain(..) {
            self.streams[target as usize].throw_away(&bytes[mem::take(&mut written)..]);
        }
    }

    /// How many lines of a stream that was given up have been thrown away.
    pub(super) fn unshown(&self, target: Target) -> usize {
        match &self.streams[target as usize].state {
            State::GivenUp { lines } => *lines,
            State::Open | State::Gone(_) => 0,
        }
    }

    /// A stream whose place will have taken nothing for `patience`, from `since` on, and when; the
    /// first of them, if anything waits.
    pub(super) fn stalls_at(
        &self,
        since: Instant,
        patience: Duration,
    ) -> Option<(Instant, Target)> {
        [Target::Out, Target::Err]
            .into_iter()
            .map(|target| (target, &self.lanes[target as usize]))
            .filter(|(_, lane)| lane.len() > 0)
            .map(|(target, lane)| (lane.taken_at.max(since) + patience, target))
            .min_by_key(|&(at, _)| at)
    }

    /// Writes as much as is taken; ready once that is something, or nothing waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        for lane in &mut self.lanes {
            while let Some((target, bytes)) = lane.queue.front() {
                let stream = &mut self.streams[*target as usize];
                let rest = &bytes[lane.written..];
                if rest.is_empty() || stream.throw_away(rest) {
                    if let Some((_, mut bytes)) = lane.queue.pop_front() {
                        bytes.clear();
                        lane.spare = bytes;
                    }
                    lane.written = 0;
                    progress = Poll::Ready(());
                    continue;
                }
                match stream.poll_write(cx, rest) {
                    Poll::Pending => break,
                    Poll::Ready(written) => {
                        lane.written += written;
                        lane.taken_at = Instant::now();
                        progress = Poll::Ready(());
                    }
                }
            }
        }
        if self.is_empty() {
            return Poll::Ready(());
        }
        progress
    }

    /// Ready once nobody can read stdout any more: at once for a pipe at whose other end `head` has
    /// seen enough, even while there is nothing to print. Never for a file, which has no reader.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &mut self.streams[Target::Out as usize];
        if matches!(stream.state, State::Gone(_)) || stream.ready().is_none() {
            return Poll::Pending;
        }
        // Nothing is asked for, so that only an error or the end of the other side is told.
        drop(ready!(
            stream.poll_until(cx, |file| look(file, PollFlags::empty()))
        ));
        stream.state = State::Gone(None);
        Poll::Ready(())
    }
}

impl Lane {
    fn len(&self) -> usize {
        let bytes = self.queue.iter().map(|(_, bytes)| bytes.len());
        bytes.sum::<usize>() - self.written
    }
}

impl Stream {
    /// Whether it is written no more, so that some text is thrown away.
    fn throw_away(&mut self, bytes: &[u8]) -> bool {
        match &mut self.state {
            State::Open => false,
            State::Gone(_) => true,
            State::GivenUp { lines } => {
                *lines += memchr::memchr_iter(b'\n', bytes).count();
                true
            }
        }
    }

    #[expect(
        deprecated,
        reason = "unsound only for a file that lends the descriptor of another one"
    )]
    fn ready(&self) -> Option<&AsyncFd<Arc<File>>> {
        let file = &self.file;
        let register = || AsyncFd::with_interest(Arc::clone(file), Interest::WRITABLE).ok();
        self.ready.get_or_init(register).as_ref()
    }

    /// How much was taken; all of it once the stream is given up.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        let is_polled = self.ready().is_some();
        let written = ready!(self.poll_until(cx, |mut file| {
            if !is_polled {
                return file.write(bytes);
            }
            look(file, PollFlags::POLLOUT)?;
            file.write(&bytes[..bytes.len().min(PIECE)])
        }));
        let fault = match written {
            Ok(written) if written > 0 => return Poll::Ready(written),
            Ok(_) => None,
            Err(error) => {
                // A reader that has gone knows that it has.
                let is_quiet = error.kind() == ErrorKind::BrokenPipe
                    || error.raw_os_error() == Some(Errno::EIO as i32);
                (!is_quiet).then_some(error)
            }
        };
        self.state = State::Gone(fault);
        Poll::Ready(bytes.len())
    }

    /// Tries something now, and again after each change, until it does not have to wait.
    fn poll_until<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&File) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let file = Arc::clone(&self.file);
        loop {
            match attempt(&file) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            let Some(ready) = self.ready() else { continue };
            // What was told before this attempt is over.
            ready!(ready.poll_write_ready(cx))?.clear_ready();
        }
    }
}

/// Whether the kernel says `wanted` of a file, or that it is broken; else one has to wait.
fn look(file: &File, wanted: PollFlags) -> io::Result<()> {
    let mut watched = [PollFd::new(file.as_fd(), wanted)];
    match poll(&mut watched, PollTimeout::ZERO)? {
        0 => Err(ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// Whether both streams lead to one file, pipe or terminal.
fn is_one_place([out, err]: &[OwnedFd; 2]) -> bool {
    // Whatever name it has, only one terminal controls a process.
    let is_own_terminal = |stream| tcgetsid(stream).is_ok();
    let place = |stream| fstat(stream).map(|it| (it.st_dev, it.st_ino));
    place(out).is_ok_and(|it| place(err) == Ok(it)) || is_own_terminal(out) && is_own_terminal(err)
}

/// The terminal behind a stream, opened once more: what it takes at once is written, and the rest
/// waits, whatever others do with the descriptor that they share. Whose terminal it is does not
/// matter where it is the one that controls this process.
fn own_terminal(stream: &OwnedFd) -> Option<OwnedFd> {
    if !stream.is_terminal() {
        return None;
    }
    let path = match tcgetsid(stream) {
        Ok(_) => PathBuf::from("/dev/tty"),
        Err(_) => format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(stream)).into(),
    };
    let file = fs_err::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    Some(file.ok()?.into_parts().0.into())
}
