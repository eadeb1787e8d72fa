//! How a running supervisor is spoken to: commands in, snapshots and events out.
//!
//! The supervisor owns all state; a [`Controller`] is a handle that sends it messages. The control
//! socket's server uses it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::logs::{LogFeed, one_character_a_byte};
use super::news::{Event, News};
use super::proposal::{Advice, Asking, Proposal};
use super::reason::UnitRef;
use super::snapshot::{ServiceSnapshot, Usage};
use crate::plan::{Arguments, Contents};
use crate::support::name::{ProjectName, ServiceName, UnitId};

/// Something that a user asks of a running stack, and the body of `POST /v1/commands`. An empty or
/// absent list of services means all of them.
///
/// `down` with no other field is frozen: every future version accepts it and answers 2xx, so that
/// any `stack` can stop what any other one started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "an object with `command`: up, apply, start, stop, restart, signal, input, resize, clear_logs, down or kill"
)]
pub enum Command {
    /// Starts what does not run (never started, stopped, failed; completed ones are left), with
    /// dependencies unless `no_deps`.
    Up {
        /// Which services.
        #[serde(default)]
        services: Vec<ServiceName>,
        /// Whether dependencies are left alone.
        #[serde(default)]
        no_deps: bool,
    },
    /// Starts services that do not run, completed ones too, with their dependencies.
    Start {
        /// Which services.
        #[serde(default)]
        services: Vec<ServiceName>,
    },
    /// Stops services, dependents first; they keep their ports.
    Stop {
        /// Which services.
        #[serde(default)]
        services: Vec<ServiceName>,
        /// Overrides every grace period.
        #[serde(default, rename = "grace_ms", with = "milliseconds")]
        grace: Option<Duration>,
    },
    /// Stops and starts services at once, counters cleared.
    Restart {
        /// Which services.
        #[serde(default)]
        services: Vec<ServiceName>,
        /// Overrides every grace period.
        #[serde(default, rename = "grace_ms", with = "milliseconds")]
        grace: Option<Duration>,
    },
    /// Sends a signal to units that run, and wants nothing else of them.
    Signal {
        /// Which units.
        units: Vec<UnitId>,
        /// The number of the signal.
        signal: i32,
    },
    /// Writes to the standard input of a unit what it takes now, and gives its terminal a size. The reply
    /// says how much was taken.
    Input {
        /// Which unit.
        unit: UnitId,
        /// What is written; in JSON each byte is the character with its number.
        #[serde(default, with = "one_character_a_byte")]
        bytes: Bytes,
        /// The size of the terminal of whoever writes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<TerminalSize>,
    },
    /// Gives the terminals of units a size, those that begin later too: that of whoever looks at all of them.
    Resize {
        /// The size.
        size: TerminalSize,
        /// The services whose terminals stay as they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<ServiceName>,
    },
    /// Carries out what was proposed: a running stack takes over changed files. Replied to when the
    /// `.env` is written and everything is on its way.
    Apply {
        /// The id of the proposal.
        proposal: u64,
    },
    /// Removes what was logged so far. Replied to when it is done.
    ClearLogs {
        /// Of which units, also such as are not part of the stack any more; of all that have a log
        /// where none is named.
        #[serde(default)]
        units: Vec<UnitId>,
    },
    /// Stops everything; the supervisor goes. Replied to before anything is stopped.
    Down {
        /// Overrides every grace period.
        #[serde(default, rename = "grace_ms", with = "milliseconds")]
        grace: Option<Duration>,
    },
    /// Kills everything now; the supervisor goes. Braces, so that unknown fields are refused.
    Kill {},
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// How wide it is.
    pub columns: u16,
    /// How high it is.
    pub rows: u16,
}

impl Default for TerminalSize {
    /// That of the terminals which the others imitate.
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

/// What became of some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReply {
    /// How many bytes were taken; the others can be sent again.
    pub taken: usize,
    /// Whether it goes to a terminal.
    pub has_terminal: bool,
}

/// A duration in a message: a number of milliseconds.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a field by reference")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        millis.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReply {
    /// The services that it concerns, in the order of the file; those that were left alone are not
    /// among them.
    pub affected: Vec<ServiceName>,
    /// What to wait for: which of their replicas it concerns, and those that are on their way already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitTarget>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Advice>,
    /// What became of the input that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputReply>,
}

/// What a command has set for one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitTarget {
    /// Its service.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
    /// The generation that the command has set: the command is done when
    /// [`ServiceSnapshot::generation`] has reached it, or the wish has moved on.
    pub generation: u64,
    /// Whether it is to be down then, and not up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stops: bool,
}

impl UnitTarget {
    /// Which unit it is.
    pub fn unit(&self) -> UnitId {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum CommandError {
    /// No such service in the running stack.
    #[error("there is no service `{name}` in the running stack")]
    UnknownService {
        /// The name as given.
        name: String,
        /// A service with a similar name.
        suggestion: Option<ServiceName>,
    },
    /// The standard input of a unit is closed.
    #[error("{} takes no input", unit.label())]
    NoInput {
        /// Which.
        unit: UnitRef,
    },
    /// Nothing of a unit runs.
    #[error("{} is not running", unit.label())]
    NotUp {
        /// Which.
        unit: UnitRef,
    },
    /// Everything is being stopped already.
    #[error("the stack is being stopped")]
    Draining,
    /// Everything stands still, as somebody has pressed Ctrl-Z.
    #[error("the stack is suspended")]
    Suspended,
    /// The stack was started from other files, which have what would be stopped.
    #[error("the stack was started from other files, and this would stop what only those have")]
    WouldOrphan {
        /// Those files.
        files: Vec<String>,
        /// What would be stopped.
        services: Vec<ServiceName>,
    },
    /// What was proposed is about a stack that was: another command came in between.
    #[error("the stack has changed meanwhile")]
    Overtaken,
    /// The files have mistakes.
    #[error("the file has mistakes")]
    Mistakes,
    /// Ports that are new cannot be had.
    #[error("{message}")]
    NoPorts {
        /// Why.
        message: String,
        /// The way out.
        hint: String,
    },
    /// The `.env` cannot be written.
    #[error("{message}")]
    NotWritten {
        /// Why.
        message: String,
        /// The way out.
        hint: String,
    },
    /// The logs could not be removed, or not all of them.
    #[error("the logs could not be removed: {reason}")]
    LogsNotCleared {
        /// What the system says.
        reason: String,
    },
    /// The supervisor has gone.
    #[error("the supervisor has ended")]
    Gone,
}

/// What the whole stack looks like now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSnapshot {
    /// The project's name.
    pub project: ProjectName,
    /// The instance's id, also in every service's environment as `STACK_INSTANCE`.
    pub instance: String,
    /// The random id of this supervisor, also `STACK_RUN`: 16 hex digits.
    pub run: String,
    /// The canonical project directory.
    pub project_dir: PathBuf,
    /// The `stack.yaml`.
    pub file: PathBuf,
    /// The generated `.env`, if one is written.
    pub dotenv: Option<PathBuf>,
    /// What the command line of the `up` said that made the plan.
    #[serde(default, skip_serializing_if = "Arguments::is_empty")]
    pub arguments: Arguments,
    /// A fingerprint of the configuration that runs; empty where only a part of what the files said was
    /// carried out.
    pub fingerprint: String,
    /// What was in the files then.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    pub contents: Contents,
    /// The guardian's pid.
    pub guardian_pid: i32,
    /// The supervisor's pid.
    pub supervisor_pid: i32,
    /// When the supervisor started, in milliseconds since the Unix epoch.
    pub started_at: u64,
    /// Whether it runs in the background.
    pub is_detached: bool,
    /// Whether everything is being stopped.
    pub is_draining: bool,
    /// Whether everything stands still, as somebody has pressed Ctrl-Z.
    #[serde(default)]
    pub is_suspended: bool,
    /// What it has used, where all of it is in a control group of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The generated `.env` keys with their values, in the order of the file.
    pub values: Vec<(String, String)>,
    /// Every service, in the order of the file.
    pub services: Vec<ServiceSnapshot>,
}

/// A message to the supervisor. Each carries the way back.
#[derive(Debug)]
pub enum Request {
    /// Asks for the state of everything; ports are verified afresh.
    Snapshot(oneshot::Sender<StackSnapshot>),
    /// Carries out a command. The reply comes when it has been accepted, not when it is done.
    Command(Command, oneshot::Sender<Result<CommandReply, CommandError>>),
    /// Asks what would change if the stack were as these files say.
    Propose(Box<Asking>, oneshot::Sender<Result<Proposal, CommandError>>),
    /// The leases at this path and the last state are to be put back, since they may have been removed.
    PutBack(PathBuf, oneshot::Sender<()>),
    /// Something has happened to the files of the stack.
    Home(News),
}

/// A handle on a running supervisor.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Messages to the supervisor.
    pub request_tx: mpsc::UnboundedSender<Request>,
    /// Every event. A receiver that lags is told how many it missed.
    pub event_tx: broadcast::Sender<Event>,
    /// The events from the very beginning, for the first one who asks.
    pub early: Arc<Early>,
    /// How far output has come.
    pub feed: LogFeed,
    /// Where the log files are.
    pub log_dir: PathBuf,
}

/// The events from the very beginning and how things stood before, until somebody has asked for them.
#[derive(Debug, Default)]
pub struct Early {
    beginning: Mutex<Option<(StackSnapshot, broadcast::Receiver<Event>)>>,
    taken: Notify,
}

impl Early {
    /// Keeps them. `event_rx` must have been subscribed before the first event, and nothing been told yet.
    pub(crate) fn keep(&self, before: StackSnapshot, event_rx: broadcast::Receiver<Event>) {
        *self.lock() = Some((before, event_rx));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(StackSnapshot, broadcast::Receiver<Event>)>> {
        self.beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<(StackSnapshot, broadcast::Receiver<Event>)> {
        self.taken.notify_one();
        self.lock().take()
    }

    /// Returns when somebody has asked for them, at once if that was before. For one caller.
    pub(crate) async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Controller {
    /// How things stand, the events from then on, and how many of these are older all the same. For the
    /// first one who asks, which is the client that has started the stack, it begins at the very
    /// beginning.
    pub async fn events(
        &self,
    ) -> Result<(StackSnapshot, broadcast::Receiver<Event>, usize), CommandError> {
        if let Some((before, events)) = self.early.take() {
            return Ok((before, events, 0));
        }
        // Subscribed before the question, so that nothing falls between.
        let events = self.event_tx.subscribe();
        let snapshot = self.snapshot().await?;
        let older = events.len();
        Ok((snapshot, events, older))
    }

    /// The state of everything.
    pub async fn snapshot(&self) -> Result<StackSnapshot, CommandError> {
        let (reply_tx, reply_rx) = oneshot::channel();
        self.request_tx
            .send(Request::Snapshot(reply_tx))
            .map_err(|_| CommandError::Gone)?;
        reply_rx.await.map_err(|_| CommandError::Gone)
    }

    /// What would change if the stack were as some files say.
    pub async fn propose(&self, asking: Asking) -> Result<Proposal, CommandError> {
        let (reply_tx, reply_rx) = oneshot::channel();
        self.request_tx
            .send(Request::Propose(Box::new(asking), reply_tx))
            .map_err(|_| CommandError::Gone)?;
        reply_rx.await.map_err(|_| CommandError::Gone)?
    }

    /// Carries out a command.
    pub async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        let (reply_tx, reply_rx) = oneshot::channel();
        self.request_tx
            .send(Request::Command(command, reply_tx))
            .map_err(|_| CommandError::Gone)?;
        reply_rx.await.map_err(|_| CommandError::Gone)?
    }
}
