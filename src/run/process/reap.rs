//! Collecting exit statuses. One loop in the whole process does this: a second waiter would
//! steal statuses from the first.

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::run::snapshot::Exit;

/// A child that has ended and was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// Its pid; free for reuse from now on.
    pub(crate) pid: i32,
    /// How it ended.
    pub(crate) exit: Exit,
}

/// Reaps every child that has ended, known or not. Never blocks.
///
/// As a subreaper we are also the parent of every orphan below us, so pids that nobody knows are
/// normal here.
pub(crate) fn reap_all() -> Vec<Reaped> {
    let mut reaped = Vec::new();
    while let Some(one) = reap_one() {
        reaped.push(one);
    }
    reaped
}

/// Reaps one child that has ended, if there is one. Never blocks.
pub(crate) fn reap_one() -> Option<Reaped> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                return Some(Reaped {
                    pid: pid.as_raw(),
                    exit: Exit::Code(code),
                });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some(Reaped {
                    pid: pid.as_raw(),
                    exit: Exit::Signal(signal as i32),
                });
            }
            Err(Errno::EINTR) => {}
            // Nothing has ended yet, no child is left, or a signal that nix has no name for; the
            // last has been reaped all the same and its pid is lost, so ask again.
            Err(Errno::EINVAL) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// Whether any child is left, zombies included. With a subreaper this is the proof that a whole
/// tree is gone: an orphan anywhere below would be our child.
pub(crate) fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::All, flags), Err(Errno::ECHILD))
}
