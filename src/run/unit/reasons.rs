//! Why a unit is where it is, and why others cannot wait for it.

use super::Unit;
use crate::run::reason::{Blocker, BlockerState, LeftBehind, Reason};
use crate::run::snapshot::Exit;
use crate::run::state::{Failure, HEALTHY_LIMIT, Pressure, Rest, Standing, State};

impl Unit {
    /// Why it is where it is, where there is more to say than the phase does.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self.machine.state() {
            State::Resting(Rest::Failed(failure)) | State::Scheduled(Rest::Failed(failure)) => {
                Some(self.failure(failure))
            }
            State::Backoff { .. } => self.unhealthy().or_else(|| self.last_end()),
            State::Up { .. } if self.spared.is_some() => {
                let because = self.spared.as_ref()?.because.clone();
                Some(Reason::NotApplied {
                    because: Box::new(because),
                })
            }
            State::Up { standing, .. }
                if *standing != Standing::Unhealthy && self.status().is_some() =>
            {
                let text = self.status()?.to_owned();
                Some(Reason::Status { text })
            }
            State::Up {
                standing: Standing::Unhealthy | Standing::Starting,
                ..
            } => self
                .last_answer
                .clone()
                .map(|failure| Reason::Check { failure }),
            State::Executing {
                is_preparing: true, ..
            }
            | State::Stopping {
                pressure: Pressure::Hook { .. },
                ..
            } => self.hook.as_ref().map(|hook| Reason::Hook {
                time: hook.plan.time,
                command: hook.plan.execution.shown(),
            }),
            State::Executing { .. } => {
                let (step, percent) = self.progress.clone()?;
                Some(Reason::Preparing { step, percent })
            }
            State::Stopping {
                pressure: Pressure::Killed { .. },
                ..
            } => Some(Reason::Killed),
            State::Stopping { .. } => self.unhealthy(),
            State::Resting(_) | State::Scheduled(_) | State::Waiting | State::Up { .. } => None,
        }
    }

    /// Why it is restarted although it has not ended by itself.
    fn unhealthy(&self) -> Option<Reason> {
        let failure = self.restarted_for.clone()?;
        Some(Reason::Check { failure })
    }

    /// What it says of itself.
    fn status(&self) -> Option<&str> {
        self.notified.as_ref()?.status()
    }

    fn failure(&self, failure: &Failure) -> Reason {
        match failure {
            Failure::Exited(exit) => self.ended(*exit),
            Failure::GaveUp { exit, restarts } => Reason::GaveUp {
                exit: *exit,
                restarts: *restarts,
                trouble: self.machine.trouble().cloned(),
                left: self.left_in_background(),
            },
            Failure::NotExecuted(error) => Reason::NotExecuted {
                error: error.clone(),
            },
            Failure::NotPrepared { failure, restarts } => Reason::NotPrepared {
                failure: failure.clone(),
                restarts: *restarts,
            },
            Failure::NotStarted(because) => Reason::NotStarted {
                because: Box::new(because.clone()),
            },
            Failure::Unkillable => Reason::Unkillable { pid: self.pid },
        }
    }

    fn ended(&self, exit: Exit) -> Reason {
        Reason::Ended {
            exit,
            trouble: self.machine.trouble().cloned(),
            left: self.left_in_background(),
        }
    }

    /// What it left, where that is why it has failed.
    fn left_in_background(&self) -> Option<LeftBehind> {
        self.left
            .clone()
            .filter(|_| self.machine.is_in_background())
    }

    /// How the last attempt ended, or why there was none.
    fn last_end(&self) -> Option<Reason> {
        if let Some(exit) = self.machine.last_exit() {
            return Some(self.ended(exit));
        }
        if let Some(failure) = self.machine.hook_failure().cloned() {
            let restarts = None;
            return Some(Reason::NotPrepared { failure, restarts });
        }
        let error = self.machine.start_error().cloned()?;
        Some(Reason::NotExecuted { error })
    }

    /// Why it cannot meet a condition.
    pub(crate) fn blocker(&self) -> Blocker {
        let state = match self.machine.state() {
            State::Resting(Rest::Failed(failure)) => BlockerState::Failed {
                reason: self.failure(failure),
            },
            State::Resting(Rest::Completed) => BlockerState::Ended,
            State::Resting(Rest::Stopped) => BlockerState::Stopped,
            State::Up {
                standing: Standing::Unhealthy,
                ..
            } => BlockerState::Unhealthy {
                last: self.last_answer.clone(),
            },
            State::Resting(Rest::Pending)
            | State::Scheduled(_)
            | State::Waiting
            | State::Executing { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => match self.ports.trouble() {
                Some(trouble) => BlockerState::NotReady { trouble },
                None => BlockerState::Late {
                    limit_millis: u64::try_from(HEALTHY_LIMIT.as_millis()).unwrap_or(u64::MAX),
                    last: self.last_answer.clone(),
                },
            },
        };
        Blocker {
            unit: self.unit_ref(),
            state,
        }
    }
}
