//! The table of sockets from the descriptors of every process (`libproc`).

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use super::{Socket, TcpState};
use crate::support::darwin::{self, Transport};
use crate::support::protocol::Protocol;

/// Sockets of one protocol in any of `states`, numbered as Linux does, on `port` or on all (0).
///
/// What cannot be seen: another user's sockets, unless we are root, and what no process has open any
/// more, such as TIME_WAIT.
pub(super) fn sockets(protocol: Protocol, states: u32, port: u16) -> io::Result<Vec<Socket>> {
    let pids = darwin::all_pids();
    if pids.is_empty() {
        return Err(io::Error::other("the system does not list its processes"));
    }
    // A socket that several processes have open, a server and its workers, is one socket.
    let mut seen: HashSet<u64> = HashSet::new();
    let mut found = Vec::new();
    for pid in pids {
        for (_, socket) in darwin::sockets(pid).unwrap_or_default() {
            let (part, number) = match socket.transport {
                Transport::Tcp(state) => (Protocol::Tcp, kernel_state(state)),
                Transport::Udp if socket.foreign_port != 0 => (Protocol::Udp, 1),
                Transport::Udp => (Protocol::Udp, 7),
            };
            let is_wanted = part == protocol
                && socket.port != 0
                && (port == 0 || socket.port == port)
                && states & (1 << number) != 0;
            let Some(state) = TcpState::from_kernel(number).filter(|_| is_wanted) else {
                continue;
            };
            if seen.insert(socket.identity) {
                found.push(Socket {
                    protocol,
                    port: socket.port,
                    address: socket.address,
                    inode: socket.identity,
                    uid: socket.uid,
                    state,
                    peer: (socket.foreign_port != 0)
                        .then(|| SocketAddr::new(socket.foreign_address, socket.foreign_port)),
                    waiting: 0,
                });
            }
        }
    }
    Ok(found)
}

/// The state of a TCP socket (`<netinet/tcp_fsm.h>`) in the numbers of [`TcpState`]; one that is
/// bound and nothing else is closed in either.
fn kernel_state(state: u32) -> u8 {
    match state {
        0 => 7,
        1 => 10,
        2 => 2,
        3 => 3,
        4 => 1,
        5 => 8,
        6 => 4,
        7 => 11,
        8 => 9,
        9 => 5,
        10 => 6,
        _ => 0,
    }
}
