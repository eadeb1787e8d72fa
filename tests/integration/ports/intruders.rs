//! Somebody else wants the port: kept off where that can be done, seen and named where it cannot.

use crate::harness::{Occupied, TestStack, Up, phase_is, wait_until};

/// Two intruders for one port: one that never sets `SO_REUSEADDR`, one that does.
fn intruders(stack: &TestStack, port: u16) -> [Up; 2] {
    let port = port.to_string();
    let mut intruders = [
        stack.helper(&["steal", &port]),
        stack.helper(&["steal", &port, "--reuseaddr"]),
    ];
    for intruder in &mut intruders {
        intruder.wait_for_line("trying");
    }
    intruders
}

/// How often they have asked in vain cannot be counted from here; that each has had processor time
/// since `ticks` can.
fn wait_for_tries(intruders: &[Up; 2]) {
    for intruder in intruders {
        let before = ticks(intruder.pid());
        wait_until("an intruder to try", || {
            (ticks(intruder.pid()) > before + 5).then_some(())
        });
    }
}

/// The processor time that a process has had, in hundredths of a second.
fn ticks(pid: i32) -> u64 {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name ends");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}

#[test]
fn a_port_is_kept_from_all_intruders_while_its_service_waits_for_a_dependency() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE sleep, healthcheck: { test: test -e ready, interval: 50ms, retries: 100000 } }
  web: { command: MISBEHAVE bind $<PORT:auto> --http, depends_on: { db: { condition: service_healthy } } }
",
    );
    let up = stack.start(&["up", "--wait"]);
    let web = stack.wait_for("web", "waiting", phase_is("waiting"));
    assert_eq!(web.port_state(), "held");
    let intruders = intruders(&stack, stack.port_of("web"));
    wait_for_tries(&intruders);
    for intruder in intruders {
        assert!(
            !intruder.stdout().contains("stole"),
            "{}",
            intruder.stdout()
        );
    }
    // Without intruders beside the last moment, from exec to listen, which the kernel leaves open.
    stack.write("ready", "");
    up.wait().ok();
    stack.down();
}

#[test]
fn a_stopped_service_keeps_its_port_from_all_intruders() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind $<PORT:auto> --http }, on: { command: MISBEHAVE sleep } }",
    );
    stack.up_detached();
    stack.run(&["stop", "api"]).ok();
    let port = stack.port_of("api");
    let intruders = intruders(&stack, port);
    wait_for_tries(&intruders);
    for intruder in intruders {
        assert!(
            !intruder.stdout().contains("stole"),
            "{}",
            intruder.stdout()
        );
    }
    stack.run(&["start", "api"]).ok();
    stack.wait_for("api", "healthy", phase_is("healthy"));
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn a_server_that_moves_to_the_next_port_is_on_the_wrong_one_and_never_healthy() {
    // As vite does without `--strictPort`.
    let stack = TestStack::new(
        "services: { web: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --move-on --http, healthcheck: { http: /, interval: 50ms, retries: 3 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("web");
    let mut intruder = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.write("go", "");
    stack.wait_for_log("web", "listening on");
    let stolen = stack.wait_for("web", "unhealthy", phase_is("unhealthy"));
    // Of the two truths, that of the intruder explains the other.
    assert_eq!(stolen.port_state(), "stolen");
    assert_eq!(stolen.port_entry()["pid"], i64::from(intruder.pid()));
    drop(intruder);
    let elsewhere = stack.wait_for("web", "wrong port", |web| web.port_state() == "wrong_port");
    assert_ne!(elsewhere.phase(), "healthy");
    assert_eq!(elsewhere.port_entry()["listens_on"][0], port + 1);
    stack.down();
}

#[test]
fn a_server_that_stays_without_its_port_is_not_listening_and_never_healthy() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --stay-when-taken --silent } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("it").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.write("go", "");
    let it = stack.wait_for("it", "stolen", |it| it.port_state() == "stolen");
    assert_eq!(it.port_entry()["pid"], i64::from(intruder.pid()));
    drop(intruder);
    let it = stack.wait_for("it", "not listening", |it| {
        it.port_state() == "not_listening"
    });
    assert_eq!(it.phase(), "starting");
    stack.down();
}

#[test]
fn a_one_shot_with_a_port_that_ends_with_0_has_completed() {
    let stack = TestStack::new(
        "services: { job: { command: MISBEHAVE one-shot 0, environment: { P: $<PORT:auto> } } }",
    );
    stack.up().wait().ok();
    let job = stack.service("job").expect("it is listed");
    assert_eq!(job.phase(), "completed", "{job:?}");
}

#[test]
fn a_crash_loop_of_ten_a_second_comes_through_beside_strict_intruders() {
    let stack = TestStack::new(
        "
services:
  api:
    command: MISBEHAVE crash 30 count -- bind $<PORT:auto> --http
    restart_policy: { condition: any, delay: 10ms, max_delay: 100ms }
",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    let intruders = [(), ()].map(|()| stack.helper(&["steal", &port.to_string()]));
    stack.wait_for("api", "thirty attempts", |api| {
        api.attempt() > 30 && api.phase() == "healthy"
    });
    for intruder in intruders {
        assert!(
            !intruder.stdout().contains("stole"),
            "{}",
            intruder.stdout()
        );
    }
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn an_intruder_on_another_address_beside_the_service_is_seen_and_the_service_not_healthy() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --http, healthcheck: { http: /, interval: 50ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    // Who asks for `localhost` may well come to him.
    let taken = stack.occupy(8000, Occupied::LoopbackV6);
    stack.write("go", "");
    stack.wait_for_log("api", "listening on");
    let api = stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    assert_eq!(api.port_entry()["bound_to"], "::1");
    assert_eq!(api.port_entry()["pid"], taken.pid());
    assert_ne!(api.phase(), "healthy");
    drop(taken);
    let api = stack.wait_for("api", "healthy", phase_is("healthy"));
    let (_, body) = stack.get(stack.port(8000), "/").expect("an answer");
    assert_eq!(body, format!("pid {}", api.pid().expect("it runs")));
    stack.down();
}
