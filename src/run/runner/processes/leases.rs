//! What the guardian and the next `stack` need to clean up, for each unit.

use super::Processes;
use crate::plan::model::UnitPlan;
use crate::run::lease::Manner;
use crate::run::process::{ProcessId, Row, Slot, UnitKey};
use crate::support::name::UnitId;

impl Processes {
    /// How a unit is asked to end, should nobody be here to do it.
    pub(super) fn manner(&self, plan: &UnitPlan) -> Manner {
        Manner {
            signal: plan.stop_signal,
            grace: self.grace.unwrap_or(plan.grace),
        }
    }

    pub(super) fn row(&self, plan: &UnitPlan, pid: i32) -> Row {
        let Manner { signal, grace } = self.manner(plan);
        Row {
            pid,
            stop_signal: signal,
            grace,
            unit: UnitKey::of(self.trees.instance(), &plan.id()),
        }
    }

    /// A unit's place in the table and among the leases. Without one (there is room for 65,536) it runs
    /// all the same: its mark names it.
    pub(super) fn slot(&mut self, unit: &UnitId) -> Option<Slot> {
        if let Some(&slot) = self.slots.get(unit) {
            return Some(slot);
        }
        match self.leases.take(unit.clone()) {
            Ok(slot) => {
                self.slots.insert(unit.clone(), slot);
                Some(slot)
            }
            Err(error) => {
                tracing::warn!(%error, "a unit has no lease");
                None
            }
        }
    }

    /// Notes that nothing of a unit's attempt is left.
    pub(super) fn clear_lease(&self, unit: &UnitId) {
        if let Some(&slot) = self.slots.get(unit) {
            self.table.clear(slot);
            self.leases.clear(slot);
        }
    }

    /// Leaves a lease for each process that could not be ended, so that `down` and the next `up` know
    /// of it.
    pub(super) fn leave_leases(&mut self, left: &[ProcessId]) {
        for process in left {
            let anybody = || self.slots.keys().next().cloned();
            let Some(unit) = self.trees.unit_of(process.pid).or_else(anybody) else {
                continue;
            };
            match self.leases.take(unit) {
                Ok(slot) => self.leases.write(slot, *process, Manner::default()),
                Err(error) => tracing::warn!(%error, "a process that is left has no lease"),
            }
        }
    }
}
