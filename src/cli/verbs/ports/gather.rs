//! What is known of the ports of running stacks: each supervisor's own word, else the kernel's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;

use super::row::PortRow;
use super::words::plain;
use crate::api::client::{Client, ClientError};
use crate::ports::request::Owner;
use crate::ports::{StackPort, glance, sock_diag};
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::support::name::{ProjectName, ServiceName};
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

/// A running stack of the ledger.
struct Running {
    owner: Owner,
    ports: Vec<StackPort>,
    supervisor: i32,
}

/// Every port of the stacks to which the `live` ports of the ledger belong. `state_dir` is where
/// the files of stacks are whose project directory cannot be written.
pub(super) async fn gather(live: Vec<StackPort>, state_dir: &Path) -> Gathered {
    let stacks = by_stack(live);
    let mut asked = JoinSet::new();
    for (place, stack) in stacks.iter().enumerate() {
        let owner = stack.owner.clone();
        let state_dir = state_dir.to_path_buf();
        asked.spawn(async move { (place, ask(owner, state_dir).await) });
    }
    let mut answers: HashMap<usize, Result<StackSnapshot, ClientError>> = HashMap::new();
    // A task that panicked has no answer.
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok());
    }

    let mut gathered = Gathered::default();
    for (place, stack) in stacks.iter().enumerate() {
        match answers.remove(&place) {
            Some(Ok(snapshot)) => gathered.rows.extend(rows_of(&snapshot)),
            Some(Err(error)) => {
                gathered.rows.extend(rows_without(stack));
                gathered.notes.extend(note(stack, &error));
            }
            None => gathered.rows.extend(rows_without(stack)),
        }
    }
    gathered
}

/// The ports by stack, sorted by project directory, then by name.
fn by_stack(live: Vec<StackPort>) -> Vec<Running> {
    let mut stacks: Vec<Running> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for port in live {
        let place = *places
            .entry(port.owner.instance.clone())
            .or_insert_with(|| {
                stacks.push(Running {
                    owner: port.owner.clone(),
                    ports: Vec::new(),
                    supervisor: port.supervisor.unwrap_or(0),
                });
                stacks.len() - 1
            });
        stacks[place].ports.push(port);
    }
    stacks.sort_by(|one, other| {
        let key = |stack: &Running| (stack.owner.project_dir.clone(), stack.owner.project.clone());
        key(one).cmp(&key(other))
    });
    stacks
}

async fn ask(owner: Owner, state_dir: PathBuf) -> Result<StackSnapshot, ClientError> {
    let project = ProjectName::new(&owner.project)
        .map_err(|error| ClientError::Protocol(error.to_string()))?;
    let holder = Instance::new(project, owner.project_dir, &state_dir)
        .holder()
        .ok_or(ClientError::NotRunning)?;
    Client::new(holder.socket)
        .with_deadline(ANSWER_LIMIT)
        .stack()
        .await
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
    let listeners = sock_diag::listeners(protocol).ok()?;
    let found = listeners.iter().find(|socket| socket.port == port)?;
    Some(found.address.to_string())
}

/// The rows of a stack whose supervisor says nothing.
fn rows_without(stack: &Running) -> Vec<PortRow> {
    let replicas = replicas(&stack.ports);
    // Without the kernel's tables nothing is known but that the supervisor lives and holds them.
    let seen = glance(&stack.ports)
        .unwrap_or_else(|_| vec![crate::ports::Glance::Held; stack.ports.len()]);
    let ports = stack.ports.iter().zip(&seen);
    ports
        .map(|(port, seen)| PortRow::unverified(port, replicas[&port.key.service], Some(seen)))
        .collect()
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
fn note(stack: &Running, error: &ClientError) -> Option<String> {
    if matches!(error, ClientError::NotRunning | ClientError::Closed) {
        return None;
    }
    Some(format!(
        "stack `{}` ({}): {} (pid {}); its ports are shown as the kernel sees them",
        stack.owner.project,
        plain(&stack.owner.project_dir.to_string_lossy()),
        text::chain(error),
        stack.supervisor
    ))
}
