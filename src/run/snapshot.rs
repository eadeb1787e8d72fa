//! The read model: what a service looks like from outside, and the events that change it.
//!
//! Everything here is plain data with a stable JSON form: the control socket sends it, `ps
//! --format json` prints it, the printer draws it.

use serde::{Deserialize, Serialize};

pub use super::reason::Exit;
use super::reason::{PortTrouble, Reason, UnitRef, WaitingFor};
pub use crate::ports::PortState;
use crate::support::name::{PortName, ServiceName, UnitId};
use crate::support::protocol::Protocol;

/// What the processes of a run have used, those that have ended included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The time on processors, in microseconds.
    pub cpu_micros: u64,
    /// The memory that they have now, in bytes; None where the kernel does not count it for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// The step of a service's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not asked for yet.
    Pending,
    /// Asked for; a dependency has not met its condition.
    Waiting,
    /// Executed; whether it is ready is not known yet.
    Starting,
    /// Executed; it has neither a check nor a port by which to know more.
    Running,
    /// Its check passes, or its port is listening.
    Healthy,
    /// Its check failed too often.
    Unhealthy,
    /// Told to stop.
    Stopping,
    /// It ended and will be started again.
    Backoff,
    /// Nothing of it runs until its schedule wants the next run.
    Scheduled,
    /// It ended by itself, with success, and stays so.
    Completed,
    /// It ended, or could not be started, and stays so.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

impl Phase {
    /// Whether a process may exist in this phase.
    pub fn is_alive(self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Healthy | Self::Unhealthy | Self::Stopping => {
                true
            }
            Self::Pending
            | Self::Waiting
            | Self::Backoff
            | Self::Scheduled
            | Self::Completed
            | Self::Failed
            | Self::Stopped => false,
        }
    }

    /// Whether it stays as it is until somebody asks for something else.
    pub fn is_at_rest(self) -> bool {
        match self {
            Self::Pending | Self::Completed | Self::Failed | Self::Stopped => true,
            Self::Waiting
            | Self::Starting
            | Self::Running
            | Self::Healthy
            | Self::Unhealthy
            | Self::Stopping
            | Self::Backoff
            | Self::Scheduled => false,
        }
    }

    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Scheduled => "scheduled",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSnapshot {
    /// Its name, usually `PORT`.
    pub name: PortName,
    /// What travels over it.
    #[serde(default)]
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
    /// What is known of it.
    #[serde(flatten)]
    pub state: PortState,
    /// How a person reaches it: a URL where the service speaks HTTP, else `localhost:8001`.
    pub address: String,
}

impl PortSnapshot {
    /// What is wrong with it while its service runs, if something is.
    pub fn trouble(&self) -> Option<PortTrouble> {
        PortTrouble::of(self.port, &self.state)
    }
}

/// What a snapshot of before replicas means.
fn one() -> u32 {
    1
}

/// What a snapshot means that does not say otherwise.
fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_true(value: &bool) -> bool {
    *value
}

/// What somebody wants of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Nobody has asked for anything.
    Nothing,
    /// That it runs.
    Running,
    /// That it stays down.
    Stopped,
    /// That it is gone now.
    Killed,
}

/// What moved the wish for a unit last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `up`, the first one too.
    Up,
    /// `start`.
    Start,
    /// `stop`.
    Stop,
    /// `restart`, of it or of what it follows.
    Restart,
    /// `down`, a signal, or the failure of another service.
    Down,
    /// `kill`, or a second signal.
    Kill,
}

/// What is wanted of a unit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSnapshot {
    /// What.
    pub wanted: Wanted,
    /// The number of the change that brought it; it only grows.
    pub generation: u64,
    /// What brought it.
    pub cause: Cause,
}

/// From this many failures in a row on, a service is called crash-looping.
pub const CRASH_LOOP: u32 = 6;

/// What a service looks like now.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, by its name in JSON"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// Its name.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
    /// How many replicas the service has.
    #[serde(default = "one")]
    pub replicas: u32,
    /// What is wanted of it.
    pub desired: DesiredSnapshot,
    /// The generation of `desired` for which it was begun the last time; 0 for never.
    pub generation: u64,
    /// Whether it was executed since then.
    pub is_executed: bool,
    /// The step of its life.
    pub phase: Phase,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    /// The main process, while there is one.
    pub pid: Option<i32>,
    /// When the present or last attempt was executed, in milliseconds since the Unix epoch.
    pub started_at: Option<u64>,
    /// When it became ready (healthy, or running where nothing more is known), likewise.
    pub ready_at: Option<u64>,
    /// How the last attempt ended.
    pub exit: Option<Exit>,
    /// How often it was executed.
    pub attempt: u32,
    /// How often it was started again, where it has a schedule: its runs do not count. Of all others
    /// that is one less than `attempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// How many failures in a row there were; from 6 on it is crash-looping.
    pub failures: u32,
    /// The conditions that its dependencies have not met.
    pub waiting_for: Vec<WaitingFor>,
    /// Why it is where it is, where there is more to say than the phase does.
    pub reason: Option<Reason>,
    /// When the next attempt is due, in milliseconds since the Unix epoch, in `Backoff`.
    pub next_attempt_at: Option<u64>,
    /// When its schedule wants the next run, likewise, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<u64>,
    /// When what is being stopped will be killed, in milliseconds since the Unix epoch.
    pub kill_at: Option<u64>,
    /// Whether it is expected to end by itself (others wait for its completion).
    pub is_one_shot: bool,
    /// Whether readiness means more than having been executed.
    pub has_readiness: bool,
    /// Whether `up` shows what it prints.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub is_attached: bool,
    /// Its ports.
    pub ports: Vec<PortSnapshot>,
}

impl ServiceSnapshot {
    /// Whose snapshot it is.
    pub fn unit(&self) -> UnitId {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
    }

    /// The name that is shown: `web`, or `web-2` where the service has several replicas.
    pub fn label(&self) -> String {
        self.unit().label(self.replicas)
    }

    /// Whether its next attempt follows so many failures that nobody should wait for it.
    pub fn is_crash_looping(&self) -> bool {
        self.phase == Phase::Backoff && self.failures >= CRASH_LOOP
    }

    /// How a reason names it.
    pub fn unit_ref(&self) -> UnitRef {
        UnitRef {
            service: self.service.clone(),
            replica: self.replica,
            replicas: self.replicas,
        }
    }
}

/// One of the two streams of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// Its place where there is one for each: 0 for stdout, 1 for stderr.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}
