//! The client when its guardian and its supervisor were both killed: nobody else is there at once to end
//! what they have left, so it does.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::super::down::{self, not_ended};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer::Printer;
use crate::run::instance::{Instance, LockAttempt};
use crate::run::launch::Signals;
use crate::run::leftovers::Reaper;
use crate::run::registry::{Registry, Stray, strays};

/// How long two killed processes may take to vanish.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// How often that is looked at.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Ends what is left, each as its service wants it, or within a `grace` that is said; a stroke kills it.
/// What there is to say of it in the end.
pub(super) async fn end_what_is_left(
    (instance, registry): (&Instance, &Registry),
    printer: &Printer,
    signals: &mut Signals,
    mut grace: Option<Duration>,
) -> Stop {
    let killed = |rest: &str| format!("supervisor and guardian were killed; {rest}");
    let failed = |message| Stop::new(ExitCode::Failed, message, None);
    let deadline = Instant::now() + LOCK_LIMIT;
    let _lock = loop {
        match instance.lock() {
            Ok(LockAttempt::Acquired(lock)) => break lock,
            // Who was killed has the lock until the last of it is gone.
            Ok(_) if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            // It has been started anew, and what is left was ended before that.
            Ok(_) | Err(_) => {
                return failed(killed("`stack down` looks for what they have left"));
            }
        }
    };
    let leases = instance.lease_path();
    let left = loop {
        let Some(reaper) = Reaper::new(&instance.id, &leases, grace) else {
            break Vec::new();
        };
        let mut output = printer;
        tokio::select! {
            biased;
            left = down::reap(&mut output, reaper) => break left.remaining,
            () = stroke(signals) => grace = Some(Duration::ZERO),
        }
    };
    if !left.is_empty() {
        return failed(killed(&not_ended(&left)));
    }
    // Nobody shall take this for a stack that was killed.
    drop(fs_err::remove_file(&leases));
    for stray in strays(registry.of(instance, None)) {
        match stray {
            Stray::Killed(registration) => registration.forget(),
            Stray::Homeless(_) => {}
        }
    }
    instance.clear_out();
    failed(killed("what they had left has been stopped"))
}

/// Returns when somebody presses Ctrl-C, or asks for the end otherwise.
async fn stroke(signals: &mut Signals) {
    let is_stroke = |signal| matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP);
    while !is_stroke(signals.next().await) {}
}
