//! What the foreground shows beside the logs: changes, the ready summary, failures.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::cli::printer::{Failure, Printer, words};
use crate::cli::readiness::{Progress, Readiness, Target};
use crate::run::control::Controller;
use crate::run::logs::last_lines_of_attempt;
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::name::UnitId;

/// How many of a failed service's last lines are shown.
pub(crate) const TAIL: usize = 20;

/// Tells which failures have not been shown yet, and shows them.
#[derive(Debug)]
pub(crate) struct Failures {
    log_dir: PathBuf,
    run: u64,
    shown: HashSet<(UnitId, u32, u64)>,
    /// The units whose failure has been explained, by themselves or with what they waited for.
    roots: Vec<ServiceSnapshot>,
}

/// The units behind `root` in the chains of what was not started, in the order of the file, as they
/// are shown.
fn blocked_behind(root: &ServiceSnapshot, blocked: &[&ServiceSnapshot]) -> Vec<String> {
    let mut is_behind = vec![false; blocked.len()];
    // As often as the chain is long: a dependent may stand before what it waits for.
    loop {
        let behind = blocked.iter().zip(&is_behind);
        let known: Vec<&ServiceSnapshot> = behind
            .filter_map(|(service, is_behind)| is_behind.then_some(*service))
            .chain([root])
            .collect();
        let next: Vec<bool> = blocked
            .iter()
            .map(|service| is_blocked_by_any(service, &known))
            .collect();
        if next == is_behind {
            break;
        }
        is_behind = next;
    }
    let behind = blocked
        .iter()
        .zip(is_behind)
        .filter(|(_, is_behind)| *is_behind);
    behind.map(|(service, _)| service.label()).collect()
}

/// Whether a service was not started because of one of `others`.
fn is_blocked_by_any(service: &ServiceSnapshot, others: &[&ServiceSnapshot]) -> bool {
    words::blocked_by(service)
        .is_some_and(|unit| others.iter().any(|other| other.unit_ref() == *unit))
}

impl Failures {
    pub(crate) fn new(log_dir: PathBuf, run: u64) -> Self {
        Self {
            log_dir,
            run,
            shown: HashSet::new(),
            roots: Vec::new(),
        }
    }

    /// Shows why services failed, once each: first those that failed by themselves, with those that
    /// were not started because of them.
    pub(crate) fn show_all<'a>(
        &mut self,
        printer: &Printer,
        services: impl IntoIterator<Item = &'a ServiceSnapshot>,
    ) {
        let (blocked, roots): (Vec<_>, Vec<_>) = services
            .into_iter()
            .filter(|service| service.phase == Phase::Failed)
            .partition(|service| words::blocked_by(service).is_some());
        for root in roots {
            self.show_one(printer, root, blocked_behind(root, &blocked));
        }
        for service in blocked {
            self.show(printer, service);
        }
    }

    /// Shows why a service failed, with the last lines that it printed, once; not where that has
    /// been shown for the service that it waited for.
    pub(crate) fn show(&mut self, printer: &Printer, service: &ServiceSnapshot) {
        let roots: Vec<&ServiceSnapshot> = self.roots.iter().collect();
        if is_blocked_by_any(service, &roots) {
            self.explained(service);
        } else {
            self.show_one(printer, service, Vec::new());
        }
    }

    fn explained(&mut self, service: &ServiceSnapshot) {
        if !self.roots.iter().any(|root| root.unit() == service.unit()) {
            self.roots.push(service.clone());
        }
    }

    fn show_one(&mut self, printer: &Printer, service: &ServiceSnapshot, blocked: Vec<String>) {
        let key = (service.unit(), service.attempt, service.since);
        if service.phase != Phase::Failed || !self.shown.insert(key) {
            return;
        }
        self.explained(service);
        let tail = if service.attempt == 0 {
            Vec::new()
        } else {
            let attempt = service.attempt;
            last_lines_of_attempt(&self.log_dir, &service.unit(), self.run, attempt, TAIL)
        };
        printer.failure(Failure {
            service: service.clone(),
            tail,
            blocked,
        });
    }
}

/// Shows everything that happens until the supervisor has ended.
pub(super) async fn show(
    printer: Arc<Printer>,
    controller: Controller,
    mut event_rx: Receiver<Event>,
    log_dir: PathBuf,
    run: u64,
) {
    let mut readiness = Readiness::new(Target::Ready, None);
    let mut failures = Failures::new(log_dir, run);
    let mut is_summed_up = false;
    let mut is_draining = false;
    loop {
        match event_rx.recv().await {
            Ok(event) => {
                if !is_draining && is_stop(&event) {
                    is_draining = controller.snapshot().await.is_ok_and(|s| s.is_draining);
                    if is_draining {
                        printer.draining();
                    }
                }
                printer.event(&event);
                readiness.see_event(&event);
                match &event {
                    Event::Ended { .. } => break,
                    Event::Service(service) if is_summed_up => failures.show(&printer, service),
                    Event::Service(_) | Event::Notice(_) => {}
                }
            }
            // The printer has missed something: it is told what is.
            Err(RecvError::Lagged(_)) => {
                let Ok(stack) = controller.snapshot().await else {
                    break;
                };
                for service in stack.services {
                    let event = Event::Service(Box::new(service));
                    printer.event(&event);
                    readiness.see_event(&event);
                }
            }
            Err(RecvError::Closed) => break,
        }
        if is_summed_up || !event_rx.is_empty() {
            continue;
        }
        if let Progress::Settled { .. } = readiness.progress() {
            is_summed_up = true;
            if let Ok(stack) = controller.snapshot().await
                && !stack.is_draining
            {
                printer.summary(&stack);
            }
            failures.show_all(&printer, readiness.services());
        }
    }
    // What failed last is the last thing on the screen.
    failures.show_all(&printer, readiness.services());
}

/// Whether a service is being stopped: alone, or with everything.
fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Service(service) if service.phase == Phase::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::samples::{behind, exited, failed, not_started, unit_ref};
    use crate::run::reason::UnitRef;

    #[test]
    fn who_was_not_started_is_told_with_the_cause() {
        let web = failed("web", 0, behind(unit_ref("api"), not_started("migrate")));
        let api = failed("api", 0, not_started("migrate"));
        let other = failed("other", 0, not_started("seed"));
        let blocked = [&web, &other, &api];
        let migrate = failed("migrate", 1, exited());
        assert_eq!(blocked_behind(&migrate, &blocked), ["web", "api"]);
    }

    #[test]
    fn one_replica_holds_up_what_waits_for_it() {
        let db = |replica| ServiceSnapshot {
            replica,
            replicas: 2,
            ..failed("db", 1, exited())
        };
        let web = |replica, cause| ServiceSnapshot {
            replica,
            replicas: 3,
            ..failed(
                "web",
                0,
                behind(
                    UnitRef {
                        replica: cause,
                        replicas: 2,
                        ..unit_ref("db")
                    },
                    exited(),
                ),
            )
        };
        let (first, second, third) = (web(1, 1), web(2, 2), web(3, 2));
        let blocked = [&first, &second, &third];
        assert_eq!(blocked_behind(&db(2), &blocked), ["web-2", "web-3"]);
    }
}
