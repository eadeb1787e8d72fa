//! When a unit with a schedule is to run next (`docs/design/schedule.md`).
//!
//! Pure: the readings of both clocks go in. `every` lives by the clock that only goes forward, and stands
//! still while everything is frozen; `cron` by the one on the wall, which may jump, so that it is looked
//! at once a minute.

use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use tokio::time::Instant;

use crate::plan::model::SchedulePlan;
use crate::support::cron::Cron;

/// The wall clock is looked at this often at least; what was due longer ago was missed.
const LOOK: Duration = Duration::from_secs(60);

/// The next run of a unit.
#[derive(Debug, Clone)]
pub(crate) enum Timer {
    /// It follows the last one after a time.
    Every { period: Duration, next: Instant },
    /// It comes at a time of the day.
    Cron {
        cron: Cron,
        /// Up to when everything that was due is dealt with.
        done: ZonedDateTime,
        /// The first time after that; none if the years are over.
        due: Option<Timestamp>,
        /// When the clock is looked at next.
        look: Instant,
    },
}

/// What a look at the clock has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing is due.
    NotYet,
    /// A run is.
    Due,
    /// One was at this time, and it is too late for it.
    Missed(Timestamp),
}

impl Timer {
    /// The first run that a schedule wants after this moment.
    pub(crate) fn new(schedule: &SchedulePlan, now: Instant, wall: ZonedDateTime) -> Self {
        match schedule {
            SchedulePlan::Every(period) => Self::Every {
                period: *period,
                next: now + *period,
            },
            SchedulePlan::Cron(cron) => {
                let due = cron.next_after(&wall);
                Self::Cron {
                    look: look_at(due, now, wall.timestamp()),
                    cron: cron.clone(),
                    done: wall,
                    due,
                }
            }
        }
    }

    /// Looks at the clocks. What has passed is not made up for: only the last one counts.
    pub(crate) fn turn(&mut self, now: Instant, wall: ZonedDateTime) -> Turn {
        match self {
            Self::Every { period, next } => {
                let Some(late) = now.checked_duration_since(*next) else {
                    return Turn::NotYet;
                };
                let passed = late.as_nanos() / period.as_nanos().max(1);
                let passed = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
                *next += period.saturating_mul(passed);
                Turn::Due
            }
            Self::Cron {
                cron,
                done,
                due,
                look,
            } => {
                let time = wall.timestamp();
                let since = |earlier: Timestamp| time.duration_since(earlier);
                let late = due.map(since).filter(|late| !late.is_negative());
                let turn = match (late, *due) {
                    (Some(late), Some(due)) if late.unsigned_abs() > LOOK => Turn::Missed(due),
                    (Some(_), Some(_)) => Turn::Due,
                    (_, _) => Turn::NotYet,
                };
                // A clock that was corrected a little does not bring the same time again.
                let back = since(done.timestamp());
                if !back.is_negative() || back.unsigned_abs() > LOOK {
                    *done = wall;
                }
                *due = cron.next_after(done);
                *look = look_at(*due, now, time);
                turn
            }
        }
    }

    /// When to look next.
    pub(crate) fn look(&self) -> Instant {
        match self {
            Self::Every { next, .. } => *next,
            Self::Cron { look, .. } => *look,
        }
    }

    /// When the next run is due, in milliseconds since the Unix epoch.
    pub(crate) fn next_run(&self, in_millis: impl FnOnce(Instant) -> u64) -> Option<u64> {
        match self {
            Self::Every { next, .. } => Some(in_millis(*next)),
            Self::Cron { due, .. } => u64::try_from((*due)?.as_millisecond()).ok(),
        }
    }

    /// Time stood still for the user, except on the wall.
    pub(crate) fn shift(&mut self, gap: Duration) {
        match self {
            Self::Every { next, .. } => *next += gap,
            Self::Cron { .. } => {}
        }
    }
}

fn look_at(due: Option<Timestamp>, now: Instant, wall: Timestamp) -> Instant {
    let left = due.map(|due| due.duration_since(wall).unsigned_abs());
    now + left.unwrap_or(LOOK).min(LOOK)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use jiff::civil::DateTime;
    use jiff::tz::TimeZone;

    use super::*;

    fn wall(time: &str) -> ZonedDateTime {
        let time: DateTime = time.parse().unwrap();
        time.to_zoned_datetime(TimeZone::UTC).unwrap()
    }

    /// Both clocks, of which the one on the wall can be set.
    struct Clocks {
        now: Instant,
        wall: ZonedDateTime,
        timer: Timer,
    }

    impl Clocks {
        fn new(schedule: &SchedulePlan) -> Self {
            let (now, wall) = (Instant::now(), wall("2026-11-27T15:03:00"));
            let timer = Timer::new(schedule, now, wall.clone());
            Self { now, wall, timer }
        }

        fn cron(text: &str) -> Self {
            Self::new(&SchedulePlan::Cron(text.parse().unwrap()))
        }

        fn set(&mut self, seconds: i64) {
            self.wall = &self.wall + SignedDuration::from_secs(seconds);
        }

        /// Sleeps until the next look.
        fn turn(&mut self) -> Turn {
            let slept = self.timer.look().saturating_duration_since(self.now);
            self.now += slept;
            self.wall = &self.wall + slept;
            self.timer.turn(self.now, self.wall.clone())
        }

        /// Sleeps until something is due. After how many looks, and at what time.
        fn next(&mut self) -> (Turn, u32, String) {
            for looks in 1.. {
                let turn = self.turn();
                if turn != Turn::NotYet {
                    return (turn, looks, self.wall.strftime("%H:%M:%S").to_string());
                }
            }
            unreachable!()
        }
    }

    #[test]
    fn a_period_counts_from_beginning_to_beginning_and_makes_up_for_nothing() {
        let mut clocks = Clocks::new(&SchedulePlan::Every(Duration::from_secs(10)));
        let first = clocks.timer.look();
        assert_eq!(first, clocks.now + Duration::from_secs(10));
        assert_eq!(clocks.turn(), Turn::Due);
        // Busy for 25 s: one run, and the next one in the old rhythm.
        clocks.now += Duration::from_secs(35);
        assert_eq!(clocks.turn(), Turn::Due);
        assert_eq!(clocks.timer.look(), first + Duration::from_secs(40));
        clocks.timer.shift(Duration::from_secs(3));
        assert_eq!(clocks.timer.look(), first + Duration::from_secs(43));
    }

    #[test]
    fn a_cron_expression_is_due_to_the_second() {
        let mut clocks = Clocks::cron("*/5 * * * *");
        assert_eq!(clocks.next(), (Turn::Due, 2, "15:05:00".to_owned()));
        assert_eq!(clocks.next(), (Turn::Due, 5, "15:10:00".to_owned()));
    }

    #[test]
    fn a_clock_that_is_set_forward_misses_what_lies_between() {
        let mut clocks = Clocks::cron("*/5 * * * *");
        clocks.set(3_600);
        let due = wall("2026-11-27T15:05:00").timestamp();
        assert_eq!(clocks.turn(), Turn::Missed(due));
        assert_eq!(clocks.next(), (Turn::Due, 1, "16:05:00".to_owned()));
        // A little late is not too late.
        clocks.set(290);
        assert_eq!(clocks.next(), (Turn::Due, 1, "16:10:50".to_owned()));
    }

    #[test]
    fn a_clock_that_is_set_back_is_believed_unless_it_was_only_corrected() {
        let mut clocks = Clocks::cron("*/5 * * * *");
        assert_eq!(clocks.next().2, "15:05:00");
        clocks.set(-2);
        assert_eq!(clocks.next(), (Turn::Due, 6, "15:10:00".to_owned()));
        clocks.set(-3_600);
        assert_eq!(clocks.next().2, "14:15:00");
    }

    #[test]
    fn a_clock_that_is_corrected_just_before_a_run_runs_it_once() {
        let mut clocks = Clocks::cron("0 * * * *");
        assert_eq!(clocks.next().2, "16:00:00");
        clocks.set(-30);
        assert_eq!(clocks.next().2, "17:00:00");
    }
}
