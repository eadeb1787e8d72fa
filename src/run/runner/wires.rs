//! What a unit's process has for descriptors 0, 1 and 2, and the ends that are kept
//! (`docs/design/attach.md`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};

use crate::plan::model::ProcessPlan;
use crate::run::control::{InputReply, TerminalSize};
use crate::run::logs::lasting_pipe_pair;
use crate::run::process::{Stdio, resize_terminal};
use crate::run::snapshot::LogStream;

/// Both sides of what a process is wired to.
#[derive(Debug)]
pub(super) struct Wires {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    has_terminal: bool,
    /// What the pump reads.
    pub(super) readers: Vec<(OwnedFd, LogStream)>,
    /// What takes input, if anything does.
    pub(super) input: Option<Input>,
}

impl Wires {
    /// For a process of a stack in which so many run; a terminal has this size.
    pub(super) fn new(
        process: &ProcessPlan,
        services: usize,
        size: TerminalSize,
    ) -> io::Result<Self> {
        if process.tty {
            return Self::terminal(size);
        }
        let (stdout_reader, stdout) = lasting_pipe_pair(services)?;
        let (stderr_reader, stderr) = lasting_pipe_pair(services)?;
        let (stdin, input) = if process.stdin_open {
            let (stdin, writer) = io::pipe()?;
            let writer = OwnedFd::from(writer);
            set_nonblocking(&writer)?;
            (Some(stdin.into()), Some(Input::Pipe(writer)))
        } else {
            (None, None)
        };
        Ok(Self {
            stdin,
            stdout,
            stderr,
            has_terminal: false,
            readers: vec![
                (stdout_reader, LogStream::Stdout),
                (stderr_reader, LogStream::Stderr),
            ],
            input,
        })
    }

    fn terminal(size: TerminalSize) -> io::Result<Self> {
        let pair = openpty(&Winsize::from(size), None)?;
        // The C library does not do it by itself.
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        set_nonblocking(&pair.master)?;
        Ok(Self {
            stdin: Some(pair.slave.try_clone()?),
            stdout: pair.slave.try_clone()?,
            stderr: pair.slave,
            has_terminal: true,
            readers: vec![(pair.master.try_clone()?, LogStream::Stdout)],
            input: Some(Input::Terminal(pair.master)),
        })
    }

    /// The process's side.
    pub(super) fn stdio<'w>(&'w self, passed: &'w [(BorrowedFd<'w>, &'w str)]) -> Stdio<'w> {
        Stdio {
            stdin: self.stdin.as_ref().map(AsFd::as_fd),
            has_terminal: self.has_terminal,
            stdout: self.stdout.as_fd(),
            stderr: self.stderr.as_fd(),
            passed,
        }
    }

    /// What the process may open anew by its path.
    pub(super) fn own(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let outputs = [self.stdout.as_fd(), self.stderr.as_fd()];
        outputs
            .into_iter()
            .chain(self.stdin.as_ref().map(AsFd::as_fd))
    }
}

/// What takes the input of a process.
#[derive(Debug)]
pub(super) enum Input {
    Pipe(OwnedFd),
    Terminal(OwnedFd),
}

impl Input {
    /// Writes as much as is taken now, and sets the size of a terminal.
    pub(super) fn put(&self, bytes: &[u8], size: Option<TerminalSize>) -> InputReply {
        let (end, has_terminal) = match self {
            Self::Pipe(end) => (end, false),
            Self::Terminal(end) => (end, true),
        };
        if let Some(size) = size.filter(|_| has_terminal) {
            resize_terminal(end.as_fd(), size.into());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            match nix::unistd::write(end, &bytes[taken..]) {
                Ok(length) => taken += length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // Nobody reads any more: it is as gone as if it had been read.
                Err(_) => taken = bytes.len(),
            }
        }
        InputReply {
            taken,
            has_terminal,
        }
    }
}

impl From<TerminalSize> for Winsize {
    fn from(size: TerminalSize) -> Self {
        Self {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

fn set_nonblocking(end: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::termios::tcgetattr;

    use super::*;

    #[test]
    fn a_full_pipe_takes_what_it_can_and_a_closed_one_everything() {
        let process = ProcessPlan {
            stdin_open: true,
            ..ProcessPlan::default()
        };
        let mut wires = Wires::new(&process, 1, TerminalSize::default()).unwrap();
        let input = wires.input.take().unwrap();
        let much = vec![b'x'; 1024 * 1024];
        let reply = input.put(&much, None);
        assert!(0 < reply.taken && reply.taken < much.len(), "{reply:?}");
        assert!(!reply.has_terminal);
        assert_eq!(input.put(b"more", None).taken, 0);
        let mut stdin = std::fs::File::from(wires.stdin.take().unwrap());
        let mut piece = vec![0; 4096];
        stdin.read_exact(&mut piece).unwrap();
        assert_eq!(input.put(b"more", None).taken, 4);
        drop(stdin);
        assert_eq!(input.put(b"gone", None).taken, 4);
    }

    #[test]
    fn a_terminal_has_the_size_that_it_was_given_and_all_three_descriptors() {
        let process = ProcessPlan {
            tty: true,
            ..ProcessPlan::default()
        };
        let size = TerminalSize {
            columns: 132,
            rows: 50,
        };
        let wires = Wires::new(&process, 1, size).unwrap();
        let seen = || {
            let slave = rustix::termios::tcgetwinsize(&wires.stdout).unwrap();
            (slave.ws_col, slave.ws_row)
        };
        assert_eq!(seen(), (132, 50));
        for end in wires.own() {
            assert!(tcgetattr(end).is_ok());
        }
        assert!(wires.stdio(&[]).has_terminal);
        let input = wires.input.as_ref().unwrap();
        let reply = input.put(b"key", Some(TerminalSize::default()));
        assert_eq!(
            (reply.taken, reply.has_terminal, seen()),
            (3, true, (80, 24))
        );
    }
}
