//! Which failures have been shown, and which are to be, with the last lines of each.

use std::collections::HashSet;
use std::path::PathBuf;

use super::super::readiness::has_failed;
use crate::cli::printer::{Failure, Printer, words};
use crate::run::logs::last_lines_of_attempt;
use crate::run::reason::UnitRef;
use crate::run::snapshot::{Phase, ServiceSnapshot};
use crate::support::name::UnitId;

/// How many of a failed service's last lines are shown.
const TAIL: usize = 20;

/// Tells which failures have not been shown yet, and shows them.
#[derive(Debug)]
pub(super) struct Failures {
    log_dir: PathBuf,
    run: u64,
    shown: HashSet<(UnitId, u32, u64)>,
    /// The units that crash again and again, as has been shown.
    looping: HashSet<UnitId>,
    /// The units whose failure has been explained, by themselves or with what they waited for.
    roots: HashSet<UnitRef>,
}

/// The units behind `root` in the chains of what was not started, in the order of the file, as they
/// are shown.
fn blocked_behind(root: &ServiceSnapshot, blocked: &[&ServiceSnapshot]) -> Vec<String> {
    let mut known = HashSet::from([root.unit_ref()]);
    let is_behind = |service: &ServiceSnapshot, known: &HashSet<UnitRef>| {
        words::blocked_by(service).is_some_and(|cause| known.contains(cause))
    };
    // As often as the chain is long: a dependent may stand before what it waits for.
    let mut before = 0;
    while known.len() > before {
        before = known.len();
        for service in blocked {
            if is_behind(service, &known) {
                known.insert(service.unit_ref());
            }
        }
    }
    let behind = blocked.iter().filter(|service| is_behind(service, &known));
    behind.map(|service| service.label()).collect()
}

impl Failures {
    pub(super) fn new(log_dir: PathBuf, run: u64) -> Self {
        Self {
            log_dir,
            run,
            shown: HashSet::new(),
            looping: HashSet::new(),
            roots: HashSet::new(),
        }
    }

    /// Shows why services failed, once each: first those that failed by themselves, with those that
    /// were not started because of them.
    pub(super) fn show_all<'a>(
        &mut self,
        printer: &Printer,
        services: impl IntoIterator<Item = &'a ServiceSnapshot>,
    ) {
        let (blocked, roots): (Vec<_>, Vec<_>) = services
            .into_iter()
            .filter(|service| has_failed(service))
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
    pub(super) fn show(&mut self, printer: &Printer, service: &ServiceSnapshot) {
        if words::blocked_by(service).is_some_and(|cause| self.roots.contains(cause)) {
            self.roots.insert(service.unit_ref());
        } else {
            self.show_one(printer, service, Vec::new());
        }
    }

    fn show_one(&mut self, printer: &Printer, service: &ServiceSnapshot, blocked: Vec<String>) {
        let attempt = service.attempt;
        if !has_failed(service) {
            // Should it crash again and again once more, that is news.
            if service.failures == 0 {
                self.looping.remove(&service.unit());
            }
            return;
        }
        let is_news = if service.phase == Phase::Failed {
            self.shown.insert((service.unit(), attempt, service.since))
        } else {
            self.looping.insert(service.unit())
        };
        if !is_news {
            return;
        }
        self.roots.insert(service.unit_ref());
        let tail = if attempt == 0 {
            Vec::new()
        } else {
            last_lines_of_attempt(&self.log_dir, &service.unit(), self.run, attempt, TAIL)
        };
        printer.page().failure(&Failure {
            service: service.clone(),
            tail,
            blocked,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{behind, exited, failed, not_started, unit_ref};

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
