//! The words of a unit's life: where it can be, what can happen to it, what it can ask for.
//!
//! What a state needs to know lives in its variant, so that an impossible combination cannot be
//! built. The table that joins them is [`super::machine`].

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::model::RestartPolicy;
use crate::run::reason::{Blocker, HookFailure, PortTrouble, StartError};
use crate::run::snapshot::Exit;
use crate::spec::model::HookTime;

/// What a unit needs to know of its service to decide.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub(crate) struct Settings {
    /// When it is started again.
    pub(crate) policy: RestartPolicy,
    /// Exit codes besides 0 that are successes.
    pub(crate) success_exit_codes: Vec<u8>,
    /// How long it may take to stop.
    pub(crate) grace: Duration,
    /// Whether being ready means more than having been executed.
    pub(crate) has_readiness: bool,
    /// Whether being unhealthy is followed by a restart.
    pub(crate) restarts_unhealthy: bool,
    /// Whether a shell stands before the program, so that 126 and 127 mean "cannot be executed".
    pub(crate) is_shell_line: bool,
    /// When there are hooks.
    pub(crate) hooks: Vec<HookTime>,
    /// Whether another run follows each, by a schedule.
    pub(crate) is_scheduled: bool,
}

impl Settings {
    /// What begins the hooks of a time, if there are any.
    pub(super) fn begin(&self, time: HookTime) -> Option<Action> {
        self.hooks
            .contains(&time)
            .then_some(Action::BeginHooks(time))
    }

    /// Where something follows a rest by itself, it rests until then.
    pub(super) fn until_next_run(&self, then: Then) -> Then {
        match then {
            Then::Rest(rest) if self.is_scheduled => Then::Schedule(rest),
            Then::Rest(_) | Then::Schedule(_) | Then::Again | Then::Restart { .. } => then,
        }
    }

    /// Whether an exit counts as success.
    pub(super) fn is_success(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(0) => true,
            Exit::Code(code) => {
                u8::try_from(code).is_ok_and(|code| self.success_exit_codes.contains(&code))
            }
            Exit::Signal(_) => false,
        }
    }
}

/// When something happens, and how lucky it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The time.
    pub(crate) now: Instant,
    /// A random number in 0..1 for the jitter.
    pub(crate) jitter: f64,
}

/// Where a unit is in its life. What a state needs to know lives in its variant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Nothing of it runs, and nothing will by itself.
    Resting(Rest),
    /// Nothing of it runs until its schedule wants the next run; what the last one came to.
    Scheduled(Rest),
    /// Asked for; a dependency has not met its condition.
    Waiting,
    /// Its runner is at work on executing it, which may take time.
    Executing {
        /// Whether its `pre_start` comes first, and is under way.
        is_preparing: bool,
        /// The grace period of a stop that came meanwhile.
        stop: Option<Duration>,
    },
    /// Executed.
    Up {
        /// When.
        started: Instant,
        /// What is known of its readiness.
        standing: Standing,
    },
    /// Its processes are being brought to an end.
    Stopping {
        /// What comes when nothing of it is left.
        then: Then,
        /// What has been done about those that are left.
        pressure: Pressure,
        /// How the main process ended, once it has.
        exit: Option<Exit>,
    },
    /// It ended and will be started again.
    Backoff { until: Instant },
}

/// Why nothing of a unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nobody has asked for it yet.
    Pending,
    /// It ended with success.
    Completed,
    /// It ended, or never began.
    Failed(Failure),
    /// Somebody stopped it.
    Stopped,
}

/// How it stands with what was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Whether it is ready is not known yet.
    Starting,
    /// Nothing more can be known.
    Running,
    /// It is ready.
    Healthy,
    /// Its check failed too often.
    Unhealthy,
}

/// What has been done about what is left of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Nothing: its main process has ended by itself, and whether anything is left is not known.
    Unknown,
    /// Nothing yet: the main process was content, and the rest may be on its way out.
    Patience {
        /// What is there then was put in the background.
        until: Instant,
        /// Whether others wait for the service to complete.
        is_awaited: bool,
    },
    /// Nothing yet: `pre_stop` comes first, and is under way.
    Hook {
        /// Everything is killed then.
        until: Instant,
    },
    /// It was asked to end.
    Asked {
        /// What is there then is killed.
        until: Instant,
    },
    /// SIGKILL was sent.
    Killed {
        /// What is there then is given up.
        until: Instant,
    },
}

impl Pressure {
    /// When the next harder step is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match *self {
            Self::Unknown => None,
            Self::Patience { until, .. }
            | Self::Hook { until }
            | Self::Asked { until }
            | Self::Killed { until } => Some(until),
        }
    }

    /// Moves the time of that by `gap`.
    pub(super) fn shift(&mut self, gap: Duration) {
        match self {
            Self::Unknown => {}
            Self::Patience { until, .. }
            | Self::Hook { until }
            | Self::Asked { until }
            | Self::Killed { until } => {
                *until += gap;
            }
        }
    }
}

/// What follows once nothing of the old attempt is left.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Then {
    /// It rests. Of what ended by itself, why was decided then.
    Rest(Rest),
    /// It rests until its next run.
    Schedule(Rest),
    /// It waits for its dependencies again, and is executed as if nothing had been.
    Again,
    /// It ended by itself, and is executed again.
    Restart { delay: Duration },
}

impl Then {
    /// A stop wins over any restart.
    pub(super) fn end_restarts(&mut self) {
        match self {
            Self::Again | Self::Restart { .. } | Self::Schedule(_) => {
                *self = Self::Rest(Rest::Stopped);
            }
            Self::Rest(_) => {}
        }
    }
}

/// Why a unit stays down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It ended and its policy wants no restart.
    Exited(Exit),
    /// It ended again and again; so many restarts were made.
    GaveUp { exit: Exit, restarts: u32 },
    /// It could not be executed: what and why.
    NotExecuted(StartError),
    /// What prepares it failed; after so many restarts, if any were made.
    NotPrepared {
        failure: HookFailure,
        restarts: Option<u32>,
    },
    /// A dependency cannot meet its condition.
    NotStarted(Blocker),
    /// SIGKILL did not end it.
    Unkillable,
}

/// What makes a failure of an attempt's end, whatever the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Something was wrong with its ports.
    Port(PortTrouble),
    /// It put itself in the background.
    Background,
}

/// Something that happens to a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Occurrence {
    /// It is to run, for a new generation. Clears the counters.
    Begin,
    /// The same, but not before its schedule says so.
    Schedule,
    /// Every dependency has met its condition.
    Execute,
    /// A dependency cannot meet its condition any more.
    Blocked(Blocker),
    /// Its `pre_start` is done.
    Prepared,
    /// Its `pre_start` has failed.
    HookFailed(HookFailure),
    /// Its `pre_stop` is done, or has failed.
    HooksDone,
    /// Its program was executed.
    Executed,
    /// Its program could not be executed.
    NotExecuted {
        error: StartError,
        is_temporary: bool,
    },
    /// It is ready: the check passed, or the port is listening.
    Passed,
    /// The check failed as often as it may.
    FailedChecks,
    /// It says itself that it is about to end.
    Leaving,
    /// Something is wrong with its ports by which its end is to be judged.
    InTrouble(PortTrouble),
    /// Its own hold keeps it from its port; it is started again with another way.
    HoldInTheWay,
    /// The main process ended.
    Exited(Exit),
    /// Nothing of the attempt is left.
    TreeEmpty,
    /// The main process has ended, others of the service have not.
    TreeLeft {
        /// Whether others wait for the service to complete.
        is_awaited: bool,
    },
    /// Somebody wants it to stop, with another grace period perhaps.
    Stop { grace: Option<Duration> },
    /// Somebody wants it gone now.
    Kill,
    /// The deadline has come.
    Due,
}

/// Something for the shell to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make its ports bindable by it, execute it, and report back, now or later.
    Execute,
    /// Give up an execution that is under way, and report back.
    CancelExecute,
    /// Begin to look whether it is ready.
    BeginChecks,
    /// Stop looking; kill a check and a hook that run.
    EndChecks,
    /// Run its hooks of this time one after the other, and report back.
    BeginHooks(HookTime),
    /// Keep its ports from everybody.
    HardenPorts,
    /// Send the stop signal to its group, and SIGCONT.
    SignalStop,
    /// Send SIGTERM to what is left of its tree.
    SignalRest,
    /// Send SIGTERM to what is left of its tree and has not been asked yet: its group has.
    SignalStrays,
    /// Send SIGKILL to all that descends from it.
    KillTree,
    /// Find out whether anything is left, and report back.
    CheckTree,
}
