//! From one process to two or three: client, guardian, supervisor.
//!
//! Everything that can go wrong for the user's fault has been done before: the file is read, the
//! lock is held, the ports are held, the `.env` is written. A fork copies all of that, so nothing
//! is handed over by file or argument, and no port is free for a moment.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::pipe2;

use super::guardian::{self, SIGNALS, Watch};
use super::process::{
    Forked, SharedTable, become_subreaper, block_for_waiting, detach, fork, is_ignored,
};

pub use super::process::ForkError;

/// Which of the processes this one has become.
#[derive(Debug)]
pub enum Role {
    /// The process that was called, of a stack in the background: its guardian has this pid.
    Client {
        /// The guardian.
        guardian_pid: i32,
    },
    /// The guardian; in the foreground the process that was called.
    Guardian(Guardian),
    /// The supervisor.
    Supervisor(Seat),
}

/// What the guardian has in hand.
#[derive(Debug)]
pub struct Guardian {
    supervisor_pid: i32,
    signals: SigSet,
    table: SharedTable,
    ignores_hangup: bool,
    /// The supervisor reads the other end; its closing tells that the guardian has gone.
    _lifeline: OwnedFd,
}

/// What the supervisor has in hand.
#[derive(Debug)]
pub struct Seat {
    /// The guardian's pid.
    pub(crate) guardian_pid: i32,
    /// Readable at its end once the guardian has gone.
    pub(crate) lifeline: OwnedFd,
    /// What the guardian needs to know.
    pub(crate) table: SharedTable,
    /// Whether the end of a terminal means nothing: there is none, or `nohup` says so.
    pub(crate) ignores_hangup: bool,
}

impl Seat {
    /// The guardian's pid.
    pub fn guardian_pid(&self) -> i32 {
        self.guardian_pid
    }
}

/// A runtime for one thread: the supervisor's loop, or a client's calls. Whoever has made one cannot
/// call [`fork_roles`] any more.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    super::process::runtime()
}

/// Becomes guardian and supervisor, and in the background a client that goes on as well.
///
/// `background` is the file that takes what a supervisor without a terminal has to say. Must be
/// called while there is a single thread.
pub fn fork_roles(background: Option<&File>) -> Result<Role, ForkError> {
    let table = SharedTable::new()?;
    let ignores_hangup = background.is_some() || is_ignored(Signal::SIGHUP);
    if let Some(log) = background {
        if let Forked::Parent(guardian) = fork()? {
            return Ok(Role::Client {
                guardian_pid: guardian.as_raw(),
            });
        }
        detach(log)?;
    }
    become_subreaper()?;
    // Blocked before the fork, so that not even the first moment's SIGCHLD or Ctrl-C is missed. The
    // supervisor lets them through once its handlers stand.
    let signals = block_for_waiting(&SIGNALS)?;
    let (lifeline_reader, lifeline_writer) = pipe2(OFlag::O_CLOEXEC)?;
    let guardian_pid = nix::unistd::getpid().as_raw();
    match fork()? {
        Forked::Parent(supervisor) => Ok(Role::Guardian(Guardian {
            supervisor_pid: supervisor.as_raw(),
            signals,
            table,
            ignores_hangup,
            _lifeline: lifeline_writer,
        })),
        Forked::Child => {
            drop(lifeline_writer);
            become_subreaper()?;
            Ok(Role::Supervisor(Seat {
                guardian_pid,
                lifeline: lifeline_reader,
                table,
                ignores_hangup,
            }))
        }
    }
}

impl Guardian {
    /// Watches until the supervisor ends. `on_loss` is told the signal that killed it, before
    /// everything that it started is stopped.
    pub fn watch(self, on_loss: &dyn Fn(i32)) -> Watch {
        guardian::watch(
            self.supervisor_pid,
            &self.signals,
            &self.table,
            self.ignores_hangup,
            on_loss,
        )
    }
}
