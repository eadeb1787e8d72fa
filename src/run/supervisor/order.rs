//! What may start or stop now: the dependencies.
//!
//! [`judge`] is the whole rule and pure. The rest applies it to every unit after every change,
//! until nothing moves any more.

use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::run::snapshot::{NoticeLevel, Phase};
use crate::run::state::Occurrence;
use crate::run::unit::Unit;
use crate::spec::model::Condition;
use crate::support::duration;

/// A wait for `service_healthy` ends this long after the dependency was executed.
const HEALTHY_LIMIT: Duration = Duration::from_secs(5 * 60);

/// It ends this long after the dependency was seen on a wrong port, or its port stolen.
const ASTRAY_LIMIT: Duration = Duration::from_secs(10);

/// How a dependency stands to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It has met it.
    Met,
    /// It may meet it yet.
    Unmet,
    /// It cannot meet it any more.
    Hopeless,
}

/// What there is to know of a dependency.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) phase: Phase,
    /// Whether it was executed since somebody wanted it.
    pub(super) is_executed: bool,
    /// Whether it ended with success since somebody wanted it.
    pub(super) has_completed: bool,
}

/// Whether `seen` meets `condition`.
pub(super) fn judge(condition: Condition, seen: Seen) -> Judgement {
    let gone = match seen.phase {
        Phase::Failed | Phase::Stopped => true,
        // One that completed is not going to be healthy.
        Phase::Completed => condition == Condition::Healthy,
        // Unhealthy ends a wait, as in Compose; a later recovery is for a later start.
        Phase::Unhealthy => condition == Condition::Healthy,
        Phase::Pending
        | Phase::Waiting
        | Phase::Starting
        | Phase::Running
        | Phase::Healthy
        | Phase::Stopping
        | Phase::Backoff => false,
    };
    let is_met = match condition {
        Condition::Started => seen.is_executed,
        Condition::Healthy => seen.phase == Phase::Healthy,
        Condition::CompletedSuccessfully => seen.has_completed,
    };
    match (is_met, gone) {
        (true, _) => Judgement::Met,
        (false, true) => Judgement::Hopeless,
        (false, false) => Judgement::Unmet,
    }
}

impl Supervisor {
    fn seen(&self, index: usize) -> Seen {
        let unit: &Unit = &self.units[index];
        Seen {
            // One that came down to go up again is not gone: whoever waits for it waits on.
            phase: if self.is_restarting(index) && !unit.phase().is_alive() {
                Phase::Pending
            } else {
                unit.phase()
            },
            is_executed: unit.machine.is_executed(),
            has_completed: unit.machine.has_completed(),
        }
    }

    /// Whether a `restart` has taken a unit down, or is about to, and will start it again.
    pub(super) fn is_restarting(&self, index: usize) -> bool {
        self.restarts
            .iter()
            .any(|operation| operation.units.contains(&index))
    }

    /// Who is still to come down before a unit goes up again: `db to stop`.
    pub(super) fn rest_of_restart(&self, index: usize) -> Vec<String> {
        self.restarts
            .iter()
            .filter(|operation| operation.units.contains(&index))
            .flat_map(|operation| &operation.units)
            .map(|&unit| &self.units[unit])
            .filter(|unit| unit.stop_wanted.is_some() || unit.phase().is_alive())
            .map(|unit| format!("{} to stop", unit.label()))
            .collect()
    }

    /// Moves every unit that may move. Returns whether any did.
    pub(super) fn settle_once(&mut self) -> bool {
        let stopped = self.settle_stops();
        let restarted = self.settle_restarts();
        let started = self.settle_starts();
        stopped || restarted || started
    }

    /// Stops what is wanted stopped and has no dependent in the way.
    fn settle_stops(&mut self) -> bool {
        let mut has_moved = false;
        for index in 0..self.units.len() {
            let Some(wish) = self.units[index].stop_wanted else {
                continue;
            };
            let is_held_up = self.dependents[index].iter().any(|&dependent| {
                let dependent = &self.units[dependent];
                // A dependent that stays up does not keep anybody from stopping this one.
                dependent.phase() == Phase::Stopping
                    || (dependent.stop_wanted.is_some() && dependent.phase().is_alive())
            });
            if is_held_up {
                continue;
            }
            self.units[index].stop_wanted = None;
            self.happen(index, Occurrence::Stop { grace: wish.grace });
            has_moved = true;
        }
        has_moved
    }

    /// Starts again what came down for a restart.
    fn settle_restarts(&mut self) -> bool {
        let is_down = |operation: &super::RestartOperation| {
            operation.units.iter().all(|&index| {
                let unit = &self.units[index];
                unit.stop_wanted.is_none() && !unit.phase().is_alive()
            })
        };
        let Some(place) = self.restarts.iter().position(is_down) else {
            return false;
        };
        for index in self.restarts.remove(place).units {
            self.start(index);
        }
        true
    }

    /// Starts what waits and has its conditions met; fails what cannot have them met any more.
    fn settle_starts(&mut self) -> bool {
        let mut has_moved = false;
        for index in 0..self.units.len() {
            if self.units[index].phase() != Phase::Waiting {
                continue;
            }
            match self.readiness_of(index) {
                Judgement::Unmet => {}
                Judgement::Met => {
                    self.happen(index, Occurrence::DependenciesMet);
                    has_moved = true;
                }
                Judgement::Hopeless => {
                    let chain = self.chain(index);
                    self.happen(index, Occurrence::DependencyFailed(chain));
                    has_moved = true;
                }
            }
        }
        has_moved
    }

    /// How all dependencies of a unit stand together.
    fn readiness_of(&self, index: usize) -> Judgement {
        let unit = &self.units[index];
        if unit.ignores_dependencies {
            return Judgement::Met;
        }
        let mut together = Judgement::Met;
        for dependency in &unit.plan.depends_on {
            match judge(dependency.condition, self.seen(dependency.unit)) {
                Judgement::Met => {}
                Judgement::Hopeless if dependency.is_required => return Judgement::Hopeless,
                // An optional dependency that failed is as good as none.
                Judgement::Hopeless => {}
                Judgement::Unmet => together = Judgement::Unmet,
            }
        }
        together
    }

    /// Why a unit's dependencies cannot be met: `api not started: migrate exited with code 1`.
    fn chain(&self, index: usize) -> String {
        self.units[index]
            .plan
            .depends_on
            .iter()
            .filter(|dependency| dependency.is_required)
            .find_map(|dependency| {
                let other = &self.units[dependency.unit];
                (judge(dependency.condition, self.seen(dependency.unit)) == Judgement::Hopeless)
                    .then(|| other.chain_link())
            })
            .unwrap_or_default()
    }

    /// The unmet dependencies of a unit: `db to be healthy`.
    pub(super) fn unmet_words(&self, index: usize) -> Vec<String> {
        self.units[index]
            .plan
            .depends_on
            .iter()
            .filter(|dependency| {
                judge(dependency.condition, self.seen(dependency.unit)) == Judgement::Unmet
            })
            .map(|dependency| {
                let name = self.units[dependency.unit].label();
                match dependency.condition {
                    Condition::Started => format!("{name} to start"),
                    Condition::Healthy => format!("{name} to be healthy"),
                    Condition::CompletedSuccessfully => format!("{name} to complete"),
                }
            })
            .collect()
    }

    /// Whether others wait for a unit to complete.
    pub(super) fn is_one_shot(&self, index: usize) -> bool {
        self.dependents[index].iter().any(|&dependent| {
            self.units[dependent]
                .plan
                .depends_on
                .iter()
                .any(|dependency| {
                    dependency.unit == index
                        && dependency.condition == Condition::CompletedSuccessfully
                })
        })
    }

    /// The waits for `service_healthy` that have an end in sight: who is waited for, until when.
    pub(super) fn wait_limits(&self) -> impl Iterator<Item = (usize, Instant)> {
        self.units
            .iter()
            .filter(|unit| unit.phase() == Phase::Waiting)
            .flat_map(|unit| &unit.plan.depends_on)
            .filter(|dependency| dependency.condition == Condition::Healthy)
            .filter_map(|dependency| {
                let other = &self.units[dependency.unit];
                let executed = other
                    .first_executed
                    .map(|executed| executed + HEALTHY_LIMIT);
                let astray = other.ports.astray_since.map(|since| since + ASTRAY_LIMIT);
                let limit = [executed, astray].into_iter().flatten().min()?;
                (judge(dependency.condition, self.seen(dependency.unit)) == Judgement::Unmet)
                    .then_some((dependency.unit, limit))
            })
    }

    /// Fails the dependents of what did not become healthy in time.
    pub(super) fn end_overdue_waits(&mut self, now: Instant) {
        let mut overdue: Vec<usize> = self
            .wait_limits()
            .filter(|&(_, limit)| limit <= now)
            .map(|(unit, _)| unit)
            .collect();
        overdue.sort_unstable();
        overdue.dedup();
        for late in overdue {
            let name = self.units[late].label();
            let chain = match self.units[late].ports.trouble() {
                Some(trouble) => format!("{name} is not ready: {trouble}"),
                None => format!(
                    "{name} was not healthy {} after its start{}",
                    duration::human(HEALTHY_LIMIT),
                    self.units[late]
                        .last_answer
                        .as_ref()
                        .map_or_else(String::new, |answer| format!(": {answer}")),
                ),
            };
            for dependent in self.dependents[late].clone() {
                let dependency = self.units[dependent]
                    .plan
                    .depends_on
                    .iter()
                    .find(|dependency| dependency.unit == late)
                    .cloned();
                let Some(dependency) = dependency else {
                    continue;
                };
                if self.units[dependent].phase() != Phase::Waiting
                    || dependency.condition != Condition::Healthy
                {
                    continue;
                }
                if dependency.is_required {
                    self.happen(dependent, Occurrence::DependencyFailed(chain.clone()));
                } else {
                    self.notice(
                        Some(dependent),
                        NoticeLevel::Warning,
                        format!("goes on without an optional dependency: {chain}"),
                    );
                    self.units[dependent].ignores_dependencies = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 11] = [
        Phase::Pending,
        Phase::Waiting,
        Phase::Starting,
        Phase::Running,
        Phase::Healthy,
        Phase::Unhealthy,
        Phase::Stopping,
        Phase::Backoff,
        Phase::Completed,
        Phase::Failed,
        Phase::Stopped,
    ];

    fn table(condition: Condition, is_executed: bool, has_completed: bool) -> String {
        PHASES
            .iter()
            .map(|&phase| {
                match judge(
                    condition,
                    Seen {
                        phase,
                        is_executed,
                        has_completed,
                    },
                ) {
                    Judgement::Met => 'm',
                    Judgement::Unmet => '.',
                    Judgement::Hopeless => 'x',
                }
            })
            .collect()
    }

    #[test]
    fn every_phase_is_judged_for_every_condition() {
        // In the order of PHASES.
        assert_eq!(table(Condition::Started, false, false), ".........xx");
        assert_eq!(table(Condition::Started, true, false), "mmmmmmmmmmm");
        assert_eq!(table(Condition::Healthy, true, false), "....mx..xxx");
        assert_eq!(
            table(Condition::CompletedSuccessfully, true, false),
            ".........xx"
        );
        assert_eq!(
            table(Condition::CompletedSuccessfully, true, true),
            "mmmmmmmmmmm"
        );
    }
}
