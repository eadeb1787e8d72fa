//! How a machine begins, what moves it beside the table, and what follows from a wish, an end or a
//! failure: the longer answers of the table.

use std::time::Duration;

use tokio::time::Instant;

use super::{LEFTOVER_GRACE, Machine, Preparation, SHELL_NOT_FOUND};
use crate::plan::model::RestartWhen;
use crate::run::reason::HookFailure;
use crate::run::snapshot::Exit;
use crate::run::state::life::{
    Action, Failure, Flaw, Moment, Pressure, Rest, Settings, Standing, State, Then,
};
use crate::spec::model::HookTime;

impl Machine {
    /// One that nobody has asked for.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Resting(Rest::Pending),
            attempt: 0,
            failures: 0,
            retries: 0,
            blocked: None,
            was_ready: false,
            is_executed: false,
            has_completed: false,
            last_exit: None,
            flaw: None,
            preparation: Preparation::Missing,
            start_error: None,
        }
    }

    /// What there is to know of its service is something else from now on.
    pub(crate) fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What was known of its readiness says nothing any more.
    pub(crate) fn doubt(&mut self) {
        if let State::Up { standing, .. } = &mut self.state {
            *standing = if self.settings.has_readiness {
                Standing::Starting
            } else {
                Standing::Running
            };
        }
    }

    /// Moves every time by `gap`: the clock stood still for the user (Ctrl-Z, `fg`).
    pub(crate) fn shift(&mut self, gap: Duration) {
        if let Some((since, _)) = &mut self.blocked {
            *since += gap;
        }
        match &mut self.state {
            State::Backoff { until } => *until += gap,
            State::Up { started, .. } => *started += gap,
            State::Stopping { pressure, .. } => pressure.shift(gap),
            State::Resting(_) | State::Scheduled(_) | State::Waiting | State::Executing { .. } => {}
        }
    }

    /// It waits for its dependencies as if nothing had been: the first time, or for another run.
    pub(super) fn begin_run(&mut self) {
        self.failures = 0;
        self.blocked = None;
        self.preparation = Preparation::Missing;
        self.state = State::Waiting;
    }

    /// Where a run that is over leaves it.
    pub(super) fn ended_in(&self, rest: Rest) -> State {
        if self.settings.is_scheduled {
            State::Scheduled(rest)
        } else {
            State::Resting(rest)
        }
    }

    /// Stops it until `until`, after its `pre_stop`.
    pub(super) fn stop_up(&mut self, then: Then, until: Instant) -> Vec<Action> {
        let hooks = self.settings.begin(HookTime::PreStop);
        let pressure = match hooks {
            Some(_) => Pressure::Hook { until },
            None => Pressure::Asked { until },
        };
        self.state = State::Stopping {
            then,
            pressure,
            exit: None,
        };
        vec![Action::EndChecks, hooks.unwrap_or(Action::SignalStop)]
    }

    /// What being unhealthy leads to: a restart, where the file wants one and it has any left. That is
    /// a failure like an end by itself, and its delay grows in the same row.
    pub(super) fn after_unhealthy(&mut self, lasted: Duration, jitter: f64) -> Option<Then> {
        let policy = self.settings.policy;
        let is_first = self.was_ready && lasted >= policy.window;
        let failures = if is_first { 1 } else { self.failures + 1 };
        let has_any = policy.max_attempts.is_none_or(|limit| failures <= limit);
        (self.settings.restarts_unhealthy && has_any).then(|| {
            self.failures = failures;
            Then::Restart {
                delay: policy.delay_before(failures, jitter),
            }
        })
    }

    /// Executes it, after what prepares it where that has not passed yet.
    pub(super) fn begin_executing(&mut self) -> Vec<Action> {
        let hooks = self.settings.begin(HookTime::PreStart);
        let hooks = hooks.filter(|_| self.preparation != Preparation::Done);
        self.state = State::Executing {
            is_preparing: hooks.is_some(),
            stop: None,
        };
        vec![hooks.unwrap_or(Action::Execute)]
    }

    /// What prepares it has failed: a failed start, which counts as an attempt.
    pub(super) fn not_prepared(&mut self, failure: HookFailure, moment: Moment) {
        self.attempt += 1;
        self.failures += 1;
        self.last_exit = None;
        self.start_error = None;
        self.preparation = Preparation::Failed(failure.clone());
        let policy = &self.settings.policy;
        self.state = match policy.restart_after(false, self.failures, moment.jitter) {
            Ok(delay) => State::Backoff {
                until: moment.now + delay,
            },
            Err(restarts) => {
                self.ended_in(Rest::Failed(Failure::NotPrepared { failure, restarts }))
            }
        };
    }

    /// What an end by itself leads to.
    pub(super) fn after(&mut self, exit: Exit, lasted: Duration, jitter: f64) -> Then {
        let policy = self.settings.policy;
        // A code says nothing where somebody else has the port.
        let is_success = self.is_success(exit) && self.flaw.is_none();
        self.has_completed |= is_success;
        let was_good = lasted >= policy.window && (self.was_ready || !self.settings.has_readiness);
        self.failures = if was_good { 1 } else { self.failures + 1 };
        let cannot_execute = self.settings.is_shell_line
            && matches!(exit, Exit::Code(126 | 127))
            && lasted < SHELL_NOT_FOUND;
        if cannot_execute && !is_success {
            let failed = Then::Rest(Rest::Failed(Failure::Exited(exit)));
            return self.settings.until_next_run(failed);
        }
        let after = policy.after(exit, is_success, self.failures, jitter);
        self.settings.until_next_run(after)
    }

    /// The main process has ended with success, and what it left does not end by itself: it is asked,
    /// with the grace of the service that it may be. Of whom more is expected than to end, that is a
    /// failure, since nobody looks after what is in the background.
    pub(super) fn left_foreground(&mut self, is_awaited: bool, moment: Moment) -> Vec<Action> {
        let State::Stopping {
            then,
            pressure,
            exit,
        } = &mut self.state
        else {
            return vec![];
        };
        let until = moment.now + self.settings.grace;
        *pressure = Pressure::Asked { until };
        let policy = &self.settings.policy;
        let is_to_stay = self.settings.has_readiness || policy.when != RestartWhen::Never;
        if let (Some(exit), true) = (*exit, is_to_stay && !is_awaited) {
            self.flaw = Some(Flaw::Background);
            self.has_completed = false;
            let after = policy.after(exit, false, self.failures, moment.jitter);
            *then = self.settings.until_next_run(after);
        }
        vec![Action::SignalRest]
    }
}

/// It was asked to stop, until `due` in peace.
pub(super) fn stopping(then: Then, due: Instant) -> State {
    State::Stopping {
        then,
        pressure: Pressure::Asked { until: due },
        exit: None,
    }
}

/// What is left of it is killed, with a hook that runs.
pub(super) fn kill(pressure: &mut Pressure, exit: Option<Exit>, now: Instant) -> Vec<Action> {
    let until = now + LEFTOVER_GRACE;
    match std::mem::replace(pressure, Pressure::Killed { until }) {
        // Perhaps only its hook was waited for, and nothing is left whose end could be heard of.
        Pressure::Hook { .. } if exit.is_some() => vec![Action::EndChecks, Action::CheckTree],
        Pressure::Hook { .. } => vec![Action::EndChecks, Action::KillTree],
        Pressure::Unknown
        | Pressure::Patience { .. }
        | Pressure::Asked { .. }
        | Pressure::Killed { .. } => vec![Action::KillTree],
    }
}
