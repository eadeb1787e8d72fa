//! The situations that the tool exists for, and wishes.

use std::collections::BTreeSet;

use crate::harness::{Occupied, TestStack, World};

/// Three services with a port each, as the root `stack.yaml` has them.
const THREE: &str = "
services:
  backend: { command: MISBEHAVE bind $<PORT:auto> --http }
  ui: { command: MISBEHAVE bind $<PORT:auto> --http }
  admin: { command: MISBEHAVE bind $<PORT:auto> --http }
";

/// The ports of the three services, in the order of the file.
#[track_caller]
fn three_ports(stack: &TestStack) -> Vec<u16> {
    ["backend", "ui", "admin"]
        .map(|service| stack.port_of(service))
        .to_vec()
}

/// Takes `taken`, starts three services and checks that they got `expected` and listen there.
#[track_caller]
fn expect_ports(taken: &[u16], expected: [u16; 3]) {
    let stack = TestStack::new(THREE);
    let _occupied: Vec<_> = taken
        .iter()
        .map(|&port| stack.occupy(port, Occupied::Loopback))
        .collect();
    stack.up_detached();
    let expected = expected.map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    for port in expected {
        let answer = stack.get(port, "/");
        assert!(answer.is_some_and(|(status, _)| status == 200), "{port}");
    }
    stack.down();
}

#[test]
fn a_clean_machine_gives_the_first_three_ports() {
    expect_ports(&[], [8000, 8001, 8002]);
}

#[test]
fn a_taken_port_is_skipped() {
    expect_ports(&[8000], [8001, 8002, 8003]);
}

#[test]
fn several_taken_ports_are_skipped() {
    expect_ports(&[8000, 8001, 8003], [8002, 8004, 8005]);
}

#[test]
fn the_gaps_between_taken_ports_are_used() {
    let taken: Vec<u16> = (8000..=8014)
        .filter(|port| ![8005, 8010].contains(port))
        .collect();
    expect_ports(&taken, [8005, 8010, 8015]);
}

#[test]
fn three_copies_started_at_once_get_nine_different_ports() {
    let world = World::new();
    let copies = ["one", "two", "three"].map(|copy| TestStack::in_world(&world, copy, THREE));
    let starting = copies.each_ref().map(|copy| copy.start(&["up", "--wait"]));
    for up in starting {
        up.wait().ok();
    }
    let ports: BTreeSet<u16> = copies.iter().flat_map(three_ports).collect();
    assert_eq!(ports.len(), 9, "{ports:?}");
    for copy in &copies {
        for service in ["backend", "ui", "admin"] {
            let pid = copy.service(service).and_then(|service| service.pid());
            let (status, body) = copy.get(copy.port_of(service), "/").expect("an answer");
            assert_eq!(status, 200);
            // What a copy's `.env` says is this copy's own service and no other's.
            assert_eq!(body, format!("pid {}", pid.expect("it runs")));
        }
    }
    for copy in &copies {
        copy.down();
    }
}

#[test]
fn a_port_that_is_taken_in_any_way_is_seen() {
    for how in Occupied::ALL {
        let stack = TestStack::new(THREE);
        let _occupied = stack.occupy(8000, how);
        stack.up_detached();
        let expected = [8001, 8002, 8003].map(|port| stack.port(port));
        assert_eq!(three_ports(&stack), expected, "{how:?}");
        stack.down();
    }
}

#[test]
fn a_wish_from_the_environment_is_honoured() {
    let mut stack = TestStack::new(THREE);
    let wished = stack.port(8050).to_string();
    stack.set("BACKEND_PORT", &wished);
    stack.up_detached();
    let expected = [8050, 8000, 8001].map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    stack.down();
}

#[test]
fn a_wish_in_the_users_part_of_dotenv_is_honoured() {
    let stack = TestStack::new(THREE);
    stack.write(".env", &format!("UI_PORT={}\n", stack.port(8050)));
    stack.up_detached();
    let expected = [8000, 8050, 8001].map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    stack.down();
}

#[test]
fn a_wish_that_is_taken_is_replaced_and_its_holder_named() {
    let mut stack = TestStack::new(THREE);
    let wished = stack.port(8050);
    let mut holder = stack.helper(&["bind", &wished.to_string()]);
    holder.wait_for_line("listening");
    stack.set("BACKEND_PORT", &wished.to_string());
    stack
        .up_detached()
        .says(&[&wished.to_string(), &holder.pid().to_string(), "misbehave"]);
    let expected = [8000, 8001, 8002].map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    stack.down();
}

#[test]
fn a_wish_that_is_no_port_is_ignored_with_a_warning() {
    let mut stack = TestStack::new(THREE);
    stack.set("BACKEND_PORT", "eight thousand");
    stack.up_detached().says(&["BACKEND_PORT"]);
    assert_eq!(stack.port_of("backend"), stack.port(8000));
    stack.down();
}

#[test]
fn a_preferred_port_is_given_when_free_and_replaced_when_not() {
    let yaml = "services: { web: { command: 'MISBEHAVE bind $<PORT:auto:P8070> --http' } }";
    let stack = TestStack::new(yaml);
    stack.up_detached();
    assert_eq!(stack.port_of("web"), stack.port(8070));
    stack.down();

    let stack = TestStack::new(yaml);
    let _occupied = stack.occupy(8070, Occupied::AnyV4);
    stack.up_detached().says(&[&stack.port(8070).to_string()]);
    assert_eq!(stack.port_of("web"), stack.port(8000));
    stack.down();
}

#[test]
fn a_fixed_port_in_use_names_its_holder_and_nothing_is_started() {
    let stack = TestStack::new(
        "services: { web: { command: 'MISBEHAVE bind $<PORT:P8070>' }, job: { command: touch started } }",
    );
    let port = stack.port(8070).to_string();
    let mut holder = stack.helper(&["bind", &port]);
    holder.wait_for_line("listening");
    stack
        .run(&["up", "--wait"])
        .expect(1)
        .says(&[&port, &holder.pid().to_string(), "misbehave"]);
    assert!(!stack.path("started").exists());
    assert!(!stack.path(".env").exists());
}

#[test]
fn too_few_ports_fail_with_the_holders_and_leave_dotenv_byte_identical() {
    let stack = TestStack::new(THREE);
    stack.write(".env", "# mine\nBACKEND_PORT_OLD=1\r\nname='é'");
    // An earlier run with more room has left its block.
    stack.write_yaml(&format!("ports: {{ range: P8000-P8009 }}\n{THREE}"));
    stack.up_detached();
    stack.down();
    let before = stack.read(".env");
    assert!(before.contains("BACKEND_PORT="), "{before}");
    stack.write_yaml(&format!("ports: {{ range: P8000-P8003 }}\n{THREE}"));
    let holders = [8000, 8002].map(|port| {
        let mut holder = stack.helper(&["bind", &stack.port(port).to_string()]);
        holder.wait_for_line("listening");
        holder
    });
    let pids = holders.each_ref().map(|holder| holder.pid().to_string());
    stack
        .run(&["up", "--wait"])
        .expect(1)
        .says(&[&pids[0], &pids[1], "misbehave"]);
    assert_eq!(stack.read(".env"), before);
    assert!(stack.service_processes().is_empty());
}

#[test]
fn a_fallback_range_is_used_with_a_warning_when_the_first_is_full() {
    let stack = TestStack::new(&format!(
        "ports: {{ range: [P8000-P8001, P8050-P8059] }}\n{THREE}"
    ));
    stack.up_detached().says(&[&stack.port(8050).to_string()]);
    let expected = [8000, 8001, 8050].map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    stack.down();
}

#[test]
fn excluded_ports_are_never_given() {
    let stack = TestStack::new(&format!(
        "ports: {{ range: P8000-P8010, exclude: [P8000, P8002] }}\n{THREE}"
    ));
    stack.up_detached();
    let expected = [8001, 8003, 8004].map(|port| stack.port(port));
    assert_eq!(three_ports(&stack), expected);
    stack.down();
}

#[test]
fn free_ports_for_scripts_are_not_given_twice_in_a_row() {
    let stack = TestStack::new("services: {}");
    let range = format!("{}-{}", stack.port(8000), stack.port(8009));
    let ask = || {
        let output = stack.run(&["ports", "free", "-n", "3", "--range", &range]);
        let numbers = output.ok().stdout;
        numbers
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect::<Vec<u16>>()
    };
    let (first, second) = (ask(), ask());
    assert_eq!(first.len(), 3);
    let all: BTreeSet<u16> = first.iter().chain(&second).copied().collect();
    assert_eq!(all.len(), 6, "{first:?} {second:?}");
}
