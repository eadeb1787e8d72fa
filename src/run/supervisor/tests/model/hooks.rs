//! Hooks: when each begins, is asked to end and is killed, and what follows from its end.

use tokio::time::Instant;

use super::ensure;
use super::ideal::{Hooks, Ideal, Life, Without};
use crate::run::snapshot::{Exit, Wanted};
use crate::spec::model::HookTime;
use crate::support::name::UnitId;

impl Ideal {
    pub(super) fn hook_begun(
        &mut self,
        unit: &UnitId,
        place: usize,
        number: u64,
        now: Instant,
    ) -> Result<(), String> {
        let time = self.life(unit).plan.hooks[place].time;
        if self.life(unit).hooks.is_none() {
            // The first of its time.
            match time {
                HookTime::PreStart => self.check_may_execute(unit, now)?,
                HookTime::PreStop => self.check_may_stop(unit)?,
                HookTime::PostStart => {}
            }
            let life = self.life_mut(unit);
            let grace = life.grace();
            let is_so = match (time, &mut life.process) {
                (HookTime::PreStart, None) => {
                    life.without = Without::Preparing;
                    !life.is_prepared
                }
                (HookTime::PreStop, Some(process)) => {
                    let is_first = process.told.or(process.killed).is_none();
                    process.told = Some(now + grace);
                    is_first
                }
                (HookTime::PreStart | HookTime::PreStop | HookTime::PostStart, _) => false,
            };
            ensure!(is_so, "{time:?} of {unit:?} has begun: {life:?}");
            life.await_hooks(time);
        }
        let life = self.life_mut(unit);
        let timeout = life.plan.hooks[place].timeout;
        let is_next = life.hooks.as_mut().is_some_and(|hooks| {
            let is_next = hooks.running.is_none() && hooks.rest.pop_front() == Some(place);
            hooks.running = Some((number, Some(now + timeout)));
            is_next
        });
        ensure!(is_next, "hook {place} of {unit:?} has begun: {life:?}");
        Ok(())
    }

    pub(super) fn hook_asked(&mut self, unit: &UnitId, number: u64) -> Result<(), String> {
        let life = self.life_mut(unit);
        let must = life.hooks.as_mut().is_some_and(|hooks| {
            let is_it = hooks.running.is_some_and(|(it, _)| it == number);
            is_it && std::mem::take(&mut hooks.must_be_asked)
        });
        ensure!(must, "a hook of {unit:?} was asked to end: {life:?}");
        Ok(())
    }

    pub(super) fn command_killed(
        &mut self,
        unit: &UnitId,
        number: u64,
        now: Instant,
    ) -> Result<(), String> {
        let may_stop = self.check_may_stop(unit).is_ok();
        let life = self.life_mut(unit);
        let wanted = life.desired.wanted;
        let told = life.process.and_then(|process| process.told);
        let Some((time, until)) = life.hook(number) else {
            // A check, or one of what has ended.
            return Ok(());
        };
        let is_late = until.is_some_and(|until| until <= now);
        let is_over = told.is_some_and(|until| until <= now) || wanted == Wanted::Killed;
        let (may_be, is_done) = match time {
            HookTime::PreStart => (is_late, false),
            HookTime::PostStart => (is_late || may_stop, true),
            HookTime::PreStop => (is_late || is_over, is_over),
        };
        ensure!(may_be, "{time:?} of {unit:?} was killed: {life:?}");
        if is_done {
            life.end_hooks();
        } else if let Some(hooks) = &mut life.hooks {
            hooks.running = Some((number, None));
        }
        Ok(())
    }

    /// A hook has ended by itself, and will not be too late any more.
    pub(super) fn hook_exited(&mut self, unit: &UnitId, number: u64) {
        let life = self.life_mut(unit);
        if life.hook(number).is_some()
            && let Some(hooks) = &mut life.hooks
        {
            hooks.running = Some((number, None));
        }
    }

    /// The supervisor has taken in the end of a hook. Returns its time, if that was of interest.
    pub(super) fn hook_ended(
        &mut self,
        unit: &UnitId,
        number: u64,
        exit: Option<Exit>,
        now: Instant,
    ) -> Option<HookTime> {
        let life = self.life_mut(unit);
        let (time, _) = life.hook(number)?;
        // It is not executed once nobody wants that, whoever is to end before it.
        let is_unwanted = life.is_to_come_down();
        let hooks = life.hooks.as_mut()?;
        hooks.running = None;
        let is_passed = exit == Some(Exit::Code(0));
        let is_cancelled = time == HookTime::PreStart && (hooks.asked > 0 || is_unwanted);
        if is_passed && !is_cancelled && !hooks.rest.is_empty() {
            return Some(time);
        }
        life.end_hooks();
        if time == HookTime::PreStart {
            life.is_prepared = is_passed && !is_cancelled;
            if is_cancelled {
                life.without = Without::Stopped;
            } else if !is_passed {
                life.failures += 1;
                life.first_executed.get_or_insert(now);
                life.without = life.policy(false, now);
            }
        }
        Some(time)
    }
}

impl Life {
    /// Its hooks of a time are to begin now, if there are any.
    pub(super) fn await_hooks(&mut self, time: HookTime) {
        let rest = self.places(time);
        self.hooks = (!rest.is_empty()).then_some(Hooks {
            time,
            running: None,
            rest,
            asked: 0,
            must_be_asked: false,
        });
    }

    /// The hook with this number, if it is the one that runs: its time, and when it is killed.
    fn hook(&self, number: u64) -> Option<(HookTime, Option<Instant>)> {
        let hooks = self.hooks.as_ref()?;
        let (running, until) = hooks.running?;
        (running == number).then_some((hooks.time, until))
    }

    fn end_hooks(&mut self) {
        self.hooks = None;
        // Only its hook was waited for.
        if self.process.is_some_and(|process| process.has_ended) {
            self.process = None;
            self.without = Without::Stopped;
        }
    }

    /// What prepares it is asked to end, where nobody wants it to run as it is.
    pub(super) fn unprepare(&mut self, is_held_up: bool, now: Instant) {
        let is_due =
            self.is_to_come_down() && (!is_held_up || self.desired.wanted == Wanted::Killed);
        let (grace, generation) = (self.grace(), self.desired.generation);
        if let Some(hooks) = &mut self.hooks
            && hooks.time == HookTime::PreStart
            && is_due
            && hooks.asked < generation
        {
            hooks.asked = generation;
            hooks.must_be_asked = !grace.is_zero();
            if let Some((_, Some(until))) = &mut hooks.running {
                *until = (*until).min(now + grace);
            }
        }
    }

    /// Says what is wrong with its hooks, once everything that could be done was done.
    pub(super) fn check_hooks(&self, running: Option<u64>, now: Instant) -> Result<(), String> {
        let Some(hooks) = &self.hooks else {
            ensure!(running.is_none(), "a hook goes on: {self:?}");
            return Ok(());
        };
        let Some((number, until)) = hooks.running else {
            return Err(format!("no hook was begun: {self:?}"));
        };
        let is_it = running.is_none_or(|it| it == number);
        ensure!(is_it, "another hook runs: {self:?}");
        ensure!(
            !hooks.must_be_asked,
            "its hook was not asked to end: {self:?}"
        );
        let is_late = until.is_some_and(|until| until < now);
        ensure!(!is_late, "its hook was not killed: {self:?}");
        Ok(())
    }
}
