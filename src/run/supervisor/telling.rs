//! What the supervisor tells: notices, changes, the state of everything.

use super::Supervisor;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::{Event, Notice, NoticeLevel, Phase, ServiceSnapshot};

impl Supervisor {
    /// Says something about a service, or about everything.
    pub(super) fn notice(
        &self,
        index: Option<usize>,
        level: NoticeLevel,
        message: impl Into<String>,
    ) {
        let unit = index.map(|index| self.units[index].plan.name());
        let message = message.into();
        tracing::info!(
            service = unit.as_ref().map(|unit| unit.service.as_str()),
            replica = unit.as_ref().map(|unit| unit.replica),
            "{message}"
        );
        let notice = Notice::about(unit, level, message);
        drop(self.event_tx.send(Event::Notice(notice)));
    }

    /// Tells of every unit whose snapshot is another one than before.
    pub(super) fn tell(&mut self) {
        for index in 0..self.units.len() {
            if !self.units[index].is_dirty {
                continue;
            }
            self.units[index].is_dirty = false;
            let snapshot = self.service_snapshot(index);
            let unit = &mut self.units[index];
            if unit.told.as_ref() != Some(&snapshot) {
                unit.told = Some(snapshot.clone());
                drop(self.event_tx.send(Event::Service(Box::new(snapshot))));
            }
        }
    }

    pub(super) fn service_snapshot(&self, index: usize) -> ServiceSnapshot {
        let phase = self.units[index].phase();
        let waiting_for = if phase == Phase::Waiting {
            self.unmet_words(index)
        } else {
            Vec::new()
        };
        let snapshot = self.units[index].snapshot(waiting_for, self.is_one_shot(index));
        if phase.is_at_rest() && self.is_restarting(index) {
            // It is down to go up with the rest of its set; nobody must take it for the end.
            return ServiceSnapshot {
                phase: Phase::Waiting,
                waiting_for: self.rest_of_restart(index),
                reason: None,
                ..snapshot
            };
        }
        snapshot
    }

    pub(super) fn snapshot(&self) -> StackSnapshot {
        StackSnapshot {
            is_draining: self.drain.is_some(),
            services: (0..self.units.len())
                .map(|index| self.service_snapshot(index))
                .collect(),
            ..self.about.clone()
        }
    }
}
