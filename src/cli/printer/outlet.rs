//! The way to stdout and stderr: what was said, in order, as fast as its reader takes it.
//!
//! A write to a terminal or a pipe may block for ever, and their descriptors are shared with other
//! programs, which a non-blocking mode would break. So a terminal is opened once more, for us alone,
//! and a pipe is given at a time what it takes without blocking once the kernel calls it writable.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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
    queue: VecDeque<(Target, Vec<u8>)>,
    /// How much of the first in the queue has been written.
    written: usize,
}

#[derive(Debug)]
struct Stream {
    file: Arc<File>,
    /// Tells when it takes something; none for a file, which always does. Made with the first write,
    /// as that is within a runtime.
    ready: OnceCell<Option<AsyncFd<Arc<File>>>>,
    /// Nobody reads any more, or the disk behind is full: what is said is thrown away. The services
    /// matter more than their output here, which is in the log files anyway.
    is_gone: bool,
    /// Why, if its reader cannot know.
    fault: Option<io::Error>,
}

impl Outlet {
    pub(super) fn new(streams: [OwnedFd; 2]) -> Self {
        Self {
            streams: streams.map(|stream| Stream {
                file: Arc::new(File::from(own_terminal(&stream).unwrap_or(stream))),
                ready: OnceCell::new(),
                is_gone: false,
                fault: None,
            }),
            queue: VecDeque::new(),
            written: 0,
        }
    }

    /// Where what is said next on a stream is put.
    pub(super) fn buffer(&mut self, target: Target) -> &mut Vec<u8> {
        if self.queue.back().is_none_or(|(last, _)| *last != target) {
            self.queue.push_back((target, Vec::new()));
        }
        let last = self.queue.len() - 1;
        &mut self.queue[last].1
    }

    /// How many bytes have not been written yet.
    pub(super) fn len(&self) -> usize {
        self.queue
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>()
            - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a stream was given up.
    pub(super) fn is_gone(&self, target: Target) -> bool {
        self.streams[target as usize].is_gone
    }

    /// Why a stream was given up, if its reader cannot know.
    pub(super) fn fault(&self, target: Target) -> Option<&io::Error> {
        self.streams[target as usize].fault.as_ref()
    }

    /// Writes as much as is taken; ready once that is something.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        while let Some((target, bytes)) = self.queue.front() {
            let stream = &mut self.streams[*target as usize];
            let rest = &bytes[self.written..];
            if stream.is_gone || rest.is_empty() {
                self.queue.pop_front();
                self.written = 0;
                continue;
            }
            match stream.poll_write(cx, rest) {
                Poll::Pending => break,
                Poll::Ready(written) => {
                    self.written += written;
                    progress = Poll::Ready(());
                }
            }
        }
        progress
    }

    /// Ready once nobody can read stdout any more: at once for a pipe at whose other end `head` has
    /// seen enough, even while there is nothing to print. Never for a file, which has no reader.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = &mut self.streams[Target::Out as usize];
        if stream.is_gone || stream.ready().is_none() {
            return Poll::Pending;
        }
        // Nothing is asked for, so that only an error or the end of the other side is told.
        drop(ready!(
            stream.poll_until(cx, |file| look(file, PollFlags::empty()))
        ));
        stream.is_gone = true;
        Poll::Ready(())
    }
}

impl Stream {
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
        match written {
            Ok(written) if written > 0 => return Poll::Ready(written),
            Ok(_) => {}
            Err(error) => {
                // A reader that has gone knows that it has.
                let is_quiet = error.kind() == ErrorKind::BrokenPipe
                    || error.raw_os_error() == Some(Errno::EIO as i32);
                self.fault = (!is_quiet).then_some(error);
            }
        }
        self.is_gone = true;
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
