//! Everything that the system says of one number, for a person who wonders about it: sockets with
//! their processes, and what the kernel and browsers think of the number itself.
//!
//! Whose the port should be is the [ledger](super::ledger)'s business; who asks puts the two
//! together.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::unistd::{Uid, User};
use serde::Serialize;

use super::owner::{all_processes_of, command, one_line};
use super::set::{KernelPorts, browser_refuses};
use super::sock_diag::{self, Socket, TcpState};
use super::system;
use crate::support::protocol::Protocol;

/// What a socket has to do with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketRole {
    /// It takes connections, or datagrams.
    Listening,
    /// It only keeps the port: a supervisor's hold. One that listens for a service that will take
    /// it over is listening.
    Held,
    /// It is bound, does not listen, and is no supervisor's.
    Bound,
    /// It is one end of a connection.
    Connected,
    /// It is what remains of a connection.
    Leftover,
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

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortProcess {
    /// Its pid.
    pub pid: i32,
    /// Its command line: one line without control characters, cut where it is very long.
    pub command: String,
    /// The user as whom it runs.
    pub user: Option<String>,
    /// Since when it runs, in milliseconds since the Unix epoch, to the second.
    pub started_at: Option<u64>,
    /// Its working directory, where it can be read.
    pub directory: Option<String>,
    /// The id of the stack that started it, as its environment says.
    pub instance: Option<String>,
    /// The service as which that stack started it, likewise.
    pub service: Option<String>,
}

/// What is said of a number whoever has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the number"
)]
pub struct PortTraits {
    /// It stands in `ip_local_reserved_ports`.
    pub is_reserved: bool,
    /// It is in `ip_local_port_range`: outgoing connections may get it.
    pub is_ephemeral: bool,
    /// Browsers do not connect to it.
    pub is_refused_by_browsers: bool,
    /// It is below `ip_unprivileged_port_start`: binding it takes a privilege.
    pub is_privileged: bool,
}

impl PortTraits {
    /// What is said of `port` in this network namespace.
    pub fn of(port: u16) -> Self {
        let kernel = KernelPorts::read();
        let is_in = |range: &crate::support::port_range::PortRange| range.contains(port);
        Self {
            is_reserved: kernel.reserved.iter().any(is_in),
            is_ephemeral: kernel.ephemeral.as_ref().is_some_and(is_in),
            is_refused_by_browsers: browser_refuses(port),
            // The kernel's own default, ip-sysctl.
            is_privileged: port < system::unprivileged_start().unwrap_or(1024),
        }
    }
}

/// Every TCP and UDP socket on `port`, those that matter most first. `keepers` are the
/// processes that have the holds of stacks open; of several the first one is told.
///
/// Costs a look at every process of the machine. Fails where the kernel tells nothing about its
/// sockets.
pub fn sockets_on(port: u16, keepers: &[i32]) -> io::Result<Vec<PortSocket>> {
    let sockets = sock_diag::on_port(port)?;
    let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let processes = all_processes_of(&inodes);
    // Of a busy server's thousand connections each has the same process.
    let mut described: HashMap<i32, PortProcess> = HashMap::new();
    let mut seen: Vec<PortSocket> = sockets
        .iter()
        .map(|socket| {
            let pids = processes.get(&socket.inode).map_or(&[][..], Vec::as_slice);
            // A listener that is handed over is open in the supervisor, too; the service is who
            // serves.
            let server = pids.iter().find(|pid| !keepers.contains(pid));
            let keeper = keepers.iter().find(|pid| pids.contains(pid));
            let process = server.or(keeper).map(|&pid| {
                let known = described.entry(pid).or_insert_with(|| process(pid));
                known.clone()
            });
            // What no process has open was made by somebody who is of no interest any more.
            let uid = (socket.inode != 0).then_some(socket.uid);
            PortSocket {
                protocol: socket.protocol,
                state: role(socket, server.is_none() && !pids.is_empty()),
                address: socket.address,
                peer: socket.peer,
                uid,
                user: uid.and_then(user_name),
                process,
            }
        })
        .collect();
    seen.sort_by_key(|socket| (socket.state, socket.protocol));
    Ok(seen)
}

fn role(socket: &Socket, is_kept: bool) -> SocketRole {
    match socket.state {
        TcpState::Bound if is_kept => SocketRole::Held,
        TcpState::Listen | TcpState::Bound if socket.serves() => SocketRole::Listening,
        TcpState::Listen | TcpState::Bound => SocketRole::Bound,
        TcpState::Established | TcpState::SynSent | TcpState::SynReceived | TcpState::CloseWait => {
            SocketRole::Connected
        }
        TcpState::FinWait1
        | TcpState::FinWait2
        | TcpState::TimeWait
        | TcpState::LastAck
        | TcpState::Closing => SocketRole::Leftover,
    }
}

/// What can be said of a process; what must not be read is left out.
fn process(pid: i32) -> PortProcess {
    let variable = |key: &str| Some(one_line(&system::variable_of(pid, key)?));
    PortProcess {
        pid,
        command: command(pid),
        user: system::user_of(pid).and_then(user_name),
        started_at: system::started_at(pid),
        directory: system::directory_of(pid),
        instance: variable("STACK_INSTANCE"),
        service: variable("STACK_SERVICE"),
    }
}

/// The name of a user; none where the system knows none, as for one of a container.
pub(super) fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Hold;
    use crate::ports::testing::{in_own_network, listener};
    use crate::support::clock::unix_millis;

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_listener_is_told_with_everything_about_its_process() {
        in_own_network(|| {
            let _server = listener("127.0.0.1:8000");
            let _udp = std::net::UdpSocket::bind("127.0.0.1:8000").unwrap();
            let seen = sockets_on(8000, &[]).unwrap();
            let what: Vec<_> = seen
                .iter()
                .map(|socket| (socket.protocol, socket.state))
                .collect();
            let listening = SocketRole::Listening;
            assert_eq!(
                what,
                [(Protocol::Tcp, listening), (Protocol::Udp, listening)]
            );
            assert_eq!(seen[0].uid, Some(nix::unistd::geteuid().as_raw()));
            let process = seen[0].process.as_ref().unwrap();
            assert_eq!(process.pid, me());
            let directory = std::env::current_dir().unwrap();
            assert_eq!(process.directory.as_deref(), directory.to_str());
            let age = unix_millis().saturating_sub(process.started_at.unwrap());
            assert!(age < 3_600_000, "{age}");
        });
    }

    #[test]
    fn a_hold_is_told_from_a_socket_that_is_merely_bound() {
        in_own_network(|| {
            let _hold = Hold::take(8000).unwrap();
            let Some(stranger) = sockets_on(8000, &[]).unwrap().pop() else {
                println!("skipped: needs Linux 6.8");
                return;
            };
            assert_eq!(stranger.state, SocketRole::Bound);
            let held = sockets_on(8000, &[me()]).unwrap().remove(0);
            assert_eq!(held.state, SocketRole::Held);
            assert_eq!(held.process.unwrap().pid, me());
        });
    }

    #[test]
    fn both_ends_of_a_connection_know_each_other_and_leave_something() {
        in_own_network(|| {
            let server = listener("127.0.0.1:8000");
            let client = std::net::TcpStream::connect("127.0.0.1:8000").unwrap();
            let (accepted, peer) = server.accept().unwrap();
            let outgoing = client.local_addr().unwrap();
            let seen = sockets_on(outgoing.port(), &[]).unwrap();
            assert_eq!(seen[0].state, SocketRole::Connected);
            assert_eq!(seen[0].peer.unwrap().to_string(), "127.0.0.1:8000");
            let incoming = sockets_on(8000, &[]).unwrap();
            assert_eq!(incoming[1].peer, peer.as_socket());
            drop((accepted, server, client));
            let left = sockets_on(8000, &[]).unwrap();
            assert!(left.iter().all(|socket| {
                socket.state == SocketRole::Leftover
                    && socket.process.is_none()
                    && socket.uid.is_none()
            }));
            assert!(!left.is_empty());
        });
    }

    #[test]
    fn a_number_has_traits_of_its_own() {
        in_own_network(|| {
            fs_err::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "8100-8110").unwrap();
            let of = PortTraits::of;
            assert_eq!(of(8000), PortTraits::default());
            assert!(of(8105).is_reserved && !of(8111).is_reserved);
            assert!(of(40_000).is_ephemeral);
            assert!(of(6000).is_refused_by_browsers);
            assert!(of(80).is_privileged && !of(1024).is_privileged);
        });
    }
}
