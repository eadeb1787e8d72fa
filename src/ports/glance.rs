//! What the kernel's tables say of the ports of a stack whose supervisor says nothing.
//!
//! A supervisor that is stopped, or too busy, still holds its ports, and its services may serve on
//! them. Who asks from outside knows less than it does: not which process belongs to which service,
//! only which descend from the supervisor.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use super::ledger::StackPort;
use super::owner::{all_processes_of, command, descends};
use super::sock_diag::{self, Socket};
use super::system::variable_of;
use crate::support::protocol::Protocol;

/// What is on a port of a running stack, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glance {
    /// Its supervisor keeps it, and nobody serves on it.
    Held,
    /// A process of the stack serves on it, or one that cannot be seen.
    Listening {
        /// On this address.
        address: IpAddr,
        /// The process; 0 where it cannot be seen.
        pid: i32,
    },
    /// A process that is none of the stack's serves on it.
    Stolen {
        /// On this address.
        address: IpAddr,
        /// The process.
        pid: i32,
        /// Its command line.
        command: String,
    },
    /// No socket is on it, or none that this kernel shows (before Linux 6.8 it shows no holds).
    Nothing,
}

/// Looks at `ports` of running stacks, all of them, from outside: one answer for each, in their
/// order. `keepers` are the processes that have holds open: supervisors and guardians.
///
/// Costs a table of all sockets and a look at every process. Fails where the kernel tells nothing
/// about its sockets.
pub fn glance(ports: &[StackPort], keepers: &[i32]) -> io::Result<Vec<Glance>> {
    let mut sockets = sock_diag::all(Protocol::Both)?;
    let numbers: HashSet<u16> = ports.iter().map(|port| port.port).collect();
    sockets.retain(|socket| numbers.contains(&socket.port));
    let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let processes = all_processes_of(&inodes);
    let judged = ports.iter().map(|port| {
        let supervisor = port.supervisor.unwrap_or(0);
        let instance = port.owner.instance.as_str();
        let here = sockets
            .iter()
            .filter(|socket| socket.port == port.port && socket.protocol.overlaps(port.protocol));
        let mut seen = Glance::Nothing;
        for socket in here {
            let pids = processes.get(&socket.inode).map_or(&[][..], Vec::as_slice);
            seen = worse(seen, judge(socket, pids, (supervisor, instance), keepers));
        }
        seen
    });
    Ok(judged.collect())
}

/// `stack` are its supervisor and its instance.
fn judge(socket: &Socket, pids: &[i32], stack: (i32, &str), keepers: &[i32]) -> Glance {
    let (supervisor, instance) = stack;
    // A listener that is handed over is open in the supervisor, too; the service is who serves.
    let others: Vec<i32> = pids
        .iter()
        .copied()
        .filter(|pid| !keepers.contains(pid))
        .collect();
    let address = socket.address;
    if others.is_empty() && !pids.is_empty() {
        return Glance::Held;
    }
    if !socket.serves() {
        return Glance::Nothing;
    }
    // Where the supervisor is dead a daemon descends from nobody of the stack any more, but bears
    // its mark.
    let is_own = |pid: i32| {
        descends(pid, &[supervisor])
            || variable_of(pid, "STACK_INSTANCE").is_some_and(|mark| mark == instance)
    };
    match others.iter().find(|&&pid| is_own(pid)) {
        Some(&pid) => Glance::Listening { address, pid },
        None => match others.first() {
            Some(&pid) => Glance::Stolen {
                address,
                pid,
                command: command(pid),
            },
            // A theft must be certain to be called one.
            None => Glance::Listening { address, pid: 0 },
        },
    }
}

/// Of two things that are on a port the one that matters more to whoever looks.
fn worse(one: Glance, other: Glance) -> Glance {
    let weight = |glance: &Glance| match glance {
        Glance::Nothing => 0,
        Glance::Held => 1,
        Glance::Listening { .. } => 2,
        // Also beside the service's own listener: some clients reach the thief.
        Glance::Stolen { .. } => 3,
    };
    if weight(&other) > weight(&one) {
        other
    } else {
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::request::{Owner, PortKey};
    use crate::ports::testing::{Helper, in_own_network, key, listener, owner};
    use crate::ports::{Hold, take_or_reclaim};

    fn port(port: u16, supervisor: i32, protocol: Protocol) -> StackPort {
        let owner: Owner = owner("shop", std::path::Path::new("/shop"));
        let key: PortKey = key("api");
        StackPort {
            owner,
            key,
            protocol,
            port,
            supervisor: Some(supervisor),
        }
    }

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_hold_is_held_and_a_free_port_nothing() {
        in_own_network(|| {
            let _hold: Hold = take_or_reclaim(Protocol::Tcp, 8000).unwrap();
            let ports = [8000, 8001].map(|number| port(number, me(), Protocol::Tcp));
            let seen = glance(&ports, &[me()]).unwrap();
            if seen[0] == Glance::Nothing {
                println!("skipped: needs Linux 6.8");
                return;
            }
            assert_eq!(seen, [Glance::Held, Glance::Nothing]);
        });
    }

    #[test]
    fn what_does_not_descend_from_the_supervisor_is_a_thief() {
        in_own_network(|| {
            let _server = listener("127.0.0.1:8000");
            let ours = port(8000, 1, Protocol::Tcp);
            // A keeper that listens does so for a service that does not serve yet.
            assert_eq!(
                glance(std::slice::from_ref(&ours), &[me()]).unwrap(),
                [Glance::Held]
            );
            let seen = glance(&[ours], &[]).unwrap();
            assert!(
                matches!(&seen[0], Glance::Listening { pid, .. } if *pid == me()),
                "{seen:?}"
            );
            let helper = Helper::start("ports::verify::tests::helper_idles", &[]);
            let supervisor = helper.pid();
            let seen = glance(&[port(8000, supervisor, Protocol::Tcp)], &[supervisor]).unwrap();
            assert!(
                matches!(&seen[0], Glance::Stolen { pid, command, .. } if *pid == me() && !command.is_empty()),
                "{seen:?}"
            );
        });
    }

    #[test]
    fn tcp_and_udp_of_one_number_are_different_ports() {
        in_own_network(|| {
            let _udp = std::net::UdpSocket::bind("127.0.0.1:8000").unwrap();
            let ports = [Protocol::Tcp, Protocol::Udp, Protocol::Both]
                .map(|protocol| port(8000, 1, protocol));
            let seen = glance(&ports, &[]).unwrap();
            assert_eq!(seen[0], Glance::Nothing);
            for seen in &seen[1..] {
                assert!(matches!(seen, Glance::Listening { .. }), "{seen:?}");
            }
        });
    }
}
