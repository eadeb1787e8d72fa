//! The end: when it has come, what is still to be ended, and what is left to be known.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::{Outcome, Supervisor};
use crate::run::control::{CommandError, Early, Request};
use crate::run::link::{SupervisorEnd, Wish};
use crate::run::news::Event;
use crate::run::reason::Reason;
use crate::run::snapshot::Phase;
use crate::support::fs::write_atomically_unsynced;
use crate::support::name::ServiceName;

/// How long the client may take until it follows the events.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Whether nothing runs or will be started any more.
    pub(super) fn is_over(&self) -> bool {
        if !self.busy.is_empty() {
            return false;
        }
        // What somebody stopped may be started again.
        let is_stopped = || {
            self.units
                .values()
                .any(|unit| unit.phase() == Phase::Stopped)
        };
        self.ending.is_some() || !is_stopped()
    }

    /// Where everything was short, the client that has started it may not have asked yet what there
    /// is to see: it is waited for, unless it has gone.
    pub(super) async fn await_client(&mut self, link: &mut SupervisorEnd, early: &Early) {
        let mut asked = pin!(timeout(CLIENT_LIMIT, early.taken()));
        loop {
            let request = tokio::select! {
                biased;
                _ = &mut asked => break,
                wish = link.next() => if wish == Wish::Gone {
                    break;
                } else {
                    continue;
                },
                Some(request) = self.request_rx.recv() => request,
            };
            self.requested_at_the_end(request);
        }
        // With the events it has asked for the state of everything.
        while let Ok(request) = self.request_rx.try_recv() {
            self.requested_at_the_end(request);
        }
    }

    fn requested_at_the_end(&mut self, request: Request) {
        match request {
            Request::Snapshot(_) | Request::PutBack(..) => self.requested(request),
            Request::Home(_) => {}
            Request::Propose(_, reply_tx) => drop(reply_tx.send(Err(CommandError::Gone))),
            // It is too late for anything to begin.
            Request::Command(_, reply_tx) => drop(reply_tx.send(Err(CommandError::Gone))),
        }
    }

    /// Ends whatever is left, and leaves a last word.
    pub(super) async fn finish(&mut self) {
        self.is_anything_left |= self.runner.finish().await;
        self.tell();
        self.leave_word();
        let failed = services_of(self.failed());
        drop(self.event_tx.send(Event::Ended { failed }));
    }

    /// Writes the state of everything for those who ask when nobody is here to answer.
    pub(super) fn leave_word(&self) {
        let Some(path) = &self.last_path else { return };
        let Ok(text) = serde_json::to_vec_pretty(&self.snapshot()) else {
            return;
        };
        // A full disk must not make a failure of this.
        if let Err(error) = write_atomically_unsynced(path, &text, 0o600) {
            tracing::warn!(%error, "the last state was not written");
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            failed: self.failed(),
            exit: self.stop_exit,
            signal: self.signal,
            is_anything_left: self.is_anything_left,
            is_homeless: self.is_homeless,
        }
    }

    fn failed(&self) -> Vec<(ServiceName, Option<Reason>)> {
        let units = self.units.values();
        units
            .filter(|unit| unit.phase() == Phase::Failed)
            .map(|unit| (unit.plan.service.clone(), unit.reason()))
            .collect()
    }
}

/// Each service once, however many of its replicas failed.
fn services_of(failed: Vec<(ServiceName, Option<Reason>)>) -> Vec<ServiceName> {
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
        let failed =
            ["web", "web", "web", "api"].map(|name| (ServiceName::new(name).unwrap(), None));
        let names: Vec<String> = services_of(failed.to_vec())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["web", "api"]);
    }
}
