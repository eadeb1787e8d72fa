//! The plan: what will happen, every value settled. Made once, never changed.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

pub use super::belongings::{Belongings, FileBytes, FilePlan};
use super::contents::Contents;
pub use super::process::{ProcessPlan, UlimitPlan};
pub use super::schedule::SchedulePlan;
use super::sources::Arguments;
use crate::spec::model::{Answerer, Condition, Handoff, HookTime};
use crate::support::name::{PortName, ProjectName, ServiceName, UnitId};
use crate::support::protocol::Protocol;

/// The whole stack, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The project's name.
    pub project: ProjectName,
    /// The instance's id: the name, a dash, 16 hex digits of the directory's hash.
    pub instance: String,
    /// Where relative paths start; canonical.
    pub project_dir: PathBuf,
    /// The file that was read.
    pub file: PathBuf,
    /// That, and what is merged over it: from the project directory where they are below that.
    pub files: Vec<PathBuf>,
    /// The generated file: path and entries; `None` with `dotenv: false`.
    pub dotenv: Option<DotenvPlan>,
    /// The generated keys with their values, in the order of the file, also without a file.
    pub values: Vec<(String, String)>,
    /// Of which service a generated key tells.
    pub owners: HashMap<String, ServiceName>,
    /// The units, service by service in the order of the file, the replicas of each in theirs.
    pub units: Vec<UnitPlan>,
    /// What the command line said.
    pub arguments: Arguments,
    /// A fingerprint of what was configured, ports aside: two plans with the same one need no
    /// reconciling.
    pub fingerprint: String,
    /// What was in the files.
    pub contents: Contents,
}

/// The generated `.env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DotenvPlan {
    /// Where it is.
    pub path: PathBuf,
    /// What stands between the fences; empty removes them.
    pub entries: Vec<(String, String)>,
}

/// One replica of one service.
#[derive(Debug, Clone)]
pub struct UnitPlan {
    /// The service.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
    /// How many replicas the service has.
    pub replicas: u32,
    /// What is executed.
    pub execution: Execution,
    /// Where it starts.
    pub directory: PathBuf,
    /// Its environment.
    pub environment: Environment,
    /// The number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it may take to stop.
    pub grace: Duration,
    /// Whether and when it is started again.
    pub restart: RestartPolicy,
    /// When it runs, again and again.
    pub schedule: Option<SchedulePlan>,
    /// Exit codes besides 0 that are successes.
    pub success_exit_codes: Vec<u8>,
    /// How to know that it is well.
    pub health: Option<HealthPlan>,
    /// What it waits for.
    pub depends_on: Vec<DependencyPlan>,
    /// Its ports, in the order of the file.
    pub ports: Vec<PortPlan>,
    /// How its ports reach it; `None` is `reuse`, unless it turns out to need another way.
    pub handoff: Option<Handoff>,
    /// Commands that run beside it, those of each time in their order.
    pub hooks: Vec<HookPlan>,
    /// How much of its output is kept.
    pub logging: LoggingPlan,
    /// What its process is given.
    pub process: ProcessPlan,
    /// What it finds in the file system.
    pub belongings: Belongings,
    /// What is done when files change.
    pub watch: Vec<WatchPlan>,
    /// Whether `up` shows what it prints.
    pub is_attached: bool,
    /// Its labels.
    pub labels: IndexMap<String, String>,
    /// Its annotations.
    pub annotations: IndexMap<String, String>,
}

/// What is done when some files change, by a client that watches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchPlan {
    /// The file or directory, relative to the project directory unless it is absolute.
    pub path: PathBuf,
    /// What does not count below it, as lines of a `.gitignore`.
    pub ignore: Vec<String>,
    /// What alone counts below it, if anything is said.
    pub include: Vec<String>,
    /// What is done.
    pub reaction: Reaction,
}

/// What a change of files does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Reaction {
    /// Its service gets this signal.
    Signal(i32),
    /// Its service is restarted.
    Restart,
    /// A command is run, and if that succeeds, the service is restarted.
    Rebuild(Execution),
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// The words; the first is looked up in the service's own `PATH` when it is executed, since
    /// another service may build it.
    pub argv: Vec<String>,
    /// Whether the first word is a shell that reads a line of the user's.
    pub is_shell_line: bool,
}

/// A command that runs at a time of a unit's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookPlan {
    /// When.
    pub time: HookTime,
    /// What is executed.
    pub execution: Execution,
    /// What is set, or removed by `None`, on top of the unit's environment.
    pub environment: Changes,
    /// Where it starts, if not where the unit does.
    pub directory: Option<PathBuf>,
    /// Whose it is, if not the unit's user's, as it is written.
    pub user: Option<String>,
    /// It may take as long.
    pub timeout: Duration,
}

/// An environment: the caller's, and what differs from it.
///
/// What is the same for all services is shared by them: every one gets the ports of every other, so
/// that copies would take memory with the square of their number.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The caller's.
    pub base: Arc<Vec<(OsString, OsString)>>,
    /// What is set, or removed by `None`, for all services.
    pub common: Arc<Changes>,
    /// Which keys of these are generated: nobody who does not refer to one cares what it says.
    pub generated: Arc<HashSet<String>>,
    /// What is set, or removed by `None`, on top of both.
    pub changes: Changes,
}

/// Keys that are set, or removed by `None`.
pub type Changes = IndexMap<String, Option<String>>;

/// Which ends are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RestartWhen {
    /// None.
    Never,
    /// Failures: a code that is not a success, or a signal that `stack` did not send.
    OnFailure,
    /// All but those that `stack` asked for.
    Always,
}

/// A service's restart policy, every value settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RestartPolicy {
    /// After which ends.
    pub when: RestartWhen,
    /// How many restarts in a row are made at most; `None` is without limit.
    pub max_attempts: Option<u32>,
    /// Before the first restart of a row.
    pub delay: Duration,
    /// The delay doubles up to this.
    pub max_delay: Duration,
    /// A run that lasts as long ends the row.
    pub window: Duration,
}

/// How much of a unit's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LoggingPlan {
    /// How long a file becomes, in bytes; at least one block.
    pub max_size: u64,
    /// How many files there are.
    pub max_file: NonZeroU32,
}

/// A health check, every value settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthPlan {
    /// What is asked.
    pub probe: ProbePlan,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
    /// Failures this soon after the start do not count.
    pub start_period: Duration,
    /// The interval within the start period.
    pub start_interval: Duration,
    /// Who may answer on a port that is none of the stack's.
    pub listener: Answerer,
    /// Whether being unhealthy is followed by a restart.
    pub restarts: bool,
}

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum ProbePlan {
    /// A command that must exit with 0.
    Command(Execution),
    /// An HTTP request.
    Http(HttpProbePlan),
    /// A TCP connection.
    Tcp {
        /// Where.
        host: String,
        /// Which port.
        port: u16,
    },
    /// A line of its output that this regular expression fits.
    Log {
        /// The expression.
        pattern: String,
    },
    /// What it says itself (`sd_notify(3)`).
    Notify {
        /// On which socket. Where that is says nothing of the service.
        #[serde(skip)]
        socket: PathBuf,
    },
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpProbePlan {
    /// The host that is connected to.
    pub host: String,
    /// The port that is connected to.
    pub port: u16,
    /// The path, with its query.
    pub path: String,
    /// The status codes that pass, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// Extra headers.
    pub headers: Vec<(String, String)>,
}

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct DependencyPlan {
    /// Which unit is waited for.
    pub unit: UnitId,
    /// What is waited for.
    pub condition: Condition,
    /// Whether its failure stops the dependent.
    pub is_required: bool,
    /// Whether an explicit restart of it restarts the dependent too.
    pub restart: bool,
}

/// A port of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortPlan {
    /// Its name.
    pub name: PortName,
    /// What travels over it.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

impl Execution {
    /// It as one would type it, for people.
    pub fn shown(&self) -> String {
        match self.argv.last() {
            Some(line) if self.is_shell_line => line.clone(),
            Some(_) | None => self.argv.join(" "),
        }
    }

    /// These words, as they are.
    pub(super) fn words(argv: Vec<String>) -> Self {
        Self {
            argv,
            is_shell_line: false,
        }
    }
}

impl Default for LoggingPlan {
    fn default() -> Self {
        Self {
            max_size: 10 * 1024 * 1024,
            max_file: const { NonZeroU32::new(5).unwrap() },
        }
    }
}

impl RestartPolicy {
    /// The engine's figures: 100 ms doubling to 60 s, back to the start after 10 s of good running.
    pub const fn with(when: RestartWhen, max_attempts: Option<u32>) -> Self {
        Self {
            when,
            max_attempts,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(60),
            window: Duration::from_secs(10),
        }
    }
}

impl Environment {
    /// The whole environment: the base without what is changed, then the changes.
    pub fn entries(&self) -> Vec<(&OsStr, &OsStr)> {
        let kept = self
            .base
            .iter()
            .filter(|(key, _)| key.to_str().is_none_or(|key| !self.is_settled(key)))
            .map(|(key, value)| (key.as_os_str(), value.as_os_str()));
        let common = self
            .common
            .iter()
            .filter(|(key, _)| !self.changes.contains_key(*key));
        let set = common.chain(&self.changes).filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some((OsStr::new(key.as_str()), OsStr::new(value.as_str())))
        });
        kept.chain(set).collect()
    }

    /// Whether the files say something of a key.
    pub fn is_settled(&self, key: &str) -> bool {
        self.changes.contains_key(key) || self.common.contains_key(key)
    }

    /// The value of one key.
    pub fn get(&self, key: &str) -> Option<&OsStr> {
        match self.changes.get(key).or_else(|| self.common.get(key)) {
            Some(change) => change.as_ref().map(OsStr::new),
            None => self
                .base
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_os_str()),
        }
    }
}

impl Plan {
    /// Its units get the generated keys as they are now.
    pub fn share_values(&mut self) {
        let Some(first) = self.units.first().map(|unit| &unit.environment) else {
            return;
        };
        let mut common = (*first.common).clone();
        common.retain(|key, _| !first.generated.contains(key));
        let all = self.values.iter().cloned();
        common.extend(all.map(|(key, value)| (key, Some(value))));
        let common = Arc::new(common);
        let generated = self.values.iter().map(|(key, _)| key.clone());
        let generated: Arc<HashSet<String>> = Arc::new(generated.collect());
        for unit in &mut self.units {
            unit.environment.common = Arc::clone(&common);
            unit.environment.generated = Arc::clone(&generated);
        }
    }
}

impl UnitPlan {
    /// What is asked to know that it is well.
    pub fn probe(&self) -> Option<&ProbePlan> {
        self.health.as_ref().map(|health| &health.probe)
    }

    /// On which socket it says how it is, if it does.
    pub fn notify_socket(&self) -> Option<&Path> {
        match self.probe()? {
            ProbePlan::Notify { socket } => Some(socket),
            ProbePlan::Command(_)
            | ProbePlan::Http(_)
            | ProbePlan::Tcp { .. }
            | ProbePlan::Log { .. } => None,
        }
    }

    /// The hooks of one time.
    pub fn hooks(&self, time: HookTime) -> impl Iterator<Item = &HookPlan> {
        self.hooks.iter().filter(move |hook| hook.time == time)
    }

    /// The project has another directory now.
    pub fn rebase(&mut self, from: &Path, to: &Path) {
        if let Ok(below) = self.directory.strip_prefix(from) {
            self.directory = to.join(below);
        }
        for directory in self
            .hooks
            .iter_mut()
            .filter_map(|hook| hook.directory.as_mut())
        {
            if let Ok(below) = directory.strip_prefix(from) {
                *directory = to.join(below);
            }
        }
    }

    /// Which unit it is.
    pub fn id(&self) -> UnitId {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
    }
}

impl Plan {
    /// Where the generated file is, if there is anything in it.
    pub fn written_dotenv(&self) -> Option<PathBuf> {
        let dotenv = self.dotenv.as_ref();
        let dotenv = dotenv.filter(|dotenv| !dotenv.entries.is_empty());
        dotenv.map(|dotenv| dotenv.path.clone())
    }

    /// The index of a service's first replica; `None` where it has none, or does not exist.
    pub fn unit_of(&self, service: &str) -> Option<usize> {
        self.units
            .iter()
            .position(|unit| unit.service.as_str() == service)
    }

    /// The plan of a unit.
    pub fn unit(&self, id: &UnitId) -> Option<&UnitPlan> {
        let mut units = self.units.iter();
        units.find(|unit| unit.service == id.service && unit.replica == id.replica)
    }
}
