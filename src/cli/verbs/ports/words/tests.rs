use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::cli::printer::testing::{healthy, port, stack};
use crate::ports::PortTraits;
use crate::run::snapshot::{PortSnapshot, PortState, ServiceSnapshot};

const HOUR: u64 = 3_600_000;

fn place() -> Place {
    Place {
        home: Some("/home/me".to_owned()),
        now: 2 * HOUR,
    }
}

fn row(state: PortState) -> PortRow {
    let port = PortSnapshot {
        state,
        ..port(8123)
    };
    let service = ServiceSnapshot {
        ports: vec![port],
        ..healthy("api", 8123, 0)
    };
    PortRow::verified(&stack(vec![service])).remove(0)
}

fn socket(state: SocketRole) -> PortSocket {
    PortSocket {
        protocol: Protocol::Tcp,
        state,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer: None,
        uid: Some(1000),
        user: Some("me".to_owned()),
        process: Some(PortProcess {
            pid: 4711,
            command: "python3 -m http.server".to_owned(),
            user: Some("me".to_owned()),
            started_at: Some(HOUR),
            directory: Some("/home/me/elsewhere".to_owned()),
            instance: None,
            service: None,
        }),
    }
}

fn told(stacks: Vec<PortRow>, sockets: Vec<PortSocket>) -> Explanation {
    Explanation {
        port: 8123,
        stacks,
        sockets,
        is_granted: false,
        traits: PortTraits::default(),
    }
}

fn words(stacks: Vec<PortRow>, sockets: Vec<PortSocket>) -> String {
    explain(&told(stacks, sockets), &place())
}

#[test]
fn each_state_of_a_stacks_port_is_explained() {
    let states = [
        PortState::Held,
        PortState::NotListening,
        PortState::Listening {
            bound_to: "::1".to_owned(),
            pid: 4711,
        },
        PortState::Stolen {
            pid: 4711,
            command: "python3 -m http.server".to_owned(),
            bound_to: "127.0.0.1".to_owned(),
        },
        PortState::WrongPort {
            listens_on: vec![5173, 5174],
        },
    ];
    let text: Vec<String> = states
        .into_iter()
        .map(|state| words(vec![row(state)], Vec::new()))
        .collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn of_a_hold_no_more_is_said_than_is_so() {
    let held = || row(PortState::Held);
    let invisible = "`lsof` do not show it";
    assert!(words(vec![held()], vec![socket(SocketRole::Held)]).contains(invisible));
    // One that listens for its service, and one of UDP, are shown by every tool.
    let text = words(vec![held()], vec![socket(SocketRole::Listening)]);
    assert!(text.contains("clients wait") && !text.contains(invisible));
    let udp = PortRow {
        protocol: Protocol::Udp,
        ..held()
    };
    let text = words(vec![udp], Vec::new());
    assert!(text.starts_with("UDP port 8123 is held for `api`") && !text.contains(invisible));
    // A hold that was released is none.
    let waiting = || row(PortState::NotListening);
    assert!(!words(vec![waiting()], Vec::new()).contains("keeps it"));
    assert!(words(vec![waiting()], vec![socket(SocketRole::Held)]).contains("keeps it"));
}

#[test]
fn each_kind_of_holder_is_explained() {
    let leftover = PortSocket {
        uid: None,
        user: None,
        process: None,
        ..socket(SocketRole::Leftover)
    };
    let hidden = PortSocket {
        process: None,
        ..socket(SocketRole::Listening)
    };
    let cases = [
        vec![],
        vec![socket(SocketRole::Listening)],
        vec![hidden],
        vec![socket(SocketRole::Bound)],
        vec![socket(SocketRole::Connected); 3],
        vec![leftover; 2],
    ];
    let text: Vec<String> = cases
        .into_iter()
        .map(|sockets| words(Vec::new(), sockets))
        .collect();
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn what_is_said_of_the_number_itself_comes_last() {
    let remembered = PortRow {
        state: RowState::Remembered,
        ..row(PortState::Held)
    };
    let told = Explanation {
        is_granted: true,
        traits: PortTraits {
            is_reserved: true,
            is_ephemeral: true,
            is_refused_by_browsers: true,
            is_privileged: true,
        },
        ..told(vec![remembered], Vec::new())
    };
    insta::assert_snapshot!(explain(&told, &place()));
}

#[test]
fn a_connection_from_the_kernels_range_is_an_outgoing_one() {
    let mut told = told(Vec::new(), vec![socket(SocketRole::Connected)]);
    told.traits.is_ephemeral = true;
    told.sockets[0].peer = Some(([192, 0, 2, 1], 443).into());
    let text = explain(&told, &place());
    assert!(text.contains("outgoing connection of pid 4711"), "{text}");
    assert!(text.contains(" to 192.0.2.1:443; "), "{text}");
}

#[test]
fn nothing_of_others_reaches_the_terminal_as_a_command() {
    let mut evil = socket(SocketRole::Listening);
    let process = evil.process.as_mut().unwrap();
    process.command = "a\x1b[2Jb".to_owned();
    process.directory = Some("/tmp/\x1b]0;x\x07".to_owned());
    process.service = Some("\x1b".to_owned());
    process.instance = Some("\n".to_owned());
    let mut stack = row(PortState::Stolen {
        pid: 1,
        command: "\x1b[31m".to_owned(),
        bound_to: String::new(),
    });
    stack.project_dir = "/tmp/\r\x1b".to_owned();
    for stacks in [vec![], vec![stack]] {
        let text = words(stacks, vec![evil.clone()]);
        let is_plain = |c: char| !c.is_control() || c == '\n';
        assert!(text.chars().all(is_plain), "{text:?}");
    }
}

#[test]
fn many_sockets_are_counted_not_listed() {
    let mut sockets = vec![socket(SocketRole::Connected); 500];
    for (socket, pid) in sockets.iter_mut().zip(1..) {
        socket.process.as_mut().unwrap().pid = pid;
    }
    let text = words(Vec::new(), sockets);
    assert!(text.lines().count() < 30 && text.ends_with("and 480 more"));
}

#[test]
fn a_stack_that_the_ledger_does_not_know_is_told_by_the_marks_of_its_service() {
    let mut socket = socket(SocketRole::Listening);
    let process = socket.process.as_mut().unwrap();
    process.service = Some("api".to_owned());
    process.instance = Some("shop-0123456789abcdef".to_owned());
    let text = words(Vec::new(), vec![socket]);
    assert!(
        text.starts_with(
            "port 8123 is taken by pid 4711 (`python3 -m http.server`), which service `api` of the \
             stack shop-0123456789abcdef started\n"
        ),
        "{text}"
    );
}
