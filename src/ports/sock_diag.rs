//! Which TCP sockets exist: the kernel's own table, over netlink.
//!
//! `sock_diag(7)` answers in about 40 µs for the listeners of an idle machine and filters states in
//! the kernel; `/proc/net/tcp` takes 11 ms and, unlike `sock_diag` since Linux 6.8, does not list
//! sockets that are bound but do not listen, which is what holds are. It is read only where
//! netlink is not permitted.
//!
//! A table is a snapshot, good for messages and for verification. It never replaces the bind.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;
use procfs::FromReadSI;

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

/// One TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
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
}

/// Every listening TCP socket of this network namespace.
pub fn listeners() -> io::Result<Vec<Socket>> {
    sockets(TcpState::Listen.bit(), 0)
}

/// Every listening socket, and every one that is bound without listening, holds included.
///
/// Linux before 6.8 shows the listening ones only.
pub fn occupied() -> io::Result<Vec<Socket>> {
    sockets(TcpState::Listen.bit() | TcpState::Bound.bit(), 0)
}

/// Every socket with a local port, in whatever state. Slow on a busy machine: for messages only.
pub(crate) fn all() -> io::Result<Vec<Socket>> {
    sockets(u32::MAX, 0)
}

/// Every socket on `port`, in whatever state.
pub fn on_port(port: u16) -> io::Result<Vec<Socket>> {
    sockets(u32::MAX, port)
}

/// Sockets in any of `states`, on `port` or on all (0).
fn sockets(states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let Ok(mut found) = dump(AF_INET, states, port) else {
        // Not permitted, or a kernel or sandbox without the interface. The message is not worth
        // more than the slower answer.
        return from_proc(states, port);
    };
    match dump(AF_INET6, states, port) {
        Ok(more) => found.extend(more),
        // A kernel without IPv6 has no sockets there.
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
        Err(_) => return from_proc(states, port),
    }
    Ok(found)
}

/// The kernel never sends more than this in one datagram of a dump (`netlink_dump`).
const DATAGRAM: usize = 32 * 1024;

fn dump(family: u8, states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    socket.send(&request(family, states, port), 0)?;
    let mut buffer = vec![0_u8; DATAGRAM];
    let mut found = Vec::new();
    loop {
        let size = socket.recv(&mut buffer.as_mut_slice(), 0)?;
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
                            port: header.socket_id.source_port,
                            address: plain(header.socket_id.source_address),
                            inode: u64::from(header.inode),
                            uid: header.uid,
                            state,
                        });
                    }
                }
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                // Nothing else is sent in a dump; a foreign enum, and marked non-exhaustive.
                _ => {}
            }
        }
    }
}

fn request(family: u8, states: u32, port: u16) -> Vec<u8> {
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
            protocol: IPPROTO_TCP,
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

/// The same from `/proc/net/tcp` and `tcp6`, without sockets that are only bound.
fn from_proc(states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    // `thread-self`, as `/proc/net` shows the namespace of the first thread.
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let table = match procfs::net::TcpNetEntries::from_file(file, procfs::current_system_info())
        {
            Ok(table) => table,
            Err(procfs::ProcError::NotFound(_)) => continue,
            Err(error) => return Err(io::Error::other(error)),
        };
        found.extend(table.0.into_iter().filter_map(|entry| {
            let state = TcpState::from_kernel(entry.state as u8)?;
            let wanted =
                states & state.bit() != 0 && (port == 0 || entry.local_address.port() == port);
            wanted.then(|| Socket {
                port: entry.local_address.port(),
                address: plain(entry.local_address.ip()),
                inode: entry.inode,
                uid: entry.uid,
                state,
            })
        }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
