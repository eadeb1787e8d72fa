//! Is everything up that was asked for? Pure: snapshots and events in, an answer out.

use std::collections::HashMap;

use crate::cli::printer::words;
use crate::cli::style::CRASH_LOOP;
use crate::run::snapshot::{Phase, PortState, ServiceSnapshot};
use crate::support::name::{ServiceName, UnitId};

/// What "up" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every service has been executed, or can no longer be.
    Executed,
    /// Services with a check are healthy, those with ports listen, and those that others wait to
    /// complete have.
    Ready,
    /// The same, but nothing is waited for that crashes again and again: a person wants to know
    /// about the rest.
    Told,
}

/// Whether there is no more to be expected of a service: it failed, or crashes again and again.
pub fn has_failed(service: &ServiceSnapshot) -> bool {
    service.phase == Phase::Failed
        || service.phase == Phase::Backoff && service.failures >= CRASH_LOOP
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something is on its way.
    Pending,
    /// Nothing is on its way any more; these have failed.
    Settled {
        /// The units that are not up and will not be, in the order of the file.
        failed: Vec<UnitId>,
    },
}

/// Watches services until all have reached the target or failed.
#[derive(Debug)]
pub struct Readiness {
    target: Target,
    /// Who is waited for, all replicas of each; `None` is everything that is not pending.
    asked: Option<Vec<ServiceName>>,
    latest: HashMap<UnitId, ServiceSnapshot>,
    order: Vec<UnitId>,
}

/// How one service stands to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    OnItsWay,
    There,
    Failed,
}

impl Readiness {
    /// Watches `asked`, or everything that somebody wants up.
    pub fn new(target: Target, asked: Option<Vec<ServiceName>>) -> Self {
        Self {
            target,
            asked,
            latest: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Takes in the state of every service.
    pub fn see_all(&mut self, services: &[ServiceSnapshot]) {
        for service in services {
            self.see(service);
        }
    }

    /// Takes in the state of one.
    pub fn see(&mut self, service: &ServiceSnapshot) {
        let unit = service.unit();
        if self.latest.insert(unit.clone(), service.clone()).is_none() {
            self.order.push(unit);
        }
    }

    /// The last that is known of a unit.
    pub fn latest(&self, unit: &UnitId) -> Option<&ServiceSnapshot> {
        self.latest.get(unit)
    }

    /// The last that is known of every unit, in the order of the file.
    pub fn services(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.order.iter().filter_map(|unit| self.latest.get(unit))
    }

    /// The same of those that are waited for.
    fn asked(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.services().filter(|service| {
            self.asked
                .as_ref()
                .is_none_or(|asked| asked.contains(&service.service))
        })
    }

    /// The services that were asked for and of which not every replica has been seen.
    fn unseen(&self) -> impl Iterator<Item = &ServiceName> {
        let asked = self.asked.iter().flatten();
        asked.filter(|&name| {
            let mut seen = self.services().filter(|service| service.service == *name);
            let Some(first) = seen.next() else {
                return true;
            };
            seen.zip(1_u32..)
                .map(|(_, count)| count + 1)
                .last()
                .unwrap_or(1)
                < first.replicas
        })
    }

    fn standing(&self, service: &ServiceSnapshot) -> Standing {
        standing(self.target, service, self.asked.is_some())
    }

    fn on_their_way(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.asked()
            .filter(|service| self.standing(service) == Standing::OnItsWay)
    }

    /// Whether all that are on their way run, and only have failed before: whether they are to fail
    /// again nobody can say.
    pub fn is_only_retrying(&self) -> bool {
        let mut rest = self.on_their_way();
        rest.all(|service| service.phase == Phase::Running && service.failures > 0)
    }

    /// Who is still on the way, as it is shown, each with the reason if one is known:
    /// `api (it listens on 5173 instead of 8003)`.
    pub fn pending(&self) -> Vec<String> {
        let unseen = self.unseen().map(ToString::to_string);
        let seen = self
            .on_their_way()
            .map(|service| match words::why(service) {
                Some(why) => format!("{} ({why})", service.label()),
                None => service.label(),
            });
        unseen.chain(seen).collect()
    }

    /// Those on their way whose port was stolen, or which listen on another one: no more is to be
    /// expected of them, though they may come round.
    pub fn misplaced(&self) -> Vec<&ServiceSnapshot> {
        let is_misplaced = |service: &&ServiceSnapshot| {
            service.ports.iter().any(|port| match port.state {
                PortState::Stolen { .. } | PortState::WrongPort { .. } => true,
                PortState::Held | PortState::Listening { .. } | PortState::NotListening => false,
            })
        };
        self.on_their_way().filter(is_misplaced).collect()
    }

    /// How far it is. Nothing is settled before every replica of every service that was asked for
    /// has been seen.
    pub fn progress(&self) -> Progress {
        let is_seen = self.asked().next().is_some() && self.unseen().next().is_none();
        if !is_seen || self.on_their_way().next().is_some() {
            return Progress::Pending;
        }
        let failed = self
            .asked()
            .filter(|service| self.standing(service) == Standing::Failed)
            .map(ServiceSnapshot::unit)
            .collect();
        Progress::Settled { failed }
    }
}

/// Whether it got where it should, or somebody wants it elsewhere.
fn is_up(service: &ServiceSnapshot) -> bool {
    match service.phase {
        Phase::Healthy | Phase::Completed | Phase::Stopped | Phase::Stopping | Phase::Pending => {
            true
        }
        Phase::Waiting
        | Phase::Starting
        | Phase::Running
        | Phase::Unhealthy
        | Phase::Backoff
        | Phase::Failed => false,
    }
}

fn standing(target: Target, service: &ServiceSnapshot, is_asked: bool) -> Standing {
    match (service.phase, target) {
        _ if target == Target::Told && service.failures >= CRASH_LOOP && !is_up(service) => {
            Standing::Failed
        }
        // It may be about to end once more.
        (Phase::Running, Target::Told) if service.failures > 0 => Standing::OnItsWay,
        // One that nobody asked for is not waited for.
        (Phase::Pending, _) if !is_asked => Standing::There,
        (Phase::Pending | Phase::Waiting | Phase::Stopping, _) => Standing::OnItsWay,
        (Phase::Failed, _) => Standing::Failed,
        // Somebody stopped it meanwhile: it will not come up by itself.
        (Phase::Stopped, _) => Standing::Failed,
        (Phase::Completed | Phase::Healthy, _) => Standing::There,
        (Phase::Running, Target::Executed) => Standing::There,
        (Phase::Running, Target::Ready | Target::Told) if service.is_one_shot => Standing::OnItsWay,
        (Phase::Running, Target::Ready | Target::Told) => Standing::There,
        (Phase::Starting | Phase::Unhealthy, Target::Executed) => Standing::There,
        // Restarts are waited out as long as the policy allows any.
        (Phase::Backoff, Target::Executed) if service.attempt > 0 => Standing::There,
        (Phase::Backoff, _) => Standing::OnItsWay,
        (Phase::Starting, Target::Ready | Target::Told) => Standing::OnItsWay,
        (Phase::Unhealthy, Target::Ready | Target::Told) => Standing::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::samples;
    use crate::run::reason::{CheckFailure, PortTrouble, Reason};

    fn service(name: &str, phase: Phase) -> ServiceSnapshot {
        ServiceSnapshot {
            phase,
            attempt: 1,
            ..samples::service(name)
        }
    }

    fn progress(target: Target, phases: &[Phase]) -> Progress {
        let mut readiness = Readiness::new(target, None);
        let all: Vec<ServiceSnapshot> = phases
            .iter()
            .enumerate()
            .map(|(index, &phase)| service(&format!("s{index}"), phase))
            .collect();
        readiness.see_all(&all);
        readiness.progress()
    }

    #[test]
    fn executed_is_less_than_ready() {
        let phases = [Phase::Starting, Phase::Running];
        assert_eq!(
            progress(Target::Executed, &phases),
            Progress::Settled { failed: vec![] }
        );
        assert_eq!(progress(Target::Ready, &phases), Progress::Pending);
    }

    #[test]
    fn a_one_shot_that_completed_is_up() {
        let phases = [Phase::Completed, Phase::Healthy];
        assert_eq!(
            progress(Target::Ready, &phases),
            Progress::Settled { failed: vec![] }
        );
    }

    #[test]
    fn what_crashes_again_and_again_holds_up_a_wait_and_no_summary() {
        let looping = ServiceSnapshot {
            failures: CRASH_LOOP,
            ..service("emails", Phase::Backoff)
        };
        let services = [service("web", Phase::Healthy), looping];
        let progress = |target| {
            let mut readiness = Readiness::new(target, None);
            readiness.see_all(&services);
            readiness.progress()
        };
        assert_eq!(progress(Target::Ready), Progress::Pending);
        let failed = vec![samples::unit("emails")];
        assert_eq!(progress(Target::Told), Progress::Settled { failed });
    }

    #[test]
    fn a_summary_waits_for_what_may_crash_once_more() {
        let again = ServiceSnapshot {
            failures: 1,
            ..service("emails", Phase::Running)
        };
        let mut readiness = Readiness::new(Target::Told, None);
        readiness.see_all(&[service("web", Phase::Healthy), again]);
        assert_eq!(readiness.progress(), Progress::Pending);
        assert!(readiness.is_only_retrying());
    }

    #[test]
    fn failures_are_named_once_nothing_is_on_its_way() {
        let phases = [Phase::Failed, Phase::Starting];
        assert_eq!(progress(Target::Ready, &phases), Progress::Pending);
        let Progress::Settled { failed } =
            progress(Target::Ready, &[Phase::Failed, Phase::Healthy])
        else {
            panic!("still pending")
        };
        assert_eq!(failed, [samples::unit("s0")]);
    }

    #[test]
    fn a_service_that_was_asked_for_means_all_its_replicas() {
        let replica = |replica, phase| ServiceSnapshot {
            replica,
            replicas: 2,
            ..service("web", phase)
        };
        let mut readiness = Readiness::new(Target::Ready, Some(vec![samples::name("web")]));
        readiness.see(&service("api", Phase::Starting));
        assert_eq!(readiness.pending(), ["web"]);
        readiness.see(&replica(1, Phase::Healthy));
        assert_eq!(readiness.progress(), Progress::Pending, "one is not seen");
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
        let failed = vec![samples::replica("web", 2)];
        assert_eq!(readiness.progress(), Progress::Settled { failed });
    }

    #[test]
    fn what_nobody_asked_for_is_not_waited_for() {
        let phases = [Phase::Pending, Phase::Healthy];
        assert_eq!(
            progress(Target::Ready, &phases),
            Progress::Settled { failed: vec![] }
        );
    }
}
