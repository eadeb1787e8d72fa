//! The unit: everything that belongs to one replica of one service.
//!
//! What is wanted of it, its state machine, the schedule of its checks, its ports and what viewers are
//! told. The supervisor's loop owns it and hands it what happened; its processes are the runner's.

mod fate;
mod reasons;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fate::settings;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::notify::{Notified, NotifySocket};
use super::reason::{CheckFailure, LeftBehind, UnitRef, WaitingFor};
use super::snapshot::{DesiredSnapshot, Phase, PortSnapshot, ServiceSnapshot};
use super::state::{
    Desired, Failure, Generation, HEALTHY_LIMIT, Health, Machine, Observed, Rest, Seen, State,
    Timer, WRONG_PORT_LIMIT,
};
use super::unit_ports::UnitPorts;
use crate::plan::Requested;
use crate::plan::model::{HookPlan, ProbePlan, UnitPlan};
use crate::ports::Stranger;
use crate::support::clock::unix_millis;
use crate::support::protocol::Protocol;

pub(crate) use fate::{Fate, Next, Spared};

/// A check that is under way.
#[derive(Debug)]
pub(crate) enum RunningCheck {
    /// A task in this process.
    Task(AbortHandle),
    /// A command beside the unit.
    Command,
}

/// A hook that is under way.
#[derive(Debug)]
pub(crate) struct RunningHook {
    /// The number of its command.
    pub(crate) number: u64,
    pub(crate) plan: HookPlan,
    /// Those that come after it.
    pub(crate) rest: VecDeque<HookPlan>,
    /// The attempt that it belongs to.
    pub(crate) attempt: u32,
    /// It is killed then; nothing once it was.
    pub(crate) until: Option<Instant>,
}

/// One replica of one service, with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) plan: UnitPlan,
    /// How its ports were asked for.
    pub(crate) requested: Arc<Requested>,
    pub(crate) fate: Fate,
    /// Why it was left as it is though the files have changed.
    pub(crate) spared: Option<Spared>,
    /// What is wanted of it.
    pub(crate) desired: Desired,
    /// The generation for which it was begun the last time.
    pub(crate) begun: Generation,
    /// The last generation for which it was told to stop.
    pub(crate) told: Generation,
    pub(crate) machine: Machine,
    /// The schedule of the present attempt's checks.
    pub(crate) health: Option<Health>,
    /// Checks under way, by number.
    pub(crate) checks: HashMap<u64, RunningCheck>,
    /// The number of the last check of any attempt.
    pub(crate) last_check: u64,
    /// A hook under way.
    pub(crate) hook: Option<RunningHook>,
    /// The number of the last hook.
    pub(crate) last_hook: u64,
    /// Its ports, in the order of the plan's.
    pub(crate) ports: UnitPorts,
    /// The main process, from exec until its end was taken in.
    pub(crate) pid: Option<i32>,
    /// When it was executed for the first time since it was begun.
    pub(crate) first_executed: Option<Instant>,
    /// When it is to run next, if it has a schedule and is to follow it.
    pub(crate) timer: Option<Timer>,
    /// The last attempt of which it was told that another run was due meanwhile.
    pub(crate) overrun: Option<u32>,
    /// When its dependencies are to be looked at again.
    pub(crate) look_again: Option<Instant>,
    /// URLs that it printed, by port.
    pub(crate) urls: HashMap<u16, String>,
    /// What the last failed check saw.
    pub(crate) last_answer: Option<CheckFailure>,
    /// What was found of the last attempt, where it was ended because of that.
    pub(crate) restarted_for: Option<CheckFailure>,
    /// The last attempt that has printed what its check looks for.
    pub(crate) printed: Option<u32>,
    /// What the present attempt says of itself, and where.
    pub(crate) notified: Option<Notified>,
    pub(crate) notify_socket: Option<NotifySocket>,
    /// Whether readiness was doubted as the server seems to be in the background.
    pub(crate) is_doubted: bool,
    /// Who listened where its check asks before the present attempt was executed.
    pub(crate) strangers: Vec<Stranger>,
    /// What the present or last attempt left when its main process had ended.
    pub(crate) left: Option<LeftBehind>,
    /// The same, as long as the machine has not been told of it.
    pub(crate) left_at_end: Option<LeftBehind>,
    /// How far an execution that takes time is.
    pub(crate) progress: Option<(String, Option<u8>)>,
    /// Whether it is in the queue of those to be reconciled.
    pub(crate) is_queued: bool,
    /// Whether its deadline and snapshot may be other ones than before.
    pub(crate) is_dirty: bool,
    /// The deadline under which the supervisor knows it.
    pub(crate) scheduled: Option<Instant>,
    /// The phase that was last told, and since when.
    told_phase: Phase,
    since: u64,
    started_at: Option<u64>,
    ready_at: Option<u64>,
    /// One moment on both clocks.
    epoch: (Instant, u64),
    /// The snapshot that was last told.
    pub(crate) told_snapshot: Option<ServiceSnapshot>,
}

impl Unit {
    pub(crate) fn new(plan: UnitPlan, ports: UnitPorts, requested: Arc<Requested>) -> Self {
        Self {
            machine: Machine::new(settings(&plan)),
            requested,
            fate: Fate::Stays,
            spared: None,
            desired: Desired::IDLE,
            begun: 0,
            told: 0,
            health: None,
            checks: HashMap::new(),
            last_check: 0,
            hook: None,
            last_hook: 0,
            ports,
            pid: None,
            first_executed: None,
            timer: None,
            overrun: None,
            look_again: None,
            urls: HashMap::new(),
            last_answer: None,
            restarted_for: None,
            printed: None,
            notified: None,
            notify_socket: None,
            is_doubted: false,
            strangers: Vec::new(),
            left: None,
            left_at_end: None,
            progress: None,
            is_queued: false,
            is_dirty: false,
            scheduled: None,
            told_phase: Phase::Pending,
            since: unix_millis(),
            started_at: None,
            ready_at: None,
            epoch: (Instant::now(), unix_millis()),
            told_snapshot: None,
            plan,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.machine.phase()
    }

    /// The name that is shown: `web`, or `web-2` of several replicas.
    pub(crate) fn label(&self) -> String {
        self.plan.id().label(self.plan.replicas)
    }

    /// How a reason names it.
    pub(crate) fn unit_ref(&self) -> UnitRef {
        UnitRef {
            service: self.plan.service.clone(),
            replica: self.plan.replica,
            replicas: self.plan.replicas,
        }
    }

    /// What those see who decide what comes next.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            desired: self.desired,
            observed: Observed {
                phase: self.phase(),
                begun: self.begun,
                told: self.told,
                is_executed: self.machine.is_executed(),
                has_completed: self.machine.has_completed(),
                is_uncertain: self.spared.as_ref().is_some_and(|spared| spared.is_open),
                is_unkillable: matches!(
                    self.machine.state(),
                    State::Resting(Rest::Failed(Failure::Unkillable))
                ),
                healthy_until: self.healthy_until(),
            },
        }
    }

    /// When a wait for its health ends.
    fn healthy_until(&self) -> Option<Instant> {
        let executed = self.first_executed.map(|since| since + HEALTHY_LIMIT);
        let wrong_port = self
            .ports
            .wrong_since()
            .map(|since| since + WRONG_PORT_LIMIT);
        [executed, wrong_port].into_iter().flatten().min()
    }

    /// Notes the times of a change of phase. Called after every occurrence.
    pub(crate) fn note_phase(&mut self) {
        let phase = self.phase();
        if phase == self.told_phase {
            return;
        }
        self.told_phase = phase;
        self.since = unix_millis();
        if matches!(phase, Phase::Healthy | Phase::Running) {
            self.ready_at.get_or_insert(self.since);
        }
    }

    /// Notes that a new attempt was executed.
    pub(crate) fn note_executed(&mut self, pid: Option<i32>, now: Instant) {
        self.pid = pid;
        self.started_at = Some(unix_millis());
        self.ready_at = None;
        self.last_answer = None;
        self.restarted_for = None;
        self.left = None;
        self.spared = None;
        self.is_doubted = false;
        self.progress = None;
        self.first_executed.get_or_insert(now);
        self.ports.note_executed();
    }

    /// Moves every time by `gap`: the clock stood still for the user.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.machine.shift(gap);
        if let Some(health) = &mut self.health {
            health.shift(gap);
        }
        if let Some(until) = self.hook.as_mut().and_then(|hook| hook.until.as_mut()) {
            *until += gap;
        }
        if let Some(notified) = &mut self.notified {
            notified.shift(gap);
        }
        if let Some(timer) = &mut self.timer {
            timer.shift(gap);
        }
        self.ports.shift(gap);
        self.first_executed = self.first_executed.map(|since| since + gap);
        self.look_again = self.look_again.map(|until| until + gap);
    }

    /// When the unit next needs to be looked at for its own sake.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let health = self.health.as_ref().and_then(Health::deadline);
        let hook = self.hook.as_ref().and_then(|hook| hook.until);
        let notified = self.notified.as_ref().filter(|_| self.machine.is_up());
        let watchdog = notified.and_then(Notified::deadline);
        [
            self.machine.deadline(),
            health,
            hook,
            watchdog,
            self.timer.as_ref().map(Timer::look),
            self.look_again,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What it looks like from outside. `waiting_for` are its unmet dependencies.
    pub(crate) fn snapshot(
        &self,
        waiting_for: Vec<WaitingFor>,
        is_one_shot: bool,
    ) -> ServiceSnapshot {
        // From one fixed pair of clock readings, so that the same deadline is always the same number.
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4);
        // While the machine slept only one of them went on. By whole seconds, for the same reason.
        let passed = self.epoch.1 + millis(self.epoch.0.elapsed());
        let slept = unix_millis().saturating_sub(passed) / 1_000 * 1_000;
        let in_millis = |deadline: Instant| {
            let since = deadline.saturating_duration_since(self.epoch.0);
            self.epoch.1 + slept + millis(since)
        };
        let phase = self.phase();
        let next_attempt = self.machine.deadline().filter(|_| phase == Phase::Backoff);
        ServiceSnapshot {
            service: self.plan.service.clone(),
            replica: self.plan.replica,
            replicas: self.plan.replicas,
            desired: DesiredSnapshot {
                wanted: self.desired.wanted,
                generation: self.desired.generation,
                cause: self.desired.cause,
            },
            generation: self.begun,
            is_executed: self.machine.is_executed(),
            phase,
            since: self.since,
            pid: self.pid,
            started_at: self.started_at,
            ready_at: self.ready_at,
            exit: self.machine.last_exit(),
            attempt: self.machine.attempt(),
            restarts: self.machine.retries(),
            failures: self.machine.failures(),
            waiting_for,
            reason: self.reason(),
            next_attempt_at: next_attempt.map(in_millis),
            next_run: self
                .timer
                .as_ref()
                .and_then(|timer| timer.next_run(in_millis)),
            kill_at: self.machine.kill_at().map(in_millis),
            is_one_shot,
            has_readiness: self.plan.has_readiness(),
            is_attached: self.plan.is_attached,
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
                ProbePlan::Command(_)
                | ProbePlan::Tcp { .. }
                | ProbePlan::Log { .. }
                | ProbePlan::Notify { .. } => None,
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
                    state: port.state().clone(),
                    address,
                }
            })
            .collect()
    }
}

impl UnitPlan {
    /// Whether being ready means more than having been executed.
    pub(crate) fn has_readiness(&self) -> bool {
        self.health.is_some() || !self.ports.is_empty()
    }
}
