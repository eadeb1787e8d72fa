//! The ports of a stack whose supervisor says nothing, as the kernel's tables show them.
//!
//! A supervisor that is stopped, or too busy, still holds its ports, and its services may serve on
//! them. Who asks from outside knows less than it does: not which process belongs to which service,
//! only which descend from the supervisor or bear the stack's mark.

use std::io;

use super::{PortState, with_owners};
use crate::ports::processes::{descends, variable_of};
use crate::ports::sockets::{self, Socket};
use crate::support::protocol::Protocol;

/// A port, and whose it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// What travels over it.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
    /// The process from which those descend that may serve there: the supervisor, or the service's main
    /// process; 0 for none.
    pub root: i32,
    /// The id of the stack, which its processes bear in their environment.
    pub instance: &'a str,
}

/// Looks at ports of running stacks, all of them, from outside: one state for each, in their
/// order. [`PortState::NotListening`] is a port on which nothing is to be seen. `keepers` are the processes
/// that have holds open: supervisors and guardians.
///
/// Costs a table of all sockets and a look at every process. Fails where the kernel tells nothing
/// about its sockets.
pub fn seen_from_outside(claims: &[Claim<'_>], keepers: &[i32]) -> io::Result<Vec<PortState>> {
    let mut sockets = sockets::all(Protocol::Both)?;
    sockets.retain(|socket| claims.iter().any(|claim| is_on(socket, claim)));
    let owned = with_owners(sockets);
    let states = claims.iter().map(|claim| {
        let here = owned.iter().filter(|(socket, _)| is_on(socket, claim));
        here.fold(PortState::NotListening, |seen, (socket, pids)| {
            seen.worse(judge(socket, pids, claim, keepers))
        })
    });
    Ok(states.collect())
}

fn is_on(socket: &Socket, claim: &Claim<'_>) -> bool {
    socket.port == claim.port && socket.protocol.overlaps(claim.protocol)
}

fn judge(socket: &Socket, pids: &[i32], claim: &Claim<'_>, keepers: &[i32]) -> PortState {
    // A listener that is handed over is open in the supervisor, too; the service is who serves.
    let mut others = pids.iter().copied().filter(|pid| !keepers.contains(pid));
    let Some(first) = others.clone().next() else {
        return match (pids.is_empty(), socket.serves()) {
            (false, _) => PortState::Held,
            // A theft must be certain to be called one.
            (true, true) => PortState::listening(socket.address, 0),
            (true, false) => PortState::NotListening,
        };
    };
    if !socket.serves() {
        return PortState::NotListening;
    }
    // Where the supervisor is dead a daemon descends from nobody of the stack any more, but bears
    // its mark.
    let is_own = |pid: &i32| {
        descends(*pid, &[claim.root])
            || variable_of(*pid, "STACK_INSTANCE").is_some_and(|mark| mark == claim.instance)
    };
    match others.find(is_own) {
        Some(pid) => PortState::listening(socket.address, pid),
        None => PortState::stolen(socket.address, first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::testing::{Helper, in_own_network, listener};
    use crate::ports::{Hold, take_or_reclaim};

    fn claim(port: u16, root: i32, protocol: Protocol) -> Claim<'static> {
        Claim {
            protocol,
            port,
            root,
            instance: "shop-0123456789abcdef",
        }
    }

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_hold_is_held_and_on_a_free_port_is_nothing() {
        in_own_network(|| {
            let _hold: Hold = take_or_reclaim(Protocol::Tcp, 8000).unwrap();
            let claims = [8000, 8001].map(|number| claim(number, me(), Protocol::Tcp));
            let seen = seen_from_outside(&claims, &[me()]).unwrap();
            if seen[0] == PortState::NotListening {
                println!("skipped: needs Linux 6.8");
                return;
            }
            assert_eq!(seen, [PortState::Held, PortState::NotListening]);
        });
    }

    #[test]
    fn what_does_not_descend_from_the_supervisor_has_stolen_the_port() {
        in_own_network(|| {
            let _server = listener("127.0.0.1:8000");
            let ours = claim(8000, 1, Protocol::Tcp);
            // A keeper that listens does so for a service that does not serve yet.
            assert_eq!(
                seen_from_outside(&[ours], &[me()]).unwrap(),
                [PortState::Held]
            );
            let seen = seen_from_outside(&[ours], &[]).unwrap();
            assert!(
                matches!(&seen[0], PortState::Listening { pid, .. } if *pid == me()),
                "{seen:?}"
            );
            let helper = Helper::idle();
            let supervisor = helper.pid();
            let other = claim(8000, supervisor, Protocol::Tcp);
            let seen = seen_from_outside(&[other], &[supervisor]).unwrap();
            assert!(
                matches!(&seen[0], PortState::Stolen { pid, command, .. } if *pid == me() && !command.is_empty()),
                "{seen:?}"
            );
        });
    }

    #[test]
    fn tcp_and_udp_of_one_number_are_different_ports() {
        in_own_network(|| {
            let _udp = std::net::UdpSocket::bind("127.0.0.1:8000").unwrap();
            let claims = [Protocol::Tcp, Protocol::Udp, Protocol::Both]
                .map(|protocol| claim(8000, 1, protocol));
            let seen = seen_from_outside(&claims, &[]).unwrap();
            assert_eq!(seen[0], PortState::NotListening);
            for seen in &seen[1..] {
                assert!(matches!(seen, PortState::Listening { .. }), "{seen:?}");
            }
        });
    }
}
