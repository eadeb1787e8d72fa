//! The supervisor: the one loop in which everything happens.
//!
//! It owns the units, reaps every child, carries out commands and keeps the order of start and
//! stop. One thread, no locks, no tick: it sleeps until a child ends, a message comes, a check
//! answers, a signal arrives or the nearest deadline of any unit is due. After each of these it
//! *settles*: `order` says which units may start or stop now, and what changed is told.
//!
//! Its parts: `execute` does what the units' machines ask for, `checks` looks after health, `ports`
//! after ports, `learning` finds out what a server needs, `commands` takes in what users want, `order` is the pure part about dependencies,
//! `telling` says what has changed, `ending` knows when it is over.

mod checks;
mod commands;
mod ending;
mod execute;
mod learning;
mod order;
mod parts;
mod ports;
mod signals;
mod telling;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use signals::{Arrived, Signals};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::control::{Request, StackSnapshot};
use super::guardian::Strokes;
use super::launch::Seat;
use super::lease::LeaseFile;
use super::logs::PumpHandle;
use super::outlet::Finding;
use super::probe::Answer;
use super::process::{Spawner, reap_all};
use super::snapshot::{Event, Exit, NoticeLevel};
use super::state::{Moment, Occurrence};
use super::unit::Unit;
use crate::ports::Ledger;
use crate::ports::request::Owner;
use crate::support::hash::random_unit;
use crate::support::name::ServiceName;

pub use parts::Parts;

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
    /// Which unit has which TCP port, and which of its ports that is.
    port_owners: HashMap<u16, (usize, usize)>,
    spawner: Spawner,
    seat: Seat,
    leases: LeaseFile,
    pump: PumpHandle,
    pump_task: JoinHandle<()>,
    finding_rx: mpsc::UnboundedReceiver<Finding>,
    request_rx: mpsc::UnboundedReceiver<Request>,
    ended_tx: mpsc::UnboundedSender<Ended>,
    ended_rx: mpsc::UnboundedReceiver<Ended>,
    answer_tx: mpsc::UnboundedSender<Answer>,
    answer_rx: mpsc::UnboundedReceiver<Answer>,
    event_tx: broadcast::Sender<Event>,
    options: Options,
    about: StackSnapshot,
    /// When the ports of everything are looked at next.
    next_sweep: Instant,
    ledger: Ledger,
    owner: Owner,
    drain: Option<Drain>,
    restarts: Vec<RestartOperation>,
    signal: Option<i32>,
    stop_exit: Option<Exit>,
    is_anything_left: bool,
    /// Where the last word is left.
    last_path: PathBuf,
}

impl Supervisor {
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
                Some(finding) = self.finding_rx.recv() => self.found(finding),
                _ = lifeline.readable(), if is_guarded => {
                    // Only an end of file is ever to be read: the guardian has gone.
                    is_guarded = false;
                    self.notice(None, NoticeLevel::Error, "the guardian has ended; stopping everything");
                    self.begin_drain(self.options.grace);
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
        units
            .chain(waits)
            .chain(self.sweep_due())
            .chain(self.care_due())
            .min()
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
        self.sweep_if_due(now);
        self.care_if_due(now);
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
                    self.units[unit].ports.keep();
                    let attempt = self.units[unit].machine.attempt();
                    let name = self.units[unit].plan.name();
                    let drained = self.pump.drain(name, attempt);
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
        // What they printed last is in the files, and what was found in it waits to be taken in.
        while let Ok(found) = self.finding_rx.try_recv() {
            self.found(found);
        }
        // One look for all of them. Whom they left behind has been ours since they died.
        self.find_strays(Some(first.unit));
        for ended in batch {
            let unit = &mut self.units[ended.unit];
            if unit.pid == Some(ended.pid) {
                unit.pid = None;
            }
            self.look_after_end(ended.unit);
            let unit = &mut self.units[ended.unit];
            unit.ports.note_ended(Instant::now());
            self.happen(ended.unit, Occurrence::Exited(ended.exit));
        }
    }

    /// Carries out what has become possible, and tells what has changed.
    fn settle(&mut self) {
        // Each step can make another possible, and every step moves a unit forward, so this ends.
        while self.settle_once() {}
        self.rest_ports();
        self.tell();
    }
}
