//! What must be so: a second, simpler telling of `docs/design/desired-state.md`.
//!
//! It is told the commands in the order in which they are carried out, what happened, and what the runner
//! was asked for. It knows no queue, no steps and no machine: it keeps what follows from these for good,
//! and says of every unit where it has to be once everything that could be done was done.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::model::UnitPlan;
use crate::run::snapshot::{Cause, DesiredSnapshot, Phase, Wanted};
use crate::spec::model::HookTime;
use crate::support::name::UnitId;

/// A main process.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a record of facts, each by itself"
)]
pub(super) struct Process {
    pub(super) since: Instant,
    /// Where it stands while nobody has told it to stop: starting, running, healthy or unhealthy. Health
    /// is taken as it is told.
    pub(super) standing: Phase,
    /// Whether one of its checks has passed.
    pub(super) has_passed: bool,
    pub(super) was_ready: bool,
    /// Until when it may end in peace, once it is to: the time of its `pre_stop` counts.
    pub(super) told: Option<Instant>,
    /// Whether it was sent the signal.
    pub(super) is_signalled: bool,
    /// Whether it has ended before its `pre_stop` has, which is waited for.
    pub(super) has_ended: bool,
    pub(super) killed: Option<Instant>,
    pub(super) is_given_up: bool,
    /// Whether it runs though its start was given up.
    pub(super) was_cancelled: bool,
}

/// Where a unit is of which nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    Pending,
    Waiting,
    /// Its `pre_start` runs, or has passed this moment.
    Preparing,
    /// It is executed between these two times.
    Backoff(Instant, Instant),
    /// It waits for its schedule; whether its last run has failed.
    Scheduled(bool),
    Completed,
    Failed,
    Stopped,
}

/// A start that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Underway {
    No,
    Yes,
    Cancelled,
}

/// When its schedule wants the next run of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextRun {
    /// It has none, or it does not count.
    None,
    At(Instant),
    /// At a time that no test lives to see.
    Sometime,
}

/// Hooks of one time, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Hooks {
    pub(super) time: HookTime,
    /// The number of the one that runs, and when it is killed if it has not ended.
    pub(super) running: Option<(u64, Option<Instant>)>,
    /// Those that come after it, by their places in the plan.
    pub(super) rest: VecDeque<usize>,
    /// The last generation for which `pre_start` had to be asked to end; whether that is still to be done.
    pub(super) asked: u64,
    pub(super) must_be_asked: bool,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "a record of facts, each by itself"
)]
pub(super) struct Life {
    pub(super) plan: UnitPlan,
    /// What is wanted, moved by commands alone.
    pub(super) desired: DesiredSnapshot,
    pub(super) grace: Option<Duration>,
    /// Whether the command that is being carried out has moved it.
    pub(super) is_moved: bool,
    pub(super) is_alone: bool,
    /// Whether it is to run at once, whatever its schedule says.
    pub(super) runs_now: bool,
    /// The generation of its row of attempts, and what came of that.
    pub(super) begun: u64,
    pub(super) is_executed: bool,
    pub(super) has_completed: bool,
    pub(super) first_executed: Option<Instant>,
    pub(super) failures: u32,
    pub(super) blocked: Option<(Instant, u32)>,
    /// Whether its `pre_start` has passed for this run.
    pub(super) is_prepared: bool,
    pub(super) hooks: Option<Hooks>,
    pub(super) process: Option<Process>,
    pub(super) underway: Underway,
    pub(super) without: Without,
    pub(super) next_run: NextRun,
}

impl fmt::Debug for Life {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DesiredSnapshot {
            wanted,
            generation,
            cause,
        } = self.desired;
        let name = self.plan.id().label(self.plan.replicas);
        write!(
            to,
            "{name} {:?}, {wanted:?} since {generation} ({cause:?})",
            self.phase()
        )?;
        let (begun, is_executed) = (self.begun, self.is_executed);
        write!(to, ", begun for {begun}, executed: {is_executed}")?;
        write!(
            to,
            ", {:?} {:?} {:?} {:?} {:?}",
            self.process, self.underway, self.without, self.hooks, self.next_run
        )
    }
}

impl Life {
    pub(super) fn is_old(&self) -> bool {
        self.desired.wanted == Wanted::Running && self.begun < self.desired.generation
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.process.is_none()
            && self.underway == Underway::No
            && self.without != Without::Preparing
    }

    /// Whether its `pre_start` has passed this moment.
    pub(super) fn is_just_prepared(&self) -> bool {
        self.without == Without::Preparing && self.underway == Underway::No && self.hooks.is_none()
    }

    /// Its hooks of a time, by their places in the plan.
    pub(super) fn places(&self, time: HookTime) -> VecDeque<usize> {
        let hooks = self.plan.hooks.iter().zip(0..);
        let of_then = hooks.filter(|(hook, _)| hook.time == time);
        of_then.map(|(_, place)| place).collect()
    }

    pub(super) fn runs(&self, time: HookTime) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.time == time)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.process.is_some_and(|process| process.is_given_up)
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.process, self.underway, self.without) {
            (Some(process), ..) if process.is_given_up => Phase::Failed,
            (Some(process), ..) if process.told.or(process.killed).is_some() => Phase::Stopping,
            (Some(process), ..) => process.standing,
            (None, Underway::Yes | Underway::Cancelled, _) => Phase::Starting,
            (None, Underway::No, Without::Pending) => Phase::Pending,
            (None, Underway::No, Without::Waiting) => Phase::Waiting,
            (None, Underway::No, Without::Preparing) => Phase::Starting,
            (None, Underway::No, Without::Scheduled(_)) => Phase::Scheduled,
            (None, Underway::No, Without::Backoff(..)) => Phase::Backoff,
            (None, Underway::No, Without::Completed) => Phase::Completed,
            (None, Underway::No, Without::Failed) => Phase::Failed,
            (None, Underway::No, Without::Stopped) => Phase::Stopped,
        }
    }

    /// Whether nothing of it is there, nor is to come.
    pub(super) fn is_down_for_good(&self) -> bool {
        self.phase().is_at_rest() && !self.is_old()
    }

    /// Whether nothing more happens to it by itself.
    pub(super) fn is_settled(&self) -> bool {
        self.phase().is_at_rest() && (!self.is_old() || self.is_given_up())
    }

    /// Whether what there is of it has to end, whoever it is that has to wait for that.
    pub(super) fn is_to_come_down(&self) -> bool {
        match self.desired.wanted {
            Wanted::Nothing => false,
            Wanted::Running => self.is_old(),
            Wanted::Stopped | Wanted::Killed => true,
        }
    }

    /// Whether what it depends on may not be stopped yet.
    pub(super) fn holds_up(&self) -> bool {
        match self.phase() {
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
}

/// A whole stack as it has to be.
#[derive(Debug)]
pub(super) struct Ideal {
    /// In the order of the file.
    pub(super) lives: Vec<Life>,
    pub(super) places: HashMap<UnitId, usize>,
    pub(super) ending: Option<Cause>,
}

impl Ideal {
    pub(super) fn new(plans: &[UnitPlan]) -> Self {
        let life = |plan: &UnitPlan| Life {
            plan: plan.clone(),
            desired: DesiredSnapshot {
                wanted: Wanted::Nothing,
                generation: 0,
                cause: Cause::Up,
            },
            grace: None,
            is_moved: false,
            is_alone: false,
            runs_now: false,
            begun: 0,
            is_executed: false,
            has_completed: false,
            first_executed: None,
            failures: 0,
            blocked: None,
            is_prepared: false,
            hooks: None,
            process: None,
            underway: Underway::No,
            without: Without::Pending,
            next_run: NextRun::None,
        };
        let places = plans.iter().map(UnitPlan::id).zip(0..).collect();
        Self {
            lives: plans.iter().map(life).collect(),
            places,
            ending: None,
        }
    }

    pub(super) fn life(&self, unit: &UnitId) -> &Life {
        &self.lives[self.places[unit]]
    }

    pub(super) fn life_mut(&mut self, unit: &UnitId) -> &mut Life {
        &mut self.lives[self.places[unit]]
    }

    /// Whether the supervisor goes: one in the background stays for what somebody has stopped.
    pub(super) fn is_over(&self) -> bool {
        let is_stopped = |life: &Life| life.phase() == Phase::Stopped;
        self.lives.iter().all(Life::is_settled)
            && (self.ending.is_some() || !self.lives.iter().any(is_stopped))
    }
}
