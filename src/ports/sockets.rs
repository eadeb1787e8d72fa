//! Which TCP and UDP sockets exist: the kernel's own tables, over netlink.
//!
//! `sock_diag(7)` answers in about 40 µs for the listeners of an idle machine and filters states in
//! the kernel; `/proc/net/tcp` takes 11 ms and, unlike `sock_diag` since Linux 6.8, does not list
//! sockets that are bound but do not listen, which is what holds are. It is read only where
//! netlink is not permitted.
//!
//! A table is a snapshot, good for messages and for verification. It never replaces the bind.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::support::protocol::Protocol;

mod netlink;

use netlink::sockets;

/// The state of a TCP socket (`include/net/tcp_states.h`).
///
/// [`Close`](TcpState::Close) is bound to the port and nothing else: a hold, for one. Linux 6.8 and
/// later show it, ask for it as state 13 (`TCP_BOUND_INACTIVE`) and answer with 7 (`TCP_CLOSE`,
/// measured). Of UDP it is a socket that is not connected: all that a server ever has, and shown by
/// every kernel.
pub use procfs::net::TcpState;

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// TCP or UDP, never both.
    pub protocol: Protocol,
    /// The local port.
    pub port: u16,
    /// The local address; `::` also for a socket that serves IPv4 and IPv6.
    pub address: IpAddr,
    /// The inode by which `/proc/<pid>/fd` names it; 0 where no process owns it.
    pub inode: u64,
    /// The user who created it.
    pub uid: u32,
    /// What it does.
    pub state: TcpState,
    /// The other end of a connection.
    pub peer: Option<SocketAddr>,
    /// Of a TCP listener, how many connections wait to be accepted, also those that their clients
    /// have given up (`idiag_rqueue`, `sock_diag(7)`); 0 where the system does not tell.
    pub waiting: u32,
}

impl Socket {
    /// Whether somebody who sends to the port is answered by the owner of this socket: a TCP
    /// listener, or a UDP socket that is not connected.
    pub fn serves(&self) -> bool {
        match self.protocol {
            Protocol::Udp => self.state == TcpState::Close,
            Protocol::Tcp | Protocol::Both => self.state == TcpState::Listen,
        }
    }
}

/// Every socket of this network namespace that [serves](Socket::serves), of the given protocols.
pub fn listeners(protocol: Protocol) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for &part in protocol.parts() {
        let state = match part {
            Protocol::Udp => TcpState::Close,
            Protocol::Tcp | Protocol::Both => TcpState::Listen,
        };
        found.extend(sockets(part, 1 << state as u8, 0)?);
    }
    Ok(found)
}

/// Every socket with a local port, in whatever state. Slow on a busy machine: for messages only.
pub(crate) fn all(protocol: Protocol) -> io::Result<Vec<Socket>> {
    on_port(protocol, 0)
}

/// Every socket on `port`, in whatever state, of the given protocols.
pub fn on_port(protocol: Protocol, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for &part in protocol.parts() {
        found.extend(sockets(part, u32::MAX, port)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
