//! Collecting exit statuses. One loop in the whole process does this: a second waiter would
//! steal statuses from the first.

use nix::errno::Errno;
use nix::libc;

use crate::run::snapshot::Exit;

/// A child that has ended and was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    /// Its pid; free for reuse from now on.
    pub(crate) pid: i32,
    /// How it ended.
    pub(crate) exit: Exit,
}

/// Reaps every child that has ended, known or not, one after the other. Never blocks.
///
/// As a subreaper we are also the parent of every orphan below us, so pids that nobody knows are
/// normal here.
pub(crate) fn reap_all() -> impl Iterator<Item = Reaped> {
    std::iter::from_fn(reap_one)
}

/// Reaps one child that has ended, if there is one. Never blocks.
///
/// Goes through `libc`: nix has no name for the real-time signals and gives an error for a child
/// that one of them ended, after which its pid, reaped already, would be known to nobody.
#[expect(
    unsafe_code,
    reason = "waitpid(2) for children that a real-time signal may have ended"
)]
fn reap_one() -> Option<Reaped> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call, which writes nothing else.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match pid {
            1.. => {}
            _ if pid < 0 && Errno::last() == Errno::EINTR => continue,
            // Nothing has ended yet, or no child is left.
            _ => return None,
        }
        if libc::WIFEXITED(status) {
            let exit = Exit::Code(libc::WEXITSTATUS(status));
            return Some(Reaped { pid, exit });
        }
        if libc::WIFSIGNALED(status) {
            let exit = Exit::Signal(libc::WTERMSIG(status));
            return Some(Reaped { pid, exit });
        }
    }
}
