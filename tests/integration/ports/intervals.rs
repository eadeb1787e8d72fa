//! What keeps a port while nothing of its service listens, and who counts as its service.

use crate::harness::{TestStack, Up, phase_is};

/// Tries to take a port, strictly or with `SO_REUSEADDR`, and must not succeed.
#[track_caller]
fn cannot_steal(stack: &TestStack, port: u16, options: &[&str]) {
    let port = port.to_string();
    let words: Vec<&str> = ["steal", &port, "--tries", "2000"]
        .into_iter()
        .chain(options.iter().copied())
        .collect();
    let output = stack.helper(&words).wait().ok();
    assert!(!output.stdout.contains("stole"), "{output}");
}

#[test]
fn a_released_port_is_held_again_once_the_last_of_its_service_is_gone() {
    // The main process ends, and leaves a child that still listens.
    let stack = TestStack::new(
        "services: { api: { command: 'MISBEHAVE bind $<PORT:auto> --http & MISBEHAVE wait-file go -- one-shot 1', handoff: release, restart_policy: { condition: any, delay: 1h, max_delay: 1h } } }",
    );
    stack.up_detached();
    let port = stack.port_of("api");
    stack.write("go", "");
    stack.wait_for("api", "backoff", phase_is("backoff"));
    for options in [&[][..], &["--reuseaddr"]] {
        cannot_steal(&stack, port, options);
    }
    let api = stack.service("api").expect("it is listed");
    assert_eq!(api.port_state(), "held");
    stack.down();
}

#[test]
fn a_port_that_cannot_be_held_again_is_not_shown_as_held_and_is_tried_again() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE wait-file go -- one-shot 1, environment: { P: $<PORT:auto> }, handoff: release, restart_policy: { condition: any, delay: 1h, max_delay: 1h } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    // It is released, so anybody can have it; he does not listen.
    let mut occupant = stack.helper(&["bind", &port.to_string(), "--no-listen"]);
    occupant.wait_for_line("bound");
    stack.write("go", "");
    let api = stack.wait_for("api", "backoff", phase_is("backoff"));
    assert_ne!(api.port_state(), "held");
    drop(occupant);
    stack.wait_for("api", "held again", |api| api.port_state() == "held");
    cannot_steal(&stack, port, &[]);
    stack.down();
}

#[test]
fn a_crash_loop_that_complains_about_another_address_does_not_open_its_port() {
    let stack = TestStack::new(
        "services: { api: { command: 'echo address already in use; exit 1', environment: { P: $<PORT:auto> }, restart_policy: { condition: any, delay: 20ms, max_delay: 20ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    // One attempt is given to finding out.
    stack.wait_for("api", "a few attempts", |api| api.attempt() >= 4);
    let mut intruder = stack.helper(&["steal", &port.to_string()]);
    intruder.wait_for_line("trying");
    let seen = stack.service("api").expect("it is listed").attempt();
    stack.wait_for("api", "ten more", |api| api.attempt() >= seen + 10);
    assert!(
        !intruder.stdout().contains("stole"),
        "{}",
        intruder.stdout()
    );
    drop(intruder);
    stack.down();
    // It has not failed for good, so its port has not turned bad.
    stack.run(&["up", "-d"]).ok();
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn a_service_that_is_well_is_not_ended_for_a_complaint_about_something_else() {
    // Its second port is used later, if ever.
    let stack = TestStack::new(
        "services: { api: { command: 'echo address already in use; (sleep 2; echo settled) & exec MISBEHAVE bind $<PORT:auto> --http', environment: { D: $<DEBUG:auto> }, healthcheck: { http: { path: /, port: $<PORT> }, interval: 100ms } } }",
    );
    stack.up_detached();
    stack.wait_for_log("api", "settled");
    let api = stack.service("api").expect("it is listed");
    assert_eq!((api.phase(), api.attempt()), ("healthy", 1));
    stack.down();
}

#[test]
fn a_daemon_of_the_service_without_its_mark_is_no_intruder() {
    // It leads a session of its own and has wiped its environment, as nginx does.
    let stack = TestStack::new(
        "services: { web: { command: '(setsid env -i MISBEHAVE bind $<PORT:auto> --late 1100 --http &); exec MISBEHAVE sleep' } }",
    );
    stack.up_detached();
    let web = stack.service("web").expect("it is listed");
    assert_eq!((web.phase(), web.port_state()), ("healthy", "listening"));
    assert_ne!(web.port_entry()["pid"].as_i64(), web.pid().map(i64::from));
    stack.down();
}

#[test]
fn a_port_is_kept_while_its_service_drains() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE drain $<PORT:auto>, stop_grace_period: 4s }, on: { command: MISBEHAVE sleep } }",
    );
    stack.up_detached();
    let port = stack.port_of("api");
    let stopping: Up = stack.start(&["stop", "api"]);
    stack.wait_for_log("api", "draining");
    cannot_steal(&stack, port, &["--reuseaddr"]);
    stopping.wait().ok();
    let api = stack.service("api").expect("it is listed");
    assert_eq!((api.phase(), api.port_state()), ("stopped", "held"));
    stack.down();
}

#[test]
fn the_exit_code_of_a_service_whose_port_was_stolen_is_no_success() {
    let stack = TestStack::new(
        "services: { next: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --exit-when-taken 0 } }",
    );
    let up = stack.start(&["up", "--exit-code-from", "next"]);
    stack.wait_for("next", "its start", |next| next.pid().is_some());
    let port = stack.port_of("next").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.write("go", "");
    up.wait().expect(1).says(&[&port, "was taken"]);
}

#[test]
fn a_server_that_ignores_its_passed_socket_and_listens_elsewhere_is_found_out() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind-elsewhere, environment: { P: $<PORT:auto> }, handoff: fd } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    // Nobody answers, and the client gives up.
    assert_eq!(stack.get(port, "/"), None);
    let api = stack.wait_for("api", "wrong port", |api| api.port_state() == "wrong_port");
    assert_ne!(api.phase(), "healthy");
    stack.down();
}

#[test]
fn a_passed_socket_refuses_clients_once_its_service_is_stopped() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE fd-serve, environment: { P: $<PORT:auto> }, handoff: fd }, on: { command: MISBEHAVE sleep } }",
    );
    stack.up_detached();
    let port = stack.port_of("api");
    assert!(stack.get(port, "/").is_some());
    stack.run(&["stop", "api"]).ok();
    let client = stack.helper(&["http-get", "127.0.0.1", &port.to_string(), "/"]);
    // Not left in a queue that nobody empties.
    let output = client.wait();
    assert!(output.stderr.contains("refused"), "{output}");
    cannot_steal(&stack, port, &["--reuseaddr"]);
    stack.run(&["start", "api"]).ok();
    assert!(stack.get(port, "/").is_some());
    stack.down();
}
