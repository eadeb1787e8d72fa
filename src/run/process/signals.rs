//! Signals of a process that waits for them one by one: the guardian.

use nix::libc;
use nix::sys::signal::{SigSet, Signal};

/// A signal that arrived, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Its number.
    pub(crate) signal: i32,
    /// Who sent it.
    pub(crate) sender: Sender,
}

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The kernel: a terminal's Ctrl-C, which the whole foreground group gets.
    Kernel,
    /// A process, to us alone. The pid is 0 for one outside our pid namespace: what stops a
    /// container does that. Also 0 where the system does not say who it was.
    Process(i32),
}

/// Whether a signal is ignored here, as `nohup` does it for what it starts.
#[expect(unsafe_code, reason = "sigaction(2) as a question; nix only sets")]
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null new action the call only writes the present one, for which there is room;
    // zeroed bytes are a valid `sigaction` should it fail.
    let action = unsafe {
        libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Blocks the signals that [`wait_for_signal`](super::wait_for_signal) is to return. Must be called before the first
/// child exists, or its end could be missed.
pub(crate) fn block_for_waiting(signals: &[Signal]) -> nix::Result<SigSet> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    Ok(set)
}

/// Lets every signal through again.
pub(crate) fn unblock_all() -> nix::Result<()> {
    SigSet::empty().thread_set_mask()
}

/// Stops this process, as Ctrl-Z would; returns when somebody continues it.
pub(crate) fn stop_self() -> nix::Result<()> {
    nix::sys::signal::raise(Signal::SIGSTOP)
}
