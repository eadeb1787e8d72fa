//! What becomes of units after a plan was carried out: they become others, are spared, or go.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Supervisor;
use super::messages::Prepared;
use crate::ports::request::PortKey;
use crate::run::news::{News, NoticeLevel};
use crate::run::snapshot::{Cause, Wanted};
use crate::run::unit::{Fate, Spared, Unit};
use crate::support::name::UnitId;

impl Supervisor {
    /// Nothing of a unit runs, and it begins anew: as what the files want it to be.
    pub(super) fn become_next(&mut self, id: &UnitId) {
        let edges = self.units[id].edges();
        let needed: Vec<UnitId> = edges.map(|edge| edge.unit.clone()).collect();
        let numbers: Vec<u16> = self.units[id]
            .ports
            .iter()
            .map(|port| port.number)
            .collect();
        if !self.units[id].become_next() {
            return;
        }
        for number in numbers {
            let owner = self.port_owners.get(&number);
            if owner.is_some_and(|(owner, _)| owner == id) {
                self.port_owners.remove(&number);
            }
        }
        self.own_ports(id);
        self.wake_for_ports();
        self.runner.adopt(&self.units[id].plan);
        let edges = self.units[id].edges();
        let needs: HashSet<UnitId> = edges.map(|edge| edge.unit.clone()).collect();
        let freed: Vec<UnitId> = needed
            .into_iter()
            .filter(|it| !needs.contains(it))
            .collect();
        // What it needed until now may go.
        for freed in &freed {
            if let Some(dependents) = self.dependents.get_mut(freed) {
                dependents.retain(|dependent| dependent != id);
            }
            self.touch(freed);
        }
    }

    /// What runs of a unit stays as it is, since what it was to become cannot be. What others were told of
    /// that holds no more: it is planned once more around those that were spared.
    pub(super) fn spare(&mut self, id: &UnitId, because: &UnitId) {
        let because = self.units[because].blocker();
        let unit = &mut self.units[id];
        unit.fate = Fate::Stays;
        unit.begun = unit.desired.generation;
        unit.spared = Some(Spared {
            because,
            is_open: self.replan.is_some(),
        });
        self.take_back(id);
        self.find_dependents();
        // The next `up` tries again.
        self.about.fingerprint.clear();
        self.negotiation.edition += 1;
        self.touch(id);
        // Who was to get a port of it does not any more.
        self.wake_for_ports();
        self.plan_around();
    }

    /// What a unit that runs on as it was needs of those that are gone from the files stays after all.
    fn take_back(&mut self, id: &UnitId) {
        let mut next = vec![id.clone()];
        while let Some(id) = next.pop() {
            let by = self.units[&id].unit_ref();
            let edges = self.units[&id].plan.depends_on.iter();
            let needed: Vec<UnitId> = edges.map(|edge| edge.unit.clone()).collect();
            for needed in needed {
                let Some(unit) = self.units.get_mut(&needed).filter(|it| it.is_leaving()) else {
                    continue;
                };
                unit.fate = Fate::Stays;
                // What has completed, or was stopped by hand, does not run for it once more.
                if unit.phase().is_at_rest() {
                    continue;
                }
                unit.desired.change(Wanted::Running, Cause::Up, None);
                if unit.machine.is_up() {
                    unit.begun = unit.desired.generation;
                }
                self.touch(&needed);
                let by = by.clone();
                self.notice(Some(&needed), NoticeLevel::Info, News::StillNeeded { by });
                next.push(needed);
            }
        }
    }

    /// Whoever waits for what was spared goes on, unless it is to be planned once more around that.
    pub(super) fn release_spared(&mut self) {
        if self.negotiation.is_around_due {
            return;
        }
        let ids: Vec<UnitId> = self.units.keys().cloned().collect();
        for id in ids {
            if let Some(spared) = &mut self.units[&id].spared {
                spared.is_open = false;
                self.touch(&id);
            }
        }
    }

    /// Lets go of the units that are gone from the files and of which nothing is left.
    pub(super) fn let_go(&mut self, ids: Vec<UnitId>) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let Some(unit) = self.units.shift_remove(&id) else {
                continue;
            };
            self.past = self.past.max(unit.desired.generation);
            if let Some(due) = unit.scheduled {
                self.deadlines.remove(&(due, id.clone()));
            }
            self.port_owners.retain(|_, (owner, _)| *owner != id);
            for dependents in self.dependents.values_mut() {
                dependents.retain(|dependent| *dependent != id);
            }
            self.busy.remove(&id);
            self.runner.forget(&id);
            self.notice(Some(&id), NoticeLevel::Info, News::Removed);
        }
        self.note_ports();
        self.wake_for_ports();
    }

    /// Notes in the ledger which ports the stack has now.
    pub(super) fn note_ports(&mut self) {
        let Some((ledger, owner)) = self.memory.clone() else {
            return;
        };
        let ports: Vec<_> = self
            .units
            .values()
            .map(Unit::wanted_plan)
            .flat_map(|plan| {
                plan.ports.iter().map(|port| {
                    let key = PortKey::new(&plan.service, plan.replica, &port.name);
                    (key, port.protocol, port.port)
                })
            })
            .collect();
        let prepared_tx = self.prepared_tx.clone();
        let latest = Arc::clone(&self.latest_note);
        let number = latest.fetch_add(1, Ordering::Relaxed) + 1;
        self.beside.run(move || {
            // A later one says all that this would.
            if latest.load(Ordering::Relaxed) != number {
                return;
            }
            match ledger.note(&owner, &ports) {
                Ok(noted) => drop(prepared_tx.send(Prepared::Noted(noted))),
                Err(warnings) => {
                    for warning in warnings {
                        tracing::warn!("{warning}");
                    }
                }
            }
        });
    }
}
