//! The unit: the actor that owns one replica of one service.
//!
//! It owns the process, the ports' holds, the state machine and the schedule of its checks. The
//! supervisor's loop hands it what happened; nothing else touches its state. Units run on the
//! supervisor's one thread and need neither locks nor tasks of their own.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::process::Slot;
use super::snapshot::{Exit, Phase, PortSnapshot, ServiceSnapshot};
use super::state::{Failure, Health, Machine, Settings, State};
use super::unit_ports::UnitPorts;
use crate::plan::model::{ProbePlan, UnitPlan};
use crate::support::clock::unix_millis;
use crate::support::duration;
use crate::support::protocol::Protocol;

/// A check that is under way.
#[derive(Debug)]
pub(crate) enum RunningProbe {
    /// A task in this process.
    Task(AbortHandle),
    /// A process, the leader of its own session.
    Process {
        /// Its pid.
        pid: i32,
        /// Tells the task that keeps its output how it ended; dropped when it is cancelled.
        exit_tx: oneshot::Sender<Exit>,
    },
}

/// One replica of one service, with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) plan: UnitPlan,
    /// Its place in the shared table and in the lease file.
    pub(crate) slot: Slot,
    pub(crate) machine: Machine,
    /// The schedule of the present attempt's checks.
    pub(crate) health: Option<Health>,
    /// Checks under way, by number.
    pub(crate) probes: HashMap<u64, RunningProbe>,
    /// The number of the last check of any attempt.
    pub(crate) last_probe: u64,
    /// Its ports, in the order of the plan's.
    pub(crate) ports: UnitPorts,
    /// The main process, from exec until it was reaped.
    pub(crate) pid: Option<i32>,
    /// When it was executed for the first time since somebody wanted it.
    pub(crate) first_executed: Option<Instant>,
    /// Whether somebody wants it stopped, and its dependents are still in the way.
    pub(crate) stop_wanted: Option<StopWish>,
    /// Whether it is started without regard to its dependencies (`--no-deps`).
    pub(crate) ignores_dependencies: bool,
    /// The session that its last main process led.
    pub(crate) session: Option<i32>,
    /// When its last attempt was about to be executed, in clock ticks since boot.
    pub(crate) executed_ticks: u64,
    /// Processes of this service that left its tree and now hang below the supervisor.
    pub(crate) strays: Vec<i32>,
    /// Whether the group of the present attempt was sent the stop signal.
    pub(crate) is_group_asked: bool,
    /// Who else was sent a signal to end; nobody is asked twice.
    pub(crate) asked: HashSet<i32>,
    /// URLs that it printed, by port.
    pub(crate) urls: HashMap<u16, String>,
    /// What the last failed check saw.
    pub(crate) last_answer: Option<String>,
    /// Whether a snapshot is due.
    pub(crate) is_dirty: bool,
    /// The phase that was last told, and since when.
    told_phase: Phase,
    since: u64,
    started_at: Option<u64>,
    ready_at: Option<u64>,
    /// One moment on both clocks.
    epoch: (Instant, u64),
    /// The snapshot that was last told.
    pub(crate) told: Option<ServiceSnapshot>,
}

/// How somebody wants a unit stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopWish {
    pub(crate) grace: Option<Duration>,
}

impl Unit {
    pub(crate) fn new(plan: UnitPlan, ports: UnitPorts, slot: Slot) -> Self {
        let machine = Machine::new(Settings {
            policy: plan.restart,
            success_exit_codes: plan.success_exit_codes.clone(),
            grace: plan.grace,
            has_readiness: plan.has_readiness(),
            is_shell_line: plan.execution.is_shell_line,
        });
        Self {
            slot,
            machine,
            health: None,
            probes: HashMap::new(),
            last_probe: 0,
            ports,
            pid: None,
            first_executed: None,
            stop_wanted: None,
            ignores_dependencies: false,
            session: None,
            executed_ticks: 0,
            strays: Vec::new(),
            is_group_asked: false,
            asked: HashSet::new(),
            urls: HashMap::new(),
            last_answer: None,
            is_dirty: true,
            told_phase: Phase::Pending,
            since: unix_millis(),
            started_at: None,
            ready_at: None,
            epoch: (Instant::now(), unix_millis()),
            told: None,
            plan,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.machine.phase()
    }

    /// The name that is shown: `web`, or `web-2` of several replicas.
    pub(crate) fn label(&self) -> String {
        self.plan.name().label(self.plan.replicas)
    }

    /// Notes the times of a change of phase. Called after every occurrence.
    pub(crate) fn note_phase(&mut self) {
        self.is_dirty = true;
        let phase = self.phase();
        if phase == self.told_phase {
            return;
        }
        self.told_phase = phase;
        self.since = unix_millis();
        match phase {
            Phase::Healthy | Phase::Running => {
                self.ready_at.get_or_insert(self.since);
            }
            Phase::Pending
            | Phase::Waiting
            | Phase::Starting
            | Phase::Unhealthy
            | Phase::Stopping
            | Phase::Backoff
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => {}
        }
    }

    /// Notes that a new attempt was executed.
    pub(crate) fn note_executed(&mut self, pid: i32, now: Instant) {
        self.pid = Some(pid);
        self.session = Some(pid);
        self.is_group_asked = false;
        self.asked.clear();
        self.started_at = Some(unix_millis());
        self.ready_at = None;
        self.last_answer = None;
        self.first_executed.get_or_insert(now);
        self.ports.note_executed();
    }

    /// Moves every time by `gap`: the clock stood still for the user.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.machine.shift(gap);
        if let Some(health) = &mut self.health {
            health.shift(gap);
        }
        self.ports.shift(gap);
        self.first_executed = self.first_executed.map(|since| since + gap);
    }

    /// When the unit next needs to be looked at for its own sake.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let health = self.health.as_ref().and_then(Health::deadline);
        [self.machine.deadline(), health]
            .into_iter()
            .flatten()
            .min()
    }

    /// What it looks like from outside. `waiting_for` are its unmet dependencies.
    pub(crate) fn snapshot(&self, waiting_for: Vec<String>, is_one_shot: bool) -> ServiceSnapshot {
        // From one fixed pair of clock readings, so that the same deadline is always the same text.
        let in_millis = |deadline: Instant| {
            let since = deadline.saturating_duration_since(self.epoch.0).as_millis();
            self.epoch.1 + u64::try_from(since).unwrap_or(u64::MAX / 2)
        };
        let phase = self.phase();
        let deadline = self.machine.deadline();
        ServiceSnapshot {
            service: self.plan.service.clone(),
            replica: self.plan.replica,
            replicas: self.plan.replicas,
            phase,
            since: self.since,
            pid: self.pid,
            started_at: self.started_at,
            ready_at: self.ready_at,
            exit: self.machine.last_exit(),
            attempt: self.machine.attempt(),
            failures: self.machine.failures(),
            waiting_for,
            reason: self.reason(),
            next_attempt_at: (phase == Phase::Backoff)
                .then_some(deadline)
                .flatten()
                .map(in_millis),
            kill_at: (phase == Phase::Stopping)
                .then_some(deadline)
                .flatten()
                .map(in_millis),
            is_one_shot,
            has_readiness: self.plan.has_readiness(),
            ports: self.port_snapshots(),
        }
    }

    fn port_snapshots(&self) -> Vec<PortSnapshot> {
        let speaks_http = self
            .plan
            .health
            .as_ref()
            .and_then(|health| match &health.probe {
                ProbePlan::Http(http) => Some(http.port),
                ProbePlan::Command(_) | ProbePlan::Tcp { .. } => None,
            });
        self.ports
            .iter()
            .map(|port| {
                let number = port.number;
                let address = if let Some(url) = self.urls.get(&number) {
                    url.clone()
                } else if speaks_http == Some(number) {
                    format!("http://localhost:{number}/")
                } else {
                    match port.protocol {
                        Protocol::Tcp | Protocol::Both => format!("localhost:{number}"),
                        Protocol::Udp => format!("localhost:{number}/udp"),
                    }
                };
                PortSnapshot {
                    name: port.key.name.clone(),
                    protocol: port.protocol,
                    port: number,
                    state: port.state.clone(),
                    address,
                }
            })
            .collect()
    }

    /// Why it is where it is, where that needs words.
    fn reason(&self) -> Option<String> {
        match self.machine.state() {
            State::Failed(failure) => Some(self.failure_words(failure)),
            State::Backoff { .. } => self.last_end_words(),
            State::Unhealthy { .. } | State::Starting { .. } => self.last_answer.clone(),
            State::Stopping {
                is_killed: true, ..
            } => Some("did not stop in time and was killed".to_owned()),
            State::Pending
            | State::Waiting
            | State::Running { .. }
            | State::Healthy { .. }
            | State::Stopping { .. }
            | State::Completed
            | State::Stopped => None,
        }
    }

    fn failure_words(&self, failure: &Failure) -> String {
        match failure {
            Failure::Exited(exit) => self.end_words(*exit),
            Failure::GaveUp { exit, restarts } => {
                let times = if *restarts == 1 {
                    "1 restart".to_owned()
                } else {
                    format!("{restarts} restarts")
                };
                format!("{}; gave up after {times}", self.end_words(*exit))
            }
            Failure::NotExecuted(message) => message.clone(),
            Failure::NotStarted(chain) => format!("not started: {chain}"),
            Failure::Unkillable => match self.pid {
                Some(pid) => format!("pid {pid} did not end after SIGKILL"),
                None => "something of it did not end after SIGKILL".to_owned(),
            },
        }
    }

    /// How the last attempt ended, or why there was none.
    pub(crate) fn last_end_words(&self) -> Option<String> {
        match self.machine.last_exit() {
            Some(exit) => Some(self.end_words(exit)),
            None => self.machine.trouble().map(str::to_owned),
        }
    }

    /// `exited with code 0: port 8003 was taken by …`.
    fn end_words(&self, exit: Exit) -> String {
        match self.machine.trouble() {
            Some(trouble) => format!("{}: {trouble}", exit_words(exit)),
            None => exit_words(exit),
        }
    }

    /// Why it cannot meet a condition, as one link of a chain.
    pub(crate) fn chain_link(&self) -> String {
        let name = self.label();
        match self.machine.state() {
            State::Failed(failure) => format!("{name} {}", self.failure_words(failure)),
            State::Completed => format!("{name} has ended"),
            State::Stopped => format!("{name} was stopped"),
            State::Unhealthy { .. } => match &self.last_answer {
                Some(answer) => format!("{name} is unhealthy: {answer}"),
                None => format!("{name} is unhealthy"),
            },
            State::Pending
            | State::Waiting
            | State::Starting { .. }
            | State::Running { .. }
            | State::Healthy { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => format!("{name} is {}", self.phase().word()),
        }
    }
}

impl UnitPlan {
    /// Whether being ready means more than having been executed.
    pub(crate) fn has_readiness(&self) -> bool {
        self.health.is_some() || !self.ports.is_empty()
    }
}

/// `exited with code 1`, `was ended by signal 9 (SIGKILL)`.
pub(crate) fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
            Ok(signal) => format!("was ended by {}", signal.as_str()),
            Err(_) => format!("was ended by signal {number}"),
        },
    }
}

/// `in 0.2 s`, for a notice about a restart.
pub(crate) fn delay_words(delay: Duration) -> String {
    if delay.is_zero() {
        "at once".to_owned()
    } else {
        format!("in {}", duration::human(delay))
    }
}
