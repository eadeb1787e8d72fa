//! Everything about one number.

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
        let Some(bound) = sockets_on(8000, &[]).unwrap().pop() else {
            println!("skipped: needs Linux 6.8");
            return;
        };
        assert_eq!(bound.state, SocketRole::Bound);
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
            socket.state == SocketRole::Leftover && socket.process.is_none() && socket.uid.is_none()
        }));
        assert!(!left.is_empty());
    });
}
