//! What Linux is asked by system calls of its own.

pub(super) mod facts;
pub(super) mod signals;
pub(super) mod spawn;

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::pipe2;

/// How long at most until what is to end is looked at again. Everything below a subreaper tells of
/// its end, so there is no need to look.
pub(crate) const LOOK_AGAIN: Duration = Duration::MAX;

/// Makes every orphan below this process its child (prctl(2), `PR_SET_CHILD_SUBREAPER`). The
/// attribute is not inherited by a fork.
pub(crate) fn become_subreaper() -> nix::Result<()> {
    prctl::set_child_subreaper(true)
}

/// How many threads this process has.
pub(super) fn thread_count() -> usize {
    fs_err::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// The descriptors that are open in this process.
pub(super) fn open_descriptors() -> Vec<i32> {
    let Ok(entries) = fs_err::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A pipe of which exec closes both ends: (reader, writer).
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC)
}

/// Whether any child is left, zombies included. With a subreaper this is the proof that a whole
/// tree is gone: an orphan anywhere below would be our child.
pub(crate) fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::All, flags), Err(Errno::ECHILD))
}

/// Whether anything is left below this process. The sessions are for systems without subreapers.
pub(crate) fn is_anything_below(_sessions: &[i32]) -> bool {
    has_children()
}

/// Strays that have ended without being children of ours. There are none here.
pub(super) fn ended_strays() -> Vec<i32> {
    Vec::new()
}
