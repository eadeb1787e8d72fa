//! Signals of a process that waits for them one by one: the guardian. The kernel tells who sent one.

use std::time::Duration;

use nix::errno::Errno;
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

/// Blocks the signals that [`wait_for_signal`] is to return. Must be called before the first child
/// exists, or its end could be missed.
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

/// Waits for one of the blocked signals; `None` on a time-out.
#[expect(
    unsafe_code,
    reason = "sigtimedwait(2): nix offers no form that returns the sender"
)]
pub(crate) fn wait_for_signal(set: &SigSet, timeout: Option<Duration>) -> Option<Received> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    });
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let limit_pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the set and the time limit outlive the call, and `info` has room for the
        // kernel's answer; zeroed bytes are a valid `siginfo_t`.
        let (signal, info) = unsafe {
            let signal = libc::sigtimedwait(set.as_ref(), info.as_mut_ptr(), limit_pointer);
            (signal, info.assume_init())
        };
        if signal > 0 {
            // SAFETY: the bytes of `si_pid` are initialised whatever the kind of the signal;
            // `sender` looks at them only for a kind that has a sender (sigaction(2)).
            let sender = sender(info.si_code, unsafe { info.si_pid() });
            return Some(Received { signal, sender });
        }
        match Errno::last() {
            Errno::EINTR if limit.is_none() => {}
            _ => return None,
        }
    }
}

/// From the two fields of `siginfo_t` (sigaction(2)): the code says who, the pid alone cannot.
fn sender(code: i32, pid: i32) -> Sender {
    if code <= 0 {
        Sender::Process(pid)
    } else {
        Sender::Kernel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_outside_the_pid_namespace_is_a_process_all_the_same() {
        assert_eq!(sender(libc::SI_USER, 0), Sender::Process(0));
        assert_eq!(sender(libc::SI_TKILL, 7), Sender::Process(7));
        assert_eq!(sender(libc::SI_KERNEL, 0), Sender::Kernel);
    }
}
