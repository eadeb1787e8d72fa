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

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;
use procfs::FromReadSI;

use crate::support::protocol::Protocol;

/// The state of a TCP socket, in the kernel's numbers (`include/net/tcp_states.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// A connection.
    Established = 1,
    /// A connection that is being made.
    SynSent = 2,
    /// A connection that is being accepted.
    SynReceived = 3,
    /// Closed on this side, not yet acknowledged.
    FinWait1 = 4,
    /// Closed on this side; the other one may still send.
    FinWait2 = 5,
    /// Closed on both sides; the kernel keeps the port for 60 s.
    TimeWait = 6,
    /// Closed on the other side.
    CloseWait = 8,
    /// The last acknowledgement is awaited.
    LastAck = 9,
    /// Accepts connections.
    Listen = 10,
    /// Both sides closed at once.
    Closing = 11,
    /// Bound to the port and nothing else: a hold, for one. Shown by Linux 6.8 and later, which
    /// asks for it as state 13 (`TCP_BOUND_INACTIVE`) and answers with 7 (`TCP_CLOSE`, measured).
    /// Of UDP, a socket that is not connected: all that a server ever has, and shown by every
    /// kernel.
    Bound = 13,
}

impl TcpState {
    fn from_kernel(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is the kernel's second form of the same state.
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            7 | 13 => Self::Bound,
            _ => return None,
        })
    }

    /// Whether the socket is what remains of a connection that nobody can use any more.
    pub fn is_leftover(self) -> bool {
        match self {
            Self::FinWait1 | Self::FinWait2 | Self::TimeWait | Self::LastAck | Self::Closing => {
                true
            }
            Self::Established
            | Self::SynSent
            | Self::SynReceived
            | Self::CloseWait
            | Self::Listen
            | Self::Bound => false,
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

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
}

impl Socket {
    /// Whether somebody who sends to the port is answered by the owner of this socket: a TCP
    /// listener, or a UDP socket that is not connected.
    pub fn serves(&self) -> bool {
        match self.protocol {
            Protocol::Udp => self.state == TcpState::Bound,
            Protocol::Tcp | Protocol::Both => self.state == TcpState::Listen,
        }
    }
}

/// The states in which a socket may serve somebody. A UDP socket that is not connected is in the
/// state of a closed TCP one.
const UDP_BOUND: u32 = 1 << 7;

/// Every socket of this network namespace that [serves](Socket::serves), of the given protocols.
pub fn listeners(protocol: Protocol) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    if protocol.has_tcp() {
        found.extend(sockets(Protocol::Tcp, TcpState::Listen.bit(), 0)?);
    }
    if protocol.has_udp() {
        found.extend(sockets(Protocol::Udp, UDP_BOUND, 0)?);
    }
    Ok(found)
}

/// Every socket with a local port, in whatever state. Slow on a busy machine: for messages only.
pub(crate) fn all(protocol: Protocol) -> io::Result<Vec<Socket>> {
    with_every_state(protocol, 0)
}

/// Every TCP and UDP socket on `port`, in whatever state.
pub fn on_port(port: u16) -> io::Result<Vec<Socket>> {
    with_every_state(Protocol::Both, port)
}

/// Every socket on `port`, in whatever state, of the given protocols.
pub(crate) fn on_port_of(protocol: Protocol, port: u16) -> io::Result<Vec<Socket>> {
    with_every_state(protocol, port)
}

fn with_every_state(protocol: Protocol, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for &part in protocol.parts() {
        found.extend(sockets(part, u32::MAX, port)?);
    }
    Ok(found)
}

/// Sockets of one protocol in any of `states`, on `port` or on all (0).
fn sockets(protocol: Protocol, states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    if dump_both(protocol, states, port, &mut found).is_err() {
        // Not permitted, or a kernel or sandbox without the interface. The message is not worth
        // more than the slower answer.
        return from_proc(protocol, states, port);
    }
    Ok(found)
}

/// The tables of IPv4 and IPv6, one after the other.
fn dump_both(
    protocol: Protocol,
    states: u32,
    port: u16,
    found: &mut Vec<Socket>,
) -> io::Result<()> {
    let netlink = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    let mut buffer = vec![0_u8; DATAGRAM];
    dump(
        &netlink,
        &mut buffer,
        (AF_INET, protocol),
        (states, port),
        found,
    )?;
    match dump(
        &netlink,
        &mut buffer,
        (AF_INET6, protocol),
        (states, port),
        found,
    ) {
        // A kernel without IPv6 has no sockets there.
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        other => other,
    }
}

/// The kernel never sends more than this in one datagram of a dump (`netlink_dump`).
const DATAGRAM: usize = 32 * 1024;

fn dump(
    netlink: &netlink_sys::Socket,
    buffer: &mut [u8],
    (family, protocol): (u8, Protocol),
    (states, port): (u32, u16),
    found: &mut Vec<Socket>,
) -> io::Result<()> {
    netlink.send(&request((family, protocol), (states, port)), 0)?;
    loop {
        let size = netlink.recv(&mut &mut *buffer, 0)?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // Messages are aligned to 4 bytes; a length of 0 would loop for ever.
            let length = (message.header.length as usize).next_multiple_of(4).max(4);
            rest = rest.get(length..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let header = &response.header;
                    let Some(state) = TcpState::from_kernel(header.state) else {
                        continue;
                    };
                    // The kernel's filter by port covers every list but that of bound sockets.
                    if port == 0 || header.socket_id.source_port == port {
                        found.push(Socket {
                            protocol,
                            port: header.socket_id.source_port,
                            address: plain(header.socket_id.source_address),
                            inode: u64::from(header.inode),
                            uid: header.uid,
                            state,
                            peer: peer(SocketAddr::new(
                                header.socket_id.destination_address,
                                header.socket_id.destination_port,
                            )),
                        });
                    }
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                // Nothing else is sent in a dump; a foreign enum, and marked non-exhaustive.
                _ => {}
            }
        }
    }
}

fn request((family, protocol): (u8, Protocol), (states, port): (u32, u16)) -> Vec<u8> {
    let mut socket_id = if family == AF_INET {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    socket_id.source_port = port;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(
        header,
        SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: match protocol {
                Protocol::Udp => IPPROTO_UDP,
                Protocol::Tcp | Protocol::Both => IPPROTO_TCP,
            },
            extensions: ExtensionFlags::empty(),
            // The crate has no name for state 13.
            states: StateFlags::from_bits_retain(states),
            socket_id,
        })
        .into(),
    );
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// `::ffff:127.0.0.1` as what it is for everybody else: 127.0.0.1.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The other end; a socket without one has port 0 there.
fn peer(address: SocketAddr) -> Option<SocketAddr> {
    (address.port() != 0).then(|| SocketAddr::new(plain(address.ip()), address.port()))
}

/// The same from `/proc/net`, without TCP sockets that are only bound.
fn from_proc(protocol: Protocol, states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    // `thread-self`, as `/proc/net` shows the namespace of the first thread.
    for family in ["", "6"] {
        let path = |table| format!("/proc/thread-self/net/{table}{family}");
        let system = procfs::current_system_info();
        let rows = match protocol {
            Protocol::Tcp | Protocol::Both => {
                procfs::net::TcpNetEntries::from_file(path("tcp"), system).map(|table| {
                    let row = |entry: procfs::net::TcpNetEntry| {
                        (
                            entry.state as u8,
                            [entry.local_address, entry.remote_address],
                            entry.inode,
                            entry.uid,
                        )
                    };
                    table.0.into_iter().map(row).collect::<Vec<_>>()
                })
            }
            Protocol::Udp => {
                procfs::net::UdpNetEntries::from_file(path("udp"), system).map(|table| {
                    let row = |entry: procfs::net::UdpNetEntry| {
                        (
                            entry.state as u8,
                            [entry.local_address, entry.remote_address],
                            entry.inode,
                            entry.uid,
                        )
                    };
                    table.0.into_iter().map(row).collect()
                })
            }
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(procfs::ProcError::NotFound(_)) => continue,
            Err(error) => return Err(io::Error::other(error)),
        };
        found.extend(
            rows.into_iter()
                .filter_map(|(number, [local, remote], inode, uid)| {
                    let state = TcpState::from_kernel(number)?;
                    let wanted = states & (1 << number) != 0 && (port == 0 || local.port() == port);
                    wanted.then(|| Socket {
                        protocol,
                        port: local.port(),
                        address: plain(local.ip()),
                        inode,
                        uid,
                        state,
                        peer: peer(remote),
                    })
                }),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
