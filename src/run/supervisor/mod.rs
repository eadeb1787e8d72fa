//! The supervisor: the one loop in which everything happens.
//!
//! It owns the units, hands them what happened and carries out what follows. One thread, no locks, no
//! tick: it sleeps until a child ends, a message comes, a check answers, a signal arrives or the nearest
//! deadline of any unit is due. After each of these it *settles*: `reconcile`
//! is asked about the units that something happened to and their neighbours, and what changed is told.
//! Nothing here walks over all units but what concerns them all.
//!
//! Its parts: `messages` is what the loop waits for, `commands` moves what is wanted, `settle` does what
//! that asks for, `execute` what the units' machines ask for. `propose`, `apply` and `fates` take over a
//! changed file. `checks` looks after health and `answers` knows whose they are, `hooks` looks after hooks,
//! `notified` hears what services say of themselves, `schedule` begins further runs, `ports` looks after ports, `telling` says what has
//! changed, `ending` knows when it is over.

mod answers;
mod apply;
mod checks;
mod commands;
mod ending;
mod execute;
mod fates;
mod hooks;
mod messages;
mod notified;
mod parts;
mod ports;
mod propose;
mod schedule;
mod settle;
mod signals;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hooks::HookEnded;
use indexmap::IndexMap;
use messages::Prepared;
use propose::Negotiation;
use signals::SIGNALS;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::control::{Early, Request, StackSnapshot, TerminalSize};
use super::guardian::Strokes;
use super::home::Wanted;
use super::launch::Seat;
use super::link::{SupervisorEnd, Wish};
use super::news::News;
use super::news::{Event, NoticeLevel};
use super::notify::Heard;
use super::outlet::Finding;
use super::probe::Answer;
use super::process::Signals;
use super::proposal::Extent;
use super::reason::{LeftBehind, Reason};
use super::runner::{CommandId, Happened, Runner};
use super::snapshot::{Cause, Exit};
use super::state::{Generation, Moment, Occurrence, State};
use super::unit::Unit;
use crate::plan::Sources;
use crate::ports::request::Owner;
use crate::ports::{Ledger, Noted};
use crate::support::beside::Beside;
use crate::support::hash::random_unit;
use crate::support::name::{ServiceName, UnitId};

pub use parts::{Parts, Ready};

/// How a stack is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the stack goes on without the client that has started it.
    pub is_detached: bool,
    /// What is started at first; empty is everything.
    pub services: Vec<ServiceName>,
    /// Whether dependencies of those are left alone.
    pub no_deps: bool,
    /// Overrides every grace period when everything is stopped.
    pub grace: Option<Duration>,
    /// The size of the terminal of whoever looks.
    pub size: TerminalSize,
    /// Whether everything is stopped when a service fails for good.
    pub abort_on_failure: bool,
    /// Everything is stopped when this service ends.
    pub stop_with: Option<ServiceName>,
}

/// Why the supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The services that failed for good, with why.
    pub failed: Vec<(ServiceName, Option<Reason>)>,
    /// How the service of [`Options::stop_with`] ended.
    pub exit: Option<Exit>,
    /// The signal that stopped everything, if one did.
    pub signal: Option<i32>,
    /// Whether anything could not be ended.
    pub is_anything_left: bool,
    /// Whether it ended since the project directory was removed.
    pub is_homeless: bool,
}

/// A main process that ended, with its output in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ended {
    unit: UnitId,
    pid: i32,
    exit: Exit,
    /// What else of the unit was there when it ended, if anything was.
    left: Option<LeftBehind>,
}

/// The supervisor of one instance.
pub struct Supervisor {
    /// In the order of the file.
    units: IndexMap<UnitId, Unit>,
    /// Who depends on whom: the graph the other way round.
    dependents: HashMap<UnitId, Vec<UnitId>>,
    runner: Box<dyn Runner>,
    /// What happened later than it was asked for.
    happened_rx: mpsc::UnboundedReceiver<Happened>,
    /// Who waits for the end of a command.
    command_ends: HashMap<CommandId, oneshot::Sender<Exit>>,
    /// Which unit has which TCP port, and which of its ports that is.
    port_owners: HashMap<u16, (UnitId, usize)>,
    /// Units that are to be reconciled.
    queue: VecDeque<UnitId>,
    /// Units whose deadline and snapshot may be other ones than before.
    dirty: Vec<UnitId>,
    /// Units that are to be killed, all at once.
    doomed: Vec<UnitId>,
    /// When something is due for which unit.
    deadlines: BTreeSet<(Instant, UnitId)>,
    /// Units to which something is still to happen by itself.
    busy: HashSet<UnitId>,
    ended_tx: mpsc::UnboundedSender<Ended>,
    ended_rx: mpsc::UnboundedReceiver<Ended>,
    hook_tx: mpsc::UnboundedSender<HookEnded>,
    hook_rx: mpsc::UnboundedReceiver<HookEnded>,
    heard_tx: mpsc::UnboundedSender<Heard>,
    heard_rx: mpsc::UnboundedReceiver<Heard>,
    answer_tx: mpsc::UnboundedSender<Answer>,
    answer_rx: mpsc::UnboundedReceiver<Answer>,
    finding_rx: mpsc::UnboundedReceiver<Finding>,
    request_rx: mpsc::UnboundedReceiver<Request>,
    prepared_tx: mpsc::UnboundedSender<Prepared>,
    prepared_rx: mpsc::UnboundedReceiver<Prepared>,
    /// Who plans anew, one after another.
    negotiation: Negotiation,
    /// What the last plan was made of, and how far it was carried out.
    replan: Option<(Arc<Sources>, Extent)>,
    /// The files that say what runs, as [`Plan::files`](crate::plan::Plan::files) has them.
    files: Vec<PathBuf>,
    /// Of which service a generated key tells.
    owners: HashMap<String, ServiceName>,
    /// The highest generation of units that are gone: one of the same name goes on from there, so that
    /// who still waits for the one that is gone sees that another has come.
    past: Generation,
    /// The number of the last note to the ledger.
    latest_note: Arc<AtomicU64>,
    /// The mark in the ledger of the ports that the last plan brought.
    noted: Option<Noted>,
    event_tx: broadcast::Sender<Event>,
    options: Options,
    about: StackSnapshot,
    /// When the ports of everything are looked at next.
    next_sweep: Instant,
    tables: ports::Tables,
    /// Where it is noted what turns out about ports, and who the stack is there.
    memory: Option<(Ledger, Owner)>,
    /// What may block and must not keep the loop.
    beside: Beside,
    /// Why everything ends, once it does.
    ending: Option<Cause>,
    signal: Option<i32>,
    /// Since when everything stands still, as somebody has pressed Ctrl-Z.
    frozen_at: Option<Instant>,
    stop_exit: Option<Exit>,
    is_anything_left: bool,
    is_homeless: bool,
    /// Where the logs of this run are, and who hears of what is found in them.
    logs: Option<(PathBuf, u64, mpsc::UnboundedSender<Finding>)>,
    /// Where the last word is left.
    last_path: Option<PathBuf>,
    /// Takes those who want the stack's files to be there.
    wanted_tx: Option<mpsc::UnboundedSender<Wanted>>,
}

impl Supervisor {
    /// Runs the stack until nothing of it runs or will run. `seat` is this process's place beside the
    /// guardian, `early` what is kept for the client that has not asked yet, `pump` the task that writes
    /// the logs, which ends after everything else.
    async fn run(
        mut self,
        mut seat: Seat,
        (early, event_rx): (Arc<Early>, broadcast::Receiver<Event>),
        pump: JoinHandle<()>,
    ) -> io::Result<Outcome> {
        let mut signals = Signals::install(&SIGNALS)?;
        // Whatever the handlers of this process are now, a child must not have them.
        self.runner.note_signals();
        super::process::unblock_all()?;
        let lifeline = Receiver::from_owned_fd(seat.lifeline.try_clone()?)?;
        let mut is_guarded = true;
        let mut link = SupervisorEnd::new(&seat.link)?;
        let mut is_led = !self.options.is_detached;
        let mut strokes = Strokes::default();

        let (services, no_deps) = (self.options.services.clone(), self.options.no_deps);
        self.want(&services, no_deps, Cause::Up);
        early.keep(self.snapshot(), event_rx);
        self.settle();
        seat.begun = None;
        super::process::close_inherited();
        // Should this process be killed, these values are what is known of the stack.
        self.leave_word();
        loop {
            self.tables.begin_turn();
            self.settle();
            if self.is_over() {
                break;
            }
            tokio::select! {
                biased;
                signal = signals.next() => self.signalled(signal, &seat, &mut strokes),
                wish = link.next(), if is_led => {
                    is_led = wish != Wish::Gone;
                    self.wished(wish, &link);
                }
                message = self.next_message() => self.receive(message),
                _ = lifeline.readable(), if is_guarded => {
                    // Only an end of file is ever to be read: the guardian has gone.
                    is_guarded = false;
                    self.notice(None, NoticeLevel::Error, News::GuardianEnded);
                    self.end_everything(Cause::Down, self.options.grace);
                }
            }
        }
        self.await_client(&mut link, &early).await;
        self.finish().await;
        let outcome = self.outcome();
        // With the last handle gone the pump writes what is still in the pipes, and ends.
        drop(self);
        drop(pump.await);
        Ok(outcome)
    }

    /// The nearest time at which something must be done without anything happening.
    fn deadline(&self) -> Option<Instant> {
        if self.frozen_at.is_some() {
            return None;
        }
        let first = self.deadlines.first().map(|(due, _)| *due);
        first.into_iter().chain(self.sweep_due()).min()
    }

    /// Does what has fallen due.
    fn due(&mut self) {
        let now = Instant::now();
        let mut uncared = Vec::new();
        while let Some((due, id)) = self.deadlines.first().cloned()
            && due <= now
        {
            self.deadlines.remove(&(due, id.clone()));
            let unit = &mut self.units[&id];
            unit.scheduled = None;
            unit.look_again = None;
            let is_due = |deadline: Option<Instant>| deadline.is_some_and(|due| due <= now);
            let is_machine_due = is_due(unit.machine.deadline());
            if is_due(self.care_due(&id)) {
                uncared.push(id.clone());
            }
            if is_machine_due {
                self.happen(&id, Occurrence::Due);
            }
            self.hook_due(&id, now);
            self.watchdog_due(&id, now);
            self.health_due(&id, now);
            self.schedule_due(&id, now);
            self.touch(&id);
        }
        self.care_for(&uncared, now);
        self.sweep_if_due(now);
    }

    fn moment() -> Moment {
        Moment {
            now: Instant::now(),
            jitter: random_unit(),
        }
    }

    /// Hands an occurrence to a unit and does what its machine asks for.
    fn happen(&mut self, id: &UnitId, occurrence: Occurrence) {
        let unit = &mut self.units[id];
        let before = unit.phase();
        tracing::debug!(service = %id.service, ?occurrence, from = before.word(), "happens");
        let actions = unit.machine.on(occurrence, Self::moment());
        unit.note_phase();
        let after = unit.phase();
        if after != before {
            tracing::debug!(service = %id.service, to = after.word(), ?actions, "moves");
        }
        for action in actions {
            self.act(id, action);
        }
        self.touch(id);
        self.after_change(id);
    }

    /// Takes in every child that has ended.
    fn children_ended(&mut self) {
        for news in self.runner.take_news() {
            self.happened(news);
        }
    }

    fn happened(&mut self, news: Happened) {
        match news {
            Happened::MainEnded {
                unit: id,
                pid,
                exit,
            } => {
                let Some(unit) = self.units.get_mut(&id) else {
                    return;
                };
                // At once, before anything else is done: a free port is a lost port.
                unit.ports.keep();
                let drained = self.runner.drained(&id, unit.machine.attempt());
                // By the time its output is in the files it may be gone: what binds the port only now is
                // kept off by us.
                let left = (!self.runner.is_empty(&id)).then(|| self.left_behind(&id));
                let ended_tx = self.ended_tx.clone();
                // Nobody learns of the end before the last line is in the file.
                tokio::task::spawn_local(async move {
                    drained.await;
                    // Without a supervisor nobody wants to know.
                    let _ = ended_tx.send(Ended {
                        unit: id,
                        pid,
                        exit,
                        left,
                    });
                });
            }
            Happened::CommandEnded { command, exit } => {
                if let Some(exit_tx) = self.command_ends.remove(&command) {
                    // Who has lost interest has dropped the other end.
                    let _ = exit_tx.send(exit);
                } else {
                    self.hook_exited(command, Some(exit));
                }
            }
            Happened::TreeChanged { unit } => {
                let is_ending = self.units.get(&unit).is_some_and(|unit| {
                    matches!(unit.machine.state(), State::Stopping { exit: Some(_), .. })
                });
                if is_ending {
                    self.check_tree(&unit);
                }
            }
            Happened::Started { unit, start } => {
                if self.units.contains_key(&unit) {
                    self.started(&unit, start);
                }
            }
            Happened::Progressed {
                unit: id,
                step,
                percent,
            } => {
                if let Some(unit) = self.units.get_mut(&id) {
                    unit.progress = Some((step, percent));
                    self.mark(&id);
                }
            }
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
        for ended in batch {
            let Some(unit) = self.units.get_mut(&ended.unit) else {
                continue;
            };
            if unit.pid == Some(ended.pid) {
                unit.pid = None;
            }
            let is_success = unit.machine.is_success(ended.exit);
            self.look_after_end(&ended.unit, is_success);
            if is_success && self.may_have_missed_input(&ended.unit) {
                let level = NoticeLevel::Warning;
                self.notice(Some(&ended.unit), level, News::InputClosed);
            }
            let unit = &mut self.units[&ended.unit];
            unit.ports.note_ended(Instant::now());
            unit.left_at_end = ended.left;
            self.happen(&ended.unit, Occurrence::Exited(ended.exit));
        }
    }
}
