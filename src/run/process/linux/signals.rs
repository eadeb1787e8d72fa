//! Waiting for a signal with a time limit, and its sender.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigSet;

use crate::run::process::signals::{Received, Sender};

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
