//! Putting a supervisor together.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ports::{SWEEP_INTERVAL, Tables};
use super::propose::Negotiation;
use super::{Options, Outcome, Supervisor};
use crate::plan::{Plan, Requested};
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Hold, Ledger};
use crate::run::control::{Controller, Early, Request, StackSnapshot};
use crate::run::home::Wanted;
use crate::run::instance::Instance;
use crate::run::launch::Seat;
use crate::run::lease::LeaseFile;
use crate::run::logs::{Expected, LogSink, Pump};
use crate::run::news::Event;
use crate::run::outlet::{Finding, Outlet};
use crate::run::process::{Group, Spawner};
use crate::run::runner::{Happened, Processes, Runner};
use crate::run::unit::Unit;
use crate::run::unit_ports::UnitPorts;
use crate::support::beside::Beside;
use crate::support::clock::unix_millis;
use crate::support::name::UnitId;

/// What a supervisor is made of.
pub struct Parts {
    /// What to run.
    pub plan: Plan,
    /// How its ports were asked for.
    pub requested: Requested,
    /// The sockets that keep its ports.
    pub holds: IndexMap<PortKey, Hold>,
    /// Ports whose servers need their hold to be released, as earlier runs have learned.
    pub released: HashSet<PortKey>,
    /// Where it is noted what turns out about ports.
    pub ledger: Ledger,
    /// Who the stack is to the ledger.
    pub owner: Owner,
    /// Where its files are.
    pub instance: Instance,
    /// Where what it starts is noted for the next `stack`.
    pub leases: LeaseFile,
    /// Where what it starts is to be born, if there is such a place.
    pub(crate) group: Option<Group>,
    /// This process's place beside the guardian.
    pub seat: Seat,
    /// How to run it.
    pub options: Options,
    /// The random id of this supervisor.
    pub run: u64,
    /// The soft and hard limit of open files for services.
    pub file_limit: (u64, u64),
    /// Takes those who want the stack's files to be there.
    pub wanted_tx: mpsc::UnboundedSender<Wanted>,
}

/// How many events a slow subscriber may lag behind, for each unit and at least. The room is taken
/// and written to at once, before the first service is executed.
const EVENTS_PER_UNIT: usize = 8;
const LEAST_EVENTS: usize = 256;

/// A supervisor that is ready to run, with its place beside the guardian and its log pump.
pub struct Ready {
    supervisor: Supervisor,
    seat: Seat,
    early: (Arc<Early>, broadcast::Receiver<Event>),
    pump: JoinHandle<()>,
}

impl Ready {
    /// Runs the stack until nothing of it runs or will run.
    pub async fn run(self) -> io::Result<Outcome> {
        let mut units = self.supervisor.units.values();
        if units.any(|unit| !unit.ports.is_empty()) {
            self.seat.await_copies_gone();
        }
        self.supervisor.run(self.seat, self.early, self.pump).await
    }
}

/// The ends of the channels that a supervisor reads, and of the one on which it tells.
pub(super) struct Wires {
    pub(super) happened_rx: mpsc::UnboundedReceiver<Happened>,
    pub(super) finding_rx: mpsc::UnboundedReceiver<Finding>,
    pub(super) request_rx: mpsc::UnboundedReceiver<Request>,
    pub(super) event_tx: broadcast::Sender<Event>,
}

impl Supervisor {
    /// Prepares a supervisor, its log pump running beside it. Must be called on the thread of a
    /// current-thread runtime, within a `LocalSet`.
    pub fn prepare(parts: Parts) -> io::Result<(Ready, Controller)> {
        let Parts {
            plan,
            requested,
            mut holds,
            released,
            ledger,
            owner,
            instance,
            leases,
            group,
            seat,
            options,
            run,
            file_limit,
            wanted_tx,
        } = parts;
        let (event_tx, early_rx) =
            broadcast::channel((EVENTS_PER_UNIT * plan.units.len()).max(LEAST_EVENTS));
        let early = Arc::<Early>::default();
        let (request_tx, request_rx) = mpsc::unbounded_channel();
        let (finding_tx, finding_rx) = mpsc::unbounded_channel();
        let (_, happened_rx) = mpsc::unbounded_channel();

        let mut outlet = Outlet::new(event_tx.clone(), finding_tx.clone());
        for unit in &plan.units {
            outlet.expect(&unit.id(), Expected::of(unit));
        }
        let (pump_handle, feed, task) = Pump::new(instance.log_dir(), run, outlet)?;
        let pump = tokio::task::spawn_local(task.run());
        let runner = Processes::new(
            Spawner::new(file_limit, group)?,
            seat.table.clone(),
            leases,
            pump_handle,
            (plan.instance.clone(), plan.project_dir.clone()),
            (options.grace, options.size),
        );
        let about = StackSnapshot {
            project: plan.project.clone(),
            instance: plan.instance.clone(),
            run: format!("{run:016x}"),
            project_dir: plan.project_dir.clone(),
            file: plan.file.clone(),
            dotenv: plan.written_dotenv(),
            arguments: plan.arguments.clone(),
            fingerprint: plan.fingerprint.clone(),
            contents: plan.contents.clone(),
            guardian_pid: seat.guardian_pid,
            supervisor_pid: nix::unistd::getpid().as_raw(),
            started_at: unix_millis(),
            is_detached: options.is_detached,
            is_draining: false,
            is_suspended: false,
            usage: None,
            values: plan.values.clone(),
            services: Vec::new(),
        };
        let controller = Controller {
            request_tx,
            event_tx: event_tx.clone(),
            early: Arc::clone(&early),
            feed,
            log_dir: instance.log_dir(),
        };
        let wires = Wires {
            happened_rx,
            finding_rx,
            request_rx,
            event_tx,
        };
        let requested = Arc::new(requested);
        let units = plan.units.into_iter().map(|unit| {
            let ports = UnitPorts::new(&unit, |key| holds.shift_remove(key), &released);
            Unit::new(unit, ports, Arc::clone(&requested))
        });
        let units = units.collect();
        let supervisor = Self {
            memory: Some((ledger, owner)),
            owners: plan.owners,
            files: plan.files,
            last_path: Some(instance.last_path()),
            wanted_tx: Some(wanted_tx),
            logs: Some((instance.log_dir(), run, finding_tx)),
            ..Self::with(units, Box::new(runner), wires, options, about)
        };
        let ready = Ready {
            supervisor,
            seat,
            early: (early, early_rx),
            pump,
        };
        Ok((ready, controller))
    }

    /// A supervisor of these units, which leaves nothing anywhere.
    pub(super) fn with(
        units: Vec<Unit>,
        runner: Box<dyn Runner>,
        wires: Wires,
        options: Options,
        about: StackSnapshot,
    ) -> Self {
        let (ended_tx, ended_rx) = mpsc::unbounded_channel();
        let (hook_tx, hook_rx) = mpsc::unbounded_channel();
        let (heard_tx, heard_rx) = mpsc::unbounded_channel();
        let (answer_tx, answer_rx) = mpsc::unbounded_channel();
        let (prepared_tx, prepared_rx) = mpsc::unbounded_channel();
        let mut supervisor = Self {
            units: IndexMap::new(),
            dependents: HashMap::new(),
            runner,
            happened_rx: wires.happened_rx,
            command_ends: HashMap::new(),
            port_owners: HashMap::new(),
            queue: VecDeque::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            deadlines: BTreeSet::new(),
            busy: HashSet::new(),
            ended_tx,
            ended_rx,
            hook_tx,
            hook_rx,
            heard_tx,
            heard_rx,
            logs: None,
            answer_tx,
            answer_rx,
            finding_rx: wires.finding_rx,
            request_rx: wires.request_rx,
            prepared_tx,
            prepared_rx,
            negotiation: Negotiation::default(),
            replan: None,
            owners: HashMap::new(),
            files: Vec::new(),
            past: 0,
            latest_note: Arc::default(),
            noted: None,
            event_tx: wires.event_tx,
            options,
            about,
            next_sweep: Instant::now() + SWEEP_INTERVAL,
            tables: Tables::default(),
            memory: None,
            beside: Beside::default(),
            ending: None,
            signal: None,
            frozen_at: None,
            stop_exit: None,
            is_anything_left: false,
            is_homeless: false,
            last_path: None,
            wanted_tx: None,
        };
        for unit in units {
            supervisor.add(unit);
        }
        supervisor
    }

    /// Takes in a unit, of which nothing runs yet.
    pub(super) fn add(&mut self, mut unit: Unit) {
        unit.desired.generation = self.past;
        let id = unit.plan.id();
        for edge in &unit.plan.depends_on {
            let dependents = self.dependents.entry(edge.unit.clone()).or_default();
            dependents.push(id.clone());
        }
        self.units.insert(id.clone(), unit);
        self.own_ports(&id);
    }

    /// Notes which ports a unit has.
    pub(super) fn own_ports(&mut self, id: &UnitId) {
        for (place, port) in self.units[id].plan.ports.iter().enumerate() {
            // Health checks ask over TCP.
            if port.protocol.has_tcp() {
                self.port_owners.insert(port.port, (id.clone(), place));
            }
        }
    }
}
