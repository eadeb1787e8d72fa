//! Real listeners of this process, of a child, and of somebody else.

use std::io::stdin;

use crate::ports::Hold;
use crate::ports::testing::{Helper, in_own_network, listener};

use super::*;

fn me() -> i32 {
    i32::try_from(std::process::id()).unwrap()
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
        "ports::who::service::tests::helper_listens",
        &[("STACK_TEST_LISTEN", &address)],
    );
    child.hear("ready:");
    println!("ready:");
    drop(stdin().read_line(&mut String::new()));
}

/// Not a test: a process that is bound to a UDP port.
#[test]
#[ignore = "a helper of other tests"]
fn helper_is_bound_to_udp() {
    let address: std::net::SocketAddr =
        std::env::var("STACK_TEST_LISTEN").unwrap().parse().unwrap();
    let kind = socket2::Type::DGRAM;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    println!("ready:");
    drop(stdin().read_line(&mut String::new()));
}

fn subject(ports: &[(Protocol, u16)], main: i32) -> Subject<'_> {
    Subject {
        ports,
        holds: &[],
        main,
    }
}

/// A look at TCP ports of a service with these processes, of which nothing is known.
fn look(ports: &[u16], tree: &[i32]) -> Vec<PortState> {
    let ports: Vec<(Protocol, u16)> = ports.iter().map(|&port| (Protocol::Tcp, port)).collect();
    let listeners = Listeners::read(Protocol::Tcp).unwrap();
    let main = tree.first().copied().unwrap_or(0);
    observe(
        &listeners,
        &subject(&ports, main),
        &mut Known::default(),
        || tree.to_vec(),
        |_| false,
    )
}

fn start(helper: &str, address: &str) -> Helper {
    let name = format!("ports::who::service::tests::{helper}");
    let mut helper = Helper::start(&name, &[("STACK_TEST_LISTEN", address)]);
    helper.hear("ready:");
    helper
}

#[test]
fn a_port_is_listening_only_by_a_process_of_the_service() {
    in_own_network(|| {
        let holds = [8000, 8001].map(|port| Hold::take(port).unwrap());
        assert_eq!(
            look(&[8000, 8001], &[me()]),
            [PortState::NotListening, PortState::NotListening]
        );
        holds[0].soften().unwrap();
        let service = start("helper_listens", "127.0.0.1:8000");
        assert_eq!(
            look(&[8000, 8001], &[service.pid()]),
            [
                PortState::Listening {
                    bound_to: "127.0.0.1".to_owned(),
                    pid: service.pid()
                },
                PortState::NotListening
            ]
        );
    });
}

#[test]
fn somebody_else_is_named_as_the_intruder() {
    in_own_network(|| {
        let service = Helper::idle();
        let intruder = start("helper_listens", "[::]:8000");
        let seen = look(&[8000], &[service.pid()]);
        let [PortState::Stolen { pid, command, .. }] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(*pid, intruder.pid());
        assert!(command.contains("helper_listens"), "{command}");
        // Also where the service has no process any more.
        assert!(matches!(look(&[8000], &[])[..], [PortState::Stolen { .. }]));
    });
}

#[test]
fn a_child_that_was_forked_after_the_list_was_made_is_no_intruder() {
    in_own_network(|| {
        let service = start("helper_has_a_child_that_listens", "0.0.0.0:8000");
        let seen = look(&[8000], &[service.pid()]);
        let [PortState::Listening { pid, .. }] = seen[..] else {
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
        let wrong = PortState::WrongPort {
            listens_on: vec![5173, 5174],
        };
        assert_eq!(look(&[8000], &tree)[0], wrong);
        // What is one of its own ports is not elsewhere.
        let _own = listener("127.0.0.1:8001");
        let seen = look(&[8000, 8001], &tree);
        assert_eq!(seen[0], wrong);
        assert!(matches!(seen[1], PortState::Listening { .. }));
        // Others' listeners are not the service's.
        let idle = Helper::idle();
        assert_eq!(look(&[8000], &[idle.pid()]), [PortState::NotListening]);
    });
}

/// A table with one listener on 127.0.0.1:8000.
fn table_with(inode: u64) -> Listeners {
    Listeners {
        sockets: vec![Socket {
            protocol: Protocol::Tcp,
            port: 8000,
            address: [127, 0, 0, 1].into(),
            inode,
            uid: 1000,
            state: sockets::TcpState::Listen,
            peer: None,
            waiting: 0,
        }],
    }
}

#[test]
fn an_intruder_that_cannot_be_seen_has_no_pid() {
    // No process has this inode: the owner is another user's, or in another namespace.
    let mut known = Known::default();
    let there = HashSet::from([u64::MAX]);
    known.find_others(
        &there,
        &subject(&[(Protocol::Tcp, 8000)], 0),
        &Tree::default(),
        |_| false,
    );
    assert_eq!(
        judge(table_with(u64::MAX).on(8000, Protocol::Tcp), &known, &[]),
        PortState::Stolen {
            pid: 0,
            command: "unknown".to_owned(),
            bound_to: "127.0.0.1".to_owned(),
        }
    );
}

#[test]
fn a_listener_that_went_while_it_was_looked_for_is_no_intruder() {
    in_own_network(|| {
        let idle = Helper::idle();
        let passing = start("helper_listens", "127.0.0.1:8000");
        let listeners = Listeners::read(Protocol::Tcp).unwrap();
        drop(passing);
        let ports = [(Protocol::Tcp, 8000)];
        let mut known = Known::default();
        let seen = observe(
            &listeners,
            &subject(&ports, idle.pid()),
            &mut known,
            Vec::new,
            |_| false,
        );
        assert_eq!(seen, [PortState::NotListening]);
    });
}

#[test]
fn a_service_whose_descriptors_are_closed_to_us_is_not_accused() {
    let tree = Tree {
        pids: vec![4711],
        owners: HashMap::new(),
        closed: Some(4711),
    };
    let mut known = Known::default();
    let there = HashSet::from([u64::MAX]);
    known.find_others(
        &there,
        &subject(&[(Protocol::Tcp, 8000)], 4711),
        &tree,
        |_| false,
    );
    assert_eq!(
        judge(table_with(u64::MAX).on(8000, Protocol::Tcp), &known, &[]),
        PortState::Listening {
            bound_to: "127.0.0.1".to_owned(),
            pid: 4711
        }
    );
}

#[test]
fn who_listens_beside_the_service_on_another_address_is_an_intruder() {
    in_own_network(|| {
        let service = start("helper_listens", "127.0.0.1:8000");
        let intruder = start("helper_listens", "[::1]:8000");
        let seen = look(&[8000], &[service.pid()]);
        let [PortState::Stolen { pid, bound_to, .. }] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(*pid, intruder.pid());
        assert_eq!(bound_to, "::1");
    });
}

#[test]
fn what_is_known_is_not_looked_up_again_and_what_is_new_is() {
    in_own_network(|| {
        let service = start("helper_listens", "127.0.0.1:8000");
        let ports = [(Protocol::Tcp, 8000)];
        let mut known = Known::default();
        let mut asked = 0;
        let mut again = |known: &mut Known| {
            let listeners = Listeners::read(Protocol::Tcp).unwrap();
            let rest = || {
                asked += 1;
                vec![service.pid()]
            };
            observe(&listeners, &subject(&ports, 0), known, rest, |_| false)
        };
        let first = again(&mut known);
        assert!(matches!(first[..], [PortState::Listening { .. }]));
        assert_eq!(again(&mut known), first);
        let intruder = start("helper_listens", "[::1]:8000");
        let stolen = again(&mut known);
        assert!(matches!(&stolen[..], [PortState::Stolen { pid, .. }] if *pid == intruder.pid()));
        assert_eq!(again(&mut known), stolen);
        drop(intruder);
        assert_eq!(again(&mut known), first);
        assert_eq!(asked, 2, "once for the service, once for the intruder");
    });
}

#[test]
fn a_udp_port_is_listening_when_the_service_is_bound_to_it() {
    in_own_network(|| {
        let hold = Hold::take_of(Protocol::Both, 8000).unwrap();
        let inodes: Vec<u64> = hold.inodes().collect();
        let both = [(Protocol::Both, 8000)];
        let of_udp = [(Protocol::Udp, 8000)];
        let idle = Helper::idle();
        let look = |ports: &[(Protocol, u16)], main: i32| {
            let listeners = Listeners::read(Protocol::Both).unwrap();
            let subject = Subject {
                ports,
                holds: &inodes,
                main,
            };
            observe(
                &listeners,
                &subject,
                &mut Known::default(),
                Vec::new,
                |_| false,
            )
        };
        assert_eq!(look(&of_udp, idle.pid()), [PortState::NotListening]);
        hold.soften().unwrap();
        let service = start("helper_is_bound_to_udp", "127.0.0.1:8000");
        let listening = PortState::Listening {
            bound_to: "127.0.0.1".to_owned(),
            pid: service.pid(),
        };
        assert_eq!(look(&of_udp, service.pid()), [listening]);
        // Half of a pair is not the pair.
        assert_eq!(look(&both, service.pid()), [PortState::NotListening]);
        assert!(matches!(
            look(&of_udp, idle.pid())[..],
            [PortState::Stolen { pid, .. }] if pid == service.pid()
        ));
    });
}

#[test]
fn a_passed_listener_on_which_clients_wait_is_not_served_by_a_service_that_listens_elsewhere() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        hold.listen().unwrap();
        let inodes: Vec<u64> = hold.inodes().collect();
        let look = || {
            let listeners = Listeners::read(Protocol::Tcp).unwrap();
            let subject = Subject {
                ports: &[(Protocol::Tcp, 8000)],
                holds: &inodes,
                main: me(),
            };
            // This process has taken it over, and is known to have.
            let mut known = Known(HashMap::from([(inodes[0], Whose::Service(me()))]));
            observe(&listeners, &subject, &mut known, Vec::new, |_| false).remove(0)
        };
        assert!(matches!(look(), PortState::Listening { .. }));
        let client = std::net::TcpStream::connect("127.0.0.1:8000").unwrap();
        // Somebody waits: it may be busy.
        assert!(matches!(look(), PortState::Listening { .. }));
        let _elsewhere = listener("127.0.0.1:5173");
        let wrong = PortState::WrongPort {
            listens_on: vec![5173],
        };
        assert_eq!(look(), wrong);
        drop(client);
        assert_eq!(look(), wrong, "who has given up waits on in the queue");
        let server = std::net::TcpListener::from(
            hold.sockets().next().unwrap().try_clone_to_owned().unwrap(),
        );
        drop(server.accept().unwrap());
        assert!(matches!(look(), PortState::Listening { .. }));
    });
}
