//! What others read of a machine.

use tokio::time::Instant;

use super::{Machine, Preparation};
use crate::run::reason::{HookFailure, PortTrouble, StartError};
use crate::run::snapshot::{Exit, Phase};
use crate::run::state::life::{Flaw, Pressure, Rest, Standing, State};

impl Machine {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Whether it was executed and is not being stopped.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How often it was executed again as its policy says, if it has a schedule, whose runs are not that.
    pub(crate) fn retries(&self) -> Option<u32> {
        self.settings.is_scheduled.then_some(self.retries)
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
        match &self.flaw {
            Some(Flaw::Port(trouble)) => Some(trouble),
            Some(Flaw::Background) | None => None,
        }
    }

    /// Whether the last attempt has failed by leaving the foreground.
    pub(crate) fn is_in_background(&self) -> bool {
        self.flaw == Some(Flaw::Background)
    }

    pub(crate) fn start_error(&self) -> Option<&StartError> {
        self.start_error.as_ref()
    }

    /// Which hook kept it from being executed the last time.
    pub(crate) fn hook_failure(&self) -> Option<&HookFailure> {
        match &self.preparation {
            Preparation::Failed(failure) => Some(failure),
            Preparation::Missing | Preparation::Done => None,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Resting(Rest::Pending) => Phase::Pending,
            State::Resting(Rest::Completed) => Phase::Completed,
            State::Resting(Rest::Failed(_)) => Phase::Failed,
            State::Resting(Rest::Stopped) => Phase::Stopped,
            State::Scheduled(_) => Phase::Scheduled,
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
            State::Stopping { pressure, .. } => pressure.due(),
            State::Resting(_)
            | State::Scheduled(_)
            | State::Waiting
            | State::Executing { .. }
            | State::Up { .. } => None,
        }
    }

    /// When what is being brought to an end is killed, or given up.
    pub(crate) fn kill_at(&self) -> Option<Instant> {
        match &self.state {
            State::Stopping { pressure, .. } => match pressure {
                Pressure::Hook { until }
                | Pressure::Asked { until }
                | Pressure::Killed { until } => Some(*until),
                Pressure::Unknown | Pressure::Patience { .. } => None,
            },
            State::Resting(_)
            | State::Scheduled(_)
            | State::Waiting
            | State::Executing { .. }
            | State::Up { .. }
            | State::Backoff { .. } => None,
        }
    }

    /// Whether an exit counts as success.
    pub(crate) fn is_success(&self, exit: Exit) -> bool {
        self.settings.is_success(exit)
    }
}
