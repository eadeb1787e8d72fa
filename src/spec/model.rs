//! The spec: what the user wrote, typed, every value with its place.
//!
//! Every `${VAR}` has its value. A text that may hold `$<…>` stays a [`Template`]; a typed value
//! that was written with one is [`Setting::Deferred`] until `plan` knows the ports.

mod process;
mod schedule;
mod things;

use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use self::process::{LIMITS, ListedPort, ProcessSpec, UlimitSpec};
pub use self::schedule::ScheduleSpec;
pub use self::things::{
    FileContent, FileForm, FileKind, FileSpec, FileUse, Thing, ThingDeclaration,
};
use super::problem::{Problem, Span, Spanned};
use super::template::{Template, VariableUse};
use crate::support::name::{PortName, ProjectName, ServiceName};
use crate::support::port_range::Pool;
pub use crate::support::port_range::PortWant;
use crate::support::protocol::Protocol;
use crate::support::text::{list, meant_service, nearest};

/// The whole of one `stack.yaml`.
#[derive(Debug, Clone)]
pub struct StackSpec {
    /// The file that was read, absolute; the name of standard input is `-`.
    pub file: PathBuf,
    /// Where relative paths start: the directory of the file, canonical.
    pub project_dir: PathBuf,
    /// `name:`, normalised; without one, the project directory's name.
    pub name: Option<ProjectName>,
    /// `ports:`.
    pub ports: Pool,
    /// `dotenv:`; `None` is `dotenv: false`.
    pub dotenv: Option<DotenvSpec>,
    /// Top-level `env_file:`.
    pub env_file: Vec<EnvFileSpec>,
    /// Top-level `environment:`.
    pub environment: EnvironmentSpec,
    /// What the files of every other realm say for all of their services, by its number less one.
    pub included: Vec<IncludedSpec>,
    /// `shell:`, the words that come before a shell line; `None` is the default.
    pub shell: Option<Vec<String>>,
    /// Top-level `configs:`.
    pub configs: IndexMap<String, FileSpec>,
    /// Top-level `secrets:`.
    pub secrets: IndexMap<String, FileSpec>,
    /// The services, in the order of the file. `plan` leaves those that take part.
    pub services: IndexMap<ServiceName, ServiceSpec>,
    /// Those of them that take part only because they run.
    pub lingering: HashSet<ServiceName>,
    /// Those that take no part, since no profile of theirs is active.
    pub inactive: IndexMap<ServiceName, ServiceSpec>,
}

/// What a file that is included says for all of its services.
#[derive(Debug, Clone, Default)]
pub struct IncludedSpec {
    /// Top-level `env_file:`.
    pub env_file: Vec<EnvFileSpec>,
    /// Top-level `environment:`.
    pub environment: EnvironmentSpec,
}

/// `dotenv:`, the generated file.
#[derive(Debug, Clone)]
pub struct DotenvSpec {
    /// The path, relative to the project directory.
    pub path: String,
    /// Extra lines.
    pub vars: IndexMap<String, VariableSpec>,
    /// Whether generated secrets are exported, too.
    pub secrets: bool,
}

/// A key of an environment with its value.
#[derive(Debug, Clone)]
pub struct VariableSpec {
    /// Where the key stands.
    pub key_span: Span,
    /// The text, also that which a `KEY` alone in a list takes from where `${KEY}` would; `None`
    /// removes the key (`KEY: null` in a map, and a `KEY` alone that is not set).
    pub value: Option<Template>,
}

/// `environment:`, from the map or the list form.
pub type EnvironmentSpec = IndexMap<String, VariableSpec>;

/// One entry of `env_file:` or `label_file:`.
#[derive(Debug, Clone)]
pub struct EnvFileSpec {
    /// The path, relative to the directory of the text in which it stands.
    pub path: Template,
    /// Whether a missing file is an error.
    pub is_required: bool,
    /// `format: raw`: values are taken as they are.
    pub is_raw: bool,
    /// Whether it is one of `label_file:`.
    pub is_labels: bool,
}

impl EnvFileSpec {
    /// The key in which it stands.
    pub fn key(&self) -> &'static str {
        if self.is_labels {
            "label_file"
        } else {
            "env_file"
        }
    }
}

/// One entry of `include:`.
#[derive(Debug, Default)]
pub(super) struct IncludeSpec {
    /// `path:`; the later ones are merged over the first.
    pub(super) paths: Vec<Spanned<String>>,
    /// `project_directory:`; default the directory of the first path.
    pub(super) project_directory: Option<Spanned<String>>,
    /// `env_file:`, for the variables of the included files; default the `.env` of that directory.
    pub(super) env_file: Option<Vec<EnvFileSpec>>,
}

/// `extends:`.
#[derive(Debug, Default)]
pub(super) struct ExtendsSpec {
    /// `service:`.
    pub(super) service: Option<Spanned<String>>,
    /// `file:`; default the same file.
    pub(super) file: Option<Spanned<String>>,
}

/// A typed value: known at load, or waiting for placeholders.
#[derive(Debug, Clone)]
pub enum Setting<T> {
    /// Known.
    Known(Spanned<T>),
    /// Written with `$<…>`; parsed by the function once the text is known. Or it is broken, and was
    /// reported.
    Deferred(Template, fn(&str) -> Result<T, SettingError>),
}

/// Why a resolved text is not a value of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The stable code.
    pub code: &'static str,
    /// A lowercase fragment.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl SettingError {
    /// As a problem: what is wrong with a text, and in what it resulted where that is not what
    /// stands there.
    pub fn into_problem(self, span: &Span, result: Option<&str>) -> Problem {
        let mut problem = Problem::error(self.code, self.message, span);
        if let Some(result) = result {
            problem = problem.label(format!("this comes to `{result}`"));
        }
        problem.hint = self.hint;
        problem
    }
}

impl<T> Setting<T> {
    /// Where the value stands.
    pub fn span(&self) -> &Span {
        match self {
            Self::Known(value) => &value.span,
            Self::Deferred(template, _) => &template.span,
        }
    }
}

/// What every service is told of itself, whatever the file says: the marks of a supervised process.
pub const MARKS: [&str; 5] = [
    "STACK_PROJECT",
    "STACK_INSTANCE",
    "STACK_RUN",
    "STACK_SERVICE",
    "STACK_REPLICA",
];

/// The most replicas that one service can have: a slip of a key must not fill the machine.
pub const MAX_REPLICAS: u32 = 1000;

/// One service.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Where the name stands.
    pub name_span: Span,
    /// `command:`.
    pub command: Option<CommandSpec>,
    /// `entrypoint:`.
    pub entrypoint: Option<CommandSpec>,
    /// `working_dir:`, relative to the directory of the text in which it stands.
    pub working_dir: Option<Template>,
    /// `environment:`.
    pub environment: EnvironmentSpec,
    /// `env_file:`.
    pub env_file: Vec<EnvFileSpec>,
    /// `profiles:`; without any it always takes part.
    pub profiles: Vec<Spanned<String>>,
    /// `depends_on:`, by name.
    pub depends_on: IndexMap<ServiceName, DependencySpec>,
    /// `healthcheck:`; `None` when absent, `NONE` or `disable: true`.
    pub healthcheck: Option<HealthcheckSpec>,
    /// `restart:`; `None` when absent.
    pub restart: Option<Setting<RestartSpec>>,
    /// `schedule:`.
    pub schedule: Option<ScheduleSpec>,
    /// `restart_policy:`.
    pub restart_policy: Option<Spanned<RestartPolicySpec>>,
    /// `success_exit_codes:`, besides 0.
    pub success_exit_codes: Vec<Setting<u8>>,
    /// `stop_signal:`, as a signal's number (signal(7)).
    pub stop_signal: Option<Setting<i32>>,
    /// `stop_grace_period:`.
    pub stop_grace_period: Option<Setting<Duration>>,
    /// `logging:`.
    pub logging: LoggingSpec,
    /// `on_unhealthy:`, whether it is restarted then.
    pub on_unhealthy: Option<Setting<bool>>,
    /// `labels:`, from the map or the list form.
    pub labels: IndexMap<String, Template>,
    /// `label_file:`, whose lines are labels, too.
    pub label_file: Vec<EnvFileSpec>,
    /// `annotations:`, from the map or the list form.
    pub annotations: IndexMap<String, Template>,
    /// `attach:`, whether `up` shows what it prints.
    pub is_attached: bool,
    /// What is said of the process itself.
    pub process: ProcessSpec,
    /// `replicas:`, `scale:` and `deploy.replicas:`, in the order of the file; empty when absent.
    /// Several must agree.
    pub replicas: Vec<Spanned<u32>>,
    /// `handoff:`; `None` when absent, which is `reuse` and may be learned otherwise.
    pub handoff: Option<Setting<Handoff>>,
    /// `watch:` and `develop.watch:`.
    pub watch: Vec<WatchSpec>,
    /// `pre_start:`, `post_start:` and `pre_stop:`, those of each in their order.
    pub hooks: Vec<HookSpec>,
    /// The ports that the service's placeholders declare, in the order of the file.
    pub ports: IndexMap<PortName, PortDeclaration>,
    /// `ports:` and `expose:`, whose numbers are among the ports.
    pub listed_ports: Vec<ListedPort>,
    /// What else its placeholders declare, in the order of the file.
    pub things: IndexMap<PortName, ThingDeclaration>,
    /// The files that it is given: those that it lists or refers to.
    pub files: Vec<FileUse>,
}

/// An item of `watch:`.
#[derive(Debug, Clone, Default)]
pub struct WatchSpec {
    /// `path:`, relative to the directory of the text in which it stands; `None` where it was refused.
    pub path: Option<Template>,
    /// `action:`, or what the other keys amount to.
    pub action: Option<WatchAction>,
    /// `command:` of `rebuild`.
    pub command: Option<CommandSpec>,
    /// `signal:` of `signal`.
    pub signal: Option<Setting<i32>>,
    /// `ignore:`.
    pub ignore: Vec<Template>,
    /// `include:`.
    pub include: Vec<Template>,
}

/// What a change of files does (`action:`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchAction {
    /// `restart`.
    Restart,
    /// `rebuild`: a command, then a restart.
    Rebuild,
    /// `signal`.
    Signal,
}

impl WatchAction {
    /// The actions by their words.
    pub const WORDS: [(&str, Self); 3] = [
        ("restart", Self::Restart),
        ("rebuild", Self::Rebuild),
        ("signal", Self::Signal),
    ];
}

/// A declared port: `$<NAME:auto>` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDeclaration {
    /// What was asked for.
    pub want: PortWant,
    /// What travels over it.
    pub protocol: Protocol,
    /// Where the first declaration stands.
    pub span: Span,
}

/// How a port reaches its service (`handoff:`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Handoff {
    /// `reuse`: the hold stays, and lets servers in that set `SO_REUSEADDR`.
    Reuse,
    /// `release`: the hold is dropped just before the service is executed.
    Release,
    /// `fd`: the listening socket itself is passed, as systemd does (`LISTEN_FDS`).
    Fd,
}

impl Handoff {
    /// The ways by their words.
    pub const WORDS: [(&str, Self); 3] = [
        ("reuse", Self::Reuse),
        ("release", Self::Release),
        ("fd", Self::Fd),
    ];
}

/// `command` or `entrypoint`.
#[derive(Debug, Clone)]
pub enum CommandSpec {
    /// A string: a shell line.
    Line(Template),
    /// A list: an argv.
    Words(Vec<Template>, Span),
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookTime {
    /// Before the service is executed.
    PreStart,
    /// When it has been executed.
    PostStart,
    /// Before it is asked to stop.
    PreStop,
}

impl HookTime {
    /// The keys that they are given by.
    pub const WORDS: [(&str, Self); 3] = [
        ("pre_start", Self::PreStart),
        ("post_start", Self::PostStart),
        ("pre_stop", Self::PreStop),
    ];
}

/// A command of `pre_start:`, `post_start:` or `pre_stop:`.
#[derive(Debug, Clone)]
pub struct HookSpec {
    /// When it runs.
    pub time: HookTime,
    /// `command:`, or the hook itself.
    pub command: Option<CommandSpec>,
    /// `environment:`, on top of the service's.
    pub environment: EnvironmentSpec,
    /// `working_dir:`, relative to the directory of the text in which it stands; the service's when
    /// absent.
    pub working_dir: Option<Template>,
    /// `user:`; the service's when absent.
    pub user: Option<Template>,
    /// `timeout:`.
    pub timeout: Option<Setting<Duration>>,
}

/// When a dependent may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// It was executed.
    #[serde(rename = "service_started")]
    Started,
    /// Its check passes; without a check, its port is listening.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It ended, with success.
    #[serde(rename = "service_completed_successfully")]
    CompletedSuccessfully,
}

impl Condition {
    /// The conditions by their words, as Compose calls them.
    pub const WORDS: [(&str, Self); 3] = [
        ("service_started", Self::Started),
        ("service_healthy", Self::Healthy),
        (
            "service_completed_successfully",
            Self::CompletedSuccessfully,
        ),
    ];
}

/// The word for a value, in a table of words.
pub fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    let word = words.iter().find(|(_, other)| other == value);
    word.map_or("", |(word, _)| word)
}

/// One edge of `depends_on`.
#[derive(Debug, Clone)]
pub struct DependencySpec {
    /// Where the dependency's name stands.
    pub span: Span,
    /// What is waited for.
    pub condition: Condition,
    /// Whether its failure, or absence, stops this service.
    pub is_required: bool,
    /// Whether an explicit restart of the dependency restarts this service too.
    pub restart: bool,
}

/// `healthcheck:`.
#[derive(Debug, Clone)]
pub struct HealthcheckSpec {
    /// What is asked.
    pub probe: ProbeSpec,
    /// When.
    pub times: HealthTimes,
    /// `listener:`.
    pub listener: Option<Setting<Answerer>>,
}

/// Who may answer a check on a loopback port that is none of the stack's (`listener:`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Answerer {
    /// `new`: who did not listen there before the service was executed.
    New,
    /// `any`: anybody.
    Any,
}

impl Answerer {
    /// Both by their words.
    pub const WORDS: [(&str, Self); 2] = [("new", Self::New), ("any", Self::Any)];
}

/// The times and counts of a health check.
#[derive(Debug, Clone, Default)]
pub struct HealthTimes {
    /// `interval:`.
    pub interval: Option<Setting<Duration>>,
    /// `timeout:`.
    pub timeout: Option<Setting<Duration>>,
    /// `retries:`; 0 means the default, as in Compose.
    pub retries: Option<Setting<u32>>,
    /// `start_period:`.
    pub start_period: Option<Setting<Duration>>,
    /// `start_interval:`.
    pub start_interval: Option<Setting<Duration>>,
}

/// The kinds of health check.
#[derive(Debug, Clone)]
pub enum ProbeSpec {
    /// `test:` as a string or `[CMD-SHELL, …]`.
    Shell(Template),
    /// `test: [CMD, …]`.
    Command(Vec<Template>),
    /// `http:`.
    Http(HttpProbeSpec),
    /// `tcp:`, a port or `host:port`.
    Tcp(Template),
    /// `log:`, a regular expression.
    Log(Setting<String>),
    /// `notify: true`.
    Notify,
}

/// `http:` of a health check.
#[derive(Debug, Clone)]
pub struct HttpProbeSpec {
    /// A path, or a whole URL.
    pub path: Template,
    /// `port:`; default the service's own port.
    pub port: Option<Setting<u16>>,
    /// `status:`, what passes; default 200-399. Ranges are inclusive.
    pub status: Vec<Setting<(u16, u16)>>,
    /// `headers:`.
    pub headers: IndexMap<String, Template>,
}

/// `restart:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartSpec {
    /// `no`.
    No,
    /// `always`.
    Always,
    /// `on-failure`, with the most restarts in a row, if one was given.
    OnFailure(Option<u32>),
    /// `unless-stopped`.
    UnlessStopped,
}

/// `restart_policy:`, the tunable form.
#[derive(Debug, Clone, Default)]
pub struct RestartPolicySpec {
    /// `condition:`: `any`, `on-failure` or `none`, given as the policy of the same meaning.
    pub condition: Option<Setting<RestartSpec>>,
    /// `delay:`, before the first restart.
    pub delay: Option<Setting<Duration>>,
    /// `max_delay:`.
    pub max_delay: Option<Setting<Duration>>,
    /// `max_attempts:`.
    pub max_attempts: Option<Setting<u32>>,
    /// `window:`, how long a run must last to count as good.
    pub window: Option<Setting<Duration>>,
}

/// `logging:`, how much of the output is kept.
#[derive(Debug, Clone, Default)]
pub struct LoggingSpec {
    /// `max-size:`, of one file in bytes.
    pub max_size: Option<Setting<NonZeroU64>>,
    /// `max-file:`, how many files.
    pub max_file: Option<Setting<NonZeroU32>>,
}

/// The outcome of reading: as much of the spec as could be read, and all that is wrong.
#[derive(Debug)]
pub struct Loaded {
    /// The spec; absent when the text itself could not be parsed. With errors among the problems
    /// it holds what was readable, so that later checks can add theirs to the same report.
    pub spec: Option<StackSpec>,
    /// Every `${…}` that was met.
    pub variables: Vec<VariableUse>,
    /// Errors and warnings, in the order of the file.
    pub problems: Vec<Problem>,
}

impl StackSpec {
    /// The files of a kind.
    pub fn files(&self, kind: FileKind) -> &IndexMap<String, FileSpec> {
        match kind {
            FileKind::Config => &self.configs,
            FileKind::Secret => &self.secrets,
        }
    }

    /// The hint about a service that does not exist.
    pub fn meant_service(&self, word: &str) -> String {
        let names = || self.services.keys().map(ServiceName::as_str);
        match nearest(word, names()) {
            Some(near) => meant_service(word, near),
            None => format!("the services are: {}", list(names())),
        }
    }
}

impl ServiceSpec {
    /// A service of which only the name was read.
    pub(super) fn new(name: ServiceName, name_span: Span) -> Self {
        Self {
            name,
            name_span,
            command: None,
            entrypoint: None,
            working_dir: None,
            environment: IndexMap::new(),
            env_file: Vec::new(),
            profiles: Vec::new(),
            depends_on: IndexMap::new(),
            healthcheck: None,
            restart: None,
            schedule: None,
            restart_policy: None,
            success_exit_codes: Vec::new(),
            stop_signal: None,
            stop_grace_period: None,
            logging: LoggingSpec::default(),
            on_unhealthy: None,
            labels: IndexMap::new(),
            label_file: Vec::new(),
            annotations: IndexMap::new(),
            is_attached: true,
            process: ProcessSpec::default(),
            replicas: Vec::new(),
            handoff: None,
            watch: Vec::new(),
            hooks: Vec::new(),
            ports: IndexMap::new(),
            listed_ports: Vec::new(),
            things: IndexMap::new(),
            files: Vec::new(),
        }
    }
}
