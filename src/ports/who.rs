//! Who is on a port: the sockets there, the processes that have them open, and what that means for
//! whoever the port was given to.
//!
//! [`sockets_on`] tells everything about one number, [`holder`] as much as fits in a message. For a
//! service that runs [`observe`] gives the [state](PortState) of its ports; [`seen_from_outside`] does
//! so for a stack whose supervisor does not answer. Whose a port should be is the
//! [ledger](super::ledger)'s business.

mod holder;
mod outside;
mod service;
mod stranger;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::processes::{PortProcess, command, owners_of, user_name};
use super::sockets::{self, Socket, TcpState};
use crate::support::protocol::Protocol;

pub use holder::{Holder, ProcessName, holder, others_on, reuses_address};
pub(crate) use holder::{holder_among, holders_in};
pub use outside::{Claim, seen_from_outside};
pub use service::{Known, Listeners, Subject, observe};
pub use stranger::{Stranger, answering, strangers};

/// How it stands with a port that was given to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PortState {
    /// Nobody listens, and it is held for the service.
    Held,
    /// A process of the service listens (for UDP: is bound), and nobody else does.
    Listening {
        /// The address it is bound to: `127.0.0.1`, `0.0.0.0`, `::1`, or `::` for all of IPv4 and IPv6.
        bound_to: String,
        /// The process.
        pid: i32,
    },
    /// The service runs; nobody listens, and it does not listen elsewhere either.
    NotListening,
    /// Somebody else listens, be it beside the service on another address.
    Stolen {
        /// The process; 0 where it cannot be seen (another user's, or in a container).
        pid: i32,
        /// Its command line, `unknown` where it cannot be seen.
        command: String,
        /// The address on which it listens.
        #[serde(default)]
        bound_to: String,
    },
    /// Nobody listens there, but the service does on ports that were not given to it.
    WrongPort {
        /// Those ports, lowest first.
        listens_on: Vec<u16>,
    },
}

impl PortState {
    fn listening(address: IpAddr, pid: i32) -> Self {
        Self::Listening {
            bound_to: address.to_string(),
            pid,
        }
    }

    fn stolen(address: IpAddr, pid: i32) -> Self {
        Self::Stolen {
            pid,
            command: command(pid),
            bound_to: address.to_string(),
        }
    }

    /// Of two things that are on a port the one that matters more to whoever looks: some clients
    /// reach the process that has no right to be there.
    fn worse(self, other: Self) -> Self {
        let weight = |state: &Self| match state {
            Self::NotListening => 0,
            Self::Held => 1,
            Self::Listening { .. } => 2,
            Self::WrongPort { .. } => 3,
            Self::Stolen { .. } => 4,
        };
        if weight(&other) > weight(&self) {
            other
        } else {
            self
        }
    }
}

/// What a socket has to do with its port, what matters most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketRole {
    /// It takes connections, or datagrams.
    Listening,
    /// It only keeps the port: a supervisor's hold. One that listens for a service that will take
    /// it over is listening.
    Held,
    /// It is bound, does not listen, and is not a supervisor's.
    Bound,
    /// It is one end of a connection.
    Connected,
    /// It is what remains of a connection.
    Leftover,
}

impl SocketRole {
    /// That of a socket of which nothing but the kernel's row is known.
    pub(crate) fn of(socket: &Socket) -> Self {
        match socket.state {
            TcpState::Listen | TcpState::Close if socket.serves() => Self::Listening,
            TcpState::Listen | TcpState::Close => Self::Bound,
            TcpState::Established
            | TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::NewSynRecv
            | TcpState::CloseWait => Self::Connected,
            TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::TimeWait
            | TcpState::LastAck
            | TcpState::Closing => Self::Leftover,
        }
    }
}

/// One socket on the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortSocket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What it does.
    pub state: SocketRole,
    /// The local address; `::` also for a socket that serves IPv4 and IPv6.
    pub address: IpAddr,
    /// The other end of a connection.
    pub peer: Option<SocketAddr>,
    /// Who created it; nobody for what the kernel alone keeps.
    pub uid: Option<u32>,
    /// That user's name.
    pub user: Option<String>,
    /// A process that has it open, if one can be seen.
    pub process: Option<PortProcess>,
}

/// Every TCP and UDP socket on `port`, those that matter most first. `keepers` are the
/// processes that have the holds of stacks open; of several the first one is told.
///
/// Costs a look at every process of the machine. Fails where the kernel tells nothing about its
/// sockets.
pub fn sockets_on(port: u16, keepers: &[i32]) -> io::Result<Vec<PortSocket>> {
    // Of a busy server's thousand connections each has the same process.
    let mut described: HashMap<i32, PortProcess> = HashMap::new();
    let mut told = |(socket, pids): (Socket, Vec<i32>)| {
        // A listener that is handed over is open in the supervisor, too; the service is who serves.
        let server = pids.iter().find(|pid| !keepers.contains(pid));
        let keeper = keepers.iter().find(|pid| pids.contains(pid));
        let process = server.or(keeper).map(|&pid| {
            let known = described.entry(pid);
            known.or_insert_with(|| PortProcess::of(pid)).clone()
        });
        // What no process has open was made by somebody who is of no interest any more.
        let uid = (socket.inode != 0).then_some(socket.uid);
        let is_kept = server.is_none() && keeper.is_some() && socket.state == TcpState::Close;
        PortSocket {
            protocol: socket.protocol,
            state: if is_kept {
                SocketRole::Held
            } else {
                SocketRole::of(&socket)
            },
            address: socket.address,
            peer: socket.peer,
            uid,
            user: uid.and_then(user_name),
            process,
        }
    };
    let sockets = with_owners(sockets::on_port(Protocol::Both, port)?);
    let mut seen: Vec<PortSocket> = sockets.into_iter().map(&mut told).collect();
    seen.sort_by_key(|socket| (socket.state, socket.protocol));
    Ok(seen)
}

/// Each socket with every process that has it open, lowest pid first. Costs a look at every process of the
/// machine.
fn with_owners(sockets: Vec<Socket>) -> Vec<(Socket, Vec<i32>)> {
    let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let owners = owners_of(&inodes);
    let pids = |socket: &Socket| owners.get(&socket.inode).cloned().unwrap_or_default();
    let both = sockets.into_iter().map(|socket| {
        let pids = pids(&socket);
        (socket, pids)
    });
    both.collect()
}

#[cfg(test)]
mod tests;
