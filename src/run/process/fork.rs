//! Becoming two processes: client and guardian, guardian and supervisor.

use std::os::fd::OwnedFd;

use nix::sys::prctl;
use nix::unistd::{ForkResult, Pid, pipe2, setsid};

/// Which of the two processes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that called; it has a child now.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Forks. Must be called while the process has a single thread: a lock that another thread holds
/// would stay locked for ever in the child.
#[expect(unsafe_code, reason = "fork(2)")]
pub(crate) fn fork() -> nix::Result<Forked> {
    debug_assert_eq!(
        thread_count(),
        1,
        "fork needs a process with a single thread"
    );
    // SAFETY: the process has a single thread, so the child is a whole copy of it, locks included.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

fn thread_count() -> usize {
    fs_err::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Makes every orphan below this process its child (prctl(2), `PR_SET_CHILD_SUBREAPER`). The
/// attribute is not inherited by a fork.
pub(crate) fn become_subreaper() -> nix::Result<()> {
    prctl::set_child_subreaper(true)
}

/// Leaves the terminal: a session of its own, standard input from `/dev/null`, output to `log`.
pub(crate) fn detach(log: &std::fs::File) -> nix::Result<()> {
    setsid()?;
    if let Ok(null) = std::fs::File::open("/dev/null") {
        nix::unistd::dup2_stdin(&null)?;
    }
    nix::unistd::dup2_stdout(log)?;
    nix::unistd::dup2_stderr(log)
}

/// A pipe that tells its reader when the process that keeps the writing end has gone, however it
/// went: (reader, writer), both closed on exec.
pub(crate) fn parent_lifeline() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)
}
