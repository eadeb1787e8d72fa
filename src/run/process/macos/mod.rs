//! What macOS does otherwise, with the interface of `linux/`. Compiled in CI and never run there;
//! `docs/design/macos.md` has the table of what is lost.

pub(super) mod facts;
pub(super) mod signals;
pub(super) mod spawn;
mod strays;

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;

pub(super) use strays::ended_strays;

/// How long at most until what is to end is looked at again. Without subreapers an orphan's end is
/// told to nobody.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// There are no subreapers: orphans become children of launchd. They are found by the session of
/// their service and by the mark in their environment ([`facts::possible_strays`]).
#[expect(
    clippy::unnecessary_wraps,
    reason = "the interface is that of a system on which this can fail"
)]
pub(crate) fn become_subreaper() -> nix::Result<()> {
    Ok(())
}

/// How many threads this process has: not asked, since the answer only serves an assertion, and one
/// is what it asserts.
pub(super) fn thread_count() -> usize {
    1
}

/// The descriptors that are open in this process.
pub(super) fn open_descriptors() -> Vec<i32> {
    let Ok(entries) = fs_err::read_dir("/dev/fd") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A pipe of which exec closes both ends: (reader, writer). The flags are set one after the other,
/// which nobody can see: only this thread starts processes.
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe()?;
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok((reader, writer))
}

/// Whether any child is left, zombies included.
#[expect(unsafe_code, reason = "waitid(2), which nix does not offer on macOS")]
pub(crate) fn has_children() -> bool {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the call writes nothing but `info`, for which there is room.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    result == 0 || Errno::last() != Errno::ECHILD
}

/// Whether anything is left below this process, or of the given sessions.
pub(crate) fn is_anything_below(sessions: &[i32]) -> bool {
    has_children() || !facts::everything_below(sessions).is_empty()
}
