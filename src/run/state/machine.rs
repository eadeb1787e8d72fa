//! One unit's life as a table: every state meets every occurrence on this page.
//!
//! The note with the same table in words is `docs/design/supervision.md`.

mod follows;
mod view;

use std::time::Duration;

use tokio::time::Instant;

use follows::{kill, stopping};

use super::life::{
    Action, Failure, Flaw, Moment, Occurrence, Pressure, Rest, Settings, Standing, State, Then,
};
use crate::plan::model::{RestartPolicy, RestartWhen};
use crate::run::reason::{HookFailure, StartError};
use crate::run::snapshot::Exit;
use crate::spec::model::HookTime;

/// How long what a main process that failed left behind may take after SIGTERM, and what was killed
/// may take to vanish.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// How long what a content main process left behind may take to end by itself. A child that its
/// parent's end ends takes milliseconds; what stays was put in the background.
const PATIENCE: Duration = Duration::from_millis(200);

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
    /// How many executions followed a failure by themselves.
    retries: u32,
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
    /// What makes a failure of its end, whatever the code.
    flaw: Option<Flaw>,
    /// What came of `pre_start` since somebody wanted it to run.
    preparation: Preparation,
    /// Why nothing was executed the last time.
    start_error: Option<StartError>,
}

/// What came of what prepares a unit.
#[derive(Debug, Clone, PartialEq)]
enum Preparation {
    /// Nothing yet.
    Missing,
    /// It has failed the last time.
    Failed(HookFailure),
    /// It has passed.
    Done,
}

impl Machine {
    /// Takes in what happened and says what to do about it, in this order.
    pub(crate) fn on(&mut self, occurrence: Occurrence, moment: Moment) -> Vec<Action> {
        use Occurrence as O;
        use State as S;
        let now = moment.now;
        match (&mut self.state, occurrence) {
            // What SIGKILL did not end may still run: no second copy beside it. Its end, if it
            // comes after all, is what had been asked for.
            (S::Resting(Rest::Failed(Failure::Unkillable)), O::Begin | O::Schedule) => vec![],
            (S::Resting(Rest::Failed(Failure::Unkillable)), O::Exited(exit)) => {
                self.last_exit = Some(exit);
                self.state = S::Resting(Rest::Stopped);
                vec![Action::HardenPorts]
            }

            // Somebody wants it to run.
            (S::Resting(_) | S::Scheduled(_) | S::Waiting | S::Backoff { .. }, O::Begin) => {
                self.is_executed = false;
                self.has_completed = false;
                self.begin_run();
                vec![]
            }
            (S::Resting(_) | S::Scheduled(_) | S::Waiting | S::Backoff { .. }, O::Schedule) => {
                self.is_executed = false;
                self.has_completed = false;
                self.last_exit = None;
                self.state = S::Scheduled(Rest::Pending);
                vec![]
            }
            (S::Executing { .. } | S::Up { .. } | S::Stopping { .. }, O::Begin | O::Schedule) => {
                vec![]
            }

            // Its dependencies.
            (S::Waiting, O::Execute) => self.begin_executing(),
            (S::Waiting, O::Blocked(blocker)) => {
                self.state = self.ended_in(Rest::Failed(Failure::NotStarted(blocker)));
                vec![]
            }
            (
                S::Resting(_)
                | S::Scheduled(_)
                | S::Executing { .. }
                | S::Up { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
                O::Execute | O::Blocked(_),
            ) => vec![],

            // What prepares it.
            (
                S::Executing {
                    is_preparing: true,
                    stop: Some(_),
                },
                O::Prepared | O::HookFailed(_),
            ) => {
                self.state = S::Resting(Rest::Stopped);
                vec![]
            }
            (
                S::Executing {
                    is_preparing: is_preparing @ true,
                    stop: None,
                },
                O::Prepared,
            ) => {
                *is_preparing = false;
                self.preparation = Preparation::Done;
                vec![Action::Execute]
            }
            (
                S::Executing {
                    is_preparing: true,
                    stop: None,
                },
                O::HookFailed(failure),
            ) => {
                self.not_prepared(failure, moment);
                vec![]
            }
            (
                S::Executing {
                    is_preparing: false,
                    ..
                }
                | S::Resting(_)
                | S::Scheduled(_)
                | S::Waiting
                | S::Up { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
                O::Prepared | O::HookFailed(_),
            ) => vec![],

            // The outcome of `Execute`.
            (S::Executing { stop, .. }, O::Executed) => {
                let stop = *stop;
                self.attempt += 1;
                self.is_executed = true;
                self.was_ready = false;
                self.blocked = None;
                self.flaw = None;
                self.start_error = None;
                if let Some(grace) = stop {
                    self.state = stopping(Then::Rest(Rest::Stopped), now + grace);
                    return vec![Action::SignalStop];
                }
                let (standing, mut actions) = if self.settings.has_readiness {
                    (Standing::Starting, vec![Action::BeginChecks])
                } else {
                    (Standing::Running, vec![])
                };
                actions.extend(self.settings.begin(HookTime::PostStart));
                self.state = S::Up {
                    started: now,
                    standing,
                };
                actions
            }
            (S::Executing { stop: Some(_), .. }, O::NotExecuted { .. }) => {
                self.state = S::Resting(Rest::Stopped);
                vec![Action::HardenPorts]
            }
            (
                S::Executing { stop: None, .. },
                O::NotExecuted {
                    error,
                    is_temporary,
                },
            ) => {
                self.last_exit = None;
                self.start_error = Some(error.clone());
                if matches!(self.preparation, Preparation::Failed(_)) {
                    self.preparation = Preparation::Missing;
                }
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
                    self.ended_in(Rest::Failed(Failure::NotExecuted(error)))
                };
                vec![Action::HardenPorts]
            }
            (
                S::Resting(_)
                | S::Scheduled(_)
                | S::Waiting
                | S::Up { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
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
            (S::Up { standing, started }, O::FailedChecks) => {
                if !matches!(standing, Standing::Starting | Standing::Healthy) {
                    return vec![];
                }
                *standing = Standing::Unhealthy;
                let lasted = now.saturating_duration_since(*started);
                match self.after_unhealthy(lasted, moment.jitter) {
                    Some(then) => self.stop_up(then, now + self.settings.grace),
                    None => vec![],
                }
            }

            // It ends by itself, so nobody ends it.
            (S::Up { standing, .. }, O::Leaving) => {
                *standing = Standing::Unhealthy;
                vec![]
            }

            // Its ports.
            (S::Up { .. }, O::InTrouble(trouble)) => {
                self.flaw = Some(Flaw::Port(trouble));
                vec![]
            }
            // It is not its fault: no failure, no delay.
            (S::Up { .. }, O::HoldInTheWay) => {
                self.state = stopping(Then::Again, now + self.settings.grace);
                vec![Action::EndChecks, Action::SignalStop]
            }
            (
                S::Resting(_)
                | S::Scheduled(_)
                | S::Waiting
                | S::Executing { .. }
                | S::Stopping { .. }
                | S::Backoff { .. },
                O::Passed | O::FailedChecks | O::Leaving | O::InTrouble(_) | O::HoldInTheWay,
            ) => vec![],

            // Its end, by itself.
            (S::Up { started, .. }, O::Exited(exit)) => {
                let lasted = now.saturating_duration_since(*started);
                let then = self.after(exit, lasted, moment.jitter);
                self.last_exit = Some(exit);
                self.state = S::Stopping {
                    then,
                    pressure: Pressure::Unknown,
                    exit: Some(exit),
                };
                vec![Action::HardenPorts, Action::EndChecks, Action::CheckTree]
            }
            (S::Stopping { exit: main, .. }, O::Exited(exit)) => {
                self.last_exit = Some(exit);
                *main = Some(exit);
                vec![Action::HardenPorts, Action::CheckTree]
            }
            // Its `pre_stop` goes on, and is waited for.
            (
                S::Stopping {
                    pressure: Pressure::Hook { .. },
                    ..
                },
                O::TreeEmpty | O::TreeLeft { .. },
            ) => vec![],
            (S::Stopping { pressure, exit, .. }, O::HooksDone) => {
                let Pressure::Hook { until } = *pressure else {
                    return vec![];
                };
                *pressure = Pressure::Asked { until };
                let is_main_left = exit.is_none();
                vec![if is_main_left {
                    Action::SignalStop
                } else {
                    Action::CheckTree
                }]
            }
            (
                S::Resting(_)
                | S::Scheduled(_)
                | S::Waiting
                | S::Executing { .. }
                | S::Up { .. }
                | S::Backoff { .. },
                O::HooksDone,
            ) => vec![],
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
                    Then::Schedule(rest) => S::Scheduled(rest),
                    Then::Again => S::Waiting,
                    Then::Restart { delay } => S::Backoff { until: now + delay },
                };
                vec![]
            }
            // The group vanished and the main process is a zombie that was not reaped yet.
            (S::Stopping { exit: None, .. }, O::TreeEmpty) => vec![],
            (S::Stopping { pressure, exit, .. }, O::TreeLeft { is_awaited }) => match pressure {
                Pressure::Unknown => {
                    let is_success = exit.is_some_and(|exit| self.settings.is_success(exit));
                    if !is_success || self.flaw.is_some() {
                        let until = now + LEFTOVER_GRACE;
                        *pressure = Pressure::Asked { until };
                        return vec![Action::SignalRest];
                    }
                    // A server that only begins now would not get its port, and be gone too soon.
                    if self.settings.has_readiness && !self.was_ready {
                        return self.left_foreground(is_awaited, moment);
                    }
                    let until = now + PATIENCE;
                    *pressure = Pressure::Patience { until, is_awaited };
                    vec![]
                }
                Pressure::Patience { .. } | Pressure::Hook { .. } => vec![],
                // The grace period goes on for the rest of the tree.
                Pressure::Asked { .. } => vec![Action::SignalStrays],
                // Something was forked while the rest was killed: it is as little wanted.
                Pressure::Killed { .. } => vec![Action::KillTree],
            },
            (
                S::Resting(_)
                | S::Scheduled(_)
                | S::Waiting
                | S::Executing { .. }
                | S::Backoff { .. },
                O::Exited(_) | O::TreeEmpty | O::TreeLeft { .. },
            )
            | (S::Up { .. }, O::TreeEmpty | O::TreeLeft { .. }) => vec![],

            // Its end, asked for.
            (S::Resting(_), O::Stop { .. } | O::Kill) => vec![],
            (S::Scheduled(_) | S::Waiting | S::Backoff { .. }, O::Stop { .. } | O::Kill) => {
                self.state = S::Resting(Rest::Stopped);
                vec![]
            }
            (S::Executing { stop, .. }, O::Stop { grace }) => {
                *stop = Some(grace.unwrap_or(self.settings.grace));
                vec![Action::CancelExecute]
            }
            (S::Executing { stop, .. }, O::Kill) => {
                *stop = Some(Duration::ZERO);
                vec![Action::CancelExecute]
            }
            (S::Up { .. }, O::Stop { grace }) => {
                let until = now + grace.unwrap_or(self.settings.grace);
                self.stop_up(Then::Rest(Rest::Stopped), until)
            }
            (S::Stopping { then, pressure, .. }, O::Stop { grace }) => {
                then.end_restarts();
                let until = now + grace.unwrap_or(self.settings.grace);
                match pressure {
                    Pressure::Unknown => *pressure = Pressure::Asked { until },
                    Pressure::Patience { .. } => {
                        *pressure = Pressure::Asked { until };
                        return vec![Action::SignalRest];
                    }
                    // One that is shorter than what is left wins.
                    Pressure::Asked { until: left } | Pressure::Hook { until: left }
                        if grace.is_some() =>
                    {
                        *left = until.min(*left);
                    }
                    // What was killed needs its moment all the same: it is not given up sooner.
                    Pressure::Asked { .. } | Pressure::Hook { .. } | Pressure::Killed { .. } => {}
                }
                vec![]
            }
            (S::Up { .. }, O::Kill) => {
                self.state = S::Stopping {
                    then: Then::Rest(Rest::Stopped),
                    pressure: Pressure::Killed {
                        until: now + LEFTOVER_GRACE,
                    },
                    exit: None,
                };
                vec![Action::EndChecks, Action::KillTree]
            }
            (
                S::Stopping {
                    then,
                    pressure,
                    exit,
                },
                O::Kill,
            ) => {
                then.end_restarts();
                kill(pressure, *exit, now)
            }

            // Its deadline.
            (S::Scheduled(_), O::Due) => {
                self.begin_run();
                vec![]
            }
            (S::Backoff { until }, O::Due) => {
                if now < *until {
                    return vec![];
                }
                self.retries += 1;
                self.begin_executing()
            }
            (S::Stopping { pressure, .. }, O::Due)
                if pressure.due().is_none_or(|due| now < due) =>
            {
                vec![]
            }
            (S::Stopping { pressure, exit, .. }, O::Due) => match *pressure {
                Pressure::Unknown => vec![],
                Pressure::Patience { is_awaited, .. } => self.left_foreground(is_awaited, moment),
                Pressure::Asked { .. } | Pressure::Hook { .. } => kill(pressure, *exit, now),
                Pressure::Killed { .. } => {
                    self.state = S::Resting(Rest::Failed(Failure::Unkillable));
                    vec![]
                }
            },
            (S::Resting(_) | S::Waiting | S::Executing { .. } | S::Up { .. }, O::Due) => vec![],
        }
    }
}

#[cfg(test)]
mod tests;
