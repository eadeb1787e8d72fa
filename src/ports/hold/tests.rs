//! What a hold meets and what it keeps out; the tables 2b to 2d of the measurements behind the
//! design, with real sockets.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Domain, Type};

use crate::ports::is_port_free;
use crate::ports::testing::{Made, in_own_network, is_soft, socket};

use super::*;

/// Every address on which a server can be.
const ADDRESSES: [(&str, bool); 7] = [
    ("127.0.0.1:8000", false),
    ("127.0.0.2:8000", false),
    ("0.0.0.0:8000", false),
    ("[::1]:8000", false),
    ("[::1]:8000", true),
    ("[::]:8000", false),
    ("[::]:8000", true),
];

fn only(hold: &Hold) -> BorrowedFd<'_> {
    hold.sockets().next().unwrap()
}

fn taken(port: u16) -> bool {
    matches!(Hold::take(port), Err(HoldError::Taken))
}

fn every_kind() -> impl Iterator<Item = (SocketAddr, Made)> {
    ADDRESSES.into_iter().flat_map(|(address, only_v6)| {
        [(true, true), (true, false), (false, true), (false, false)].map(|(reuse, listen)| {
            let made = Made {
                reuse,
                only_v6,
                listen,
            };
            (address.parse().unwrap(), made)
        })
    })
}

#[test]
fn every_kind_of_occupant_is_seen() {
    in_own_network(|| {
        for (address, made) in every_kind() {
            let occupant = socket(address, made).unwrap();
            assert!(taken(8000), "{address} {made:?}");
            drop(occupant);
            assert!(is_port_free(8000), "{address} {made:?} left something");
        }
    });
}

#[test]
fn connections_and_what_they_leave_are_seen() {
    in_own_network(|| {
        for reuse in [true, false] {
            let port = if reuse { 8000 } else { 8001 };
            let address: SocketAddr = ([127, 0, 0, 1], port).into();
            let made = Made {
                reuse,
                ..Made::LISTENER
            };
            let server = socket(address, made).unwrap();
            let client = TcpStream::connect(address).unwrap();
            let (accepted, _) = server.accept().unwrap();
            drop(server);
            assert!(taken(port), "an accepted connection");
            drop(accepted);
            assert!(taken(port), "FIN_WAIT2");
            drop(client);
            assert!(taken(port), "TIME_WAIT");
        }
    });
}

#[test]
fn outgoing_connections_are_seen() {
    in_own_network(|| {
        let server = TcpListener::bind("127.0.0.1:9000").unwrap();
        let by_the_kernel = TcpStream::connect("127.0.0.1:9000").unwrap();
        assert!(taken(by_the_kernel.local_addr().unwrap().port()));
        let explicit = socket(
            "127.0.0.1:8000".parse().unwrap(),
            Made {
                reuse: true,
                only_v6: false,
                listen: false,
            },
        )
        .unwrap();
        explicit
            .connect(&server.local_addr().unwrap().into())
            .unwrap();
        assert!(taken(8000));
    });
}

#[test]
fn udp_is_no_occupant() {
    in_own_network(|| {
        let _udp = std::net::UdpSocket::bind("[::]:8000").unwrap();
        assert!(is_port_free(8000));
    });
}

#[test]
fn a_hard_hold_keeps_everybody_out_and_a_soft_one_lets_in_who_sets_reuseaddr() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        let admitted = |reuse: bool| -> Vec<bool> {
            every_kind()
                .filter(|(_, made)| made.reuse == reuse && made.listen)
                .map(|(address, made)| socket(address, made).is_ok())
                .collect()
        };
        for _ in 0..2 {
            assert!(!is_soft(&hold));
            assert_eq!(admitted(true), [false; 7]);
            assert_eq!(admitted(false), [false; 7]);
            hold.soften().unwrap();
            assert!(is_soft(&hold));
            assert_eq!(admitted(true), [true; 7]);
            assert_eq!(admitted(false), [false; 7]);
            assert!(taken(8000), "another allocator stays out");
            hold.harden().unwrap();
        }
    });
}

#[test]
fn of_two_servers_in_a_soft_hold_the_second_is_refused() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        hold.soften().unwrap();
        let address = "127.0.0.1:8000".parse().unwrap();
        let _first = socket(address, Made::LISTENER).unwrap();
        assert!(socket(address, Made::LISTENER).is_err());
    });
}

#[test]
fn a_server_survives_the_flip_and_its_port_outlives_it() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        hold.soften().unwrap();
        let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        let server = socket(address, Made::LISTENER).unwrap();
        hold.harden().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // It crashes with a live connection: TIME_WAIT, in which a new hold could not be taken.
        let (accepted, _) = server.accept().unwrap();
        drop((accepted, client, server));
        assert!(socket(address, Made::LISTENER).is_err(), "a squatter");
        hold.soften().unwrap();
        assert!(socket(address, Made::LISTENER).is_ok(), "the respawn");
    });
}

#[test]
fn nobody_waits_in_a_hold() {
    in_own_network(|| {
        let _hold = Hold::take(8000).unwrap();
        let refused = TcpStream::connect("127.0.0.1:8000").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn no_child_inherits_a_hold() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        let flags = fcntl(only(&hold), FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        // The number alone says nothing: the program opens files of its own while it starts.
        let inode = hold.inodes().next().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let inherited = crate::ports::processes::sockets_of(pid)
            .unwrap()
            .contains(&inode);
        drop(hold);
        let free = is_port_free(8000);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!inherited);
        assert!(free, "the child has the port");
    });
}

#[test]
fn refusals_of_the_system_are_told_apart() {
    in_own_network(|| {
        let Err(error) = Hold::take(0) else {
            panic!("0 is not a port")
        };
        assert!(matches!(error, HoldError::System(_)));
        let denied = HoldError::from(io::Error::from_raw_os_error(Errno::EACCES as i32));
        assert!(matches!(denied, HoldError::Denied));
        for errno in [Errno::EMFILE, Errno::ENFILE] {
            let error = HoldError::from(io::Error::from_raw_os_error(errno as i32));
            assert!(matches!(error, HoldError::TooManyFiles(_)));
        }
    });
}

#[test]
fn a_socket_born_with_reuseaddr_would_be_no_hold() {
    // Why `take` never sets the option before the bind: two such sockets share the port.
    in_own_network(|| {
        let born_soft = || {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.set_only_v6(false)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8000)).into())?;
            io::Result::Ok(socket)
        };
        let _first = born_soft().unwrap();
        assert!(born_soft().is_ok());
        assert!(taken(8000));
    });
}

#[test]
fn udp_is_held_like_tcp_and_the_two_do_not_meet() {
    in_own_network(|| {
        let udp_taken = || matches!(Hold::take_of(Protocol::Udp, 8000), Err(HoldError::Taken));
        let server = |reuse: bool| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_reuse_address(reuse)?;
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 8000)).into())?;
            io::Result::Ok(socket)
        };
        for address in ["127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000", "[::]:8000"] {
            let _occupant = std::net::UdpSocket::bind(address).unwrap();
            assert!(udp_taken() && !taken(8000), "{address}");
            let both = Hold::take_of(Protocol::Both, 8000);
            assert!(matches!(both, Err(HoldError::Taken)), "{address}");
            assert!(is_port_free(8000), "the half that was had is given back");
        }
        let hold = Hold::take_of(Protocol::Both, 8000).unwrap();
        assert!(udp_taken() && taken(8000));
        assert!(server(true).is_err() && server(false).is_err());
        hold.soften().unwrap();
        assert!(server(true).is_ok() && server(false).is_err());
        assert!(udp_taken(), "another allocator stays out");
    });
}

#[test]
fn datagrams_reach_the_server_and_not_the_hold() {
    in_own_network(|| {
        let hold = Hold::take_of(Protocol::Udp, 8000).unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for address in ["127.0.0.1:8000", "0.0.0.0:8000", "[::]:8000"] {
            hold.soften().unwrap();
            let address: SocketAddr = address.parse().unwrap();
            let server = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
            server.set_reuse_address(true).unwrap();
            server.bind(&address.into()).unwrap();
            let server = std::net::UdpSocket::from(server);
            client.send_to(b"hello", "127.0.0.1:8000").unwrap();
            let mut buffer = [0; 16];
            assert_eq!(server.recv(&mut buffer).unwrap(), 5, "{address}");
            drop(server);
            hold.harden().unwrap();
        }
    });
}

#[test]
fn a_hold_that_listens_lets_clients_queue_and_is_a_hold_again_afterwards() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        for _ in 0..3 {
            hold.listen().unwrap();
            hold.listen().expect("a restart listens again");
            let client = TcpStream::connect("127.0.0.1:8000").unwrap();
            let server = TcpListener::from(hold.sockets[0].try_clone().unwrap());
            // Closed by the server first: TIME_WAIT is on the port from now on.
            drop(server.accept().unwrap());
            drop((client, server));
            let queued = TcpStream::connect("127.0.0.1:8000").unwrap();
            let rival = socket("127.0.0.1:8000".parse().unwrap(), Made::LISTENER);
            assert!(rival.is_err(), "only one can listen");
            hold.stop_listening().unwrap();
            drop(queued);
            let refused = TcpStream::connect("127.0.0.1:8000").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let rival = socket("127.0.0.1:8000".parse().unwrap(), Made::LISTENER);
            assert!(rival.is_err() && taken(8000), "it is hard");
            hold.stop_listening().expect("one that does not listen");
        }
    });
}

#[test]
fn a_hold_knows_its_inodes() {
    in_own_network(|| {
        let hold = Hold::take_of(Protocol::Both, 8000).unwrap();
        let links: Vec<String> = hold
            .sockets()
            .map(|socket| {
                let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()));
                link.unwrap().to_string_lossy().into_owned()
            })
            .collect();
        let named: Vec<String> = hold
            .inodes()
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        assert_eq!(links, named);
        assert_eq!(links.len(), 2);
    });
}

#[test]
fn a_udp_port_that_is_passed_is_nobody_elses() {
    in_own_network(|| {
        let hold = Hold::take_of(Protocol::Both, 8000).unwrap();
        hold.listen().unwrap();
        for reuse in [true, false] {
            let rival = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            rival.set_reuse_address(reuse).unwrap();
            let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
            assert!(rival.bind(&address.into()).is_err(), "{reuse}");
        }
    });
}
