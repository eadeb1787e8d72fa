//! Is everything where it has to be?

use tokio::time::Instant;

use super::ensure;
use super::events::GIVEN_UP_AFTER;
use super::ideal::{Ideal, NextRun, Underway, Without};
use crate::run::snapshot::{CRASH_LOOP, Cause, Phase, ServiceSnapshot, Wanted};
use crate::run::waits::{Goal, Verdict};
use crate::support::name::UnitId;

impl Ideal {
    /// Compares a unit, once everything that could be done was done, with what is told of it.
    pub(super) fn check(
        &self,
        row: &ServiceSnapshot,
        hook: Option<u64>,
        now: Instant,
    ) -> Result<(), String> {
        let unit = row.unit();
        let life = self.life(&unit);
        let ideal = (life.desired, life.begun, life.is_executed, life.phase());
        let told = (row.desired, row.generation, row.is_executed, row.phase);
        ensure!(
            told == ideal,
            "{unit:?} is {told:?} and has to be {ideal:?}: {life:?}"
        );

        life.check_hooks(hook, now)?;
        let has_schedule = row.next_run.is_some();
        ensure!(
            has_schedule == (life.next_run != NextRun::None),
            "is {unit:?} to run again? {has_schedule}: {life:?}"
        );

        // Nothing was forgotten that could be done.
        if let Without::Waiting = life.without
            && life.has_nothing()
            && life.desired.wanted == Wanted::Running
        {
            ensure!(
                !self.is_free(&unit, now),
                "{unit:?} waits for nothing: {:?}",
                self.lives
            );
        }
        if let Without::Backoff(_, latest) = life.without
            && life.has_nothing()
        {
            ensure!(now <= latest, "{unit:?} was not executed again: {life:?}");
        }
        let is_untold = match (&life.process, life.underway) {
            (Some(process), _) => process.told.or(process.killed).is_none(),
            (None, underway) => underway == Underway::Yes,
        };
        if is_untold && life.is_to_come_down() {
            let is_held_up = life.desired.wanted != Wanted::Killed && self.is_held_up(&unit);
            ensure!(
                is_held_up,
                "{unit:?} was not told to stop: {:?}",
                self.lives
            );
        }
        if let Some(process) = &life.process {
            let is_forgotten = process.told.is_some()
                && !process.is_signalled
                && process.killed.is_none()
                && life.hooks.is_none();
            ensure!(
                !is_forgotten,
                "{unit:?} was not told after its hooks: {life:?}"
            );
            let is_late = process.told.is_some_and(|until| until < now) && process.killed.is_none();
            ensure!(
                !is_late,
                "{unit:?} was not killed after its grace period: {life:?}"
            );
            let is_lost = process
                .killed
                .is_some_and(|since| since + GIVEN_UP_AFTER < now);
            ensure!(
                !is_lost || process.is_given_up,
                "{unit:?} was not given up: {life:?}"
            );
            // What runs though its start was given up is told first, with no grace.
            let is_missed = process.killed.is_none()
                && !process.was_cancelled
                && life.desired.wanted == Wanted::Killed;
            ensure!(!is_missed, "{unit:?} was not killed: {life:?}");
        }
        Ok(())
    }

    /// How a unit stands to what somebody waits for whose command has set `generation`: the table of
    /// waits in `docs/design/desired-state.md`.
    pub(super) fn verdict(&self, goal: Goal, generation: u64, unit: &UnitId) -> Verdict {
        let life = self.life(unit);
        let phase = life.phase();
        let superseded = Verdict::Superseded(life.desired.cause);
        let is_to_run = life.desired.wanted == Wanted::Running;
        let has_begun = life.begun >= generation;
        match goal {
            Goal::Stopped if is_to_run => superseded,
            Goal::Stopped if life.is_given_up() => Verdict::Failed,
            Goal::Stopped if phase.is_at_rest() => Verdict::Reached,
            Goal::Executed if has_begun && life.is_executed => Verdict::Reached,
            Goal::Executed if has_begun && phase == Phase::Scheduled => match life.desired.cause {
                Cause::Start | Cause::Restart if life.without == Without::Scheduled(true) => {
                    Verdict::Failed
                }
                Cause::Up
                | Cause::Start
                | Cause::Stop
                | Cause::Restart
                | Cause::Down
                | Cause::Kill => Verdict::Reached,
            },
            Goal::Executed | Goal::Ready if !is_to_run => superseded,
            Goal::Executed | Goal::Ready if life.is_given_up() => Verdict::Failed,
            Goal::Executed if has_begun && phase == Phase::Failed => Verdict::Failed,
            Goal::Executed
                if has_begun && phase == Phase::Backoff && life.failures >= CRASH_LOOP =>
            {
                Verdict::Failed
            }
            Goal::Ready if !has_begun => Verdict::Pending,
            Goal::Ready if life.next_run != NextRun::None => Verdict::Reached,
            Goal::Ready => match phase {
                Phase::Healthy | Phase::Completed => Verdict::Reached,
                // Whoever is to complete has not, as long as it runs.
                Phase::Running if !self.is_one_shot(unit) => Verdict::Reached,
                Phase::Failed | Phase::Unhealthy => Verdict::Failed,
                Phase::Pending
                | Phase::Waiting
                | Phase::Starting
                | Phase::Running
                | Phase::Stopping
                | Phase::Backoff
                | Phase::Scheduled
                | Phase::Stopped => Verdict::Pending,
            },
            Goal::Stopped | Goal::Executed => Verdict::Pending,
        }
    }

    fn is_one_shot(&self, unit: &UnitId) -> bool {
        use crate::spec::model::Condition::CompletedSuccessfully;
        let mut edges = self.lives.iter().flat_map(|life| &life.plan.depends_on);
        edges.any(|edge| edge.unit == *unit && edge.condition == CompletedSuccessfully)
    }
}
