//! What happens to units, and what follows from it for good.

use std::time::Duration;

use tokio::time::Instant;

use super::ensure;
use super::ideal::{Ideal, Life, NextRun, Underway, Without};
use super::life::Standing;
use crate::run::runner::Start;
use crate::run::runner::testing::Deed;
use crate::run::snapshot::{Exit, Phase, Wanted};
use crate::spec::model::HookTime;
use crate::support::name::UnitId;

/// What SIGKILL does not end within this time is given up.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);

impl Ideal {
    /// The supervisor has taken in the end of a main process.
    pub(super) fn ended(&mut self, unit: &UnitId, exit: Exit, now: Instant) {
        let life = self.life_mut(unit);
        if life.runs(HookTime::PreStop)
            && let Some(process) = &mut life.process
        {
            process.has_ended = true;
            return;
        }
        let Some(process) = life.process.take() else {
            return;
        };
        life.hooks = None;
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

    /// A deadline was looked after. Returns how many runs have begun by their schedules.
    pub(super) fn time_came(&mut self, now: Instant) -> usize {
        let mut runs = 0;
        for life in &mut self.lives {
            if let Some(process) = &mut life.process
                && process
                    .killed
                    .is_some_and(|since| since + GIVEN_UP_AFTER <= now)
            {
                process.is_given_up = true;
            }
            runs += usize::from(life.schedule_came(now));
        }
        runs
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
            Deed::HookBegun { place, number } => self.hook_begun(unit, place, number, now)?,
            Deed::HookAsked { number } => self.hook_asked(unit, number)?,
            Deed::CommandKilled { number } => self.command_killed(unit, number, now)?,
            Deed::Executed => {
                self.check_may_run(unit, now)?;
                self.life_mut(unit).executed(false, now);
            }
            Deed::Underway => {
                self.check_may_run(unit, now)?;
                self.life_mut(unit).underway = Underway::Yes;
            }
            Deed::Refused { is_temporary } => {
                self.check_may_run(unit, now)?;
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
                // After its `pre_stop` it is told whatever its dependents do.
                if self.life(unit).process.is_none_or(|it| it.told.is_none()) {
                    self.check_may_stop(unit)?;
                }
                let life = self.life_mut(unit);
                let (grace, is_free) = (life.grace(), life.hooks.is_none());
                let has_hooks = !life.places(HookTime::PreStop).is_empty();
                let Some(process) = &mut life.process else {
                    return Err(format!("{unit:?} does not run and was told to stop"));
                };
                let is_first = !process.is_signalled && process.killed.is_none();
                ensure!(is_first, "{unit:?} was told to stop a second time");
                let are_done = process.told.is_some() || process.was_cancelled || !has_hooks;
                ensure!(is_free && are_done, "{unit:?} was told before its hooks");
                process.told.get_or_insert(now + grace);
                process.is_signalled = true;
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
                life.hooks = None;
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
                let is_held_up = self.is_held_up(&self.lives[place].plan.id());
                let life = &mut self.lives[place];
                life.unprepare(is_held_up, now);
                if life.is_settled() {
                    life.next_run = NextRun::None;
                }
                if !life.has_nothing() {
                    continue;
                }
                match (life.desired.wanted, life.without) {
                    (Wanted::Running, _) if life.is_old() => life.begin(now),
                    (Wanted::Running, Without::Waiting) if is_blocked => {
                        life.without = life.rest(false);
                    }
                    (
                        Wanted::Stopped | Wanted::Killed,
                        Without::Waiting | Without::Backoff(..) | Without::Scheduled(_),
                    ) => {
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

    fn check_may_run(&self, unit: &UnitId, now: Instant) -> Result<(), String> {
        let life = self.life(unit);
        let is_prepared = life.is_prepared || life.places(HookTime::PreStart).is_empty();
        ensure!(is_prepared, "{unit:?} was executed unprepared: {life:?}");
        self.check_may_execute(unit, now)
    }

    pub(super) fn check_may_execute(&self, unit: &UnitId, now: Instant) -> Result<(), String> {
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
        if life.is_just_prepared() {
            return Ok(());
        }
        ensure!(
            life.has_nothing(),
            "{unit:?} was executed beside itself: {life:?}"
        );
        let may_be = match life.without {
            Without::Waiting => self.is_free(unit, now),
            Without::Backoff(earliest, _) => earliest <= now,
            Without::Pending
            | Without::Preparing
            | Without::Scheduled(_)
            | Without::Completed
            | Without::Failed
            | Without::Stopped => false,
        };
        ensure!(may_be, "{unit:?} was executed too early: {:?}", self.lives);
        Ok(())
    }

    pub(super) fn check_may_stop(&self, unit: &UnitId) -> Result<(), String> {
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
