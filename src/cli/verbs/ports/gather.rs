//! What is known of the ports of running stacks: each supervisor's own word, else the kernel's.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::row::PortRow;
use super::words::plain;
use crate::api::client::{Client, ClientError};
use crate::ports::request::Owner;
use crate::ports::who::{Claim, seen_from_outside};
use crate::ports::{PortState, StackPort, sockets};
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

/// A stack of the ledger.
struct Stack {
    owner: Owner,
    ports: Vec<StackPort>,
}

/// Every port of the stacks to which the `live` ports of the ledger belong, and those of the
/// `sticky` ones whose services run on without a supervisor. `state_dir` is where the files of stacks
/// are whose project directory cannot be written.
pub(super) async fn gather(
    live: Vec<StackPort>,
    sticky: &[StackPort],
    state_dir: &Path,
) -> Gathered {
    let is_live = |port: &StackPort| {
        let mut live = live.iter();
        live.any(|live| live.owner.instance == port.owner.instance)
    };
    let sleeping: Vec<StackPort> = sticky
        .iter()
        .filter(|port| !is_live(port))
        .cloned()
        .collect();
    let stacks = by_stack(live);
    let holders: Vec<Option<Holder>> = stacks
        .iter()
        .map(|stack| holder(&stack.owner, state_dir))
        .collect();
    let mut asked = JoinSet::new();
    for (place, holder) in holders.iter().enumerate() {
        if let Some(holder) = holder {
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
    for (place, (stack, holder)) in stacks.iter().zip(&holders).enumerate() {
        match answers.remove(&place) {
            Some(Ok(snapshot)) => gathered.rows.extend(rows_of(&snapshot)),
            Some(Err(error)) => {
                gathered.rows.extend(rows_without(stack, holder.as_ref()));
                gathered.notes.extend(note(stack, holder.as_ref(), &error));
            }
            // It is just starting or ending.
            None => gathered.rows.extend(rows_without(stack, holder.as_ref())),
        }
    }
    for stack in by_stack(sleeping) {
        let rows = rows_left_running(&stack, state_dir);
        if !rows.is_empty() {
            gathered.notes.push(format!(
                "{}: its supervisor was killed, and what it started runs on; `stack up` or `stack \
                 down` there ends it",
                title(&stack)
            ));
            gathered.rows.extend(rows);
        }
    }
    gathered
}

/// Who runs a stack now, by its lock.
fn holder(owner: &Owner, state_dir: &Path) -> Option<Holder> {
    instance(owner, state_dir)?.holder()
}

/// Where a stack of the ledger has its files.
fn instance(owner: &Owner, state_dir: &Path) -> Option<Instance> {
    let project = ProjectName::new(&owner.project).ok()?;
    Some(Instance::new(project, owner.project_dir.clone(), state_dir))
}

/// `stack `shop` (/home/me/shop)`.
fn title(stack: &Stack) -> String {
    format!(
        "stack `{}` ({})",
        stack.owner.project,
        plain(&stack.owner.project_dir.to_string_lossy())
    )
}

/// The ports of services that run on though supervisor and guardian were killed, as the kernel sees
/// them. The ledger knows the stack as one that does not run.
fn rows_left_running(stack: &Stack, state_dir: &Path) -> Vec<PortRow> {
    let Some(instance) = instance(&stack.owner, state_dir) else {
        return Vec::new();
    };
    let running = leftovers::running(&instance.lease_path());
    // Who has the lock starts it anew, or ends what was left.
    if running.is_empty() || instance.is_locked() {
        return Vec::new();
    }
    let root_of = |port: &StackPort| {
        let unit = UnitId {
            service: port.key.service.clone(),
            replica: port.key.replica,
        };
        running.get(&unit).copied()
    };
    let replicas = replicas(&stack.ports);
    let mut ports = stack.ports.clone();
    ports.retain(|port| root_of(port).is_some());
    // What descends from a service's main process is its own.
    let claims = claims(&ports, |port| root_of(port).unwrap_or(0));
    let Ok(seen) = seen_from_outside(&claims, &[]) else {
        return Vec::new();
    };
    let rows = ports.iter().zip(&seen);
    rows.map(|(port, seen)| PortRow::unverified(port, replicas[&port.key.service], Some(seen)))
        .collect()
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

/// The processes that have the holds of these stacks open, supervisors before guardians.
pub(super) fn keepers(live: &[StackPort], state_dir: &Path) -> Vec<i32> {
    let stacks = by_stack(live.to_vec());
    let holders: Vec<Holder> = stacks
        .iter()
        .filter_map(|stack| holder(&stack.owner, state_dir))
        .collect();
    let supervisors = holders.iter().map(|holder| holder.supervisor_pid);
    let guardians = holders.iter().map(|holder| holder.guardian_pid);
    supervisors.chain(guardians).collect()
}

/// The ports by stack, sorted by project directory, then by name. Within a stack the ledger has the
/// services in the order of the file, but replicas that were added later anywhere.
fn by_stack(live: Vec<StackPort>) -> Vec<Stack> {
    let mut stacks: Vec<Stack> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for port in live {
        let place = *places
            .entry(port.owner.instance.clone())
            .or_insert_with(|| {
                stacks.push(Stack {
                    owner: port.owner.clone(),
                    ports: Vec::new(),
                });
                stacks.len() - 1
            });
        stacks[place].ports.push(port);
    }
    for stack in &mut stacks {
        let mut ranks: HashMap<ServiceName, usize> = HashMap::new();
        for port in &stack.ports {
            let rank = ranks.len();
            ranks.entry(port.key.service.clone()).or_insert(rank);
        }
        let ports = &mut stack.ports;
        ports.sort_by_key(|port| (ranks[&port.key.service], port.key.replica));
    }
    stacks.sort_by(|one, other| {
        let key = |stack: &Stack| (stack.owner.project_dir.clone(), stack.owner.project.clone());
        key(one).cmp(&key(other))
    });
    stacks
}

fn rows_of(stack: &StackSnapshot) -> Vec<PortRow> {
    let mut rows = Vec::new();
    for service in &stack.services {
        for port in &service.ports {
            let mut row = PortRow::verified(stack, service, port);
            if let Some(&instead) = row.listens_on.first() {
                row.bound_to = listening_address(instead, row.protocol);
            }
            rows.push(row);
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

/// The rows of a stack whose supervisor says nothing.
fn rows_without(stack: &Stack, holder: Option<&Holder>) -> Vec<PortRow> {
    let replicas = replicas(&stack.ports);
    let supervisor = holder.map(|holder| holder.supervisor_pid);
    let guardian = holder.map(|holder| holder.guardian_pid);
    let keepers: Vec<i32> = supervisor.into_iter().chain(guardian).collect();
    let claims = claims(&stack.ports, |_| supervisor.unwrap_or(0));
    // Without the kernel's tables nothing is known but that the supervisor lives and holds them.
    let seen = seen_from_outside(&claims, &keepers)
        .unwrap_or_else(|_| vec![PortState::Held; claims.len()]);
    let rows = stack.ports.iter().zip(&seen).map(|(port, seen)| PortRow {
        supervisor_pid: supervisor,
        ..PortRow::unverified(port, replicas[&port.key.service], Some(seen))
    });
    rows.collect()
}

/// Those of the `sticky` ports whose stacks are not among the `live` ones.
pub(super) fn remembered(mut sticky: Vec<StackPort>, live: &[PortRow]) -> Vec<PortRow> {
    sticky.retain(|port| live.iter().all(|row| row.instance != port.owner.instance));
    let mut rows = Vec::new();
    for stack in by_stack(sticky) {
        let replicas = replicas(&stack.ports);
        let ports = stack.ports.iter();
        rows.extend(ports.map(|port| PortRow::unverified(port, replicas[&port.key.service], None)));
    }
    rows
}

/// How many replicas each service has, as far as its ports tell.
fn replicas(ports: &[StackPort]) -> HashMap<ServiceName, u32> {
    let mut highest: HashMap<ServiceName, u32> = HashMap::new();
    for port in ports {
        let replicas = highest.entry(port.key.service.clone()).or_default();
        *replicas = (*replicas).max(port.key.replica);
    }
    highest
}

/// Why a stack's rows are only what the kernel shows. One that is just starting or ending is no
/// news.
fn note(stack: &Stack, holder: Option<&Holder>, error: &ClientError) -> Option<String> {
    if matches!(error, ClientError::NotRunning | ClientError::Closed) {
        return None;
    }
    let pid = holder.map_or_else(String::new, |holder| {
        format!(" (pid {})", holder.supervisor_pid)
    });
    Some(format!(
        "{}: {}{pid}; its ports are shown as the kernel sees them",
        title(stack),
        text::chain(error)
    ))
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

    #[test]
    fn replicas_are_listed_in_order_though_the_ledger_has_them_as_they_came() {
        let sticky = vec![
            port("web", 3, 8003),
            port("api", 1, 8000),
            port("web", 1, 8001),
            port("web", 2, 8002),
        ];
        let rows = remembered(sticky, &[]);
        let labels: Vec<String> = rows.iter().map(PortRow::label).collect();
        assert_eq!(labels, ["web-1", "web-2", "web-3", "api"]);
    }

    #[test]
    fn what_runs_on_without_a_supervisor_is_listed_with_its_pid() {
        let directory = tempfile::tempdir().unwrap();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = server.local_addr().unwrap().port();
        let mut sticky = [port("web", 1, number), port("gone", 1, 1)];
        for port in &mut sticky {
            port.owner.project_dir = directory.path().to_path_buf();
        }
        let instance = instance(&sticky[0].owner, directory.path()).unwrap();
        instance.create().unwrap();
        let web = UnitId::first(ServiceName::new("web").unwrap());
        let own = std::process::id();
        leftovers::leave(&instance.lease_path(), &web, i32::try_from(own).unwrap());

        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let gathered = runtime.block_on(gather(Vec::new(), &sticky, directory.path()));
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
        assert_eq!(remembered(sticky.to_vec(), &gathered.rows), []);
    }
}
