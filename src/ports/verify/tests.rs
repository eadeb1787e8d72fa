//! Real listeners of this process, of a child, and of a stranger.

use std::io::stdin;

use crate::ports::Hold;
use crate::ports::testing::{Helper, in_own_network, listener};

use super::*;

fn me() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// Not a test: a process that does nothing until it is let go.
#[test]
#[ignore = "a helper of other tests"]
fn helper_idles() {
    println!("ready:");
    drop(stdin().read_line(&mut String::new()));
}

/// Not a test: a process that listens where it is told to.
#[test]
#[ignore = "a helper of other tests"]
fn helper_listens() {
    let _server = listener(&std::env::var("STACK_TEST_LISTEN").unwrap());
    println!("ready:");
    drop(stdin().read_line(&mut String::new()));
}

/// Not a test: a process whose child listens.
#[test]
#[ignore = "a helper of other tests"]
fn helper_has_a_child_that_listens() {
    let address = std::env::var("STACK_TEST_LISTEN").unwrap();
    let mut child = Helper::start(
        "ports::verify::tests::helper_listens",
        &[("STACK_TEST_LISTEN", &address)],
    );
    child.hear("ready:");
    println!("ready:");
    drop(stdin().read_line(&mut String::new()));
}

fn start(helper: &str, address: &str) -> Helper {
    let name = format!("ports::verify::tests::{helper}");
    let mut helper = Helper::start(&name, &[("STACK_TEST_LISTEN", address)]);
    helper.hear("ready:");
    helper
}

#[test]
fn a_port_is_listening_only_by_a_process_of_the_service() {
    in_own_network(|| {
        let holds = [8000, 8001].map(|port| Hold::take(port).unwrap());
        assert_eq!(
            observe(&[8000, 8001], &[me()]).unwrap(),
            [Observed::NotListening, Observed::NotListening]
        );
        holds[0].soften().unwrap();
        let service = start("helper_listens", "127.0.0.1:8000");
        assert_eq!(
            observe(&[8000, 8001], &[service.pid()]).unwrap(),
            [
                Observed::Listening {
                    address: [127, 0, 0, 1].into(),
                    pid: service.pid()
                },
                Observed::NotListening
            ]
        );
    });
}

#[test]
fn a_stranger_is_named_as_the_thief() {
    in_own_network(|| {
        let service = Helper::start("ports::verify::tests::helper_idles", &[]);
        let thief = start("helper_listens", "[::]:8000");
        let seen = observe(&[8000], &[service.pid()]).unwrap();
        let [Observed::Stolen { pid, command, .. }] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(*pid, thief.pid());
        assert!(command.contains("helper_listens"), "{command}");
        // Also where the service has no process any more.
        assert!(matches!(
            observe(&[8000], &[]).unwrap()[..],
            [Observed::Stolen { .. }]
        ));
    });
}

#[test]
fn a_child_that_was_forked_after_the_list_was_made_is_no_thief() {
    in_own_network(|| {
        let service = start("helper_has_a_child_that_listens", "0.0.0.0:8000");
        let seen = observe(&[8000], &[service.pid()]).unwrap();
        let [Observed::Listening { pid, .. }] = seen[..] else {
            panic!("{seen:?}")
        };
        assert_ne!(pid, service.pid());
    });
}

#[test]
fn a_service_that_listens_elsewhere_is_on_the_wrong_port() {
    in_own_network(|| {
        let tree = [me()];
        let _elsewhere = [
            listener("127.0.0.1:5174"),
            listener("127.0.0.1:5173"),
            listener("[::1]:5173"),
        ];
        let wrong = Observed::WrongPort {
            listens_on: vec![5173, 5174],
        };
        assert_eq!(observe(&[8000], &tree).unwrap()[0], wrong);
        // What is one of its own ports is not elsewhere.
        let _own = listener("127.0.0.1:8001");
        let seen = observe(&[8000, 8001], &tree).unwrap();
        assert_eq!(seen[0], wrong);
        assert!(matches!(seen[1], Observed::Listening { .. }));
        // Others' listeners are not the service's.
        let idle = Helper::start("ports::verify::tests::helper_idles", &[]);
        assert_eq!(
            observe(&[8000], &[idle.pid()]).unwrap(),
            [Observed::NotListening]
        );
    });
}

fn socket_with(inode: u64) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        port: 8000,
        address: [127, 0, 0, 1].into(),
        inode,
        uid: 1000,
        state: sock_diag::TcpState::Listen,
    }
}

#[test]
fn a_thief_that_cannot_be_seen_has_no_pid() {
    let tree = Tree {
        pids: &[],
        owners: HashMap::new(),
        closed: None,
    };
    // No process has this inode: the owner is another user's, or in another namespace.
    assert_eq!(
        judge(&[8000], &[socket_with(u64::MAX)], &tree),
        [Observed::Stolen {
            pid: 0,
            command: "unknown".to_owned(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        }]
    );
}

#[test]
fn a_service_whose_descriptors_are_closed_to_us_is_not_accused() {
    let tree = Tree {
        pids: &[4711],
        owners: HashMap::new(),
        closed: Some(4711),
    };
    assert_eq!(
        judge(&[8000], &[socket_with(u64::MAX)], &tree),
        [Observed::Listening {
            address: [127, 0, 0, 1].into(),
            pid: 4711
        }]
    );
}
