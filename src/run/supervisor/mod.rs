//! The supervisor: the one loop in which everything happens.
//!
//! It owns the units, reaps every child, carries out commands and keeps the order of start and
//! stop. One thread, no locks, no tick: it sleeps until a child ends, a message comes, a check
//! answers, a signal arrives or the nearest deadline of any unit is due. After each of these it
//! *settles*: [`order`] says which units may start or stop now, and what changed is told.
//!
//! Its parts: `execute` does what the units' machines ask for, `checks` looks after health and
//! ports, `commands` takes in what users want, `order` is the pure part about dependencies.

mod checks;
mod commands;
mod execute;
mod order;
mod signals;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use signals::{Arrived, Signals};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::control::{Controller, Request, StackSnapshot};
use super::guardian::Strokes;
use super::instance::Instance;
use super::launch::Seat;
use super::lease::LeaseFile;
use super::logs::{LogSink, Pump, PumpHandle};
use super::outlet::{Found, Outlet};
use super::probe::Answer;
use super::process::{Spawner, has_children, reap_all};
use super::snapshot::{Event, Exit, Notice, NoticeLevel, Phase, PortState};
use super::state::{Moment, Occurrence};
use super::unit::Unit;
use crate::plan::Plan;
use crate::ports::Hold;
use crate::ports::request::PortKey;
use crate::support::clock::unix_millis;
use crate::support::fs::write_atomically_unsynced;
use crate::support::hash::random_unit;
use crate::support::name::ServiceName;

/// How a stack is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether there is no terminal to look after.
    pub is_detached: bool,
    /// What is started at first; empty is everything.
    pub services: Vec<ServiceName>,
    /// Whether dependencies of those are left alone.
    pub no_deps: bool,
    /// Overrides every grace period when everything is stopped.
    pub grace: Option<Duration>,
    /// Whether everything is stopped when a service fails for good.
    pub abort_on_failure: bool,
    /// Everything is stopped when this service ends.
    pub stop_with: Option<ServiceName>,
}

/// Why the supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The services that failed for good, with why.
    pub failed: Vec<(ServiceName, String)>,
    /// How the service of [`Options::stop_with`] ended.
    pub exit: Option<Exit>,
    /// The signal that stopped everything, if one did.
    pub signal: Option<i32>,
    /// Whether anything could not be ended.
    pub is_anything_left: bool,
}

/// What everything is told, and why it is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Drain {
    grace: Option<Duration>,
    is_killed: bool,
}

/// A `restart`: everything of the set comes down, then all of it goes up.
#[derive(Debug)]
struct RestartOperation {
    units: Vec<usize>,
}

/// A child that ended, with its output in the files.
#[derive(Debug, Clone, Copy)]
struct Ended {
    unit: usize,
    pid: i32,
    exit: Exit,
}

/// What a pid of a child means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Main { unit: usize },
    Probe { unit: usize, id: u64 },
}

/// The supervisor of one instance.
pub struct Supervisor {
    units: Vec<Unit>,
    dependents: Vec<Vec<usize>>,
    children: HashMap<i32, Child>,
    /// Which unit has which port.
    port_owners: HashMap<u16, (usize, usize)>,
    spawner: Spawner,
    seat: Seat,
    leases: LeaseFile,
    pump: PumpHandle,
    pump_task: JoinHandle<()>,
    found_rx: mpsc::UnboundedReceiver<Found>,
    request_rx: mpsc::UnboundedReceiver<Request>,
    ended_tx: mpsc::UnboundedSender<Ended>,
    ended_rx: mpsc::UnboundedReceiver<Ended>,
    answer_tx: mpsc::UnboundedSender<Answer>,
    answer_rx: mpsc::UnboundedReceiver<Answer>,
    event_tx: broadcast::Sender<Event>,
    options: Options,
    about: StackSnapshot,
    drain: Option<Drain>,
    restarts: Vec<RestartOperation>,
    signal: Option<i32>,
    stop_exit: Option<Exit>,
    is_anything_left: bool,
    /// Whether the kernel has said that there are no children, so that the last look is spared.
    last_path: PathBuf,
}

/// What a supervisor is made of.
pub struct Parts<S> {
    /// What to run.
    pub plan: Plan,
    /// The sockets that keep its ports.
    pub holds: IndexMap<PortKey, Hold>,
    /// Where its files are.
    pub instance: Instance,
    /// This process's place beside the guardian.
    pub seat: Seat,
    /// How to run it.
    pub options: Options,
    /// The random id of this supervisor.
    pub run: u64,
    /// Who looks at the output, besides the files and subscribers.
    pub viewer: S,
    /// The soft and hard limit of open files for services.
    pub file_limit: (u64, u64),
}

/// How many events and blocks of output a slow subscriber may lag behind.
const EVENT_BACKLOG: usize = 4096;
const LOG_BACKLOG: usize = 1024;

/// How long what is left after everything has ended may take to vanish.
const LAST_LIMIT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Prepares a supervisor, its log pump running beside it. Must be called on the thread of a
    /// current-thread runtime, within a `LocalSet`.
    pub fn new<S: LogSink + 'static>(parts: Parts<S>) -> io::Result<(Self, Controller)> {
        let Parts {
            plan,
            mut holds,
            instance,
            seat,
            options,
            run,
            viewer,
            file_limit,
        } = parts;
        let (event_tx, _) = broadcast::channel(EVENT_BACKLOG);
        let (log_tx, _) = broadcast::channel(LOG_BACKLOG);
        let (request_tx, request_rx) = mpsc::unbounded_channel();
        let (ended_tx, ended_rx) = mpsc::unbounded_channel();
        let (answer_tx, answer_rx) = mpsc::unbounded_channel();
        let (found_tx, found_rx) = mpsc::unbounded_channel();

        let with_ports: Vec<(ServiceName, Vec<u16>)> = plan
            .units
            .iter()
            .filter(|unit| !unit.ports.is_empty())
            .map(|unit| {
                (
                    unit.service.clone(),
                    unit.ports.iter().map(|port| port.port).collect(),
                )
            })
            .collect();
        let outlet = Outlet::new(
            viewer,
            log_tx.clone(),
            event_tx.clone(),
            with_ports,
            found_tx,
        );
        let (pump, task) = Pump::new(instance.log_dir(), run, outlet)?;
        let pump_task = tokio::task::spawn_local(task.run());

        let names = plan.units.iter().map(|unit| unit.service.clone()).collect();
        let leases = LeaseFile::create(&instance.lease_path(), names)?;
        let about = StackSnapshot {
            project: plan.project.clone(),
            instance: plan.instance.clone(),
            run: format!("{run:016x}"),
            project_dir: plan.project_dir.clone(),
            file: plan.file.clone(),
            dotenv: plan
                .dotenv
                .as_ref()
                .filter(|dotenv| !dotenv.entries.is_empty())
                .map(|dotenv| dotenv.path.clone()),
            fingerprint: plan.fingerprint.clone(),
            guardian_pid: seat.guardian_pid,
            supervisor_pid: nix::unistd::getpid().as_raw(),
            started_at: unix_millis(),
            is_detached: options.is_detached,
            is_draining: false,
            values: plan.values.clone(),
            services: Vec::new(),
        };
        let dependents = plan.dependents();
        let mut port_owners = HashMap::new();
        let units: Vec<Unit> = plan
            .units
            .into_iter()
            .enumerate()
            .map(|(index, unit)| {
                let mut kept = Vec::new();
                for (place, port) in unit.ports.iter().enumerate() {
                    port_owners.insert(port.port, (index, place));
                    let key = PortKey {
                        service: unit.service.clone(),
                        name: port.name.clone(),
                    };
                    kept.extend(holds.shift_remove(&key));
                }
                Unit::new(unit, kept)
            })
            .collect();
        let controller = Controller {
            request_tx,
            event_tx: event_tx.clone(),
            log_tx,
            log_dir: instance.log_dir(),
        };
        let supervisor = Self {
            units,
            dependents,
            children: HashMap::new(),
            port_owners,
            spawner: Spawner::new(file_limit)?,
            seat,
            leases,
            pump,
            pump_task,
            found_rx,
            request_rx,
            ended_tx,
            ended_rx,
            answer_tx,
            answer_rx,
            event_tx,
            options,
            about,
            drain: None,
            restarts: Vec::new(),
            signal: None,
            stop_exit: None,
            is_anything_left: false,
            last_path: instance.last_path(),
        };
        Ok((supervisor, controller))
    }

    /// Runs the stack until nothing of it runs or will run.
    pub async fn run(mut self) -> io::Result<Outcome> {
        let mut signals = Signals::install()?;
        // Whatever the handlers of this process are now, a child must not have them.
        self.spawner.note_signals();
        super::process::unblock_all()?;
        let lifeline = Receiver::from_owned_fd(self.seat.lifeline.try_clone()?)?;
        let mut is_guarded = true;
        let mut strokes = Strokes::default();

        let (services, no_deps) = (self.options.services.clone(), self.options.no_deps);
        self.want(&services, no_deps, commands::Wanting::Everything);
        self.settle();
        // Should this process be killed, these values are what is known of the stack.
        self.leave_word();
        loop {
            self.settle();
            if self.is_over() {
                break;
            }
            let deadline = self.deadline();
            // The runtime's timer counts in milliseconds: what is due already must not wait for it.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.due();
                continue;
            }
            tokio::select! {
                biased;
                arrived = signals.next() => match arrived {
                    Arrived::ChildEnded => self.reap(),
                    Arrived::Other(signal) => self.signalled(signal, &mut strokes),
                },
                Some(ended) = self.ended_rx.recv() => self.ended(ended),
                Some(answer) = self.answer_rx.recv() => self.answered(answer),
                Some(request) = self.request_rx.recv() => self.requested(request),
                Some(found) = self.found_rx.recv() => self.found(found),
                _ = lifeline.readable(), if is_guarded => {
                    // Only an end of file is ever to be read: the guardian has gone.
                    is_guarded = false;
                    self.notice(None, NoticeLevel::Error, "the guardian has ended; stopping everything");
                    self.begin_drain(None);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                    if deadline.is_some() => self.due(),
            }
        }
        self.finish().await;
        let outcome = self.outcome();
        let Self {
            pump, pump_task, ..
        } = self;
        // With the last handle gone the pump writes what is still in the pipes, and ends.
        drop(pump);
        drop(pump_task.await);
        Ok(outcome)
    }

    /// The nearest time at which something must be done without anything happening.
    fn deadline(&self) -> Option<Instant> {
        let units = self.units.iter().filter_map(Unit::deadline);
        let waits = self.wait_limits().map(|(_, limit)| limit);
        units.chain(waits).min()
    }

    /// Does what has fallen due.
    fn due(&mut self) {
        let now = Instant::now();
        for index in 0..self.units.len() {
            if self.units[index]
                .machine
                .deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                self.happen(index, Occurrence::Due);
            }
            self.health_due(index, now);
        }
        self.end_overdue_waits(now);
    }

    fn moment() -> Moment {
        Moment {
            now: Instant::now(),
            jitter: random_unit(),
        }
    }

    /// Hands an occurrence to a unit and does what its machine asks for.
    fn happen(&mut self, index: usize, occurrence: Occurrence) {
        let unit = &mut self.units[index];
        let before = unit.phase();
        tracing::debug!(service = %unit.plan.service, ?occurrence, from = before.word(), "happens");
        let actions = unit.machine.on(occurrence, Self::moment());
        unit.note_phase();
        let after = unit.phase();
        if after != before {
            tracing::debug!(service = %unit.plan.service, to = after.word(), ?actions, "moves");
        }
        for action in actions {
            self.act(index, action);
        }
        self.after_change(index);
    }

    /// Takes in every child that has ended.
    fn reap(&mut self) {
        let mut strays = Vec::new();
        for reaped in reap_all() {
            match self.children.remove(&reaped.pid) {
                Some(Child::Main { unit }) => {
                    // At once, before anything else is done: a free port is a lost port.
                    self.units[unit].harden();
                    let attempt = self.units[unit].machine.attempt();
                    let service = self.units[unit].plan.service.clone();
                    let drained = self.pump.drain(service, attempt);
                    let ended_tx = self.ended_tx.clone();
                    let ended = Ended {
                        unit,
                        pid: reaped.pid,
                        exit: reaped.exit,
                    };
                    // Nobody learns of the end before the last line is in the file.
                    tokio::task::spawn_local(async move {
                        drained.await;
                        // Without a supervisor nobody wants to know.
                        let _ = ended_tx.send(ended);
                    });
                }
                Some(Child::Probe { unit, id }) => self.probe_ended(unit, id, reaped),
                None => strays.push(reaped.pid),
            }
        }
        if !strays.is_empty() {
            self.strays_ended(&strays);
        }
    }

    /// Main processes have ended, their output is in the files: `first` and whatever came with it.
    fn ended(&mut self, first: Ended) {
        let mut batch = vec![first];
        while let Ok(more) = self.ended_rx.try_recv() {
            batch.push(more);
        }
        // One look for all of them. Whom they left behind has been ours since they died.
        self.find_strays(Some(first.unit));
        for ended in batch {
            let unit = &mut self.units[ended.unit];
            if unit.pid == Some(ended.pid) {
                unit.pid = None;
            }
            unit.port_states.fill(PortState::Held);
            self.happen(ended.unit, Occurrence::Exited(ended.exit));
        }
    }

    /// Carries out what has become possible, and tells what has changed.
    fn settle(&mut self) {
        // Each step can make another possible, and every step moves a unit forward, so this ends.
        while self.settle_once() {}
        self.tell();
    }

    /// Whether nothing runs or will be started any more.
    fn is_over(&self) -> bool {
        let is_settled = |unit: &Unit| unit.phase().is_at_rest();
        if !self.units.iter().all(is_settled) || !self.restarts.is_empty() {
            return false;
        }
        // What somebody stopped may be started again: in the background it waits for a `down`.
        let is_kept = self.options.is_detached
            && self.units.iter().any(|unit| unit.phase() == Phase::Stopped);
        self.drain.is_some() || !is_kept
    }

    /// Ends whatever is left below this process, and leaves a last word.
    async fn finish(&mut self) {
        let begun = Instant::now();
        let mut round = 0_u32;
        reap_all();
        if has_children() {
            // A check that was killed with its service, mostly; it needs a moment to be gone.
            tokio::time::sleep(Duration::from_millis(2)).await;
            reap_all();
        }
        // Nothing should be left here; what is, had no mark and no parent of ours.
        while has_children() && begun.elapsed() < LAST_LIMIT {
            let own = nix::unistd::getpid().as_raw();
            let signal = if round == 0 {
                nix::libc::SIGTERM
            } else {
                nix::libc::SIGKILL
            };
            for child in super::process::children_of(own) {
                for pid in super::process::descendants(child) {
                    super::process::signal_process(pid, signal);
                    super::process::signal_process(pid, nix::libc::SIGCONT);
                }
            }
            // The ends of these are nobody's news, so they are waited for here.
            tokio::time::sleep(Duration::from_millis(if round == 0 { 100 } else { 20 })).await;
            reap_all();
            round += 1;
        }
        self.is_anything_left |= has_children();
        if !self.is_anything_left {
            self.leases.remove();
        }
        self.tell();
        self.leave_word();
        let failed = self.failed().into_iter().map(|(name, _)| name).collect();
        drop(self.event_tx.send(Event::Ended { failed }));
    }

    /// Writes the state of everything for those who ask when nobody is here to answer.
    fn leave_word(&self) {
        let Ok(text) = serde_json::to_vec_pretty(&self.snapshot()) else {
            return;
        };
        // A full disk must not make a failure of this.
        if let Err(error) = write_atomically_unsynced(&self.last_path, &text, 0o600) {
            tracing::warn!(%error, "the last state was not written");
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            failed: self.failed(),
            exit: self.stop_exit,
            signal: self.signal,
            is_anything_left: self.is_anything_left,
        }
    }

    fn failed(&self) -> Vec<(ServiceName, String)> {
        self.units
            .iter()
            .filter(|unit| unit.phase() == Phase::Failed)
            .map(|unit| {
                let reason = unit.snapshot(Vec::new(), false).reason;
                (unit.plan.service.clone(), reason.unwrap_or_default())
            })
            .collect()
    }

    /// Says something about a service, or about everything.
    fn notice(&self, index: Option<usize>, level: NoticeLevel, message: impl Into<String>) {
        let service = index.map(|index| self.units[index].plan.service.clone());
        let message = message.into();
        tracing::info!(
            service = service.as_ref().map(ServiceName::as_str),
            "{message}"
        );
        drop(self.event_tx.send(Event::Notice(Notice {
            service,
            level,
            message,
        })));
    }

    /// Tells of every unit whose snapshot is another one than before.
    fn tell(&mut self) {
        for index in 0..self.units.len() {
            if !self.units[index].is_dirty {
                continue;
            }
            self.units[index].is_dirty = false;
            let snapshot = self.service_snapshot(index);
            let unit = &mut self.units[index];
            if unit.told.as_ref() != Some(&snapshot) {
                unit.told = Some(snapshot.clone());
                drop(self.event_tx.send(Event::Service(Box::new(snapshot))));
            }
        }
    }

    fn service_snapshot(&self, index: usize) -> super::snapshot::ServiceSnapshot {
        let waiting_for = if self.units[index].phase() == Phase::Waiting {
            self.unmet_words(index)
        } else {
            Vec::new()
        };
        self.units[index].snapshot(waiting_for, self.is_one_shot(index))
    }

    fn snapshot(&self) -> StackSnapshot {
        StackSnapshot {
            is_draining: self.drain.is_some(),
            services: (0..self.units.len())
                .map(|index| self.service_snapshot(index))
                .collect(),
            ..self.about.clone()
        }
    }
}
