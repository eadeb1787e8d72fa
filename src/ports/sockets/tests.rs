//! Both sources of the table, against sockets that are known.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::ports::Hold;
use crate::ports::testing::{in_own_network, listener};

use super::netlink::from_proc;
use super::*;

fn listening(found: io::Result<Vec<Socket>>) -> Vec<(u16, String)> {
    let mut rows: Vec<_> = found
        .unwrap()
        .into_iter()
        .map(|socket| (socket.port, socket.address.to_string()))
        .collect();
    rows.sort();
    rows
}

#[test]
fn netlink_and_proc_agree_on_listeners() {
    in_own_network(|| {
        let _servers = [
            listener("127.0.0.1:8000"),
            listener("[::1]:8000"),
            listener("[::]:8001"),
            listener("0.0.0.0:8002"),
        ];
        let expected = [
            (8000, "127.0.0.1"),
            (8000, "::1"),
            (8001, "::"),
            (8002, "0.0.0.0"),
        ]
        .map(|(port, address)| (port, address.to_owned()));
        let bit = 1 << TcpState::Listen as u8;
        assert_eq!(listening(listeners(Protocol::Tcp)), expected);
        assert_eq!(listening(from_proc(Protocol::Tcp, bit, 0)), expected);
        assert_eq!(
            listening(from_proc(Protocol::Tcp, bit, 8002)),
            expected[3..]
        );
    });
}

#[test]
fn the_inode_is_that_of_the_descriptor() {
    in_own_network(|| {
        let server = listener("127.0.0.1:8000");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", server.as_raw_fd())).unwrap();
        let found = listeners(Protocol::Tcp).unwrap();
        assert_eq!(
            link.to_str().unwrap(),
            format!("socket:[{}]", found[0].inode)
        );
    });
}

#[test]
fn a_hold_is_seen_where_the_kernel_shows_it() {
    in_own_network(|| {
        let _hold = Hold::take(8000).unwrap();
        assert_eq!(listeners(Protocol::Tcp).unwrap(), []);
        let found = on_port(Protocol::Both, 8000).unwrap();
        if found.is_empty() {
            println!("skipped: needs Linux 6.8");
            return;
        }
        assert_eq!(found[0].state, TcpState::Close);
        assert_eq!(found.len(), 1);
        assert_eq!(on_port(Protocol::Both, 8001).unwrap(), []);
    });
}

#[test]
fn leftovers_are_seen_on_their_port() {
    in_own_network(|| {
        let address: SocketAddr = ([127, 0, 0, 1], 8000).into();
        let server = listener("127.0.0.1:8000");
        let client = TcpStream::connect(address).unwrap();
        let (accepted, _) = server.accept().unwrap();
        // What is sent over loopback arrives soon, not at once.
        let reaches = |expected: &[TcpState]| {
            let started = Instant::now();
            loop {
                let mut states: Vec<_> = on_port(Protocol::Both, 8000)
                    .unwrap()
                    .into_iter()
                    .map(|socket| socket.state)
                    .collect();
                states.sort_by_key(|state| state.clone() as u8);
                if states == expected {
                    return;
                }
                assert!(started.elapsed() < Duration::from_secs(30), "{states:?}");
                std::thread::yield_now();
            }
        };
        reaches(&[TcpState::Established, TcpState::Listen]);
        drop((accepted, server));
        reaches(&[TcpState::FinWait2]);
        drop(client);
        reaches(&[TcpState::TimeWait]);
    });
}

#[test]
fn a_table_of_many_datagrams_is_read_whole() {
    in_own_network(|| {
        let _servers: Vec<_> = (10_000..10_700)
            .map(|port| listener(&format!("127.0.0.1:{port}")))
            .collect();
        assert_eq!(listeners(Protocol::Tcp).unwrap().len(), 700);
    });
}

#[test]
fn netlink_and_proc_agree_on_udp_and_each_protocol_is_its_own() {
    in_own_network(|| {
        let _tcp = listener("127.0.0.1:8000");
        let _udp = ["127.0.0.1:8000", "[::1]:8001"]
            .map(|address| std::net::UdpSocket::bind(address).unwrap());
        let connected = std::net::UdpSocket::bind("127.0.0.1:8002").unwrap();
        connected.connect("127.0.0.1:8000").unwrap();
        let expected =
            [(8000, "127.0.0.1"), (8001, "::1")].map(|(port, address)| (port, address.to_owned()));
        assert_eq!(listening(listeners(Protocol::Udp)), expected);
        assert_eq!(
            listening(from_proc(Protocol::Udp, 1 << TcpState::Close as u8, 0)),
            expected
        );
        assert_eq!(listeners(Protocol::Both).unwrap().len(), 3);
        let on_8000 = on_port(Protocol::Both, 8000).unwrap();
        let protocols: Vec<Protocol> = on_8000.iter().map(|socket| socket.protocol).collect();
        assert_eq!(protocols, [Protocol::Tcp, Protocol::Udp]);
        assert!(on_8000.iter().all(Socket::serves));
        let connected = on_port(Protocol::Both, 8002).unwrap();
        assert!(connected.iter().all(|socket| !socket.serves()));
    });
}
