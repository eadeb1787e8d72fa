//! What services say that they are: in a line of their output, or by `sd_notify(3)`.

use std::io;

use regex::Regex;
use tokio::time::Instant;

use super::Supervisor;
use crate::plan::model::{ProbePlan, UnitPlan};
use crate::run::logs::last_lines_of_attempt;
use crate::run::notify::{Heard, Notified, NotifySocket};
use crate::run::outlet::Finding;
use crate::run::process::ProcessId;
use crate::run::reason::{CheckFailure, StartError, StartStep};
use crate::run::rights::Granted;
use crate::run::runner::Start;
use crate::run::state::Occurrence;
use crate::support::fs::below;
use crate::support::name::UnitId;

/// How many lines of what a service has printed already are looked at for a new pattern.
const LOOK_BACK: usize = 10_000;

impl Supervisor {
    /// An attempt has printed what its check looks for.
    pub(super) fn printed(&mut self, id: &UnitId, attempt: u32) {
        if let Some(unit) = self.units.get_mut(id)
            && unit.machine.attempt() == attempt
        {
            unit.printed = Some(attempt);
            self.look_soon(id);
        }
    }

    fn look_soon(&mut self, id: &UnitId) {
        if let Some(health) = &mut self.units[id].health {
            health.hasten(Instant::now());
        }
        self.mark(id);
    }

    /// The pattern of a unit that runs is another one: what it looks for may have been printed before.
    pub(super) fn look_back(&mut self, id: &UnitId) {
        let unit = &mut self.units[id];
        unit.printed = None;
        let Some(ProbePlan::Log { pattern }) = unit.plan.probe() else {
            return;
        };
        let (Ok(pattern), Some((directory, run, finding_tx))) =
            (Regex::new(pattern), self.logs.clone())
        else {
            return;
        };
        let (unit, attempt) = (id.clone(), unit.machine.attempt());
        self.beside.run(move || {
            let lines = last_lines_of_attempt(&directory, &unit, run, attempt, LOOK_BACK);
            if lines.iter().any(|line| pattern.is_match(line)) {
                // A supervisor that has gone has no use for it.
                let unit = unit.clone();
                drop(finding_tx.send(Finding::Printed { unit, attempt }));
            }
        });
    }

    /// Makes the socket on which a unit's next attempt says how it is. What is executed then, where that
    /// is another than its plan.
    pub(super) fn listen(&mut self, id: &UnitId, attempt: u32) -> Result<Option<UnitPlan>, Start> {
        let unit = &mut self.units[id];
        unit.notified = None;
        // The path is free before it is used again.
        unit.notify_socket = None;
        let Some(health) = &unit.plan.health else {
            return Ok(None);
        };
        let ProbePlan::Notify { socket: path } = &health.probe else {
            return Ok(None);
        };
        let failed = |error| Start::Failed {
            error,
            is_temporary: false,
        };
        let granted = Granted::to(&unit.plan).map_err(failed)?;
        let socket = NotifySocket::bind(
            // Its directory may have another name by now.
            &below(path, &self.about.project_dir),
            granted.rights.identity.as_ref(),
            (id.clone(), attempt),
            self.heard_tx.clone(),
        );
        let refused = |error: io::Error| StartError::Refused {
            step: StartStep::Notify,
            path: path.display().to_string(),
            error: error.to_string(),
        };
        unit.notify_socket = Some(socket.map_err(|error| failed(refused(error)))?);
        unit.notified = Some(Notified::new(health.interval));
        let told = [
            ("NOTIFY_SOCKET", Some(path.display().to_string())),
            (
                "WATCHDOG_USEC",
                Some(health.interval.as_micros().to_string()),
            ),
            ("WATCHDOG_PID", None),
        ];
        let mut plan = unit.plan.clone();
        let told = told.map(|(key, value)| (key.to_owned(), value));
        plan.environment.changes.extend(told);
        Ok(Some(plan))
    }

    /// Takes in what a service says of itself.
    pub(super) fn heard(&mut self, heard: Heard) {
        let Heard {
            unit: id,
            attempt,
            pid,
            words,
            passed,
        } = heard;
        let is_present = |unit: &crate::run::unit::Unit| {
            unit.machine.attempt() == attempt && unit.machine.is_up()
        };
        if !self.units.get(&id).is_some_and(is_present) || !self.is_said_by(&id, pid) {
            tracing::warn!(service = %id.service, pid, ?words, "said by somebody else");
            return;
        }
        let now = Instant::now();
        let Some(notified) = &mut self.units[&id].notified else {
            return;
        };
        for word in words {
            notified.take(word, now);
        }
        let is_lost = notified.is_lost();
        if is_lost {
            self.lose(&id, now);
        } else {
            self.look_soon(&id);
        }
        // Whoever waits for that goes on.
        drop(passed);
    }

    /// Whether a process is of a unit. One that has ended since cannot be asked: it knew the socket.
    fn is_said_by(&self, id: &UnitId, pid: i32) -> bool {
        pid > 0 && (ProcessId::of(pid).is_none() || self.runner.is_of_no_other(pid, id))
    }

    /// Notes a sign of life that is missed by `now`.
    pub(super) fn watchdog_due(&mut self, id: &UnitId, now: Instant) {
        let unit = &mut self.units[id];
        let is_up = unit.machine.is_up();
        if unit
            .notified
            .as_mut()
            .is_some_and(|it| is_up && it.due(now))
        {
            self.lose(id, now);
        }
    }

    /// A unit is not well, by what it says or does not say.
    fn lose(&mut self, id: &UnitId, now: Instant) {
        let unit = &mut self.units[id];
        let Some(health) = &mut unit.health else {
            return;
        };
        health.lose(now);
        unit.last_answer = unit.notified.as_ref().and_then(|it| it.outcome().err());
        self.mark(id);
        if self.units[id].last_answer == Some(CheckFailure::Stopping) {
            self.happen(id, Occurrence::Leaving);
        } else {
            self.find_unhealthy(id);
        }
    }
}
