//! How a unit lives by itself: it begins, is executed, ends, is started again, and meets conditions.

use std::time::Duration;

use tokio::time::Instant;

use super::ideal::{Life, NextRun, Process, Without};
use crate::plan::model::{RestartWhen, SchedulePlan, UnitPlan};
use crate::run::snapshot::{Exit, Phase, Wanted};
use crate::spec::model::{Condition, HookTime};

/// For how long it is tried to execute what cannot be executed for now, and the longest pause between.
const TRIED_FOR: Duration = Duration::from_secs(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A wait for health ends this long after the first execution.
const HEALTHY_WITHIN: Duration = Duration::from_secs(300);

/// How a dependency stands to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Met,
    Unmet,
    Hopeless,
}

impl Life {
    /// How long its processes may take to end.
    pub(super) fn grace(&self) -> Duration {
        match self.desired.wanted {
            Wanted::Killed => Duration::ZERO,
            Wanted::Nothing | Wanted::Running | Wanted::Stopped => {
                self.grace.unwrap_or(self.plan.grace)
            }
        }
    }

    pub(super) fn row(&self) -> (u64, Without) {
        (self.begun, self.without)
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = self.desired.generation;
        self.is_executed = false;
        self.has_completed = false;
        self.begin_run();
        match &self.plan.schedule {
            None => {}
            Some(SchedulePlan::Every(period)) => self.next_run = NextRun::At(now + *period),
            Some(SchedulePlan::Cron(_)) => {
                self.next_run = NextRun::Sometime;
                if !self.runs_now {
                    self.without = Without::Scheduled(false);
                }
            }
        }
    }

    /// It waits for its dependencies as if nothing had been.
    fn begin_run(&mut self) {
        self.first_executed = None;
        self.failures = 0;
        self.blocked = None;
        self.is_prepared = false;
        self.without = Without::Waiting;
    }

    /// Its schedule was looked at. Whether another run begins.
    pub(super) fn schedule_came(&mut self, now: Instant) -> bool {
        let (Some(SchedulePlan::Every(period)), NextRun::At(next)) =
            (&self.plan.schedule, &mut self.next_run)
        else {
            return false;
        };
        let is_due = *next <= now;
        while *next <= now {
            *next += *period;
        }
        let begins = is_due && self.phase() == Phase::Scheduled;
        if begins {
            self.begin_run();
        }
        begins
    }

    /// Where it rests once it has ended by itself, or was not to be executed.
    pub(super) fn rest(&self, is_success: bool) -> Without {
        match (&self.plan.schedule, is_success) {
            (Some(_), _) => Without::Scheduled(!is_success),
            (None, true) => Without::Completed,
            (None, false) => Without::Failed,
        }
    }

    pub(super) fn executed(&mut self, was_cancelled: bool, now: Instant) {
        self.is_executed = true;
        self.first_executed.get_or_insert(now);
        self.blocked = None;
        let is_checked = self.plan.health.is_some();
        if !was_cancelled {
            self.await_hooks(HookTime::PostStart);
        }
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
            is_signalled: false,
            has_ended: false,
            killed: None,
            is_given_up: false,
            was_cancelled,
        });
    }

    /// It could not be executed.
    pub(super) fn refused(&mut self, is_temporary: bool, now: Instant) {
        let (since, tries) = self.blocked.unwrap_or((now, 0));
        self.blocked = Some((since, tries + 1));
        self.without = if is_temporary && now < since + TRIED_FOR {
            let nominal = Duration::from_millis(100 << tries.min(10));
            backoff(nominal, Some(LONGEST_PAUSE), now)
        } else {
            self.rest(false)
        };
    }

    /// What an end by itself leads to.
    pub(super) fn fate(&mut self, process: &Process, exit: Exit, now: Instant) -> Without {
        let UnitPlan {
            restart, health, ..
        } = &self.plan;
        let is_success = exit == Exit::Code(0);
        self.has_completed |= is_success;
        let was_good =
            now - process.since >= restart.window && (process.was_ready || health.is_none());
        self.failures = if was_good { 1 } else { self.failures + 1 };
        self.policy(is_success, now)
    }

    /// What its policy says of its last failure, or success.
    pub(super) fn policy(&self, is_success: bool, now: Instant) -> Without {
        let restart = &self.plan.restart;
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
        } else {
            self.rest(is_success)
        }
    }

    pub(super) fn standing(&self, condition: Condition, now: Instant) -> Standing {
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
        let is_scheduled = phase == Phase::Scheduled;
        let is_down = matches!(phase, Phase::Failed | Phase::Stopped);
        let is_late = self
            .first_executed
            .is_some_and(|since| since + HEALTHY_WITHIN <= now);
        let (is_met, is_hopeless) = match condition {
            Condition::Started => (self.is_executed || is_scheduled, is_down),
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
