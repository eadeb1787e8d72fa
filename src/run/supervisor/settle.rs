//! Doing what is wanted: the queue of units that something happened to, and the steps that bring each
//! nearer to what is wanted of it.

use tokio::time::Instant;

use super::Supervisor;
use crate::run::news::News;
use crate::run::news::NoticeLevel;
use crate::run::reason::WaitingFor;
use crate::run::snapshot::Phase;
use crate::run::state::{Dependency, Judgement, Occurrence, Seen, Step, judge, reconcile};
use crate::run::unit::Unit;
use crate::run::unit_ports::Port;
use crate::spec::model::Condition;
use crate::support::name::UnitId;

impl Supervisor {
    /// Something happened to a unit: it and its neighbours are to be looked at.
    pub(super) fn touch(&mut self, id: &UnitId) {
        self.enqueue(id);
        // What it needed may have gone.
        let Some(unit) = self.units.get(id) else {
            return;
        };
        let dependencies = unit.edges();
        let dependencies: Vec<UnitId> = dependencies.map(|edge| edge.unit.clone()).collect();
        let dependents = self.dependents.get(id).cloned().unwrap_or_default();
        for neighbour in dependencies.iter().chain(&dependents) {
            self.enqueue(neighbour);
        }
    }

    fn enqueue(&mut self, id: &UnitId) {
        self.mark(id);
        if let Some(unit) = self.units.get_mut(id)
            && !std::mem::replace(&mut unit.is_queued, true)
        {
            self.queue.push_back(id.clone());
        }
    }

    /// What is told of a unit, and its deadline, may have changed.
    pub(super) fn mark(&mut self, id: &UnitId) {
        if let Some(unit) = self.units.get_mut(id)
            && !std::mem::replace(&mut unit.is_dirty, true)
        {
            self.dirty.push(id.clone());
        }
    }

    /// Carries out what has become possible, and tells what has changed.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        // Every step moves a unit towards what is wanted of it, so this ends.
        while let Some(id) = self.queue.pop_front() {
            let Some(unit) = self.units.get_mut(&id) else {
                continue;
            };
            unit.is_queued = false;
            let step = self.next_step(&id, now);
            self.take_step(&id, step);
        }
        let doomed = std::mem::take(&mut self.doomed);
        if !doomed.is_empty() {
            self.runner.kill(&doomed);
        }
        self.tell();
    }

    fn next_step(&self, id: &UnitId, now: Instant) -> Step<UnitId> {
        let unit = &self.units[id];
        let dependencies = unit.dependencies().iter().filter_map(|edge| {
            Some(Dependency {
                id: edge.unit.clone(),
                condition: edge.condition,
                is_required: edge.is_required,
                seen: self.units.get(&edge.unit)?.seen(),
            })
        });
        // What leaves is needed by whoever was planned with it, as long as that runs.
        let dependents = self.dependents_of(id).map(|mut seen| {
            seen.desired.is_rolling &= !unit.is_leaving();
            seen
        });
        let step = reconcile(&unit.seen(), dependencies, dependents, now);
        // There it would only find that the port is taken.
        let waits_for_port = || {
            self.holders(id)
                .iter()
                .any(|(other, _)| self.will_let_go(other))
        };
        match step {
            Step::Execute { .. } if waits_for_port() => Step::Nothing { until: None },
            step => step,
        }
    }

    /// Who still has a port that a unit is to have, and is to let go of it.
    fn holders(&self, id: &UnitId) -> Vec<(UnitId, u16)> {
        let ports = self.units[id].ports.iter();
        let missing = ports.filter(|port| port.is_open());
        let holders = missing.flat_map(|port| {
            let others = self.units.iter().filter(|(other, _)| *other != id);
            let others = others.filter(|(_, it)| it.gives_up(port.protocol, port.number));
            others.map(|(other, _)| (other.clone(), port.number))
        });
        holders.collect()
    }

    /// Whether one that is to let go of a port does so by itself.
    fn will_let_go(&self, id: &UnitId) -> bool {
        let unit = &self.units[id];
        !unit.seen().observed.is_unkillable
            && (unit.is_leaving() || !unit.seen().is_down_for_good())
    }

    /// Somebody has let go of ports: who waits for them is to be looked at.
    pub(super) fn wake_for_ports(&mut self) {
        let waits =
            |unit: &Unit| unit.phase() == Phase::Waiting && unit.ports.iter().any(Port::is_open);
        let waiting = self.units.iter().filter(|(_, unit)| waits(unit));
        let waiting: Vec<UnitId> = waiting.map(|(id, _)| id.clone()).collect();
        for id in &waiting {
            self.enqueue(id);
        }
    }

    fn dependents_of(&self, id: &UnitId) -> impl Iterator<Item = Seen> {
        let dependents = self.dependents.get(id).into_iter().flatten();
        dependents
            .filter_map(|id| self.units.get(id))
            .map(Unit::seen)
    }

    fn take_step(&mut self, id: &UnitId, step: Step<UnitId>) {
        let unit = &mut self.units[id];
        let generation = unit.desired.generation;
        match step {
            Step::Nothing { until } => unit.look_again = until,
            Step::Begin => {
                self.become_next(id);
                let unit = &mut self.units[id];
                unit.begun = generation;
                unit.first_executed = None;
                let occurrence = self.set_timer(id);
                self.happen(id, occurrence);
            }
            Step::Execute { without } => {
                for missing in without {
                    let because = self.units[&missing].blocker();
                    self.notice(
                        Some(id),
                        NoticeLevel::Warning,
                        News::WithoutDependency { because },
                    );
                }
                // What is down and stays so needs the ports no more that it has had.
                for (other, _) in self.holders(id) {
                    if self.units[&other].seen().is_down_for_good() {
                        self.become_next(&other);
                    }
                }
                self.happen(id, Occurrence::Execute);
            }
            Step::Fail { because } => {
                let blocker = self.units[&because].blocker();
                self.happen(id, Occurrence::Blocked(blocker));
            }
            Step::Stop { grace } => {
                unit.told = generation;
                self.happen(id, Occurrence::Stop { grace });
            }
            Step::Spare { because } => {
                self.spare(id, &because);
                let because = self.units[&because].blocker();
                self.notice(Some(id), NoticeLevel::Warning, News::NotApplied { because });
            }
            Step::Kill => {
                unit.told = generation;
                self.happen(id, Occurrence::Kill);
            }
        }
    }

    /// The conditions that a unit's dependencies have not met, and the ports that others still have.
    pub(super) fn unmet(&self, id: &UnitId) -> Vec<WaitingFor> {
        let now = Instant::now();
        let dependencies = self.units[id].dependencies().iter();
        let mut unmet: Vec<WaitingFor> = dependencies
            .filter_map(|edge| {
                let other = self.units.get(&edge.unit)?;
                let judgement = judge(edge.condition, &other.seen(), now);
                matches!(judgement, Judgement::Unmet { .. }).then(|| WaitingFor {
                    unit: other.unit_ref(),
                    condition: edge.condition,
                    port: None,
                })
            })
            .collect();
        let holders = self.holders(id).into_iter();
        unmet.extend(holders.map(|(other, port)| WaitingFor {
            unit: self.units[&other].unit_ref(),
            condition: Condition::Started,
            port: Some(port),
        }));
        unmet
    }

    /// Whether others wait for a unit to complete.
    pub(super) fn is_one_shot(&self, id: &UnitId) -> bool {
        let dependents = self.dependents.get(id).into_iter().flatten();
        dependents
            .filter_map(|dependent| self.units.get(dependent))
            .flat_map(Unit::dependencies)
            .any(|edge| edge.unit == *id && edge.condition == Condition::CompletedSuccessfully)
    }
}
