//! Why things are as they are, as data: the reasons that snapshots and notices carry.
//!
//! Nothing here is a sentence. `cli::words` makes them, once; whoever reads the JSON of the control
//! socket gets the parts. Every enum is tagged by `kind`. What comes from outside (paths, commands,
//! lines of output, the system's error texts) is kept as text, and is not clean: whoever shows it
//! must filter it.

use serde::{Deserialize, Serialize};

use crate::ports::{PortState, ProcessName};
use crate::spec::model::{Condition, HookTime};
use crate::support::name::{ServiceName, UnitId};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Another unit, as a reason names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnitRef {
    /// Its service.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
    /// How many replicas the service has.
    pub replicas: u32,
}

impl UnitRef {
    /// Which unit it is.
    pub fn id(&self) -> UnitId {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
    }

    /// The name that is shown: `web`, or `web-2` where the service has several replicas.
    pub fn label(&self) -> String {
        self.id().label(self.replicas)
    }
}

/// A condition that a dependency has not met yet, or a port that another one has not let go of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingFor {
    /// Who is waited for.
    pub unit: UnitRef,
    /// For what.
    pub condition: Condition,
    /// Not for that, but for it to let go of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Why a unit is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Its last attempt ended by itself.
    Ended {
        /// How.
        exit: Exit,
        /// What was wrong with its ports meanwhile.
        trouble: Option<PortTrouble>,
        /// What it left running, where it has failed by putting itself in the background.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<LeftBehind>,
    },
    /// It ended again and again.
    GaveUp {
        /// How it ended the last time.
        exit: Exit,
        /// How many restarts in a row were made.
        restarts: u32,
        /// What was wrong with its ports meanwhile.
        trouble: Option<PortTrouble>,
        /// What it left running, where it has failed by putting itself in the background.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<LeftBehind>,
    },
    /// It could not be executed.
    NotExecuted {
        /// Why.
        error: StartError,
    },
    /// It was not executed, since a command that prepares it failed.
    NotPrepared {
        /// Which, and how.
        failure: HookFailure,
        /// After how many restarts in a row it was given up, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restarts: Option<u32>,
    },
    /// A dependency cannot meet its condition.
    NotStarted {
        /// Which, and why; chains of them end at the one that failed by itself.
        because: Box<Blocker>,
    },
    /// It runs as it did before its file changed, as a dependency of what was to come cannot meet its
    /// condition.
    NotApplied {
        /// Which, and why.
        because: Box<Blocker>,
    },
    /// SIGKILL did not end it.
    Unkillable {
        /// The main process, if that is what is left.
        pid: Option<i32>,
    },
    /// It did not stop in time and was killed.
    Killed,
    /// Its check has failed, or has not passed yet.
    Check {
        /// What the last one saw.
        failure: CheckFailure,
    },
    /// A command beside it is under way, and waited for.
    Hook {
        /// When it runs.
        time: HookTime,
        /// The command, as one would type it.
        command: String,
    },
    /// It runs, and says this of itself.
    Status {
        /// Its words.
        text: String,
    },
    /// It is being made ready to run.
    Preparing {
        /// What is being done, in the words of whoever does it.
        step: String,
        /// How far it is.
        percent: Option<u8>,
    },
    /// The supervisor was killed before it could say how this ended.
    SupervisorKilled,
    /// It runs on although guardian and supervisor were killed.
    Orphaned,
}

/// A hook that has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailure {
    /// When it ran.
    pub time: HookTime,
    /// Its command, as one would type it.
    pub command: String,
    /// What came of it.
    pub end: HookEnd,
}

/// What came of a hook that has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HookEnd {
    /// It ended by itself.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It took longer than its timeout and was killed.
    TimedOut {
        /// How long it had, in milliseconds.
        limit_millis: u64,
    },
    /// It could not be executed.
    NotExecuted {
        /// Why.
        error: StartError,
    },
}

/// What was left of a service when its main process had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// How many processes.
    pub processes: usize,
    /// The first few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<ProcessName>,
}

/// A dependency that keeps others from being started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// Which.
    pub unit: UnitRef,
    /// What is the matter with it.
    pub state: BlockerState,
}

impl Blocker {
    /// The first link of the chain: whoever failed by itself.
    pub fn root(&self) -> &Self {
        match &self.state {
            BlockerState::Failed {
                reason: Reason::NotStarted { because },
            } => because.root(),
            BlockerState::Failed { .. }
            | BlockerState::Ended
            | BlockerState::Stopped
            | BlockerState::Unhealthy { .. }
            | BlockerState::Late { .. }
            | BlockerState::NotReady { .. } => self,
        }
    }
}

/// Why a dependency cannot meet its condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BlockerState {
    /// It failed.
    Failed {
        /// Why.
        reason: Reason,
    },
    /// It has ended, and should have been healthy.
    Ended,
    /// Somebody stopped it.
    Stopped,
    /// Its check failed too often.
    Unhealthy {
        /// What the last check saw.
        last: Option<CheckFailure>,
    },
    /// It was not healthy in time.
    Late {
        /// How long it had, in milliseconds.
        limit_millis: u64,
        /// What the last check saw.
        last: Option<CheckFailure>,
    },
    /// A port of it is not as it should be.
    NotReady {
        /// How.
        trouble: PortTrouble,
    },
}

/// What is wrong with a port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PortTrouble {
    /// Somebody else listens on it, or has it.
    Taken {
        /// Which port.
        port: u16,
        /// Who has it; 0 where that cannot be seen.
        pid: i32,
        /// Its command line, with its stack if it is one of ours; empty where it cannot be seen.
        command: String,
        /// The address; empty where it is not known.
        bound_to: String,
    },
    /// Its service listens on other ports instead.
    Elsewhere {
        /// The port that it was given.
        port: u16,
        /// Those on which it listens.
        listens_on: Vec<u16>,
    },
    /// The hold keeps its server out, and the file wants it so.
    KeptOut {
        /// Which port.
        port: u16,
    },
    /// The server said that an address is in use.
    InUse {
        /// The address that it named; empty where it named a port alone.
        address: String,
        /// The port that it named.
        port: u16,
        /// Who has that; 0 where nobody can be seen.
        pid: i32,
        /// Its command line; empty where it cannot be seen.
        command: String,
        /// The ports that were given to the service.
        own: Vec<u16>,
    },
    /// The server said that an address is in use and not which, and on its own ports nobody was in its way.
    InUseSomewhere {
        /// The ports that were given to the service.
        own: Vec<u16>,
    },
    /// Connections that were closed keep it for a while.
    Leftover {
        /// Which port.
        port: u16,
    },
    /// A passed socket could not be made to listen.
    NoListener {
        /// Which port.
        port: u16,
        /// The system's word.
        error: String,
    },
}

impl PortTrouble {
    /// What is wrong with a port while its service runs, if something is.
    pub fn of(port: u16, state: &PortState) -> Option<Self> {
        match state.clone() {
            PortState::Stolen {
                pid,
                command,
                bound_to,
            } => Some(Self::Taken {
                port,
                pid,
                command,
                bound_to,
            }),
            PortState::WrongPort { listens_on } => Some(Self::Elsewhere { port, listens_on }),
            PortState::Held | PortState::Listening { .. } | PortState::NotListening => None,
        }
    }
}

/// Why a program could not be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StartError {
    /// Its working directory does not exist.
    NoDirectory {
        /// The directory.
        path: String,
    },
    /// Its program is in none of the directories of its `PATH`.
    NotFound {
        /// The program.
        name: String,
    },
    /// A file is there and cannot be executed.
    NotExecutable {
        /// The file.
        path: String,
    },
    /// The kernel takes no variable of this length.
    VariableTooLong {
        /// The variable.
        name: String,
        /// The length of its name and value in bytes.
        bytes: u64,
    },
    /// The interpreter in the first line of a script does not exist.
    NoInterpreter {
        /// The script.
        path: String,
    },
    /// The system refused a step on the way.
    Refused {
        /// Which step.
        step: StartStep,
        /// The program, or the working directory where that is the step.
        path: String,
        /// The system's word.
        error: String,
    },
    /// Its ports could not be made ready for it.
    Port {
        /// What is wrong.
        trouble: PortTrouble,
    },
    /// A command that prepares it could not be executed.
    Hook {
        /// When it was to run.
        time: HookTime,
        /// Why.
        error: Box<Self>,
    },
    /// It cannot be whose it is to be, or take what it is to take.
    Rights {
        /// Why.
        error: RightsError,
    },
}

/// Why a process cannot be given what its service asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RightsError {
    /// There is no such user.
    NoUser {
        /// Its name.
        name: String,
    },
    /// There is no such group.
    NoGroup {
        /// Its name.
        name: String,
    },
    /// Only root may do that.
    NeedsRoot {
        /// The key: `user`, `ulimits.nofile`.
        key: String,
        /// Its value.
        value: String,
        /// What there is instead: who we are, or the present value.
        present: String,
    },
    /// Nobody may have so much, not even root.
    TooMuch {
        /// The key: `ulimits.nofile`.
        key: String,
        /// Its value.
        value: String,
        /// The most that there can be.
        most: u64,
        /// What says so.
        setting: String,
    },
    /// What its service is given lies where it does not get.
    Closed {
        /// Its user.
        user: String,
        /// The directory that it cannot pass.
        dir: String,
    },
}

/// A step on the way to a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartStep {
    /// The pipes for its output.
    Pipe,
    /// A new process.
    Process,
    /// Its session and descriptors.
    Prepare,
    /// Its directories, configs and secrets.
    Files,
    /// Its limits (`ulimits`).
    Limits,
    /// Its nice value.
    Nice,
    /// Its `oom_score_adj`.
    OomScoreAdj,
    /// Its user and groups.
    User,
    /// Its working directory.
    Directory,
    /// The socket on which it says how it is.
    Notify,
    /// The program itself.
    Execute,
}

/// What a health check saw instead of what it should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CheckFailure {
    /// It took longer than its timeout.
    TimedOut,
    /// Its command failed.
    Exited {
        /// How it ended.
        exit: Exit,
        /// The last line that it printed.
        last_line: Option<String>,
    },
    /// Its command could not be executed.
    NotExecuted {
        /// Why.
        error: StartError,
    },
    /// It has not printed what it is waited for.
    NotPrinted {
        /// The regular expression.
        pattern: String,
    },
    /// It has not said yet that it is ready.
    NotReady,
    /// It has said that it takes over a new configuration.
    Reloading,
    /// It has said that it stops.
    Stopping,
    /// It has not given the sign of life that it had begun to give.
    Watchdog {
        /// Within which time there should have been one, in milliseconds.
        limit_millis: u64,
    },
    /// Nothing listens on a port yet.
    NotListening {
        /// Whose port it is, where that is another unit.
        unit: Option<UnitRef>,
        /// Which port.
        port: u16,
    },
    /// A port of the service is not as it should be.
    Port {
        /// How.
        trouble: PortTrouble,
    },
    /// On a port that is none of the stack's somebody answers who did before the service was executed.
    Stranger {
        /// Which port.
        port: u16,
        /// The address on which he listens.
        bound_to: String,
        /// Who; nobody where that cannot be seen.
        process: Option<ProcessName>,
    },
    /// No connection could be made.
    NoConnection {
        /// To which address.
        address: String,
        /// To which port.
        port: u16,
        /// The system's word.
        error: String,
    },
    /// What answered did not speak HTTP.
    NoHttp {
        /// On which port.
        port: u16,
        /// What was wrong.
        error: String,
    },
    /// The answer's status is none that passes.
    Status {
        /// The status code.
        status: u16,
        /// The path that was asked for.
        path: String,
    },
}
