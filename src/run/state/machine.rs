//! One unit's life as a table: every state meets every occurrence on this page.
//!
//! The note with the same table in words is `docs/design/supervision.md`.

use std::time::Duration;

use tokio::time::Instant;

use super::life::{Action, Failure, Moment, Occurrence, Rest, Settings, Standing, State, Then};
use crate::plan::model::{RestartPolicy, RestartWhen};
use crate::run::reason::{PortTrouble, StartError};
use crate::run::snapshot::{Exit, Phase};

/// How long what a dead main process left behind may take after SIGTERM, and what was killed may
/// take to vanish.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// A shell's 126 or 127 counts as "cannot be executed" this soon after the start.
const SHELL_NOT_FOUND: Duration = Duration::from_secs(1);

/// For how long an execution that fails for lack of memory, processes, descriptors or a port is tried
/// again: more than the minute for which closed connections keep a port.
const BLOCKED_LIMIT: Duration = Duration::from_secs(100);

/// The longest pause between two of these tries.
const BLOCKED_PAUSE: Duration = Duration::from_secs(2);

/// A unit's state with its counters.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    settings: Settings,
    state: State,
    /// How often it was executed.
    attempt: u32,
    /// How many short runs in a row there were.
    failures: u32,
    /// Since when it could not be executed for now, and how often that was tried.
    blocked: Option<(Instant, u32)>,
    /// Whether the present attempt has been ready.
    was_ready: bool,
    /// Whether it was executed since somebody wanted it to run.
    is_executed: bool,
    /// Whether an attempt ended with success since somebody wanted it to run.
    has_completed: bool,
    /// How the last attempt ended; nothing when it could not be executed.
    last_exit: Option<Exit>,
    /// What was wrong with its ports besides.
    trouble: Option<PortTrouble>,
    /// Why nothing was executed the last time.
    start_error: Option<StartError>,
}

impl Machine {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Resting(Rest::Pending),
            attempt: 0,
            failures: 0,
            blocked: None,
            was_ready: false,
            is_executed: false,
            has_completed: false,
            last_exit: None,
            trouble: None,
            start_error: None,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn is_executed(&self) -> bool {
        self.is_executed
    }

    pub(crate) fn has_completed(&self) -> bool {
        self.has_completed
    }

    pub(crate) fn last_exit(&self) -> Option<Exit> {
        self.last_exit
    }

    pub(crate) fn trouble(&self) -> Option<&PortTrouble> {
        self.trouble.as_ref()
    }

    pub(crate) fn start_error(&self) -> Option<&StartError> {
        self.start_error.as_ref()
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Resting(Rest::Pending) => Phase::Pending,
            State::Resting(Rest::Completed) => Phase::Completed,
            State::Resting(Rest::Failed(_)) => Phase::Failed,
            State::Resting(Rest::Stopped) => Phase::Stopped,
            State::Waiting => Phase::Waiting,
            State::Executing { .. } => Phase::Starting,
            State::Up { standing, .. } => match standing {
                Standing::Starting => Phase::Starting,
                Standing::Running => Phase::Running,
                Standing::Healthy => Phase::Healthy,
                Standing::Unhealthy => Phase::Unhealthy,
            },
            State::Stopping { .. } => Phase::Stopping,
            State::Backoff { .. } => Phase::Backoff,
        }
    }

    /// When [`Occurrence::Due`] must be reported; the only timer a unit has.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Backoff { until } => Some(*until),
            State::Stopping { due, .. } => *due,
            State::Resting(_) | State::Waiting | State::Executing { .. } | State::Up { .. } => None,
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
            State::Stopping { due, .. } => *due = due.map(|due| due + gap),
            State::Resting(_) | State::Waiting | State::Executing { .. } => {}
        }
    }

    /// Takes in what happened and says what to do about it, in this order.
    pub(crate) fn on(&mut self, occurrence: Occurrence, moment: Moment) -> Vec<Action> {
        use Occurrence as O;
        use State as S;
        let now = moment.now;
        match (&mut self.state, occurrence) {
            // What SIGKILL did not end may still run: no second copy beside it. Its end, if it
            // comes after all, is what had been asked for.
            (S::Resting(Rest::Failed(Failure::Unkillable)), O::Begin) => vec![],
            (S::Resting(Rest::Failed(Failure::Unkillable)), O::Exited(exit)) => {
                self.last_exit = Some(exit);
                self.state = S::Resting(Rest::Stopped);
                vec![Action::HardenPorts]
            }

            // Somebody wants it to run.
            (S::Resting(_) | S::Waiting | S::Backoff { .. }, O::Begin) => {
                self.failures = 0;
                self.blocked = None;
                self.is_executed = false;
                self.has_completed = false;
                self.state = S::Waiting;
                vec![]
            }
            (S::Executing { .. } | S::Up { .. } | S::Stopping { .. }, O::Begin) => vec![],

            // Its dependencies.
            (S::Waiting, O::Execute) => {
                self.state = S::Executing { stop: None };
                vec![Action::Execute]
            }
            (S::Waiting, O::Blocked(blocker)) => {
                self.state = S::Resting(Rest::Failed(Failure::NotStarted(blocker)));
                vec![]
            }
            (
                S::Resting(_)
                | S::Executing { .. }
                | S::Up { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
                O::Execute | O::Blocked(_),
            ) => vec![],

            // The outcome of `Execute`.
            (S::Executing { stop }, O::Executed) => {
                let stop = *stop;
                self.attempt += 1;
                self.is_executed = true;
                self.was_ready = false;
                self.blocked = None;
                self.trouble = None;
                self.start_error = None;
                if let Some(grace) = stop {
                    self.state = stopping(Then::Rest(Rest::Stopped), now + grace);
                    return vec![Action::SignalStop];
                }
                let (standing, actions) = if self.settings.has_readiness {
                    (Standing::Starting, vec![Action::BeginChecks])
                } else {
                    (Standing::Running, vec![])
                };
                self.state = S::Up {
                    started: now,
                    standing,
                };
                actions
            }
            (S::Executing { stop: Some(_) }, O::NotExecuted { .. }) => {
                self.state = S::Resting(Rest::Stopped);
                vec![Action::HardenPorts]
            }
            (
                S::Executing { stop: None },
                O::NotExecuted {
                    error,
                    is_temporary,
                },
            ) => {
                self.last_exit = None;
                self.start_error = Some(error.clone());
                let (since, tries) = self.blocked.unwrap_or((now, 0));
                self.blocked = Some((since, tries + 1));
                let waited = now.saturating_duration_since(since);
                self.state = if is_temporary && waited < BLOCKED_LIMIT {
                    // Nothing has run, so this is not a failure of the service, and its policy is not
                    // asked.
                    let usual = RestartPolicy::with(RestartWhen::Always, None);
                    let delay = usual.delay_before(tries + 1, moment.jitter);
                    S::Backoff {
                        until: now + delay.min(BLOCKED_PAUSE),
                    }
                } else {
                    self.failures += 1;
                    S::Resting(Rest::Failed(Failure::NotExecuted(error)))
                };
                vec![Action::HardenPorts]
            }
            (
                S::Resting(_) | S::Waiting | S::Up { .. } | S::Stopping { .. } | S::Backoff { .. },
                O::Executed | O::NotExecuted { .. },
            ) => vec![],

            // Its checks. What is ready without one is not doubted.
            (S::Up { standing, .. }, O::Passed) => {
                if matches!(standing, Standing::Starting | Standing::Unhealthy) {
                    *standing = Standing::Healthy;
                    self.was_ready = true;
                }
                vec![]
            }
            (S::Up { standing, .. }, O::FailedChecks) => {
                if matches!(standing, Standing::Starting | Standing::Healthy) {
                    *standing = Standing::Unhealthy;
                }
                vec![]
            }

            // Its ports.
            (S::Up { .. }, O::InTrouble(trouble)) => {
                self.trouble = Some(trouble);
                vec![]
            }
            // It is not its fault: no failure, no delay.
            (S::Up { .. }, O::HoldInTheWay) => {
                self.state = stopping(Then::Again, now + self.settings.grace);
                vec![Action::EndChecks, Action::SignalStop]
            }
            (
                S::Resting(_)
                | S::Waiting
                | S::Executing { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
                O::Passed | O::FailedChecks | O::InTrouble(_) | O::HoldInTheWay,
            ) => vec![],

            // Its end, by itself.
            (S::Up { started, .. }, O::Exited(exit)) => {
                let lasted = now.saturating_duration_since(*started);
                let then = self.after(exit, lasted, moment.jitter);
                self.last_exit = Some(exit);
                self.state = S::Stopping {
                    then,
                    due: None,
                    is_killed: false,
                    exit: Some(exit),
                };
                vec![Action::HardenPorts, Action::EndChecks, Action::CheckTree]
            }
            (S::Stopping { exit: main, .. }, O::Exited(exit)) => {
                self.last_exit = Some(exit);
                *main = Some(exit);
                vec![Action::HardenPorts, Action::CheckTree]
            }
            (
                S::Stopping {
                    then,
                    exit: Some(_),
                    ..
                },
                O::TreeEmpty,
            ) => {
                self.state = match then.clone() {
                    Then::Rest(rest) => S::Resting(rest),
                    Then::Again => S::Waiting,
                    Then::Restart { delay } => S::Backoff { until: now + delay },
                };
                vec![]
            }
            // The group vanished and the main process is a zombie that was not reaped yet.
            (S::Stopping { exit: None, .. }, O::TreeEmpty) => vec![],
            // Something was forked while the rest was killed: it is as little wanted.
            (
                S::Stopping {
                    is_killed: true, ..
                },
                O::TreeLeft,
            ) => vec![Action::KillTree],
            // The grace period goes on for the rest of the tree.
            (S::Stopping { due: Some(_), .. }, O::TreeLeft) => vec![Action::SignalStrays],
            (S::Stopping { due, .. }, O::TreeLeft) => {
                *due = Some(now + LEFTOVER_GRACE);
                vec![Action::SignalRest]
            }
            (
                S::Resting(_) | S::Waiting | S::Executing { .. } | S::Backoff { .. },
                O::Exited(_) | O::TreeEmpty | O::TreeLeft,
            )
            | (S::Up { .. }, O::TreeEmpty | O::TreeLeft) => vec![],

            // Its end, asked for.
            (S::Resting(_), O::Stop { .. } | O::Kill) => vec![],
            (S::Waiting | S::Backoff { .. }, O::Stop { .. } | O::Kill) => {
                self.state = S::Resting(Rest::Stopped);
                vec![]
            }
            (S::Executing { stop }, O::Stop { grace }) => {
                *stop = Some(grace.unwrap_or(self.settings.grace));
                vec![Action::CancelExecute]
            }
            (S::Executing { stop }, O::Kill) => {
                *stop = Some(Duration::ZERO);
                vec![Action::CancelExecute]
            }
            (S::Up { .. }, O::Stop { grace }) => {
                let due = now + grace.unwrap_or(self.settings.grace);
                self.state = stopping(Then::Rest(Rest::Stopped), due);
                vec![Action::EndChecks, Action::SignalStop]
            }
            (S::Stopping { then, due, .. }, O::Stop { grace }) => {
                then.end_restarts();
                // One that is shorter than what is left wins.
                if let (Some(grace), Some(due)) = (grace, due.as_mut()) {
                    *due = (*due).min(now + grace);
                }
                vec![]
            }
            (S::Up { .. }, O::Kill) => {
                self.state = S::Stopping {
                    then: Then::Rest(Rest::Stopped),
                    due: Some(now + LEFTOVER_GRACE),
                    is_killed: true,
                    exit: None,
                };
                vec![Action::EndChecks, Action::KillTree]
            }
            (
                S::Stopping {
                    then,
                    due,
                    is_killed,
                    ..
                },
                O::Kill,
            ) => {
                then.end_restarts();
                *due = Some(now + LEFTOVER_GRACE);
                *is_killed = true;
                vec![Action::KillTree]
            }

            // Its deadline.
            (S::Backoff { until }, O::Due) => {
                if now < *until {
                    return vec![];
                }
                self.state = S::Executing { stop: None };
                vec![Action::Execute]
            }
            (
                S::Stopping {
                    due: Some(due),
                    is_killed,
                    ..
                },
                O::Due,
            ) => {
                if now < *due {
                    return vec![];
                }
                if *is_killed {
                    self.state = S::Resting(Rest::Failed(Failure::Unkillable));
                    return vec![];
                }
                *is_killed = true;
                *due = now + LEFTOVER_GRACE;
                vec![Action::KillTree]
            }
            (
                S::Resting(_)
                | S::Waiting
                | S::Executing { .. }
                | S::Up { .. }
                | S::Stopping { due: None, .. },
                O::Due,
            ) => vec![],
        }
    }

    /// What an end by itself leads to.
    fn after(&mut self, exit: Exit, lasted: Duration, jitter: f64) -> Then {
        let policy = self.settings.policy;
        // A code says nothing where somebody else has the port.
        let is_success = self.is_success(exit) && self.trouble.is_none();
        self.has_completed |= is_success;
        let was_good = lasted >= policy.window && (self.was_ready || !self.settings.has_readiness);
        self.failures = if was_good { 1 } else { self.failures + 1 };
        let cannot_execute = self.settings.is_shell_line
            && matches!(exit, Exit::Code(126 | 127))
            && lasted < SHELL_NOT_FOUND;
        let is_restarted = match policy.when {
            RestartWhen::Never => false,
            RestartWhen::OnFailure => !is_success,
            RestartWhen::Always => true,
        };
        let restarts = self.failures - 1;
        let failure = if !is_restarted || (cannot_execute && !is_success) {
            Some(Failure::Exited(exit))
        } else if policy.max_attempts.is_some_and(|limit| restarts >= limit) {
            Some(Failure::GaveUp { exit, restarts })
        } else {
            None
        };
        match failure {
            Some(_) if is_success => return Then::Rest(Rest::Completed),
            Some(failure) => return Then::Rest(Rest::Failed(failure)),
            None => {}
        }
        Then::Restart {
            delay: policy.delay_before(self.failures, jitter),
        }
    }

    /// Whether an exit counts as success.
    pub(crate) fn is_success(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(0) => true,
            Exit::Code(code) => u8::try_from(code)
                .is_ok_and(|code| self.settings.success_exit_codes.contains(&code)),
            Exit::Signal(_) => false,
        }
    }
}

/// It was asked to stop, until `due` in peace.
fn stopping(then: Then, due: Instant) -> State {
    State::Stopping {
        then,
        due: Some(due),
        is_killed: false,
        exit: None,
    }
}

#[cfg(test)]
mod tests;
