//! From one process to three: client, guardian, supervisor.
//!
//! Everything that can go wrong for the user's fault has been done before: the file is read, the
//! lock is held, the ports are held, the `.env` is written. A fork copies all of that, so nothing
//! is handed over by file or argument, and no port is free for a moment.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use super::guardian::{self, SIGNALS, Watch};
use super::process::{
    Forked, SharedTable, become_subreaper, block_for_waiting, check_alone, close_inherited, detach,
    fork, remove_group, signal_process,
};

pub use super::process::{
    ForkError, Signals, can_be_continued, is_ignored, stop_self, unblock_all,
};

/// Which of the processes this one has become.
#[derive(Debug)]
pub enum Role {
    /// The process that was called.
    Client(Child, Copies),
    /// Its child.
    Guardian(Guardian, Copies),
    /// The guardian's child.
    Supervisor(Seat),
}

/// What the client has in hand.
#[derive(Debug)]
pub struct Child {
    /// The guardian.
    guardian: Pid,
    /// What leads to the supervisor, see [`super::link`]. It does not block.
    pub link: UnixStream,
    /// At its end once the supervisor has begun.
    begun: OwnedFd,
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
    /// Whether SIGHUP means nothing: the stack is in the background, or `nohup` says so.
    pub(crate) ignores_hangup: bool,
    /// At its end once neither client nor guardian has copies.
    copies: OwnedFd,
    /// What leads to that client. It does not block.
    pub(crate) link: UnixStream,
    /// To be dropped once everything that can be started has been.
    pub(crate) begun: Option<OwnedFd>,
}

/// To be dropped by client and guardian together with their copies of what the supervisor alone keeps.
#[derive(Debug)]
pub struct Copies(#[expect(dead_code, reason = "its end is what matters")] OwnedFd);

/// How long the supervisor waits for that: one of them may have been suspended in this moment.
const COPIES_LIMIT: u16 = 1000;

/// How long the client leaves the processors to a supervisor that begins: nobody sees this delay.
const BEGIN_LIMIT: u16 = 20;

impl Seat {
    /// Waits until nobody has copies of what this process was forked with. A port whose hold somebody
    /// else has as well cannot be given up for its server.
    pub(crate) fn await_copies_gone(&self) {
        await_end(self.copies.as_fd(), COPIES_LIMIT);
    }

    /// The guardian's pid.
    pub fn guardian_pid(&self) -> i32 {
        self.guardian_pid
    }

    /// What leads to the client, for the last word.
    pub fn link(&self) -> std::io::Result<UnixStream> {
        self.link.try_clone()
    }
}

/// A runtime for one thread: the supervisor's loop, or a client's calls. Whoever has made one cannot
/// call [`fork_roles`] any more.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    super::process::runtime()
}

/// Becomes client, guardian and supervisor; the last two have no terminal and share nothing with it.
///
/// `log` takes what guardian and supervisor have to say. Must be called while there is a single
/// thread, and has been no runtime.
pub fn fork_roles(log: &File, is_detached: bool) -> Result<Role, ForkError> {
    check_alone()?;
    let table = SharedTable::new()?;
    let ignores_hangup = is_detached || is_ignored(Signal::SIGHUP);
    let (client_link, link) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    // Blocked before the fork, so that not even the first moment's SIGCHLD or Ctrl-C is missed. Client
    // and supervisor let them through once their handlers stand.
    let signals = block_for_waiting(&SIGNALS)?;
    let (copies_reader, copies) = pipe2(OFlag::O_CLOEXEC)?;
    let (begun_reader, begun) = pipe2(OFlag::O_CLOEXEC)?;
    if let Forked::Parent(guardian) = fork()? {
        let child = Child {
            guardian,
            link: client_link.into(),
            begun: begun_reader,
        };
        return Ok(Role::Client(child, Copies(copies)));
    }
    drop((client_link, begun_reader));
    detach(log)?;
    become_subreaper()?;
    let (lifeline_reader, lifeline_writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let guardian_pid = nix::unistd::getpid().as_raw();
    match fork()? {
        Forked::Parent(supervisor) => {
            let guardian = Guardian {
                supervisor_pid: supervisor.as_raw(),
                signals,
                table,
                ignores_hangup,
                _lifeline: lifeline_writer,
            };
            Ok(Role::Guardian(guardian, Copies(copies)))
        }
        Forked::Child => {
            drop((lifeline_writer, copies));
            become_subreaper()?;
            Ok(Role::Supervisor(Seat {
                guardian_pid,
                lifeline: lifeline_reader,
                table,
                ignores_hangup,
                copies: copies_reader,
                link: link.into(),
                begun: Some(begun),
            }))
        }
    }
}

/// Waits until nobody has the other end of a pipe, or for so many milliseconds.
fn await_end(pipe: BorrowedFd<'_>, limit: u16) {
    // Nobody writes: only the end is to be seen.
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    while poll(&mut asked, limit) == Err(Errno::EINTR) {}
}

/// How a guardian ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardianEnd {
    /// By itself; where its supervisor was killed, 0 says that it has stopped everything.
    Code(i32),
    /// It was killed.
    Killed,
}

impl Child {
    /// Waits until the supervisor has started what can be started, or for a moment. A client at work
    /// in this time delays the first service by a tenth (measured with 2 processors).
    pub fn await_begun(&self) {
        await_end(self.begun.as_fd(), BEGIN_LIMIT);
    }

    /// Sends the guardian a signal, which it passes on. One that was stopped is continued, as it
    /// would act on nothing.
    pub fn signal(&self, signal: Signal) {
        signal_process(self.guardian.as_raw(), signal as i32);
        signal_process(self.guardian.as_raw(), Signal::SIGCONT as i32);
    }

    /// How the guardian has ended; `None` while it goes on. To be called again only until then.
    pub fn end(&self) -> Option<GuardianEnd> {
        loop {
            match waitpid(self.guardian, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return Some(GuardianEnd::Code(code)),
                Ok(WaitStatus::Signaled(..)) => return Some(GuardianEnd::Killed),
                Err(Errno::EINTR) => {}
                // nix has no name for a real-time signal.
                Err(_) => return Some(GuardianEnd::Killed),
                Ok(_) => return None,
            }
        }
    }
}

impl Guardian {
    /// Watches until the supervisor ends. `on_loss` is told the signal that killed it, before
    /// everything that it started is stopped. Then the `group` of all that is removed.
    pub(crate) fn watch(self, group: Option<&Path>, on_loss: &dyn Fn(i32)) -> Watch {
        close_inherited();
        let watch = guardian::watch(
            self.supervisor_pid,
            &self.signals,
            (&self.table, group),
            self.ignores_hangup,
            on_loss,
        );
        group.inspect(|group| remove_group(group));
        watch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_goes_on_before_the_last_copy_is_gone() {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (client, guardian) = (Copies(writer.try_clone().unwrap()), Copies(writer));
        let is_last = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(client);
                std::thread::sleep(Duration::from_millis(20));
                is_last.store(true, Ordering::SeqCst);
                drop(guardian);
            });
            await_end(reader.as_fd(), COPIES_LIMIT);
            assert!(is_last.load(Ordering::SeqCst));
        });
    }
}
