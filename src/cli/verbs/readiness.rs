//! Is everything there that was asked for? Pure: what happens goes in, an answer comes out. How one unit
//! stands is the business of [`crate::run::waits`].

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::api::messages::Update;
use crate::cli::printer::words;
use crate::run::control::UnitTarget;
use crate::run::news::News;
use crate::run::snapshot::{CRASH_LOOP, Phase, ServiceSnapshot, Wanted};
use crate::run::waits::{Goal, Verdict, verdict};
use crate::support::name::UnitId;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// What a command asks for.
    Of(Goal),
    /// Every service has been executed and not failed, or can no longer be.
    Executed,
    /// Services with a check are healthy, those with ports listen, and those that others wait to
    /// complete have.
    Ready,
    /// The same, but nothing is waited for that crashes again and again: a person wants to know
    /// about the rest.
    Told,
}

/// Whether there is no more to be expected of a service: it failed, or crashes again and again.
pub(super) fn has_failed(service: &ServiceSnapshot) -> bool {
    service.phase == Phase::Failed || service.is_crash_looping()
}

/// The units that are waited for.
pub(super) type Asked = HashMap<UnitId, Aim>;

/// What is waited for of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    /// The generation that is meant.
    pub(super) generation: u64,
    /// Whether it is to be down, whatever the target of the others is.
    pub(super) stops: bool,
}

impl Aim {
    /// That it is there, for this generation or a later one.
    pub(super) const fn up(generation: u64) -> Self {
        Self {
            generation,
            stops: false,
        }
    }
}

/// What a command has set, as it is waited for.
pub(super) fn asked(targets: &[UnitTarget]) -> Asked {
    let targets = targets.iter();
    targets
        .map(|target| {
            let aim = Aim {
                generation: target.generation,
                stops: target.stops,
            };
            (target.unit(), aim)
        })
        .collect()
}

/// Watches services until all have reached the target or failed.
#[derive(Debug)]
pub(super) struct Readiness {
    target: Target,
    /// Who is waited for; `None` is everything that the start of the stack has wanted.
    asked: Option<Asked>,
    /// Every unit, in the order of the file.
    latest: IndexMap<UnitId, Known>,
    /// How many of those that are waited for have been seen.
    seen: usize,
    /// How many of these are on their way.
    pending: usize,
}

/// The last that is known of a unit.
#[derive(Debug)]
struct Known {
    service: ServiceSnapshot,
    /// How it stands, if it is waited for.
    verdict: Option<Verdict>,
}

impl Readiness {
    pub(super) fn new(target: Target, asked: Option<Asked>) -> Self {
        Self {
            target,
            asked,
            latest: IndexMap::new(),
            seen: 0,
            pending: 0,
        }
    }

    /// Waits for these units from now on.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.asked = Some(asked);
        (self.seen, self.pending) = (0, 0);
        for known in std::mem::take(&mut self.latest).into_values() {
            self.see(&known.service);
        }
    }

    /// Whether a unit is waited for, as far as that was said.
    pub(super) fn is_asked(&self, unit: &UnitId) -> bool {
        let asked = self.asked.as_ref();
        asked.is_none_or(|asked| asked.contains_key(unit))
    }

    /// Takes in the state of a unit. Whether anybody could tell it from the one before: what is wanted
    /// is for waits alone.
    pub(super) fn see(&mut self, service: &ServiceSnapshot) -> bool {
        let unit = service.unit();
        let aim = match &self.asked {
            Some(asked) => asked.get(&unit).copied(),
            // The first is that of the start; one that nobody asked for is not waited for.
            None => (service.desired.wanted != Wanted::Nothing).then_some(Aim::up(1)),
        };
        let verdict = aim.map(|aim| standing(self.target, aim, service));
        self.seen += usize::from(verdict.is_some());
        self.pending += usize::from(verdict == Some(Verdict::Pending));
        let known = Known {
            service: service.clone(),
            verdict,
        };
        let before = self.latest.insert(unit, known);
        before.is_none_or(|before| {
            self.seen -= usize::from(before.verdict.is_some());
            self.pending -= usize::from(before.verdict == Some(Verdict::Pending));
            let like_it = ServiceSnapshot {
                desired: service.desired,
                generation: service.generation,
                is_executed: service.is_executed,
                ..before.service
            };
            like_it != *service
        })
    }

    /// Takes in the state of all units that there are. Nobody waits for one that is gone from the stack.
    pub(super) fn see_all(&mut self, services: &[ServiceSnapshot]) {
        let units: HashSet<UnitId> = services.iter().map(ServiceSnapshot::unit).collect();
        let known = self
            .latest
            .keys()
            .chain(self.asked.iter().flat_map(HashMap::keys));
        let gone: Vec<UnitId> = known.filter(|it| !units.contains(*it)).cloned().collect();
        for unit in &gone {
            self.forget(unit);
        }
        for service in services {
            self.see(service);
        }
    }

    /// A unit is gone from the stack.
    pub(super) fn forget(&mut self, unit: &UnitId) {
        if let Some(asked) = &mut self.asked {
            asked.remove(unit);
        }
        if let Some(gone) = self.latest.shift_remove(unit) {
            self.seen -= usize::from(gone.verdict.is_some());
            self.pending -= usize::from(gone.verdict == Some(Verdict::Pending));
        }
    }

    /// Takes in what has happened. Whether that is worth a word: a snapshot of everything comes first,
    /// and again after a lag, and says all that matters of what was missed.
    pub(super) fn hear(&mut self, update: &Update) -> bool {
        match update {
            Update::Service(service) => self.see(service),
            Update::Notice(notice) => {
                if let (News::Removed, Some(unit)) = (&notice.news, notice.unit()) {
                    self.forget(&unit);
                }
                true
            }
            Update::Ended { .. } => true,
            Update::Lagged { .. } => false,
            Update::Snapshot { stack } => {
                self.see_all(&stack.services);
                false
            }
        }
    }

    /// The last that is known of a unit.
    pub(super) fn latest(&self, unit: &UnitId) -> Option<&ServiceSnapshot> {
        self.latest.get(unit).map(|known| &known.service)
    }

    /// The last that is known of every unit, in the order of the file.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.latest.values().map(|known| &known.service)
    }

    /// How those that are waited for and have been seen stand.
    pub(super) fn standings(&self) -> impl Iterator<Item = (&ServiceSnapshot, Verdict)> {
        let all = self.latest.values();
        all.filter_map(|known| Some((&known.service, known.verdict?)))
    }

    fn on_their_way(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        let pending = |(service, verdict)| (verdict == Verdict::Pending).then_some(service);
        self.standings().filter_map(pending)
    }

    /// Whether all that are on their way run, and only have failed before: whether they are to fail
    /// again nobody can say.
    pub(super) fn is_only_retrying(&self) -> bool {
        let mut rest = self.on_their_way();
        rest.all(|service| service.phase == Phase::Running && service.failures > 0)
    }

    /// Who is still on the way, as it is shown, each with the reason if one is known:
    /// `api (it listens on 5173 instead of 8003)`.
    pub(super) fn pending(&self) -> Vec<String> {
        let pending = self
            .on_their_way()
            .map(|service| match words::why(service) {
                Some(why) => format!("{} ({why})", service.label()),
                None => service.label(),
            });
        pending.collect()
    }

    /// Those on their way whose port was stolen, or which listen on another one: no more is to be
    /// expected of them, though they may come round.
    pub(super) fn misplaced(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.on_their_way()
            .filter(|service| service.ports.iter().any(|port| port.trouble().is_some()))
    }

    /// Whether nothing is on its way any more, and everybody who is waited for has been seen.
    pub(super) fn is_settled(&self) -> bool {
        self.pending == 0 && self.seen >= self.asked.as_ref().map_or(1, HashMap::len)
    }

    /// Those that will not get there, in the order of the file, whatever is still on its way: one that was
    /// there when the wait ended may have begun anew by the time of its verdict.
    pub(super) fn failed(&self) -> Vec<(&ServiceSnapshot, Verdict)> {
        let is_lost = |verdict| matches!(verdict, Verdict::Failed | Verdict::Superseded(_));
        self.standings()
            .filter(|&(_, verdict)| is_lost(verdict))
            .collect()
    }
}

fn standing(target: Target, aim: Aim, service: &ServiceSnapshot) -> Verdict {
    let Aim { generation, stops } = aim;
    if stops {
        return match verdict(Goal::Stopped, generation, service) {
            // Somebody wants it back meanwhile, and waits for that.
            Verdict::Superseded(_) => Verdict::Reached,
            verdict => verdict,
        };
    }
    let goal = match target {
        Target::Of(goal) => return verdict(goal, generation, service),
        Target::Executed => Goal::Executed,
        Target::Ready | Target::Told => Goal::Ready,
    };
    let verdict = verdict(goal, generation, service);
    let is_looping = service.failures >= CRASH_LOOP;
    // It may be about to end once more.
    let is_retrying = service.phase == Phase::Running && service.failures > 0;
    match verdict {
        // It was executed, and that is over.
        Verdict::Reached if service.phase == Phase::Failed => Verdict::Failed,
        Verdict::Pending if target == Target::Told && is_looping => Verdict::Failed,
        Verdict::Reached if target == Target::Told && is_retrying && is_looping => Verdict::Failed,
        Verdict::Reached if target == Target::Told && is_retrying => Verdict::Pending,
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing;
    use crate::run::reason::{CheckFailure, PortTrouble, Reason};
    use crate::run::snapshot::{Cause, DesiredSnapshot};

    fn service(name: &str, phase: Phase) -> ServiceSnapshot {
        ServiceSnapshot {
            phase,
            attempt: 1,
            is_executed: phase != Phase::Waiting,
            ..testing::service(name)
        }
    }

    /// Who failed once all are settled.
    fn failed(target: Target, services: &[ServiceSnapshot]) -> Option<Vec<String>> {
        let mut readiness = Readiness::new(target, None);
        for service in services {
            readiness.see(service);
        }
        if !readiness.is_settled() {
            return None;
        }
        let failed = readiness.failed();
        Some(failed.iter().map(|(service, _)| service.label()).collect())
    }

    #[test]
    fn nobody_waits_for_what_is_gone_from_the_stack() {
        let asked = ["web", "gone"].map(|name| (service(name, Phase::Running).unit(), Aim::up(1)));
        let mut readiness = Readiness::new(Target::Executed, Some(asked.into()));
        let running = [service("web", Phase::Running)];
        readiness.see(&running[0]);
        assert!(!readiness.is_settled());
        readiness.see_all(&running);
        assert!(readiness.is_settled());
    }

    #[test]
    fn what_is_to_stop_is_waited_for_until_it_is_down() {
        let desired = |wanted, generation| DesiredSnapshot {
            wanted,
            generation,
            cause: Cause::Up,
        };
        let old = |phase, desired| ServiceSnapshot {
            desired,
            ..service("old", phase)
        };
        let aim = Aim {
            generation: 2,
            stops: true,
        };
        for target in [Target::Executed, Target::Ready] {
            let wait = || {
                Readiness::new(
                    target,
                    Some([(service("old", Phase::Running).unit(), aim)].into()),
                )
            };
            let stopping = old(Phase::Stopping, desired(Wanted::Stopped, 2));
            for after in [
                // One that has failed before has nothing that could end.
                old(Phase::Failed, desired(Wanted::Stopped, 2)),
                old(Phase::Stopped, desired(Wanted::Stopped, 2)),
                old(Phase::Stopping, desired(Wanted::Running, 3)),
            ] {
                let mut readiness = wait();
                readiness.see(&stopping);
                assert!(!readiness.is_settled());
                readiness.see(&after);
                assert!(readiness.is_settled(), "{after:?}");
                assert_eq!(readiness.failed(), []);
            }
            let mut readiness = wait();
            readiness.see(&stopping);
            readiness.forget(&stopping.unit());
            readiness.see(&service("web", Phase::Running));
            assert_eq!((readiness.seen, readiness.pending), (0, 0));
            assert!(readiness.is_settled());
        }
    }

    #[test]
    fn executed_is_less_than_ready() {
        let services = [
            service("web", Phase::Starting),
            service("api", Phase::Running),
        ];
        assert_eq!(failed(Target::Executed, &services), Some(vec![]));
        assert_eq!(failed(Target::Ready, &services), None);
        let services = services.map(|service| ServiceSnapshot {
            phase: Phase::Completed,
            ..service
        });
        assert_eq!(failed(Target::Ready, &services), Some(vec![]));
    }

    #[test]
    fn one_that_begins_anew_after_the_wait_hides_no_failure_of_another() {
        let mut readiness = Readiness::new(Target::Ready, None);
        readiness.see(&service("bad", Phase::Failed));
        readiness.see(&service("one", Phase::Running));
        assert!(readiness.is_settled());
        readiness.see(&service("one", Phase::Backoff));
        assert!(!readiness.is_settled());
        let failed = readiness.failed();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0].0.label(), "bad");
    }

    #[test]
    fn what_crashes_again_and_again_holds_up_a_wait_and_no_summary() {
        let looping = ServiceSnapshot {
            failures: CRASH_LOOP,
            ..service("emails", Phase::Backoff)
        };
        let services = [service("web", Phase::Healthy), looping];
        assert_eq!(failed(Target::Ready, &services), None);
        let emails = vec!["emails".to_owned()];
        assert_eq!(failed(Target::Told, &services), Some(emails));
    }

    #[test]
    fn a_summary_waits_for_what_may_crash_once_more() {
        let again = ServiceSnapshot {
            failures: 1,
            ..service("emails", Phase::Running)
        };
        let mut readiness = Readiness::new(Target::Told, None);
        readiness.see(&service("web", Phase::Healthy));
        readiness.see(&again);
        assert!(!readiness.is_settled());
        assert!(readiness.is_only_retrying());
    }

    #[test]
    fn failures_are_named_once_nothing_is_on_its_way() {
        let services = |other| [service("web", Phase::Failed), service("api", other)];
        for target in [Target::Executed, Target::Ready] {
            assert_eq!(failed(target, &services(Phase::Waiting)), None);
            let web = vec!["web".to_owned()];
            assert_eq!(failed(target, &services(Phase::Healthy)), Some(web));
        }
    }

    #[test]
    fn a_later_wish_of_somebody_else_ends_the_wait() {
        let stopped = ServiceSnapshot {
            desired: DesiredSnapshot {
                wanted: Wanted::Stopped,
                generation: 2,
                cause: Cause::Stop,
            },
            ..service("web", Phase::Stopped)
        };
        let mut readiness = Readiness::new(Target::Ready, None);
        readiness.see(&stopped);
        let superseded = Verdict::Superseded(Cause::Stop);
        assert!(readiness.is_settled());
        assert_eq!(readiness.failed(), [(&stopped, superseded)]);
    }

    #[test]
    fn all_units_that_were_asked_for_are_waited_for() {
        let replica = |replica, phase| ServiceSnapshot {
            replica,
            replicas: 2,
            ..service("web", phase)
        };
        let units = [1, 2].map(|number| (testing::replica("web", number), Aim::up(1)));
        let mut readiness = Readiness::new(Target::Ready, Some(units.into()));
        readiness.see(&service("api", Phase::Starting));
        readiness.see(&replica(1, Phase::Healthy));
        assert!(!readiness.is_settled(), "one is not seen");
        readiness.see(&replica(2, Phase::Starting));
        assert_eq!(readiness.pending(), ["web-2"]);
        readiness.see(&ServiceSnapshot {
            reason: Some(Reason::Check {
                failure: CheckFailure::Port {
                    trouble: PortTrouble::Elsewhere {
                        port: 8003,
                        listens_on: vec![5173],
                    },
                },
            }),
            ..replica(2, Phase::Starting)
        });
        assert_eq!(
            readiness.pending(),
            ["web-2 (it listens on 5173 instead of 8003)"]
        );
        readiness.see(&replica(2, Phase::Failed));
        let failed = replica(2, Phase::Failed);
        assert!(readiness.is_settled());
        assert_eq!(readiness.failed(), [(&failed, Verdict::Failed)]);
    }

    #[test]
    fn what_nobody_asked_for_is_not_waited_for() {
        let idle = ServiceSnapshot {
            desired: DesiredSnapshot {
                wanted: Wanted::Nothing,
                generation: 0,
                cause: Cause::Up,
            },
            ..service("web", Phase::Pending)
        };
        let services = [idle, service("api", Phase::Healthy)];
        assert_eq!(failed(Target::Ready, &services), Some(vec![]));
    }
}
