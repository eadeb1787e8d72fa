//! What is wanted of a unit, and what has been done about it.

use std::time::Duration;

use tokio::time::Instant;

use crate::run::snapshot::{Cause, Phase, Wanted};

/// Counts the changes of what is wanted of one unit; 0 is before the first one.
pub(crate) type Generation = u64;

/// What somebody wants of a unit. A command moves it and does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Desired {
    /// What is wanted.
    pub(crate) wanted: Wanted,
    /// Since which generation.
    pub(crate) generation: Generation,
    /// What moved it last.
    pub(crate) cause: Cause,
    /// How long the processes that are to come down for it may take, instead of the usual time.
    pub(crate) grace: Option<Duration>,
    /// Whether its dependencies are as good as met, whatever they do (`--no-deps`).
    pub(crate) ignores_dependencies: bool,
    /// Whether what runs of it stays until its dependencies are there for what comes.
    pub(crate) is_rolling: bool,
    /// Whether it runs at once, whatever its schedule says.
    pub(crate) runs_now: bool,
}

impl Desired {
    /// Nobody has asked for anything.
    pub(crate) const IDLE: Self = Self {
        wanted: Wanted::Nothing,
        generation: 0,
        cause: Cause::Up,
        grace: None,
        ignores_dependencies: false,
        is_rolling: false,
        runs_now: false,
    };

    /// Wants something else from now on, or the same thing anew.
    pub(crate) fn change(&mut self, wanted: Wanted, cause: Cause, grace: Option<Duration>) {
        *self = Self {
            wanted,
            generation: self.generation + 1,
            cause,
            grace,
            ignores_dependencies: false,
            is_rolling: false,
            runs_now: false,
        };
    }
}

/// What there is to know of a unit by those who decide what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub(crate) struct Observed {
    /// The step of its life.
    pub(crate) phase: Phase,
    /// The generation for which its present row of attempts was begun.
    pub(crate) begun: Generation,
    /// The last generation for which it was told to stop or was killed.
    pub(crate) told: Generation,
    /// Whether it was executed since it was begun.
    pub(crate) is_executed: bool,
    /// Whether an attempt ended with success since it was begun.
    pub(crate) has_completed: bool,
    /// Whether it is not known yet what those are to be that depend on it.
    pub(crate) is_uncertain: bool,
    /// Whether SIGKILL could not end it: nothing is started beside what may still run.
    pub(crate) is_unkillable: bool,
    /// When a wait for its health ends; `None` while it was not executed.
    pub(crate) healthy_until: Option<Instant>,
}

/// A unit as [`reconcile`](super::reconcile()) sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) desired: Desired,
    pub(crate) observed: Observed,
}

impl Seen {
    /// Whether what there is of it belongs to an earlier generation than the one that is to run.
    pub(crate) fn is_old(&self) -> bool {
        self.desired.wanted == Wanted::Running && self.observed.begun < self.desired.generation
    }

    /// Whether its processes are to end before anything else can happen to it.
    pub(crate) fn is_to_come_down(&self) -> bool {
        match self.desired.wanted {
            Wanted::Nothing => false,
            // What is to stay for now keeps nobody waiting.
            Wanted::Running => self.is_old() && !self.desired.is_rolling,
            Wanted::Stopped | Wanted::Killed => true,
        }
    }

    /// Whether it keeps what it depends on from stopping.
    pub(super) fn holds_up(&self) -> bool {
        match self.observed.phase {
            Phase::Stopping => true,
            Phase::Starting | Phase::Running | Phase::Healthy | Phase::Unhealthy => {
                self.is_to_come_down()
            }
            Phase::Pending
            | Phase::Waiting
            | Phase::Backoff
            | Phase::Scheduled
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => false,
        }
    }

    /// Whether nothing of it is there, nor will be unless somebody asks. What SIGKILL could not end may
    /// end after all, and what was to begin anew does so then.
    pub(crate) fn is_down_for_good(&self) -> bool {
        self.observed.phase.is_at_rest() && !self.is_old()
    }

    /// Whether nothing more happens to it by itself.
    pub(crate) fn is_settled(&self) -> bool {
        self.observed.phase.is_at_rest() && (!self.is_old() || self.observed.is_unkillable)
    }
}
