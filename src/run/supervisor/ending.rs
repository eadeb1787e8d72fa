//! The end: when it has come, what is still to be ended, and what is left to be known.

use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, Supervisor};
use crate::run::process::{ProcessTree, has_children, own_children, reap_all, signal_process};
use crate::run::snapshot::{Event, Phase};
use crate::run::unit::Unit;
use crate::support::fs::write_atomically_unsynced;
use crate::support::name::ServiceName;

/// How long what is left after everything has ended may take to vanish.
const LAST_LIMIT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Whether nothing runs or will be started any more.
    pub(super) fn is_over(&self) -> bool {
        let is_settled = |unit: &Unit| unit.phase().is_at_rest();
        if !self.units.iter().all(is_settled) || !self.restarts.is_empty() {
            return false;
        }
        // What somebody stopped may be started again: in the background it waits for a `down`.
        let is_kept = self.options.is_detached
            && self.units.iter().any(|unit| unit.phase() == Phase::Stopped);
        self.drain.is_some() || !is_kept
    }

    /// Ends whatever is left below this process, and leaves a last word.
    pub(super) async fn finish(&mut self) {
        let begun = Instant::now();
        let mut round = 0_u32;
        reap_all().for_each(drop);
        if has_children() {
            // A check that was killed with its service, mostly; it needs a moment to be gone.
            tokio::time::sleep(Duration::from_millis(2)).await;
            reap_all().for_each(drop);
        }
        // Nothing should be left here; what is, had no mark and no parent of ours.
        while has_children() && begun.elapsed() < LAST_LIMIT {
            let signal = if round == 0 {
                nix::libc::SIGTERM
            } else {
                nix::libc::SIGKILL
            };
            for process in ProcessTree::read().with_descendants(own_children()) {
                signal_process(process.pid, signal);
                signal_process(process.pid, nix::libc::SIGCONT);
            }
            // The ends of these are nobody's news, so they are waited for here.
            tokio::time::sleep(Duration::from_millis(if round == 0 { 100 } else { 20 })).await;
            reap_all().for_each(drop);
            round += 1;
        }
        self.is_anything_left |= has_children();
        if !self.is_anything_left {
            self.leases.remove();
        }
        self.tell();
        self.leave_word();
        let failed = services_of(self.failed());
        drop(self.event_tx.send(Event::Ended { failed }));
    }

    /// Writes the state of everything for those who ask when nobody is here to answer.
    pub(super) fn leave_word(&self) {
        let Ok(text) = serde_json::to_vec_pretty(&self.snapshot()) else {
            return;
        };
        // A full disk must not make a failure of this.
        if let Err(error) = write_atomically_unsynced(&self.last_path, &text, 0o600) {
            tracing::warn!(%error, "the last state was not written");
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            failed: self.failed(),
            exit: self.stop_exit,
            signal: self.signal,
            is_anything_left: self.is_anything_left,
        }
    }

    pub(super) fn failed(&self) -> Vec<(ServiceName, String)> {
        self.units
            .iter()
            .filter(|unit| unit.phase() == Phase::Failed)
            .map(|unit| {
                let reason = unit.snapshot(Vec::new(), false).reason;
                (unit.plan.service.clone(), reason.unwrap_or_default())
            })
            .collect()
    }
}

/// Each service once, however many of its replicas failed.
fn services_of(failed: Vec<(ServiceName, String)>) -> Vec<ServiceName> {
    let mut names: Vec<ServiceName> = failed.into_iter().map(|(name, _)| name).collect();
    // Replicas of a service stand one behind the other.
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_whose_replicas_all_failed_is_named_once() {
        let failed = ["web", "web", "web", "api"].map(|name| {
            let name = ServiceName::new(name).unwrap();
            (name, "exited with code 1".to_owned())
        });
        let names: Vec<String> = services_of(failed.to_vec())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["web", "api"]);
    }
}
