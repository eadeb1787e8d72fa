//! A port once given stays: over restarts, over `down` and `up`, beside intruders.

use nix::sys::signal::Signal;

use crate::harness::{Occupied, Process, TestStack, World, phase_is};

const TWO: &str = "
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: MISBEHAVE bind $<PORT:auto> --http }
";

#[test]
fn down_and_up_give_the_same_ports_after_kept_alive_clients() {
    let stack = TestStack::new(TWO);
    // A gap below keeps the outcome from being the lowest free ports by chance.
    let taken = stack.occupy(8000, Occupied::Loopback);
    stack.up_detached();
    drop(taken);
    let before = ["api", "web"].map(|service| stack.port_of(service));
    assert_eq!(before, [8001, 8002].map(|port| stack.port(port)));
    let mut clients = stack.helper(&["keep-alive", "127.0.0.1", &before[0].to_string(), "10"]);
    clients.wait_for_line("kept 10");
    stack.down();
    stack.up_detached();
    let after = ["api", "web"].map(|service| stack.port_of(service));
    assert_eq!(after, before);
    assert!(stack.get(after[0], "/").is_some());
    stack.down();
}

#[test]
fn another_stack_takes_the_ports_that_a_sleeping_one_had_only_last() {
    let world = World::new();
    let sleeping = TestStack::in_world(&world, "sleeping", TWO);
    sleeping.up_detached();
    sleeping.down();
    let other = TestStack::in_world(&world, "other", TWO);
    other.up_detached();
    let ports = ["api", "web"].map(|service| other.port_of(service));
    assert_eq!(ports, [8002, 8003].map(|port| other.port(port)));
    sleeping.up_detached();
    assert_eq!(sleeping.port_of("api"), sleeping.port(8000));
    sleeping.down();
    other.down();
}

#[test]
fn a_killed_server_comes_back_on_its_port() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind $<PORT:auto> --http, restart: always } }",
    );
    stack.up_detached();
    let port = stack.port_of("api");
    let mut clients = stack.helper(&["keep-alive", "127.0.0.1", &port.to_string(), "3"]);
    clients.wait_for_line("kept 3");
    let first = stack.service("api").and_then(|api| api.pid());
    let process = Process::of(first.expect("it runs")).expect("it runs");
    process.signal(Signal::SIGKILL);
    stack.wait_for("api", "healthy again", |api| {
        api.phase() == "healthy" && api.pid() != first
    });
    assert_eq!(stack.port_of("api"), port);
    assert!(stack.get(port, "/").is_some());
    stack.down();
}

/// A service that listens for a moment and crashes, again and again.
const CRASH_LOOP: &str = "
services:
  api:
    command: MISBEHAVE bind $<PORT:auto> --die-after 30
    restart_policy: { condition: any, delay: 20ms, max_delay: 20ms }
";

#[test]
fn crash_loop_never_loses_its_port_to_a_strict_bind() {
    let stack = TestStack::new(CRASH_LOOP);
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api").to_string();
    let mut intruder = stack.helper(&["steal", &port]);
    intruder.wait_for_line("trying");
    stack.wait_for("api", "twenty attempts", |api| api.attempt() >= 20);
    assert!(
        !intruder.stdout().contains("stole"),
        "{}",
        intruder.stdout()
    );
    stack.down();
}

#[test]
fn a_port_is_not_to_be_had_between_exit_and_the_next_exec_even_with_reuseaddr() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE one-shot 1, environment: { P: $<PORT:auto> }, restart_policy: { condition: any, delay: 1h, max_delay: 1h } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("api", "backoff", phase_is("backoff"));
    let port = stack.port_of("api").to_string();
    let intruder = stack.helper(&["steal", &port, "--reuseaddr", "--tries", "2000"]);
    let output = intruder.wait().ok();
    assert!(!output.stdout.contains("stole"), "{output}");
    let api = stack.service("api").expect("it is listed");
    assert_eq!((api.phase(), api.port_state()), ("backoff", "held"));
    stack.down();
}

#[test]
fn a_theft_in_the_window_after_exec_is_shown_as_what_it_is() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> --http, stop_grace_period: 1s } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    let api = stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    assert_ne!(api.phase(), "healthy");
    assert_eq!(api.port_entry()["pid"], i64::from(intruder.pid()));
    let command = api.port_entry()["command"].as_str().unwrap_or_default();
    assert!(command.contains("misbehave"), "{command}");
    stack.down();
}

#[test]
fn a_service_that_listens_elsewhere_is_never_healthy_and_says_where() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind-elsewhere, environment: { P: $<PORT:auto> } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let api = stack.wait_for("api", "wrong port", |api| api.port_state() == "wrong_port");
    assert_ne!(api.phase(), "healthy");
    let elsewhere = api.port_entry()["listens_on"][0].as_u64().expect("a port");
    let log = String::from_utf8_lossy(&stack.log("api")).into_owned();
    assert!(log.contains(&format!(":{elsewhere}")), "{log}");
    stack.down();
}

#[test]
fn an_answer_from_somebody_elses_server_is_not_health() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto>, healthcheck: { http: /, interval: 50ms, retries: 2 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.wait_for("api", "unhealthy", phase_is("unhealthy"));
    stack.down();
}

#[test]
fn no_child_inherits_a_held_port() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE fd-dump fds, environment: { P: $<PORT:auto> } } }",
    );
    stack.up().wait().ok();
    let descriptors = stack.wait_for_file("fds");
    let numbers: Vec<&str> = descriptors
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(numbers, ["0", "1", "2"], "{descriptors}");
}

#[test]
fn ports_can_be_taken_by_others_after_down() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    stack.down();
    for how in Occupied::ALL {
        drop(stack.occupy(8000, how));
    }
}
