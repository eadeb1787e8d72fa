//! The whole tables, and what must hold over any sequence.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const WAYS: [(&str, Way); 7] = [
    ("reuse", Way::Reuse(Learning::Open)),
    ("reuse, found out", Way::Reuse(Learning::Done)),
    ("reuse, as written", Way::Reuse(Learning::Barred)),
    ("release, as written", Way::Release(Why::Written)),
    ("release, remembered", Way::Release(Why::Remembered)),
    ("release, tried", Way::Release(Why::Tried)),
    ("fd", Way::Fd),
];

fn listening() -> PortState {
    PortState::Listening {
        bound_to: "127.0.0.1".to_owned(),
        pid: 7,
    }
}

fn stolen() -> PortState {
    PortState::Stolen {
        pid: 9,
        command: "nc".to_owned(),
        bound_to: "::1".to_owned(),
    }
}

/// Every event, for the table and for sequences.
fn events() -> Vec<(&'static str, Event)> {
    let elsewhere = PortState::WrongPort {
        listens_on: vec![5173],
    };
    vec![
        ("execute", Event::Execute),
        ("stop", Event::Stop),
        ("ended", Event::Ended),
        ("judged", Event::Judged { is_blamed: false }),
        ("judged, blamed", Event::Judged { is_blamed: true }),
        ("settled", Event::Settled),
        ("rest", Event::Rest),
        ("regained", Event::Regained),
        ("seen listening", Event::Seen(listening())),
        ("seen silent", Event::Seen(PortState::NotListening)),
        ("seen stolen", Event::Seen(stolen())),
        ("seen elsewhere", Event::Seen(elsewhere)),
        ("asked: sets it", Event::Asked(Some(true))),
        ("asked: does not", Event::Asked(Some(false))),
        ("asked: unknown", Event::Asked(None)),
        ("in the way", Event::InTheWay),
    ]
}

/// A machine that was brought somewhere the usual way.
fn brought(way: Way, events: &[Event]) -> Handover {
    let mut port = Handover {
        way,
        ..Handover::new(None, false, true)
    };
    for event in events {
        port.on(event.clone());
        // What they make of the way is in lines of its own.
        port.way = way;
    }
    port
}

fn states(way: Way) -> Vec<(&'static str, Handover)> {
    use Event as E;
    let seen = |state| E::Seen(state);
    vec![
        ("idle", brought(way, &[])),
        (
            "idle, lost",
            brought(way, &[E::Execute, E::Ended, E::Settled]),
        ),
        ("open", brought(way, &[E::Execute])),
        (
            "open, serving",
            brought(way, &[E::Execute, seen(listening())]),
        ),
        ("open, stolen", brought(way, &[E::Execute, seen(stolen())])),
        ("closing", brought(way, &[E::Execute, E::Stop])),
        ("over", brought(way, &[E::Execute, E::Ended])),
        (
            "over, has served",
            brought(way, &[E::Execute, seen(listening()), E::Ended]),
        ),
    ]
}

fn stage(port: &Handover) -> String {
    let (word, attempt) = match port.stage {
        Stage::Idle => ("idle", None),
        Stage::Open(attempt) => ("open", Some(attempt)),
        Stage::Closing(attempt) => ("closing", Some(attempt)),
        Stage::Over(attempt) => ("over", Some(attempt)),
    };
    let mut text = word.to_owned();
    let attempt = attempt.unwrap_or_default();
    for (is_so, word) in [
        (attempt.has_listened, "has served"),
        (attempt.is_contested, "contested"),
        (!port.is_held, "not held"),
        (port.listens, "listens"),
        (port.is_useless, "useless"),
    ] {
        if is_so {
            write!(text, ", {word}").unwrap();
        }
    }
    text
}

fn shown(state: &PortState) -> &'static str {
    match state {
        PortState::Held => "held",
        PortState::Listening { .. } => "listening",
        PortState::NotListening => "not listening",
        PortState::Stolen { .. } => "stolen",
        PortState::WrongPort { .. } => "wrong port",
    }
}

#[test]
fn every_state_meets_every_event() {
    let mut table = String::from("What is not listed changes nothing and asks for nothing.\n");
    for (word, way) in WAYS {
        writeln!(table, "\n{word}").unwrap();
        for (name, before) in states(way) {
            for (event_name, event) in events() {
                let mut port = before.clone();
                let actions = port.on(event);
                if port == before && actions.is_empty() {
                    continue;
                }
                write!(table, "  {name} + {event_name} → {}", stage(&port)).unwrap();
                if port.seen != before.seen {
                    write!(table, "; {}", shown(&port.seen)).unwrap();
                }
                if port.way != before.way {
                    write!(table, "; {:?}", port.way).unwrap();
                }
                for action in actions {
                    write!(table, "; {action:?}").unwrap();
                }
                table.push('\n');
            }
        }
    }
    insta::assert_snapshot!(table);
}

fn said(named: &[(Option<&str>, u16)]) -> Complaint {
    let named = named.iter().map(|&(address, port)| NamedAddress {
        address: address.map(|address| address.parse().unwrap()),
        port,
    });
    let mut complaint = Complaint::default();
    complaint.add(&named.collect::<Vec<_>>());
    complaint
}

#[test]
fn every_complaint_is_judged() {
    use Event as E;
    let complaints = [
        ("nothing", None),
        ("its own", Some(said(&[(None, 8000)]))),
        ("another", Some(said(&[(Some("127.0.0.1"), 8790)]))),
        ("both", Some(said(&[(None, 8790), (None, 8000)]))),
        ("unnamed", Some(said(&[]))),
    ];
    let mut table = String::from("The port is 8000.\n");
    for (word, way) in WAYS {
        writeln!(table, "\n{word}").unwrap();
        for (name, events) in [
            ("silent", vec![E::Execute, E::Ended]),
            ("served", vec![E::Execute, E::Seen(listening()), E::Ended]),
            (
                "was contested",
                vec![
                    E::Execute,
                    E::Seen(stolen()),
                    E::Seen(PortState::NotListening),
                    E::Ended,
                ],
            ),
            ("stolen", vec![E::Execute, E::Ended, E::Seen(stolen())]),
        ] {
            let port = brought(way, &events);
            for (said, complaint) in &complaints {
                let verdict = |is_alone: bool| {
                    let ports = [(8000, &port)];
                    judge(&ports, complaint.as_ref(), |_| is_alone)
                };
                let (alone, beside) = (verdict(true), verdict(false));
                write!(table, "  {name}, says {said} → {alone:?}").unwrap();
                if beside != alone {
                    write!(table, "; beside others {beside:?}").unwrap();
                }
                table.push('\n');
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn of_several_ports_the_one_that_is_named_is_meant() {
    use Event as E;
    let ran = [E::Execute, E::Ended];
    let ports = [(); 2].map(|()| brought(Way::Reuse(Learning::Open), &ran));
    let ports = [(8000, &ports[0]), (8001, &ports[1])];
    let judged = |named: &[(Option<&str>, u16)], alone: [bool; 2]| {
        judge(&ports, Some(&said(named)), |place| alone[place])
    };
    let both = Verdict::InTheWay(vec![0, 1]);
    assert_eq!(judged(&[], [true, true]), both);
    assert_eq!(
        judged(&[(None, 8001)], [false, true]),
        Verdict::InTheWay(vec![1])
    );
    let own = |port| {
        Verdict::InUse(NamedAddress {
            address: None,
            port,
        })
    };
    assert_eq!(judged(&[], [true, false]), own(8001));
    assert_eq!(judged(&[(None, 8000)], [false, true]), own(8000));
}

/// A socket as the actions leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    is_soft: bool,
    listens: bool,
}

const HARD: Socket = Socket {
    is_soft: false,
    listens: false,
};

/// Does what a machine asks for. Whether a port can be taken back is up to the world.
fn act(port: &mut Handover, hold: &mut Option<Socket>, event: Event, is_free: bool) -> Vec<Action> {
    let actions = port.on(event);
    for action in &actions {
        match action {
            Action::Drop => *hold = None,
            Action::TakeBack => {
                if hold.is_none() && is_free {
                    *hold = Some(HARD);
                    assert_eq!(port.on(Event::Regained), []);
                }
            }
            Action::Soften | Action::Harden | Action::Listen | Action::EndListening => {
                if let Some(hold) = hold {
                    match action {
                        Action::Soften => hold.is_soft = true,
                        Action::Listen => hold.listens = true,
                        Action::EndListening => *hold = HARD,
                        _ => hold.is_soft = false,
                    }
                }
            }
            Action::Ask { .. } | Action::Tell(_) => {}
        }
    }
    actions
}

proptest! {
    /// A hold is soft only while its service may bind, gone only for a service that needs that, and
    /// nobody's port is released more than once on suspicion.
    #[test]
    fn a_hold_is_never_open_without_a_service(
        way in 0..WAYS.len(),
        steps in proptest::collection::vec((0..16_usize, any::<bool>()), 0..60),
    ) {
        let way = WAYS[way].1;
        let mut port = brought(way, &[]);
        let mut hold = Some(HARD);
        let mut tried = 0;
        for (step, is_free) in steps {
            let event = events()[step].1.clone();
            // What only the shell says, when it has done so.
            if event == Event::Regained {
                continue;
            }
            let was_tried = port.way == Way::Release(Why::Tried);
            act(&mut port, &mut hold, event, is_free);
            tried += usize::from(!was_tried && port.way == Way::Release(Why::Tried));

            prop_assert_eq!(port.is_held, hold.is_some());
            let is_open = matches!(port.stage, Stage::Open(_));
            if let Some(hold) = hold {
                prop_assert!(is_open || !hold.is_soft, "{:?}", port);
                prop_assert_eq!(hold.listens, port.listens);
            } else {
                let is_lent = matches!(port.stage, Stage::Open(_) | Stage::Closing(_));
                let is_lost = matches!(port.seen, PortState::NotListening | PortState::Stolen { .. });
                prop_assert!(is_lent || is_lost || matches!(port.stage, Stage::Over(_)), "{:?}", port);
            }
        }
        prop_assert!(tried <= 1);
        // However it stands: what ends is held again as soon as the port can be had.
        act(&mut port, &mut hold, Event::Ended, true);
        act(&mut port, &mut hold, Event::Settled, true);
        act(&mut port, &mut hold, Event::Rest, true);
        prop_assert_eq!(hold, Some(HARD));
        prop_assert!(port.is_stolen() || *port.state() == PortState::Held);
    }
}
