//! Sending signals, to a group or to one process.

use nix::errno::Errno;
use nix::libc;

/// Sends `signal` to every member of a process group. `false` when there is no member left.
pub(crate) fn signal_group(pgid: i32, signal: i32) -> bool {
    // 1 would be everybody.
    pgid > 1 && send(-pgid, signal)
}

/// Sends `signal` to one process. `false` when it does not exist.
pub(crate) fn signal_process(pid: i32, signal: i32) -> bool {
    pid > 1 && send(pid, signal)
}

#[expect(
    unsafe_code,
    reason = "kill(2) with a number that nix's enum may not have: a stop signal may be a real-time one"
)]
fn send(target: i32, signal: i32) -> bool {
    // SAFETY: kill(2) takes numbers only and touches no memory of ours.
    unsafe { libc::kill(target, signal) == 0 || Errno::last() == Errno::EPERM }
}
