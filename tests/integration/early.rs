//! Checks that pass before the service can have answered.

use crate::harness::{Occupied, TestStack, phase_is};

/// A service whose check asks a port that is written into the file, and that never listens there.
fn asking_8050(check: &str) -> TestStack {
    let check = check.replace("8050", "P8050");
    TestStack::new(&format!(
        "services: {{ it: {{ command: MISBEHAVE sleep, healthcheck: {{ {check}, interval: 50ms }} }} }}"
    ))
}

#[test]
fn who_was_on_the_port_before_the_service_does_not_make_it_healthy() {
    for (how, check) in [
        (Occupied::Loopback, "tcp: 8050"),
        (Occupied::AnyV4, "tcp: '127.0.0.1:8050'"),
        (Occupied::AnyDual, "http: 'http://[::1]:8050/'"),
        (Occupied::LoopbackV6, "http: 'http://localhost:8050/x'"),
    ] {
        let stack = asking_8050(check);
        let other = stack.occupy(8050, how);
        stack.run(&["up", "--wait"]).expect(1).says(&[
            &format!("who answers on port {} was there before", stack.port(8050)),
            &format!("pid {}", other.pid()),
            "write `listener: any` in its health check",
        ]);
        let it = stack.service("it").expect("it runs");
        assert_eq!(it.reason_data()["failure"]["kind"], "stranger");
        stack.down();
    }
}

#[test]
fn a_check_that_allows_any_listener_is_answered_by_who_was_there_before() {
    let stack = asking_8050("tcp: 8050, listener: any");
    let _other = stack.occupy(8050, Occupied::Loopback);
    stack.run(&["up", "--wait"]).ok();
    stack.down();
}

#[test]
fn a_service_of_the_same_stack_is_no_stranger() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE bind P8050, healthcheck: { tcp: P8050 } }
  front:
    command: MISBEHAVE sleep
    healthcheck: { tcp: P8050 }
    depends_on: { db: { condition: service_healthy } }
",
    );
    stack.run(&["up", "--wait"]).ok();
    stack.down();
}

#[test]
fn who_comes_after_the_service_may_answer_for_it() {
    let stack = asking_8050("tcp: 8050");
    stack.run(&["up", "-d"]).ok();
    let _other = stack.occupy(8050, Occupied::Loopback);
    stack.wait_for("it", "healthy", phase_is("healthy"));
    stack.down();
}

#[test]
fn a_file_of_the_last_run_makes_nothing_healthy_at_once() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep, healthcheck: { test: test -e ready } } }",
    );
    stack.write("ready", "");
    stack.run(&["up", "--wait"]).ok();
    let it = stack.service("it").expect("it runs");
    let took = it.ready_after().expect("it is ready");
    assert!(took >= 1_000, "ready after {took} ms");
    stack.down();
}

#[test]
fn a_service_that_ends_while_its_check_passes_was_never_healthy() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE one-shot 0 100, healthcheck: { test: 'true' } }
  next: { command: touch next, depends_on: { db: { condition: service_healthy } } }
",
    );
    stack.up().wait().expect(1).says(&["db has ended"]);
    assert!(!stack.path("next").exists());
}
