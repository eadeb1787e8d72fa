//! Who has a port, for messages and for conclusions about a server that cannot have its own.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::{SocketRole, with_owners};
use crate::ports::ledger::{Session, StackPort};
use crate::ports::processes::{command, copy_of, descriptors_of, user_name};
use crate::ports::sockets::{self, Socket};
use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;

/// A process, as a message names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its pid.
    pub pid: i32,
    /// Its command line, on one line.
    pub command: String,
}

impl ProcessName {
    /// That of a process; `unknown` for one that is gone.
    pub fn of(pid: i32) -> Self {
        Self {
            pid,
            command: command(pid),
        }
    }
}

/// Who has a port, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: u16,
    /// What the socket has to do with it.
    pub role: SocketRole,
    /// The local address of the socket.
    pub address: IpAddr,
    /// The user who created it.
    pub uid: u32,
    /// A process that has it open. None where none can be seen: another user's, one in a container, or none
    /// at all, as for leftovers of a closed connection.
    pub process: Option<ProcessName>,
    /// The running stack to which the port belongs, where the ledger knows one.
    pub stack: Option<StackPort>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(ProcessName { pid, command }) => write!(f, "pid {pid} (`{command}`)")?,
            None if self.role == SocketRole::Leftover => {
                f.write_str("closed connections that the kernel keeps for a minute")?;
            }
            None if self.role == SocketRole::Held => f.write_str("held")?,
            None => {
                let user = user_name(self.uid).unwrap_or_else(|| self.uid.to_string());
                write!(f, "a process of user {user} that cannot be seen")?;
            }
        }
        match &self.stack {
            Some(stack) => write!(f, ", {stack}"),
            None => Ok(()),
        }
    }
}

/// Who has `port` of a protocol, if any socket is on it.
///
/// Of several, the one that matters most: a listener before a hold before a connection before
/// leftovers.
pub fn holder(protocol: Protocol, port: u16) -> Option<Holder> {
    holder_among(sockets::on_port(protocol, port).ok()?, None)
}

/// As [`holder`], with the sockets and the ledger's answer given.
pub(crate) fn holder_among(sockets: Vec<Socket>, stack: Option<StackPort>) -> Option<Holder> {
    let first = sockets.into_iter().min_by_key(SocketRole::of)?;
    let owned = with_owners(vec![first]).pop()?;
    Some(described(owned, stack))
}

fn described((socket, pids): (Socket, Vec<i32>), stack: Option<StackPort>) -> Holder {
    Holder {
        port: socket.port,
        role: SocketRole::of(&socket),
        address: socket.address,
        uid: socket.uid,
        process: pids.first().map(|&pid| ProcessName::of(pid)),
        // A stack that only had the port last says nothing about who is there now.
        stack: stack.filter(|stack| stack.is_running),
    }
}

/// Who has ports in `ranges`, lowest port first, in one scan of the machine.
///
/// A hold that the kernel does not show (before Linux 6.8) is told from the ledger.
pub(crate) fn holders_in(ranges: &[PortRange], session: &Session) -> Vec<Holder> {
    let is_asked = |port| ranges.iter().any(|range: &PortRange| range.contains(port));
    let mut by_port: BTreeMap<u16, Socket> = BTreeMap::new();
    for socket in sockets::all(Protocol::Tcp).unwrap_or_default() {
        let rank = SocketRole::of(&socket);
        let known = by_port.get(&socket.port).map(SocketRole::of);
        if is_asked(socket.port) && known.is_none_or(|known| rank < known) {
            by_port.insert(socket.port, socket);
        }
    }
    let seen = with_owners(by_port.into_values().collect());
    let mut holders: BTreeMap<u16, Holder> = seen
        .into_iter()
        .map(|owned| {
            let port = owned.0.port;
            (port, described(owned, session.stack_of(port)))
        })
        .collect();
    let mut live = session.live_ports();
    live.retain(|stack| is_asked(stack.port) && stack.protocol.has_tcp());
    add_unseen(&mut holders, live);
    holders.into_values().collect()
}

/// Adds the holds that the ledger knows of and no table has shown.
fn add_unseen(holders: &mut BTreeMap<u16, Holder>, live: Vec<StackPort>) {
    for stack in live {
        let held = |stack: StackPort| Holder {
            port: stack.port,
            role: SocketRole::Held,
            address: Ipv6Addr::UNSPECIFIED.into(),
            uid: nix::unistd::getuid().as_raw(),
            process: None,
            stack: Some(stack),
        };
        holders.entry(stack.port).or_insert_with(|| held(stack));
    }
}

/// Every socket on a port, in whatever state, but for those with the inodes `own`: what could have
/// refused a server besides its own hold.
///
/// Linux before 6.8 does not show TCP sockets that are bound without listening.
pub fn others_on(protocol: Protocol, port: u16, own: &[u64]) -> io::Result<Vec<Socket>> {
    let mut sockets = sockets::on_port(protocol, port)?;
    sockets.retain(|socket| !own.contains(&socket.inode));
    Ok(sockets)
}

/// Whether the socket by which process `pid` serves `port` has `SO_REUSEADDR`; `None` where that
/// cannot be asked: it is asked of a copy of the socket (`pidfd_getfd(2)`, Linux 5.6), which needs
/// the right to trace the process.
pub fn reuses_address(pid: i32, protocol: Protocol, port: u16) -> Option<bool> {
    let sockets = sockets::on_port(protocol, port).ok()?;
    let is_its = |inode| {
        let mut serving = sockets.iter().filter(|socket| socket.serves());
        serving.any(|socket| socket.inode == inode)
    };
    let mut descriptors = descriptors_of(pid).ok()?;
    descriptors.retain(|&(_, inode)| is_its(inode));
    let mut answers = descriptors.iter().map(|&(descriptor, _)| {
        let copy = copy_of(pid, descriptor)?;
        SockRef::from(&copy).reuse_address().ok()
    });
    // Of several sockets each must let a hold stand beside it.
    let first = answers.next()??;
    answers.try_fold(first, |all, answer| Some(all && answer?))
}

#[cfg(test)]
mod tests;
