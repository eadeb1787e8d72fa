//! What is said of one number, in words. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use indexmap::IndexMap;

use super::row::{Explanation, PortRow, RowState};
use crate::cli::invocation::Invocation;
use crate::cli::words::{behind, pid};
use crate::ports::PortProcess;
use crate::ports::who::{PortSocket, SocketRole};
use crate::support::clock::unix_millis;
use crate::support::duration;
use crate::support::protocol::Protocol;
use crate::support::text;

/// How many sockets are told one by one.
const LISTED: usize = 20;

/// Where the reader is: what paths and times are told relative to.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The home directory, where it is shortened to `~`: on terminals.
    pub(super) home: Option<String>,
    /// In milliseconds since the Unix epoch.
    pub(super) now: u64,
}

impl Place {
    /// As it is now.
    pub(super) fn of(invocation: &Invocation) -> Self {
        let home = invocation.variable("HOME");
        Self {
            home: home.filter(|_| invocation.terminals.stdout),
            now: unix_millis(),
        }
    }

    /// A path as it is shown.
    pub(super) fn path(&self, path: &str) -> String {
        let home = self.home.as_deref().filter(|home| *home != "/");
        let below = home.and_then(|home| path.strip_prefix(home));
        match below {
            Some(below) if below.is_empty() || below.starts_with('/') => {
                plain(&format!("~{below}"))
            }
            Some(_) | None => plain(path),
        }
    }
}

/// Text of others without what would steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The whole explanation: what it comes to, then each socket, then what else is known.
pub(super) fn explain(told: &Explanation, place: &Place) -> String {
    let mut lines: Vec<String> = told
        .stacks
        .iter()
        .filter(|row| row.state != RowState::Remembered)
        .map(|row| belongs(row, told, place))
        .collect();
    if lines.is_empty() {
        lines.push(no_stack(told));
    }
    lines.extend(socket_lines(told, place));
    lines.extend(others(told, place));
    lines.join("\n")
}

/// `port 8000 is held for `api` (PORT) of stack `shop` in ~/shop`, and what that means.
fn belongs(row: &PortRow, told: &Explanation, place: &Place) -> String {
    let number = number(row.port, row.protocol);
    let of = format!(
        "`{}` ({}) of stack `{}` in {}",
        row.label(),
        row.name,
        row.project,
        place.path(&row.project_dir)
    );
    let supervisor = pid(row.supervisor_pid);
    match row.state {
        RowState::Held => format!(
            "{number} is held for {of}\n  the stack's supervisor{supervisor} {}",
            hold(row, told)
        ),
        RowState::Listening => {
            let at = row.socket_address().unwrap_or_default();
            format!("{number} belongs to {of}, which listens on {at}")
        }
        RowState::NotListening => {
            // Not so where the hold was released for a server that could not bind beside it.
            let is_held = told
                .sockets
                .iter()
                .any(|socket| socket.state == SocketRole::Held);
            let rest = if is_held {
                format!("\n  the stack's supervisor{supervisor} keeps it until the service does")
            } else {
                String::new()
            };
            format!("{number} belongs to {of}, which does not listen on it{rest}")
        }
        RowState::Stolen => {
            let taker = match (row.pid, &row.command) {
                (Some(pid), Some(command)) => format!("pid {pid} (`{}`)", plain(command)),
                (Some(pid), None) => format!("pid {pid}"),
                (None, _) => "a process that cannot be seen".to_owned(),
            };
            format!("{number} belongs to {of}, but was stolen by {taker}")
        }
        RowState::WrongPort => format!(
            "{number} belongs to {of}, which listens on {} instead",
            text::list(&row.listens_on)
        ),
        RowState::Remembered => format!("remembered for {of}, which does not run"),
    }
}

/// What a supervisor does with a port that it holds, and who sees that.
fn hold(row: &PortRow, told: &Explanation) -> &'static str {
    let listens = |socket: &PortSocket| {
        socket.protocol == Protocol::Tcp && socket.state == SocketRole::Listening
    };
    match row.protocol {
        Protocol::Tcp | Protocol::Both if told.sockets.iter().any(listens) => {
            "listens for it: clients wait until it takes over"
        }
        Protocol::Tcp | Protocol::Both => {
            "keeps it bound without listening: nobody else can bind it, and `ss` and `lsof` do not \
             show it"
        }
        Protocol::Udp => "keeps it bound: nobody else can bind it",
    }
}

/// Who has a port that no running stack has.
fn no_stack(told: &Explanation) -> String {
    let port = told.port;
    let Some(first) = told.sockets.first() else {
        return format!("nobody has port {port}");
    };
    let number = number(port, first.protocol);
    match first.state {
        SocketRole::Listening => format!("{number} is taken by {}", marked(first)),
        SocketRole::Held => format!("{number} is held by the supervisor of a stack"),
        SocketRole::Bound => format!(
            "{number} is taken by {}, which is bound to it and does not listen",
            owner(first)
        ),
        SocketRole::Connected if told.traits.is_ephemeral => format!(
            "{number} is one end of an outgoing connection of {}{}; the kernel gave it that number",
            owner(first),
            peer(first)
        ),
        SocketRole::Connected => format!(
            "nobody listens on {number}, but {} has a connection there{}",
            owner(first),
            peer(first)
        ),
        SocketRole::Leftover => format!(
            "nobody has {number} any more, but closed connections are left, which the kernel keeps \
             for a minute"
        ),
    }
}

/// Its process, and the service as which a stack started it that the ledger does not know: the marks
/// are inherited by whatever the service starts.
fn marked(socket: &PortSocket) -> String {
    let process = socket.process.as_ref();
    let marks = process.and_then(|process| process.service.as_ref().zip(process.instance.as_ref()));
    match marks {
        Some((service, instance)) => format!(
            "{}, which service `{}` of the stack {} started",
            owner(socket),
            plain(service),
            plain(instance)
        ),
        None => owner(socket),
    }
}

/// `port 8000`, `UDP port 5353`.
fn number(port: u16, protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp | Protocol::Both => format!("port {port}"),
        Protocol::Udp => format!("UDP port {port}"),
    }
}

/// ` to 192.0.2.1:443`.
fn peer(socket: &PortSocket) -> String {
    behind(" to ", socket.peer)
}

fn owner(socket: &PortSocket) -> String {
    match (&socket.process, &socket.user, socket.uid) {
        (Some(process), _, _) => format!("pid {} (`{}`)", process.pid, plain(&process.command)),
        (None, Some(user), _) => format!("a process of user {user} that cannot be seen"),
        (None, None, Some(uid)) => format!("a process of user {uid} that cannot be seen"),
        (None, None, None) => "no process".to_owned(),
    }
}

/// A line for each socket that is more than a connection, and one for all connections of a process.
fn socket_lines(told: &Explanation, place: &Place) -> Vec<String> {
    let mut found: IndexMap<String, usize> = IndexMap::new();
    for socket in &told.sockets {
        let line = socket_line(told.port, socket, place);
        *found.entry(line).or_default() += 1;
    }
    let shown = found.iter().take(LISTED);
    let mut lines: Vec<String> = shown
        .map(|(line, count)| match count {
            1 => format!("  {line}"),
            count => format!("  {line} ({count} sockets)"),
        })
        .collect();
    if found.len() > LISTED {
        lines.push(format!("  and {} more", found.len() - LISTED));
    }
    lines
}

/// `tcp 127.0.0.1:8123: listening, pid 4711 (`./api`), user me, since 3 m 20 s, in ~/shop`. Of connections
/// the other end is not told, so that all of one process make one line.
fn socket_line(port: u16, socket: &PortSocket, place: &Place) -> String {
    let word = match socket.state {
        SocketRole::Listening => "listening",
        SocketRole::Held => "held",
        SocketRole::Bound => "bound",
        SocketRole::Connected => "connected",
        SocketRole::Leftover => "closed, kept by the kernel for a minute",
    };
    let address = SocketAddr::new(socket.address, port);
    let mut parts = vec![format!("{} {address}: {word}", socket.protocol)];
    match &socket.process {
        Some(process) => parts.extend(process_words(process, socket, place)),
        None => parts.extend(socket.uid.map(|_| owner(socket))),
    }
    parts.join(", ")
}

fn process_words(process: &PortProcess, socket: &PortSocket, place: &Place) -> Vec<String> {
    let user = process.user.as_ref().or(socket.user.as_ref());
    let age = process
        .started_at
        .map(|at| place.now.saturating_sub(at) / 1_000);
    let directory = process.directory.as_ref();
    let marks = process.service.as_ref().zip(process.instance.as_ref());
    let parts = [
        Some(owner(socket)),
        user.map(|user| format!("user {user}")),
        age.map(|age| format!("for {}", duration::human(Duration::from_secs(age)))),
        directory.map(|directory| format!("in {}", place.path(directory))),
        marks.map(|(service, instance)| {
            let (service, instance) = (plain(service), plain(instance));
            format!("service `{service}` of instance {instance}")
        }),
    ];
    parts.into_iter().flatten().collect()
}

/// What else is known of the number.
fn others(told: &Explanation, place: &Place) -> Vec<String> {
    let mut lines: Vec<String> = told
        .stacks
        .iter()
        .filter(|row| row.state == RowState::Remembered)
        .map(|row| format!("  {}", belongs(row, told, place)))
        .collect();
    let traits = told.traits;
    let facts = [
        (
            told.is_granted,
            "given out by `stack ports free` within the last two minutes",
        ),
        (
            traits.is_reserved,
            "kept free by the administrator (net.ipv4.ip_local_reserved_ports)",
        ),
        (
            traits.is_ephemeral,
            "in the range of outgoing connections (net.ipv4.ip_local_port_range), which may get it \
             at any time",
        ),
        (
            traits.is_refused_by_browsers,
            "browsers refuse to connect to it",
        ),
        (
            traits.is_privileged,
            "below net.ipv4.ip_unprivileged_port_start: binding it takes a privilege",
        ),
    ];
    lines.extend(
        facts
            .iter()
            .filter(|(is_so, _)| *is_so)
            .map(|(_, words)| format!("  {words}")),
    );
    lines
}

#[cfg(test)]
mod tests;
