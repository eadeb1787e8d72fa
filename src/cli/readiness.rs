//! Is everything up that was asked for? Pure: snapshots and events in, an answer out.

use std::collections::HashMap;

use crate::run::snapshot::{Event, Phase, PortState, ServiceSnapshot};
use crate::support::name::ServiceName;

/// What "up" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every service has been executed, or can no longer be.
    Executed,
    /// Services with a check are healthy, those with ports listen, and those that others wait to
    /// complete have.
    Ready,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something is on its way.
    Pending,
    /// Nothing is on its way any more; these have failed.
    Settled {
        /// The services that are not up and will not be, in the order of the file.
        failed: Vec<ServiceName>,
    },
}

/// Watches services until all have reached the target or failed.
#[derive(Debug)]
pub struct Readiness {
    target: Target,
    /// Who is waited for; `None` is everything that is not pending.
    asked: Option<Vec<ServiceName>>,
    latest: HashMap<ServiceName, ServiceSnapshot>,
    order: Vec<ServiceName>,
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

    /// Takes in an event.
    pub fn see_event(&mut self, event: &Event) {
        match event {
            Event::Service(service) => self.see(service),
            Event::Notice(_) | Event::Ended { .. } => {}
        }
    }

    fn see(&mut self, service: &ServiceSnapshot) {
        let name = service.service.clone();
        if self.latest.insert(name.clone(), service.clone()).is_none() {
            self.order.push(name);
        }
    }

    /// The last that is known of a service.
    pub fn latest(&self, name: &ServiceName) -> Option<&ServiceSnapshot> {
        self.latest.get(name)
    }

    /// The last that is known of every service, in the order of the file.
    pub fn services(&self) -> impl Iterator<Item = &ServiceSnapshot> {
        self.order.iter().filter_map(|name| self.latest.get(name))
    }

    /// The services that are still on their way.
    pub fn pending(&self) -> Vec<ServiceName> {
        let asked = self.asked.as_ref().unwrap_or(&self.order);
        asked
            .iter()
            .filter(|name| {
                self.latest.get(*name).is_none_or(|service| {
                    standing(self.target, service, self.asked.is_some()) == Standing::OnItsWay
                })
            })
            .cloned()
            .collect()
    }

    /// The services on their way whose port was stolen, or which listen on another one: no more is
    /// to be expected of them, though they may come round.
    pub fn astray(&self) -> Vec<ServiceName> {
        let is_astray = |name: &&ServiceName| {
            self.latest.get(*name).is_some_and(|service| {
                service.ports.iter().any(|port| match port.state {
                    PortState::Stolen { .. } | PortState::WrongPort { .. } => true,
                    PortState::Held | PortState::Listening { .. } | PortState::NotListening => {
                        false
                    }
                })
            })
        };
        self.pending().iter().filter(is_astray).cloned().collect()
    }

    /// How far it is. Nothing is settled before every service that was asked for has been seen.
    pub fn progress(&self) -> Progress {
        let mut failed = Vec::new();
        let asked = self.asked.as_ref().unwrap_or(&self.order);
        if asked.is_empty() {
            return Progress::Pending;
        }
        for name in asked {
            let Some(service) = self.latest.get(name) else {
                return Progress::Pending;
            };
            match standing(self.target, service, self.asked.is_some()) {
                Standing::OnItsWay => return Progress::Pending,
                Standing::There => {}
                Standing::Failed => failed.push(name.clone()),
            }
        }
        failed.sort_by_key(|name| self.order.iter().position(|other| other == name));
        Progress::Settled { failed }
    }
}

fn standing(target: Target, service: &ServiceSnapshot, is_asked: bool) -> Standing {
    match (service.phase, target) {
        // One that nobody asked for is not waited for.
        (Phase::Pending, _) if !is_asked => Standing::There,
        (Phase::Pending | Phase::Waiting | Phase::Stopping, _) => Standing::OnItsWay,
        (Phase::Failed, _) => Standing::Failed,
        // Somebody stopped it meanwhile: it will not come up by itself.
        (Phase::Stopped, _) => Standing::Failed,
        (Phase::Completed | Phase::Healthy, _) => Standing::There,
        (Phase::Running, Target::Executed) => Standing::There,
        (Phase::Running, Target::Ready) if service.is_one_shot => Standing::OnItsWay,
        (Phase::Running, Target::Ready) => Standing::There,
        (Phase::Starting | Phase::Unhealthy, Target::Executed) => Standing::There,
        // Restarts are waited out as long as the policy allows any.
        (Phase::Backoff, Target::Executed) if service.attempt > 0 => Standing::There,
        (Phase::Backoff, _) => Standing::OnItsWay,
        (Phase::Starting, Target::Ready) => Standing::OnItsWay,
        (Phase::Unhealthy, Target::Ready) => Standing::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::samples;

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
    fn failures_are_named_once_nothing_is_on_its_way() {
        let phases = [Phase::Failed, Phase::Starting];
        assert_eq!(progress(Target::Ready, &phases), Progress::Pending);
        let Progress::Settled { failed } =
            progress(Target::Ready, &[Phase::Failed, Phase::Healthy])
        else {
            panic!("still pending")
        };
        assert_eq!(failed, [ServiceName::new("s0").unwrap()]);
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
