//! One output stream as the printer sees it: large writes, visible progress, and an end.
//!
//! A write to a terminal or a pipe may block for ever; only the printer's thread is lost with it
//! then. So that others can tell a slow reader from one that has stopped, writes are made in
//! pieces, and each piece that was taken is counted.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::item::Flow;

/// The largest single write to a file.
pub(super) const LARGE: usize = 256 * 1024;

/// The largest single write to a pipe or a terminal: half of what a pipe holds, so that reader and
/// writer work at the same time, and a reader of 32 KiB a second is not taken for a stalled one.
pub(super) const MEDIUM: usize = 32 * 1024;

/// The size of writes to a slow reader: what a pipe takes at once as soon as it takes anything.
const SMALL: usize = 4 * 1024;

/// A write that takes longer shows a slow reader.
const SLOW: Duration = Duration::from_millis(50);

/// A stream that is written by one thread.
pub(super) struct Sink {
    writer: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    largest: usize,
    piece: usize,
    is_gone: bool,
    /// Why it was given up, if that is worth a word.
    fault: Option<io::Error>,
    flow: Arc<Flow>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("buffered", &self.buffer.len())
            .field("is_gone", &self.is_gone)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// A stream whose single writes are at most `largest` bytes.
    pub(super) fn new(writer: Box<dyn Write + Send>, largest: usize, flow: Arc<Flow>) -> Self {
        Self {
            writer,
            buffer: Vec::new(),
            largest,
            piece: largest,
            is_gone: false,
            fault: None,
            flow,
        }
    }

    /// Where what is to be written is put together.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer if it has grown large.
    pub(super) fn flush_if_large(&mut self) {
        if self.buffer.len() >= LARGE {
            self.flush();
        }
    }

    /// Writes the buffer.
    ///
    /// When nobody reads any more (EPIPE, EIO), or the disk behind is full, the stream is given up:
    /// the services matter more than their output here, which is in the log files anyway.
    pub(super) fn flush(&mut self) {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() && !self.is_gone {
            let piece = &rest[..rest.len().min(self.piece)];
            let start = Instant::now();
            match self.writer.write(piece) {
                Ok(0) => self.is_gone = true,
                Ok(written) => {
                    rest = &rest[written..];
                    self.flow.note_progress();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_gone = true;
                    // A reader that has gone knows that it has.
                    let is_quiet = error.kind() == ErrorKind::BrokenPipe
                        || error.raw_os_error() == Some(Errno::EIO as i32);
                    self.fault = (!is_quiet).then_some(error);
                }
            }
            self.piece = if start.elapsed() > SLOW {
                SMALL
            } else {
                (self.piece * 2).min(self.largest)
            };
        }
        self.buffer.clear();
        // One very long block should not be paid for until the end.
        self.buffer.shrink_to(2 * LARGE);
    }

    /// Why the stream was given up, once, if its reader cannot know.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Whether the stream was given up.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }
}

/// A standard stream, without the buffer and the lock that the standard library puts before it.
#[derive(Debug)]
pub(super) struct Raw<S>(pub(super) S);

impl<S: AsFd> Raw<S> {
    /// How large a single write should be.
    pub(super) fn largest_write(&self) -> usize {
        let Ok(status) = fstat(&self.0) else {
            return MEDIUM;
        };
        if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG {
            LARGE
        } else {
            MEDIUM
        }
    }
}

impl<S: AsFd> Write for Raw<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::write(&self.0, bytes) {
                // Some programs leave the terminal that they share with us in non-blocking mode.
                Err(Errno::EAGAIN) => {
                    let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                result => return result.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
