//! Signals: blocked and waited for one by one (the guardian), or taken in by a runtime.

use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::facts::has_job_control;

/// Signals that a runtime takes in.
#[derive(Debug)]
pub struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    /// Installs the handlers, within a runtime. From then on the signals may be unblocked.
    pub fn install(signals: &[Signal]) -> io::Result<Self> {
        let install = |&which| Ok((which, signal(SignalKind::from_raw(which as i32))?));
        signals
            .iter()
            .map(install)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The next one that arrives; of several the one that was named first.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (which, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*which);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether a signal is ignored here, as `nohup` does it for what it starts.
#[expect(unsafe_code, reason = "sigaction(2) as a question; nix only sets")]
pub fn is_ignored(signal: Signal) -> bool {
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
pub fn unblock_all() -> nix::Result<()> {
    SigSet::empty().thread_set_mask()
}

/// Whether a shell with job control could continue this process, once it has stopped.
pub fn can_be_continued() -> bool {
    has_job_control(nix::unistd::getpid().as_raw())
}

/// Stops this process, as Ctrl-Z would; returns when somebody continues it.
pub fn stop_self() -> nix::Result<()> {
    nix::sys::signal::raise(Signal::SIGSTOP)
}

/// Waits for one of the blocked signals, and returns its number; `None` on a time-out.
#[expect(
    unsafe_code,
    reason = "sigtimedwait(2): nix has no form with a time limit"
)]
pub(crate) fn wait_for_signal(set: &SigSet, timeout: Option<Duration>) -> Option<i32> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    });
    loop {
        let limit_pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the set and the time limit outlive the call, which writes nothing without a place
        // for details.
        let signal =
            unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), limit_pointer) };
        if signal > 0 {
            return Some(signal);
        }
        match Errno::last() {
            Errno::EINTR if limit.is_none() => {}
            _ => return None,
        }
    }
}
