//! Ports on which only closed connections are left.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::ports::testing::{Made, in_own_network, is_soft, socket};

use super::*;

const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);

/// A server that closes a live connection first and ends; gives back the client's end.
fn crash(reuse: bool) -> TcpStream {
    let address: SocketAddr = ADDRESS.into();
    let made = Made {
        reuse,
        ..Made::LISTENER
    };
    let server = socket(address, made).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (accepted, _) = server.accept().unwrap();
    drop((accepted, server));
    client
}

fn is_taken(result: &Result<Hold, HoldError>) -> bool {
    matches!(result, Err(HoldError::Taken))
}

#[test]
fn time_wait_is_reclaimed_at_once_and_the_result_is_a_hard_hold() {
    in_own_network(|| {
        drop(crash(true));
        assert!(is_taken(&Hold::take(8000)), "the kernel keeps TIME_WAIT");
        let started = Instant::now();
        let hold = take_or_reclaim(Protocol::Tcp, 8000).unwrap();
        assert!(started.elapsed() < Duration::from_secs(1));

        assert!(!is_soft(&hold));
        let bound = Made {
            listen: false,
            ..Made::LISTENER
        };
        for address in ["127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000", "[::]:8000"] {
            let address = address.parse().unwrap();
            assert!(socket(address, Made::LISTENER).is_err(), "{address}");
            assert!(socket(address, bound).is_err(), "{address}, not listening");
        }
        assert!(is_taken(&Hold::take(8000)), "a strict binder");
        assert!(
            is_taken(&take_or_reclaim(Protocol::Tcp, 8000)),
            "a second reclaimer"
        );
        assert!(TcpStream::connect(SocketAddr::from(ADDRESS)).is_err());

        // And it works as one: soft for its server, hard again after that.
        hold.soften().unwrap();
        let server = socket(ADDRESS.into(), Made::LISTENER).unwrap();
        let client = TcpStream::connect(SocketAddr::from(ADDRESS)).unwrap();
        hold.harden().unwrap();
        drop((server, client));
        assert!(socket(ADDRESS.into(), Made::LISTENER).is_err());
    });
}

#[test]
fn a_client_that_keeps_its_end_open_does_not_keep_the_port() {
    in_own_network(|| {
        let client = crash(true);
        assert!(is_taken(&Hold::take(8000)));
        assert!(take_or_reclaim(Protocol::Tcp, 8000).is_ok());
        drop(client);
    });
}

#[test]
fn of_two_reclaimers_at_once_one_wins() {
    in_own_network(|| {
        drop(crash(true));
        for _ in 0..50 {
            let barrier = std::sync::Barrier::new(4);
            let winners = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let hold = take_or_reclaim(Protocol::Tcp, 8000);
                            barrier.wait();
                            hold.is_ok()
                        })
                    })
                    .collect();
                racers
                    .into_iter()
                    .map(|racer| usize::from(racer.join().unwrap()))
                    .sum::<usize>()
            });
            assert!(winners <= 1, "{winners} hold one port");
        }
        assert!(take_or_reclaim(Protocol::Tcp, 8000).is_ok());
    });
}

#[test]
fn leftovers_of_a_server_without_reuseaddr_are_left_alone() {
    in_own_network(|| {
        drop(crash(false));
        assert!(is_taken(&take_or_reclaim(Protocol::Tcp, 8000)));
    });
}

#[test]
fn a_living_occupant_is_never_reclaimed_from() {
    in_own_network(|| {
        let client = crash(true);
        let bound = Made {
            listen: false,
            ..Made::LISTENER
        };
        // Somebody's soft hold amid leftovers: a reclaimer with the option could bind beside it.
        let hold = socket("[::]:8000".parse().unwrap(), bound).unwrap();
        assert!(is_taken(&take_or_reclaim(Protocol::Tcp, 8000)));
        drop(hold);
        let server = socket(ADDRESS.into(), Made::LISTENER).unwrap();
        assert!(is_taken(&take_or_reclaim(Protocol::Tcp, 8000)));
        let live = TcpStream::connect(SocketAddr::from(ADDRESS)).unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop(server);
        assert!(
            is_taken(&take_or_reclaim(Protocol::Tcp, 8000)),
            "a live connection"
        );
        drop((client, live, accepted));
    });
}
