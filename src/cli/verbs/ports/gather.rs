//! What is known of the ports of stacks: each supervisor's own word, else the kernel's and the ledger's.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::task::JoinSet;

use super::row::PortRow;
use super::words::plain;
use crate::api::client::{Client, ClientError};
use crate::cli::words::pid;
use crate::ports::request::Owner;
use crate::ports::who::{Claim, seen_from_outside};
use crate::ports::{LedgerOverview, PortState, StackPort, sockets};
use crate::run::control::StackSnapshot;
use crate::run::instance::{Holder, Instance};
use crate::run::leftovers;
use crate::support::name::{ProjectName, ServiceName, UnitId};
use crate::support::protocol::Protocol;
use crate::support::text;

/// How long a supervisor may take. It answers within milliseconds, all are asked at once, and
/// whoever looks at a machine does not want to wait for one that is stopped.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Every port, by project directory and name, then in the order of the file.
    pub(super) rows: Vec<PortRow>,
    /// What is to be said beside them: supervisors that did not answer.
    pub(super) notes: Vec<String>,
}

/// A stack of the ledger: its ports, in the order of the file.
struct Stack {
    ports: Vec<StackPort>,
    is_running: bool,
    instance: Option<Instance>,
    /// Who runs it now, by its lock.
    holder: Option<Holder>,
}

/// Every port of every stack of the ledger, or of those that have the number `only`: of a stack that
/// runs as its supervisor tells, or the kernel where that does not answer; of another one the ports
/// that it had last. `state_dir` is where the files of stacks are whose project directory cannot be
/// written.
pub(super) async fn gather(
    ledger: &LedgerOverview,
    only: Option<u16>,
    state_dir: &Path,
) -> Gathered {
    let mut stacks = stacks(ledger, state_dir);
    let is_meant = |port: &StackPort| only.is_none_or(|number| port.port == number);
    stacks.retain(|stack| stack.ports.iter().any(is_meant));
    let mut asked = JoinSet::new();
    for (place, stack) in stacks.iter().enumerate().filter(|(_, it)| it.is_running) {
        if let Some(holder) = &stack.holder {
            let client = Client::new(&holder.socket).with_deadline(ANSWER_LIMIT);
            asked.spawn(async move { (place, client.stack().await) });
        }
    }
    let mut answers: HashMap<usize, Result<StackSnapshot, ClientError>> = HashMap::new();
    while let Some(answer) = asked.join_next().await {
        // A task that panicked has no answer.
        answers.extend(answer.ok());
    }

    let mut gathered = Gathered::default();
    for (place, stack) in stacks.iter().enumerate() {
        match answers.remove(&place) {
            Some(Ok(snapshot)) => gathered.rows.extend(rows_of(&snapshot)),
            Some(Err(error)) => {
                gathered.rows.extend(stack.rows_without_word());
                gathered.notes.extend(stack.note(&error));
            }
            // It is just starting or ending.
            None if stack.is_running => gathered.rows.extend(stack.rows_without_word()),
            None => match stack.rows_left_running() {
                Some(rows) => {
                    gathered.rows.extend(rows);
                    gathered.notes.push(format!(
                        "{}: its supervisor was killed, and what it started runs on; `stack up` or \
                         `stack down` there ends it",
                        stack.title()
                    ));
                }
                None => gathered.rows.extend(stack.rows(&stack.ports, None)),
            },
        }
    }
    gathered
        .rows
        .retain(|row| only.is_none_or(|number| row.port == number));
    gathered
}

/// The processes that have the holds of running stacks open, supervisors before guardians.
pub(super) fn keepers(ledger: &LedgerOverview, state_dir: &Path) -> Vec<i32> {
    let stacks = stacks(ledger, state_dir);
    let running = stacks.iter().filter(|stack| stack.is_running);
    let holders: Vec<&Holder> = running.filter_map(|stack| stack.holder.as_ref()).collect();
    let supervisors = holders.iter().map(|holder| holder.supervisor_pid);
    let guardians = holders.iter().map(|holder| holder.guardian_pid);
    supervisors.chain(guardians).collect()
}

/// The stacks of the ledger, sorted by project directory, then by name. What one that runs had before
/// is not news.
fn stacks(ledger: &LedgerOverview, state_dir: &Path) -> Vec<Stack> {
    let mut ports: IndexMap<&str, Vec<StackPort>> = IndexMap::new();
    for port in ledger.live.iter().chain(&ledger.sticky) {
        let known = ports.entry(&port.owner.instance).or_default();
        if known
            .first()
            .is_none_or(|first| first.is_running == port.is_running)
        {
            known.push(port.clone());
        }
    }
    let mut ports: Vec<Vec<StackPort>> = ports.into_values().collect();
    ports.sort_by(|one, other| {
        let key = |ports: &[StackPort]| {
            (
                ports[0].owner.project_dir.clone(),
                ports[0].owner.project.clone(),
            )
        };
        key(one).cmp(&key(other))
    });
    let stacks = ports.into_iter().map(|ports| Stack::new(ports, state_dir));
    stacks.collect()
}

impl Stack {
    fn new(mut ports: Vec<StackPort>, state_dir: &Path) -> Self {
        // The ledger has the services in the order of the file, but replicas that were added later
        // anywhere.
        let mut ranks: HashMap<ServiceName, usize> = HashMap::new();
        for port in &ports {
            let rank = ranks.len();
            ranks.entry(port.key.service.clone()).or_insert(rank);
        }
        ports.sort_by_key(|port| (ranks[&port.key.service], port.key.replica));
        let Owner {
            project,
            project_dir,
            ..
        } = &ports[0].owner;
        let instance = ProjectName::new(project)
            .ok()
            .map(|project| Instance::new(project, project_dir.clone(), state_dir));
        Self {
            is_running: ports[0].is_running,
            holder: instance.as_ref().and_then(Instance::holder),
            instance,
            ports,
        }
    }

    /// `stack `shop` (/home/me/shop)`.
    fn title(&self) -> String {
        let Owner {
            project,
            project_dir,
            ..
        } = &self.ports[0].owner;
        format!(
            "stack `{project}` ({})",
            plain(&project_dir.to_string_lossy())
        )
    }

    /// A row for each of `ports`, with what was `seen` of each. How many replicas a service has is
    /// known as far as its ports tell.
    fn rows(&self, ports: &[StackPort], seen: Option<&[PortState]>) -> Vec<PortRow> {
        let replicas = |service: &ServiceName| {
            let ports = self
                .ports
                .iter()
                .filter(|port| port.key.service == *service);
            ports.map(|port| port.key.replica).max().unwrap_or(1)
        };
        let row = |(place, port): (usize, &StackPort)| {
            let seen = seen.map(|seen| &seen[place]);
            PortRow::unverified(port, replicas(&port.key.service), seen)
        };
        ports.iter().enumerate().map(row).collect()
    }

    /// The ports of services that run on though supervisor and guardian were killed, as the kernel sees
    /// them. The ledger knows the stack as one that does not run.
    fn rows_left_running(&self) -> Option<Vec<PortRow>> {
        let instance = self.instance.as_ref()?;
        let running = leftovers::running(&instance.lease_path());
        // Who has the lock starts it anew, or ends what was left.
        if running.is_empty() || instance.is_locked() {
            return None;
        }
        let root_of = |port: &StackPort| {
            let unit = UnitId {
                service: port.key.service.clone(),
                replica: port.key.replica,
            };
            running.get(&unit).copied()
        };
        let mut ports = self.ports.clone();
        ports.retain(|port| root_of(port).is_some());
        // What descends from a service's main process is its own.
        let claims = claims(&ports, |port| root_of(port).unwrap_or(0));
        let seen = seen_from_outside(&claims, &[]).ok()?;
        let rows = self.rows(&ports, Some(&seen));
        (!rows.is_empty()).then_some(rows)
    }

    /// The ports of a stack that runs and whose supervisor says nothing.
    fn rows_without_word(&self) -> Vec<PortRow> {
        let supervisor_pid = self.holder.as_ref().map(|holder| holder.supervisor_pid);
        let guardian_pid = self.holder.as_ref().map(|holder| holder.guardian_pid);
        let keepers: Vec<i32> = supervisor_pid.into_iter().chain(guardian_pid).collect();
        let claims = claims(&self.ports, |_| supervisor_pid.unwrap_or(0));
        // Without the kernel's tables nothing is known but that the supervisor lives and holds them.
        let seen = seen_from_outside(&claims, &keepers)
            .unwrap_or_else(|_| vec![PortState::Held; claims.len()]);
        let mut rows = self.rows(&self.ports, Some(&seen));
        for row in &mut rows {
            row.supervisor_pid = supervisor_pid;
        }
        rows
    }

    /// Why a stack's rows are only what the kernel shows. One that is just starting or ending is no
    /// news.
    fn note(&self, error: &ClientError) -> Option<String> {
        if matches!(error, ClientError::NotRunning | ClientError::Closed) {
            return None;
        }
        let supervisor = self.holder.as_ref().map(|holder| holder.supervisor_pid);
        Some(format!(
            "{}: {}{}; its ports are shown as the kernel sees them",
            self.title(),
            text::chain(error),
            pid(supervisor)
        ))
    }
}

/// The ports as the kernel is asked about them, each with the process that its servers descend from.
fn claims(ports: &[StackPort], root: impl Fn(&StackPort) -> i32) -> Vec<Claim<'_>> {
    let ports = ports.iter().map(|port| Claim {
        protocol: port.protocol,
        port: port.port,
        root: root(port),
        instance: &port.owner.instance,
    });
    ports.collect()
}

fn rows_of(stack: &StackSnapshot) -> Vec<PortRow> {
    let mut rows = PortRow::verified(stack);
    for row in &mut rows {
        if let Some(&instead) = row.listens_on.first() {
            row.bound_to = listening_address(instead, row.protocol);
        }
    }
    rows
}

/// The address on which somebody listens on `port`.
fn listening_address(port: u16, protocol: Protocol) -> Option<String> {
    let listeners = sockets::listeners(protocol).ok()?;
    let found = listeners.iter().find(|socket| socket.port == port)?;
    Some(found.address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verbs::ports::row::RowState;
    use crate::ports::request::PortKey;
    use crate::support::name::PortName;

    fn port(service: &str, replica: u32, number: u16) -> StackPort {
        StackPort {
            owner: Owner {
                instance: "shop-1".to_owned(),
                project: "shop".to_owned(),
                project_dir: "/shop".into(),
            },
            key: PortKey {
                service: ServiceName::new(service).unwrap(),
                replica,
                name: PortName::new("PORT").unwrap(),
            },
            protocol: Protocol::Tcp,
            port: number,
            is_running: false,
        }
    }

    fn rows(sticky: Vec<StackPort>, state_dir: &Path) -> Gathered {
        let ledger = LedgerOverview {
            sticky,
            ..LedgerOverview::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(gather(&ledger, None, state_dir))
    }

    #[test]
    fn replicas_are_listed_in_order_though_the_ledger_has_them_as_they_came() {
        let sticky = vec![
            port("web", 3, 8003),
            port("api", 1, 8000),
            port("web", 1, 8001),
            port("web", 2, 8002),
        ];
        let directory = tempfile::tempdir().unwrap();
        let rows = rows(sticky, directory.path()).rows;
        let labels: Vec<String> = rows.iter().map(PortRow::label).collect();
        assert_eq!(labels, ["web-1", "web-2", "web-3", "api"]);
    }

    #[test]
    fn what_runs_on_without_a_supervisor_is_listed_with_its_pid() {
        let directory = tempfile::tempdir().unwrap();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = server.local_addr().unwrap().port();
        let mut sticky = vec![port("web", 1, number), port("gone", 1, 1)];
        for port in &mut sticky {
            port.owner.project_dir = directory.path().to_path_buf();
        }
        let project = ProjectName::new("shop").unwrap();
        let instance = Instance::new(project, directory.path().to_path_buf(), directory.path());
        instance.create().unwrap();
        let web = UnitId::first(ServiceName::new("web").unwrap());
        let own = std::process::id();
        leftovers::leave(&instance.lease_path(), &web, i32::try_from(own).unwrap());

        let gathered = rows(sticky, directory.path());
        let rows: Vec<_> = gathered
            .rows
            .iter()
            .map(|row| (row.label(), row.state, row.pid, row.supervisor_pid))
            .collect();
        let pid = i32::try_from(own).ok();
        assert_eq!(rows, [("web".to_owned(), RowState::Listening, pid, None)]);
        assert!(
            gathered.notes[0].contains("runs on"),
            "{:?}",
            gathered.notes
        );
    }
}
