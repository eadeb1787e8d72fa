//! What happens to units, and what follows from it for good.

use std::time::Duration;

use tokio::time::Instant;

use super::ensure;
use super::ideal::{Ideal, Life, Process, Underway, Without};
use crate::plan::model::{RestartWhen, UnitPlan};
use crate::run::runner::Start;
use crate::run::runner::testing::Deed;
use crate::run::snapshot::{Exit, Phase, Wanted};
use crate::spec::model::Condition;
use crate::support::name::UnitId;

/// What SIGKILL does not end within this time is given up.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);

/// For how long it is tried to execute what cannot be executed for now, and the longest pause between.
const TRIED_FOR: Duration = Duration::from_secs(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A wait for health ends this long after the first execution.
const HEALTHY_WITHIN: Duration = Duration::from_secs(300);

/// How a dependency stands to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Met,
    Unmet,
    Hopeless,
}

impl Ideal {
    /// The supervisor has taken in the end of a main process.
    pub(super) fn ended(&mut self, unit: &UnitId, exit: Exit, now: Instant) {
        let life = self.life_mut(unit);
        let Some(process) = life.process.take() else {
            return;
        };
        life.without = if process.told.or(process.killed).is_some() {
            Without::Stopped
        } else {
            life.fate(&process, exit, now)
        };
    }

    /// The supervisor has taken in what came of a start that takes time.
    pub(super) fn started(&mut self, unit: &UnitId, start: &Start, now: Instant) {
        let life = self.life_mut(unit);
        let was_cancelled = life.underway == Underway::Cancelled;
        match start {
            Start::Underway => return,
            Start::Executed => life.executed(was_cancelled, now),
            Start::Failed { .. } if was_cancelled => life.without = Without::Stopped,
            Start::Failed { is_temporary, .. } => life.refused(*is_temporary, now),
        }
        life.underway = Underway::No;
    }

    /// A check of a unit has passed.
    pub(super) fn passed(&mut self, unit: &UnitId) {
        if let Some(process) = &mut self.life_mut(unit).process {
            process.has_passed = true;
        }
    }

    /// A deadline was looked after.
    pub(super) fn time_came(&mut self, now: Instant) {
        for life in &mut self.lives {
            if let Some(process) = &mut life.process
                && process
                    .killed
                    .is_some_and(|since| since + GIVEN_UP_AFTER <= now)
            {
                process.is_given_up = true;
            }
        }
    }

    /// Takes over how healthy a unit is said to be, if that can be.
    pub(super) fn hear_health(&mut self, unit: &UnitId, phase: Phase) -> Result<(), String> {
        let life = self.life_mut(unit);
        if life.plan.health.is_none() {
            return Ok(());
        }
        let Some(process) = &mut life.process else {
            return Ok(());
        };
        if matches!(phase, Phase::Starting | Phase::Healthy | Phase::Unhealthy) {
            let is_so = phase != Phase::Healthy || process.has_passed;
            ensure!(is_so, "{unit:?} is healthy, and no check has passed");
            process.standing = phase;
            process.was_ready |= phase == Phase::Healthy;
        }
        Ok(())
    }

    /// The runner was asked for something. Is that what has to be done now?
    pub(super) fn done(&mut self, unit: &UnitId, deed: Deed, now: Instant) -> Result<(), String> {
        self.settle(now);
        match deed {
            Deed::Executed => {
                self.check_may_execute(unit, now)?;
                self.life_mut(unit).executed(false, now);
            }
            Deed::Underway => {
                self.check_may_execute(unit, now)?;
                self.life_mut(unit).underway = Underway::Yes;
            }
            Deed::Refused { is_temporary } => {
                self.check_may_execute(unit, now)?;
                self.life_mut(unit).refused(is_temporary, now);
            }
            Deed::Cancelled => {
                self.check_may_stop(unit)?;
                let life = self.life_mut(unit);
                let is_so = life.underway != Underway::No;
                ensure!(is_so, "nothing of {unit:?} was to be cancelled");
                life.underway = Underway::Cancelled;
            }
            Deed::Signalled => {
                self.check_may_stop(unit)?;
                let life = self.life_mut(unit);
                let grace = life.grace();
                let Some(process) = &mut life.process else {
                    return Err(format!("{unit:?} does not run and was told to stop"));
                };
                let is_first = process.told.or(process.killed).is_none();
                ensure!(is_first, "{unit:?} was told to stop a second time");
                process.told = Some(now + grace);
            }
            Deed::Killed => {
                let life = self.life_mut(unit);
                let wanted = life.desired.wanted;
                let Some(process) = &mut life.process else {
                    return Err(format!("{unit:?} does not run and was killed"));
                };
                let is_late = process.told.is_some_and(|until| until <= now);
                ensure!(
                    is_late || wanted == Wanted::Killed,
                    "{unit:?} was killed too early"
                );
                process.killed = Some(now);
            }
        }
        Ok(())
    }

    /// Lets everything follow that needs nobody: units begin anew, rest, and fail for another's sake.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            let before: Vec<(u64, Without)> = self.lives.iter().map(Life::row).collect();
            for place in 0..self.lives.len() {
                let is_blocked = self.is_blocked(place, now);
                let life = &mut self.lives[place];
                if !life.has_nothing() {
                    continue;
                }
                match (life.desired.wanted, life.without) {
                    (Wanted::Running, _) if life.is_old() => life.begin(),
                    (Wanted::Running, Without::Waiting) if is_blocked => {
                        life.without = Without::Failed;
                    }
                    (Wanted::Stopped | Wanted::Killed, Without::Waiting | Without::Backoff(..)) => {
                        life.without = Without::Stopped;
                    }
                    (Wanted::Nothing | Wanted::Running | Wanted::Stopped | Wanted::Killed, _) => {}
                }
            }
            if self.lives.iter().map(Life::row).eq(before) {
                return;
            }
        }
    }

    /// Whether a unit that waits has to fail, as a dependency cannot meet its condition any more.
    fn is_blocked(&self, place: usize, now: Instant) -> bool {
        let life = &self.lives[place];
        let mut standings = self.standings(life, now);
        !life.is_alone && standings.any(|(is_required, it)| is_required && it == Standing::Hopeless)
    }

    /// Whether nothing keeps a unit that waits any more.
    pub(super) fn is_free(&self, unit: &UnitId, now: Instant) -> bool {
        let life = self.life(unit);
        let is_no_obstacle = |(is_required, it): (bool, Standing)| match it {
            Standing::Met => true,
            Standing::Unmet => false,
            Standing::Hopeless => !is_required,
        };
        life.is_alone || self.standings(life, now).all(is_no_obstacle)
    }

    fn standings<'a>(
        &'a self,
        life: &'a Life,
        now: Instant,
    ) -> impl Iterator<Item = (bool, Standing)> + 'a {
        life.plan.depends_on.iter().map(move |edge| {
            let other = self.life(&edge.unit);
            (edge.is_required, other.standing(edge.condition, now))
        })
    }

    /// Whether a dependent that has to end as well is still there.
    pub(super) fn is_held_up(&self, unit: &UnitId) -> bool {
        let depends = |life: &Life| life.plan.depends_on.iter().any(|edge| edge.unit == *unit);
        self.lives
            .iter()
            .any(|life| depends(life) && life.holds_up())
    }

    fn check_may_execute(&self, unit: &UnitId, now: Instant) -> Result<(), String> {
        let life = self.life(unit);
        ensure!(
            self.ending.is_none(),
            "{unit:?} was executed, and everything ends"
        );
        let is_wanted = life.desired.wanted == Wanted::Running && !life.is_old();
        ensure!(
            is_wanted,
            "{unit:?} was executed, and nobody wants that: {life:?}"
        );
        ensure!(
            life.has_nothing(),
            "{unit:?} was executed beside itself: {life:?}"
        );
        let may_be = match life.without {
            Without::Waiting => self.is_free(unit, now),
            Without::Backoff(earliest, _) => earliest <= now,
            Without::Pending | Without::Completed | Without::Failed | Without::Stopped => false,
        };
        ensure!(may_be, "{unit:?} was executed too early: {:?}", self.lives);
        Ok(())
    }

    fn check_may_stop(&self, unit: &UnitId) -> Result<(), String> {
        let life = self.life(unit);
        let is_wanted = life.is_to_come_down();
        ensure!(
            is_wanted,
            "{unit:?} was told to stop, and nobody wants that: {life:?}"
        );
        // What runs though its start was given up is stopped at once, and a kill waits for nobody.
        let was_cancelled = life.process.is_some_and(|process| process.was_cancelled);
        let may_be = was_cancelled || life.desired.wanted == Wanted::Killed;
        ensure!(
            may_be || !self.is_held_up(unit),
            "{unit:?} was told to stop before its dependents have ended"
        );
        Ok(())
    }
}

impl Life {
    /// How long its processes may take to end.
    fn grace(&self) -> Duration {
        match self.desired.wanted {
            Wanted::Killed => Duration::ZERO,
            Wanted::Nothing | Wanted::Running | Wanted::Stopped => {
                self.grace.unwrap_or(self.plan.grace)
            }
        }
    }

    fn row(&self) -> (u64, Without) {
        (self.begun, self.without)
    }

    fn begin(&mut self) {
        self.begun = self.desired.generation;
        self.is_executed = false;
        self.has_completed = false;
        self.first_executed = None;
        self.failures = 0;
        self.blocked = None;
        self.without = Without::Waiting;
    }

    fn executed(&mut self, was_cancelled: bool, now: Instant) {
        self.is_executed = true;
        self.first_executed.get_or_insert(now);
        self.blocked = None;
        let is_checked = self.plan.health.is_some();
        self.process = Some(Process {
            since: now,
            standing: if is_checked {
                Phase::Starting
            } else {
                Phase::Running
            },
            has_passed: false,
            was_ready: false,
            told: None,
            killed: None,
            is_given_up: false,
            was_cancelled,
        });
    }

    /// It could not be executed.
    fn refused(&mut self, is_temporary: bool, now: Instant) {
        let (since, tries) = self.blocked.unwrap_or((now, 0));
        self.blocked = Some((since, tries + 1));
        self.without = if is_temporary && now < since + TRIED_FOR {
            let nominal = Duration::from_millis(100 << tries.min(10));
            backoff(nominal, Some(LONGEST_PAUSE), now)
        } else {
            Without::Failed
        };
    }

    /// What an end by itself leads to.
    fn fate(&mut self, process: &Process, exit: Exit, now: Instant) -> Without {
        let UnitPlan {
            restart, health, ..
        } = &self.plan;
        let is_success = exit == Exit::Code(0);
        self.has_completed |= is_success;
        let was_good =
            now - process.since >= restart.window && (process.was_ready || health.is_none());
        self.failures = if was_good { 1 } else { self.failures + 1 };
        let is_restarted = match restart.when {
            RestartWhen::Never => false,
            RestartWhen::OnFailure => !is_success,
            RestartWhen::Always => true,
        };
        let has_more = restart
            .max_attempts
            .is_none_or(|most| self.failures <= most);
        if is_restarted && has_more {
            let nominal = restart.delay * (1 << (self.failures - 1).min(20));
            backoff(nominal.min(restart.max_delay), None, now)
        } else if is_success {
            Without::Completed
        } else {
            Without::Failed
        }
    }

    fn standing(&self, condition: Condition, now: Instant) -> Standing {
        if self.desired.wanted == Wanted::Nothing {
            return Standing::Met;
        }
        if self.is_old() {
            // Unless what there is of it cannot be ended, in which case nothing is to come.
            return if self.is_given_up() {
                Standing::Hopeless
            } else {
                Standing::Unmet
            };
        }
        let phase = self.phase();
        let is_down = matches!(phase, Phase::Failed | Phase::Stopped);
        let is_late = self
            .first_executed
            .is_some_and(|since| since + HEALTHY_WITHIN <= now);
        let (is_met, is_hopeless) = match condition {
            Condition::Started => (self.is_executed, is_down),
            Condition::Healthy => (
                phase == Phase::Healthy,
                is_down || is_late || matches!(phase, Phase::Completed | Phase::Unhealthy),
            ),
            Condition::CompletedSuccessfully => (self.has_completed, is_down),
        };
        match (is_met, is_hopeless) {
            (true, _) => Standing::Met,
            (false, true) => Standing::Hopeless,
            (false, false) => Standing::Unmet,
        }
    }
}

/// A pause of about this length, give or take a tenth.
fn backoff(nominal: Duration, most: Option<Duration>, now: Instant) -> Without {
    let least = nominal.mul_f64(0.9);
    let longest = nominal.mul_f64(1.1);
    let most = most.unwrap_or(longest);
    Without::Backoff(now + least.min(most), now + longest.min(most))
}
