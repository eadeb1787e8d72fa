//! Sending signals, to a group or to one process.

use nix::errno::Errno;
use nix::libc;

/// Sends `signal` to every member of a process group. `false` when there is no member left.
///
/// Goes through `libc` since a stop signal may be a real-time one, for which nix has no name.
#[expect(
    unsafe_code,
    reason = "kill(2) with a number that nix's enum may not have"
)]
pub(crate) fn signal_group(pgid: i32, signal: i32) -> bool {
    if pgid <= 1 {
        return false;
    }
    // SAFETY: kill(2) takes numbers only and touches no memory of ours.
    unsafe { libc::kill(-pgid, signal) == 0 || Errno::last() == Errno::EPERM }
}

/// Sends `signal` to one process. `false` when it does not exist.
#[expect(
    unsafe_code,
    reason = "kill(2) with a number that nix's enum may not have"
)]
pub(crate) fn signal_process(pid: i32, signal: i32) -> bool {
    if pid <= 1 {
        return false;
    }
    // SAFETY: kill(2) takes numbers only and touches no memory of ours.
    unsafe { libc::kill(pid, signal) == 0 || Errno::last() == Errno::EPERM }
}
