//! The table of sockets over netlink, and from `/proc/net` where that is not permitted.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::errno::Errno;
use procfs::FromReadSI;

use super::{Socket, TcpState};
use crate::support::protocol::Protocol;

/// Sockets of one protocol in any of `states`, on `port` or on all (0).
pub(super) fn sockets(protocol: Protocol, states: u32, port: u16) -> io::Result<Vec<Socket>> {
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
    for family in [AF_INET, AF_INET6] {
        let (socket, filter) = ((family, protocol), (states, port));
        match dump(&netlink, &mut buffer, socket, filter, found) {
            // A kernel without IPv6 has no sockets there.
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            other => other?,
        }
    }
    Ok(())
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
                    let Some(state) = TcpState::from_u8(header.state) else {
                        continue;
                    };
                    // The kernel's filter by port covers every list but that of bound sockets.
                    if port == 0 || header.socket_id.source_port == port {
                        found.push(Socket {
                            protocol,
                            port: header.socket_id.source_port,
                            address: header.socket_id.source_address.to_canonical(),
                            inode: u64::from(header.inode),
                            uid: header.uid,
                            peer: peer(SocketAddr::new(
                                header.socket_id.destination_address,
                                header.socket_id.destination_port,
                            )),
                            waiting: match state {
                                TcpState::Listen => header.recv_queue,
                                _ => 0,
                            },
                            state,
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

/// The other end; a socket without one has port 0 there.
fn peer(address: SocketAddr) -> Option<SocketAddr> {
    (address.port() != 0).then(|| SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The same from `/proc/net`, without TCP sockets that are only bound.
pub(super) fn from_proc(protocol: Protocol, states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    // `thread-self`, as `/proc/net` shows the namespace of the first thread.
    for family in ["", "6"] {
        let path = |table| format!("/proc/thread-self/net/{table}{family}");
        let system = procfs::current_system_info();
        let rows: procfs::ProcResult<Vec<_>> = match protocol {
            Protocol::Tcp | Protocol::Both => {
                procfs::net::TcpNetEntries::from_file(path("tcp"), system).map(|table| {
                    let rows = table.0.into_iter();
                    rows.map(|row| {
                        let ends = (row.local_address, row.remote_address);
                        (row.state as u8, ends, row.inode, row.uid)
                    })
                    .collect()
                })
            }
            Protocol::Udp => {
                procfs::net::UdpNetEntries::from_file(path("udp"), system).map(|table| {
                    let rows = table.0.into_iter();
                    rows.map(|row| {
                        let ends = (row.local_address, row.remote_address);
                        (row.state as u8, ends, row.inode, row.uid)
                    })
                    .collect()
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
                .filter_map(|(number, (local, remote), inode, uid)| {
                    let state = TcpState::from_u8(number)?;
                    let wanted = states & (1 << number) != 0 && (port == 0 || local.port() == port);
                    wanted.then(|| Socket {
                        protocol,
                        port: local.port(),
                        address: local.ip().to_canonical(),
                        inode,
                        uid,
                        state,
                        peer: peer(remote),
                        waiting: 0,
                    })
                }),
        );
    }
    Ok(found)
}
