//! Further runs of units that have a schedule. `docs/design/schedule.md` has the table.

use jiff::ZonedDateTime;
use tokio::time::Instant;

use super::Supervisor;
use crate::plan::model::SchedulePlan;
use crate::run::news::{News, NoticeLevel};
use crate::run::snapshot::Wanted;
use crate::run::state::{Occurrence, State, Timer, Turn};
use crate::support::name::UnitId;

impl Supervisor {
    /// A unit begins for a new generation: from now on its schedule counts. Whether it runs at once.
    pub(super) fn set_timer(&mut self, id: &UnitId) -> Occurrence {
        let unit = &mut self.units[id];
        let schedule = unit.plan.schedule.as_ref();
        let timer = |schedule| Timer::new(schedule, Instant::now(), ZonedDateTime::now());
        unit.timer = schedule.map(timer);
        match schedule {
            Some(SchedulePlan::Cron(_)) if !unit.desired.runs_now => Occurrence::Schedule,
            Some(SchedulePlan::Cron(_) | SchedulePlan::Every(_)) | None => Occurrence::Begin,
        }
    }

    /// The schedule of a unit is another from now on, if it follows one.
    pub(super) fn reset_timer(&mut self, id: &UnitId) {
        let unit = &mut self.units[id];
        if let (Some(timer), Some(schedule)) = (&mut unit.timer, &unit.plan.schedule) {
            *timer = Timer::new(schedule, Instant::now(), ZonedDateTime::now());
        }
    }

    /// Begins another run of a unit if one is due, unless the last one goes on.
    pub(super) fn schedule_due(&mut self, id: &UnitId, now: Instant) {
        let unit = &mut self.units[id];
        let Some(timer) = unit.timer.as_mut().filter(|timer| timer.look() <= now) else {
            return;
        };
        let due = match timer.turn(now, ZonedDateTime::now()) {
            Turn::NotYet => return,
            Turn::Due if matches!(unit.machine.state(), State::Scheduled(_)) => {
                unit.first_executed = None;
                return self.happen(id, Occurrence::Due);
            }
            Turn::Due => None,
            Turn::Missed(due) => u64::try_from(due.as_millisecond()).ok(),
        };
        let attempt = unit.machine.attempt();
        let is_told = due.is_none() && unit.overrun.replace(attempt) == Some(attempt);
        if !is_told && unit.desired.wanted == Wanted::Running {
            self.notice(Some(id), NoticeLevel::Info, News::RunMissed { due });
        }
    }
}
