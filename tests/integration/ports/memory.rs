//! What a run has learned about a port, and whether the next one acts on it.

use serde_json::Value;

use crate::harness::{TestStack, Up, phase_is};

/// The ports whose servers need them released, as the ledger has noted.
#[track_caller]
fn released(stack: &TestStack) -> Vec<Value> {
    let row = stack.ledger_row();
    row["release"].as_array().cloned().unwrap_or_default()
}

fn steal(stack: &TestStack, port: u16) -> Up {
    let mut intruder = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    intruder.wait_for_line("stole");
    intruder
}

#[test]
fn what_was_learned_is_forgotten_once_the_server_sets_reuseaddr() {
    let yaml = |options: &str| {
        format!("services: {{ web: {{ command: 'MISBEHAVE bind $<PORT:auto> {options}' }} }}")
    };
    let stack = TestStack::new(&yaml("--no-reuseaddr"));
    stack.up_detached();
    stack.down();
    assert_eq!(released(&stack).len(), 1);
    stack.write_yaml(&yaml("--http"));
    stack.up_detached();
    let web = stack.service("web").expect("it is listed");
    assert_eq!((web.attempt(), web.port_state()), (1, "listening"));
    stack.down();
    assert_eq!(released(&stack), Vec::<Value>::new());
}

#[test]
fn who_writes_reuse_means_it() {
    let stack = TestStack::new(
        "services: { web: { command: MISBEHAVE bind $<PORT:auto> --no-reuseaddr, handoff: reuse }, on: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]);
    let web = stack.wait_for("web", "failed", phase_is("failed"));
    assert_eq!(web.attempt(), 1);
    assert!(web.reason().contains("kept_out"), "{web:?}");
    stack.down();
    assert_eq!(released(&stack), Vec::<Value>::new());
}

#[test]
fn a_port_that_was_stolen_twice_is_not_preferred_any_more() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> --http, stop_grace_period: 1s } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    for _ in 0..2 {
        let intruder = steal(&stack, port);
        stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
        drop(intruder);
        stack.wait_for("api", "free again", |api| {
            api.port_state() == "not_listening"
        });
    }
    stack.down();
    stack.run(&["up", "-d"]).ok();
    assert_ne!(stack.port_of("api"), port);
    stack.down();
    // Until somebody wants to forget.
    stack.run(&["up", "-d", "--fresh-ports"]).ok();
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn one_theft_takes_no_preference_away() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> --http, stop_grace_period: 1s } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    let intruder = steal(&stack, port);
    stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    drop(intruder);
    stack.down();
    stack.run(&["up", "-d"]).ok();
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn a_released_port_that_is_stolen_names_the_intruder_and_comes_back() {
    let stack = TestStack::new(
        "
services:
  api:
    command: MISBEHAVE slow-start 300 -- bind $<PORT:auto> --no-reuseaddr
    handoff: release
    restart_policy: { condition: any, delay: 50ms, max_delay: 2s }
",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api").to_string();
    // It gets the port between an exec and its listen, or not before a crash.
    let mut intruder = stack.helper(&["steal", &port]);
    if intruder
        .wait_at_most_for_line("stole", std::time::Duration::from_millis(200))
        .is_none()
    {
        stack.run(&["restart", "api"]).ok();
        intruder.wait_for_line("stole");
    }
    let api = stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    assert_eq!(api.port_entry()["pid"], i64::from(intruder.pid()));
    assert_ne!(api.phase(), "healthy");
    drop(intruder);
    let api = stack.wait_for("api", "healthy", phase_is("healthy"));
    assert_eq!(api.port_state(), "listening");
    assert_eq!(stack.port_of("api").to_string(), port);
    stack.down();
}

#[test]
fn a_service_of_two_ports_learns_for_the_one_that_needs_it_alone() {
    let stack = TestStack::new(
        "services: { pair: { command: 'MISBEHAVE bind $<PORT:auto> --http & exec MISBEHAVE bind $<ADMIN:auto> --no-reuseaddr' } }",
    );
    stack.up_detached();
    let released = released(&stack);
    assert_eq!(released.len(), 1, "{released:?}");
    assert_eq!(released[0]["name"], "ADMIN", "{released:?}");
    stack.down();
    stack.up_detached();
    let pair = stack.service("pair").expect("it is listed");
    assert_eq!(pair.attempt(), 1);
    stack.down();
}
