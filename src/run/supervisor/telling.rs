//! What the supervisor tells: news, changes, the state of everything.

use super::Supervisor;
use crate::run::control::StackSnapshot;
use crate::run::news::News;
use crate::run::news::{Event, Notice, NoticeLevel};
use crate::run::snapshot::{Phase, ServiceSnapshot};
use crate::support::name::UnitId;

impl Supervisor {
    /// Says something about a unit, or about everything.
    pub(super) fn notice(&self, unit: Option<&UnitId>, level: NoticeLevel, news: News) {
        tracing::info!(
            service = unit.map(|unit| unit.service.as_str()),
            replica = unit.map(|unit| unit.replica),
            ?news
        );
        let notice = Notice::about(unit.cloned(), level, news);
        drop(self.event_tx.send(Event::Notice(notice)));
    }

    /// Notes of every unit that something happened to when it is due next and whether more is to come,
    /// and tells of it if it looks different from before.
    pub(super) fn tell(&mut self) {
        let mut gone = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let Some(unit) = self.units.get_mut(&id) else {
                continue;
            };
            unit.is_dirty = false;
            let seen = unit.seen();
            if unit.is_leaving() && seen.is_settled() && !seen.observed.is_unkillable {
                gone.push(id.clone());
            }
            if unit.seen().is_settled() {
                self.busy.remove(&id);
                unit.timer = None;
                // It will not come up by itself: clients are refused from now on.
                unit.ports.close();
            } else if !self.busy.contains(&id) {
                self.busy.insert(id.clone());
            }
            self.schedule(&id);
            let snapshot = self.service_snapshot(&id);
            let unit = &mut self.units[&id];
            if unit.told_snapshot.as_ref() != Some(&snapshot) {
                unit.told_snapshot = Some(snapshot.clone());
                drop(self.event_tx.send(Event::Service(Box::new(snapshot))));
            }
        }
        self.let_go(gone);
    }

    fn schedule(&mut self, id: &UnitId) {
        let care = self.care_due(id);
        let unit = &mut self.units[id];
        let due = unit.deadline().into_iter().chain(care).min();
        if unit.scheduled == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut unit.scheduled, due) {
            self.deadlines.remove(&(old, id.clone()));
        }
        if let Some(due) = due {
            self.deadlines.insert((due, id.clone()));
        }
    }

    pub(super) fn service_snapshot(&self, id: &UnitId) -> ServiceSnapshot {
        let unit = &self.units[id];
        let waiting_for = if unit.phase() == Phase::Waiting {
            self.unmet(id)
        } else {
            Vec::new()
        };
        unit.snapshot(waiting_for, self.is_one_shot(id))
    }

    pub(super) fn snapshot(&self) -> StackSnapshot {
        StackSnapshot {
            is_draining: self.ending.is_some(),
            is_suspended: self.frozen_at.is_some(),
            services: self
                .units
                .keys()
                .map(|id| self.service_snapshot(id))
                .collect(),
            ..self.about.clone()
        }
    }
}
