//! Becoming two processes: client and guardian, guardian and supervisor.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{ForkResult, Pid, setsid};

use super::system::{open_descriptors, pipe, thread_count};

/// Which of the two processes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that called; it has a child now.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Why a process could not become two.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// A lock that another thread holds would stay locked for ever in the child.
    #[error("the process has {0} threads before it forks, and must have one")]
    Threads(usize),
    /// Both processes would share the pipe by which the runtime learns of signals, and each would
    /// take some of the other's.
    #[error("the process has used a runtime before it forks, and must not")]
    Runtime,
    /// The system refused.
    #[error("{}", .0.desc())]
    System(#[from] nix::errno::Errno),
}

/// Whether this process has ever made a runtime.
static HAS_RUNTIME: AtomicBool = AtomicBool::new(false);

/// A runtime for one thread. The process cannot fork any more.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    HAS_RUNTIME.store(true, Ordering::Relaxed);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Forks, if the process has a single thread and has never made a runtime.
#[expect(unsafe_code, reason = "fork(2)")]
pub(crate) fn fork() -> Result<Forked, ForkError> {
    let threads = thread_count();
    if threads != 1 {
        return Err(ForkError::Threads(threads));
    }
    if HAS_RUNTIME.load(Ordering::Relaxed) {
        return Err(ForkError::Runtime);
    }
    // SAFETY: the process has a single thread, so the child is a whole copy of it, locks included.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Leaves the terminal: a session of its own, standard input from `/dev/null`, output to `log`, and
/// nothing else of the caller's.
pub(crate) fn detach(log: &std::fs::File) -> nix::Result<()> {
    setsid()?;
    close_inherited();
    if let Ok(null) = std::fs::File::open("/dev/null") {
        nix::unistd::dup2_stdin(&null)?;
    }
    nix::unistd::dup2_stdout(log)?;
    nix::unistd::dup2_stderr(log)
}

/// Closes what the caller had open beside the three standard streams: a pipe whose end somebody
/// waits for, a lock. Everything of our own is closed on exec, so what is not is none of ours.
#[expect(unsafe_code, reason = "close(2) of descriptors that nothing here owns")]
fn close_inherited() {
    let open = open_descriptors();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2) {
        // SAFETY: numbers only. A descriptor without the flag was open before `main` and belongs
        // to no value of this program, which opens all of its own with the flag.
        unsafe {
            let flags = nix::libc::fcntl(descriptor, nix::libc::F_GETFD);
            if flags >= 0 && flags & nix::libc::FD_CLOEXEC == 0 {
                nix::libc::close(descriptor);
            }
        }
    }
}

/// A pipe that tells its reader when the process that keeps the writing end has gone, however it
/// went: (reader, writer), both closed on exec.
pub(crate) fn parent_lifeline() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (done_tx, done_rx) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || done_rx.recv());
        assert!(matches!(fork(), Err(ForkError::Threads(2..))));
        drop(done_tx);
        other.join().unwrap().unwrap_err();
    }
}
