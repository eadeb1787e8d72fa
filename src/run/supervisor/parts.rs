//! Putting a supervisor together.

use std::collections::{HashMap, HashSet};
use std::io;

use indexmap::IndexMap;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::ports::SWEEP_INTERVAL;
use super::{Options, Supervisor};
use crate::plan::Plan;
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Hold, Ledger};
use crate::run::control::{Controller, StackSnapshot};
use crate::run::instance::Instance;
use crate::run::launch::Seat;
use crate::run::lease::LeaseFile;
use crate::run::logs::Pump;
use crate::run::outlet::Outlet;
use crate::run::process::Spawner;
use crate::run::unit::Unit;
use crate::run::unit_ports::UnitPorts;
use crate::support::clock::unix_millis;
use crate::support::name::UnitId;

/// What a supervisor is made of.
pub struct Parts {
    /// What to run.
    pub plan: Plan,
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
    /// This process's place beside the guardian.
    pub seat: Seat,
    /// How to run it.
    pub options: Options,
    /// The random id of this supervisor.
    pub run: u64,
    /// The soft and hard limit of open files for services.
    pub file_limit: (u64, u64),
}

/// How many events a slow subscriber may lag behind.
const EVENT_BACKLOG: usize = 4096;

impl Supervisor {
    /// Prepares a supervisor, its log pump running beside it. Must be called on the thread of a
    /// current-thread runtime, within a `LocalSet`.
    pub fn new(parts: Parts) -> io::Result<(Self, Controller)> {
        let Parts {
            plan,
            mut holds,
            released,
            ledger,
            owner,
            instance,
            seat,
            options,
            run,
            file_limit,
        } = parts;
        let (event_tx, _) = broadcast::channel(EVENT_BACKLOG);
        let (request_tx, request_rx) = mpsc::unbounded_channel();
        let (ended_tx, ended_rx) = mpsc::unbounded_channel();
        let (answer_tx, answer_rx) = mpsc::unbounded_channel();
        let (finding_tx, finding_rx) = mpsc::unbounded_channel();

        let with_ports: Vec<(UnitId, Vec<u16>)> = plan
            .units
            .iter()
            .filter(|unit| !unit.ports.is_empty())
            .map(|unit| {
                (
                    unit.name(),
                    unit.ports.iter().map(|port| port.port).collect(),
                )
            })
            .collect();
        let outlet = Outlet::new(event_tx.clone(), with_ports, finding_tx);
        let (pump, feed, task) = Pump::new(instance.log_dir(), run, outlet)?;
        let pump_task = tokio::task::spawn_local(task.run());

        let mut leases = LeaseFile::create(&instance.lease_path())?;
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
                for (place, port) in unit.ports.iter().enumerate() {
                    // Health checks ask over TCP.
                    if port.protocol.has_tcp() {
                        port_owners.insert(port.port, (index, place));
                    }
                }
                let ports = UnitPorts::new(&unit, |key| holds.shift_remove(key), &released);
                let slot = leases.take(unit.name())?;
                Ok(Unit::new(unit, ports, slot))
            })
            .collect::<io::Result<_>>()?;
        let controller = Controller {
            request_tx,
            event_tx: event_tx.clone(),
            feed,
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
            finding_rx,
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
            next_sweep: Instant::now() + SWEEP_INTERVAL,
            ledger,
            owner,
            signal: None,
            stop_exit: None,
            is_anything_left: false,
            last_path: instance.last_path(),
        };
        Ok((supervisor, controller))
    }
}
