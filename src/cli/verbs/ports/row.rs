//! One port of one stack, as `stack ports` shows it.

use serde::Serialize;

use crate::ports::request::{Owner, PortKey};
use crate::ports::who::PortSocket;
use crate::ports::{PortTraits, StackPort};
use crate::run::control::StackSnapshot;
use crate::run::snapshot::{PortSnapshot, PortState, ServiceSnapshot};
use crate::support::name::{PortName, ServiceName, UnitId};
use crate::support::protocol::Protocol;

/// How it stands with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowState {
    /// Kept for its service, which has not been executed.
    Held,
    /// Its service listens on it.
    Listening,
    /// Its service runs, and nobody listens on it.
    NotListening,
    /// Somebody else listens on it.
    Stolen,
    /// Its service listens on other ports instead.
    WrongPort,
    /// Its stack does not run, and gets it again while it is free.
    Remembered,
}

impl RowState {
    /// The word that is shown.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Listening => "listening",
            Self::NotListening => "not listening",
            Self::Stolen => "stolen",
            Self::WrongPort => "wrong port",
            Self::Remembered => "remembered",
        }
    }
}

/// A port of a stack. Its JSON form is documented in `docs/guide/ports.md` and stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PortRow {
    /// The project's name.
    pub(super) project: String,
    /// The project directory.
    pub(super) project_dir: String,
    /// The instance's id.
    pub(super) instance: String,
    /// The service.
    pub(super) service: ServiceName,
    /// The number of the replica, from 1.
    pub(super) replica: u32,
    /// How many replicas the service has.
    pub(super) replicas: u32,
    /// The port's name.
    pub(super) name: PortName,
    /// What travels over it.
    pub(super) protocol: Protocol,
    /// The number.
    pub(super) port: u16,
    /// How it stands with it.
    pub(super) state: RowState,
    /// The process that listens, whoever it belongs to.
    pub(super) pid: Option<i32>,
    /// The command line of the process that took the port.
    pub(super) command: Option<String>,
    /// The address to which the listening socket is bound.
    pub(super) bound_to: Option<String>,
    /// The ports on which the service listens instead.
    pub(super) listens_on: Vec<u16>,
    /// How a person reaches it.
    pub(super) address: Option<String>,
    /// The supervisor that has it; none where the stack does not run.
    pub(super) supervisor_pid: Option<i32>,
    /// Whether the supervisor itself said so, just now.
    pub(super) is_verified: bool,
}

impl PortRow {
    /// `web`, or `web-2` where the service has several replicas.
    pub(super) fn label(&self) -> String {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
        .label(self.replicas)
    }

    /// `127.0.0.1:8003`: where the process really listens; nothing where none does or it is not
    /// known.
    pub(super) fn socket_address(&self) -> Option<String> {
        let port = self.listens_on.first().copied().unwrap_or(self.port);
        match &self.bound_to {
            Some(address) if address.contains(':') => Some(format!("[{address}]:{port}")),
            Some(address) => Some(format!("{address}:{port}")),
            // Which port it is matters more than the address.
            None => self.listens_on.first().map(|port| format!(":{port}")),
        }
    }

    /// Every port of a stack, as its supervisor says.
    pub(super) fn verified(stack: &StackSnapshot) -> Vec<Self> {
        let owner = Owner {
            instance: stack.instance.clone(),
            project: stack.project.to_string(),
            project_dir: stack.project_dir.clone(),
        };
        let row = |service: &ServiceSnapshot, port: &PortSnapshot| {
            let key = PortKey::new(&service.service, service.replica, &port.name);
            let known = StackPort {
                owner: owner.clone(),
                key,
                protocol: port.protocol,
                port: port.port,
                is_running: true,
            };
            let mut row = Self::unverified(&known, service.replicas, Some(&port.state));
            if row.state == RowState::WrongPort {
                row.pid = service.pid;
            }
            row.address = Some(port.address.clone());
            row.supervisor_pid = Some(stack.supervisor_pid);
            row.is_verified = true;
            row
        };
        let services = stack.services.iter();
        services
            .flat_map(|service| service.ports.iter().map(|port| row(service, port)))
            .collect()
    }

    /// As the ledger has it, with what the kernel shows; without that it is what a stack had last.
    pub(super) fn unverified(port: &StackPort, replicas: u32, seen: Option<&PortState>) -> Self {
        let mut row = Self {
            project: port.owner.project.clone(),
            project_dir: port.owner.project_dir.to_string_lossy().into_owned(),
            instance: port.owner.instance.clone(),
            service: port.key.service.clone(),
            replica: port.key.replica,
            replicas,
            name: port.key.name.clone(),
            protocol: port.protocol,
            port: port.port,
            state: RowState::Remembered,
            pid: None,
            command: None,
            bound_to: None,
            listens_on: Vec::new(),
            address: None,
            supervisor_pid: None,
            is_verified: false,
        };
        if let Some(seen) = seen {
            row.stand(seen);
        }
        row
    }

    /// Notes how it stands with the port; pid 0 and an empty address are what cannot be seen.
    fn stand(&mut self, state: &PortState) {
        let mut listener = |pid: i32, bound_to: &str| {
            self.pid = Some(pid).filter(|&pid| pid != 0);
            self.bound_to = Some(bound_to.to_owned()).filter(|address| !address.is_empty());
        };
        self.state = match state {
            PortState::Held => RowState::Held,
            PortState::NotListening => RowState::NotListening,
            PortState::Listening { bound_to, pid } => {
                listener(*pid, bound_to);
                RowState::Listening
            }
            PortState::Stolen {
                pid,
                command,
                bound_to,
            } => {
                listener(*pid, bound_to);
                self.command = Some(command.clone());
                RowState::Stolen
            }
            PortState::WrongPort { listens_on } => {
                self.listens_on.clone_from(listens_on);
                RowState::WrongPort
            }
        };
    }
}

/// Everything about one number. Its JSON form is documented in `docs/guide/ports.md` and stays as
/// it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Explanation {
    /// The number.
    pub(super) port: u16,
    /// The stacks to which it belongs, those that run first, as `stack ports` lists them.
    pub(super) stacks: Vec<PortRow>,
    /// The sockets on it, those that matter most first.
    pub(super) sockets: Vec<PortSocket>,
    /// Whether `stack ports free` gave it out within the last two minutes.
    pub(super) is_granted: bool,
    /// What is said of the number whoever has it.
    #[serde(flatten)]
    pub(super) traits: PortTraits,
}
