//! Waiting for a signal. There is no `sigtimedwait`: with a time limit it is asked again and again.

use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::SigSet;

use crate::run::process::signals::{Received, Sender};

/// How often it is looked whether a signal has come, where there is a time limit. Only who ends the
/// services of a lost supervisor waits like that.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for one of the blocked signals; `None` on a time-out.
///
/// Who sent it is not told. Whoever asks gets [`Sender::Process`] of pid 0: the guardian then passes
/// on what the terminal has sent to both, and the supervisor takes the two for one stroke.
pub(crate) fn wait_for_signal(set: &SigSet, timeout: Option<Duration>) -> Option<Received> {
    let begun = Instant::now();
    if let Some(timeout) = timeout {
        while !is_any_pending(set) {
            let rest = timeout.saturating_sub(begun.elapsed());
            if rest.is_zero() {
                return None;
            }
            std::thread::sleep(rest.min(PAUSE));
        }
    }
    let signal = set.wait().ok()? as i32;
    Some(Received {
        signal,
        sender: Sender::Process(0),
    })
}

/// Whether one of `set`, all of them blocked, has come and waits.
#[expect(unsafe_code, reason = "sigpending(2), which nix does not offer")]
fn is_any_pending(set: &SigSet) -> bool {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call writes nothing but `pending`, for which there is room; a set of signals is a
    // number there, for which zeroed bytes are valid.
    let pending = unsafe {
        libc::sigpending(pending.as_mut_ptr());
        SigSet::from_sigset_t_unchecked(pending.assume_init())
    };
    set.iter().any(|signal| pending.contains(signal))
}
