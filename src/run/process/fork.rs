//! Becoming two processes: client and guardian, guardian and supervisor.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::prctl;
use nix::unistd::{ForkResult, Pid, setsid};

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

/// How many descriptors a runtime with its signals needs, and a few for what it is made for.
const SPARE_DESCRIPTORS: usize = 8;

/// A runtime for one thread. The process cannot fork any more.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    HAS_RUNTIME.store(true, Ordering::Relaxed);
    // Where these cannot be had, tokio's way to hear of signals would panic.
    let (spare, _other) = std::io::pipe()?;
    let spare = (0..SPARE_DESCRIPTORS).map(|_| spare.try_clone());
    drop(spare.collect::<std::io::Result<Vec<_>>>()?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// That the process may be forked: it has a single thread, and has never made a runtime.
pub(crate) fn check_alone() -> Result<(), ForkError> {
    let threads = numbers_in("/proc/self/task").len();
    if threads > 1 {
        return Err(ForkError::Threads(threads));
    }
    if HAS_RUNTIME.load(Ordering::Relaxed) {
        return Err(ForkError::Runtime);
    }
    Ok(())
}

/// Forks. [`check_alone`] must have been asked, and nothing been started since; a child is alone.
#[expect(unsafe_code, reason = "fork(2)")]
pub(crate) fn fork() -> Result<Forked, ForkError> {
    // SAFETY: the process has a single thread, so the child is a whole copy of it, locks included.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Leaves the terminal: a session of its own, standard input from `/dev/null`, output to `log`.
/// What else the caller had open is [closed later](close_inherited).
pub(crate) fn detach(log: &std::fs::File) -> nix::Result<()> {
    setsid()?;
    if let Ok(null) = std::fs::File::open("/dev/null") {
        nix::unistd::dup2_stdin(&null)?;
    }
    nix::unistd::dup2_stdout(log)?;
    nix::unistd::dup2_stderr(log)
}

/// Closes what the caller had open beside the three standard streams: a pipe whose end somebody
/// waits for, a lock. Everything of our own is closed on exec, so what is not is none of ours. No
/// service waits for this.
#[expect(unsafe_code, reason = "close(2) of descriptors that nothing here owns")]
pub(crate) fn close_inherited() {
    for descriptor in numbers_in("/proc/self/fd").into_iter().filter(|&it| it > 2) {
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

/// The entries of a directory of `/proc/self` that are numbers.
fn numbers_in(directory: &str) -> Vec<i32> {
    fs_err::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Makes every orphan below this process its child (prctl(2), `PR_SET_CHILD_SUBREAPER`). The
/// attribute is not inherited by a fork.
pub(crate) fn become_subreaper() -> nix::Result<()> {
    prctl::set_child_subreaper(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_may_not_be_forked() {
        let (done_tx, done_rx) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || done_rx.recv());
        assert!(matches!(check_alone(), Err(ForkError::Threads(2..))));
        drop(done_tx);
        other.join().unwrap().unwrap_err();
    }
}
