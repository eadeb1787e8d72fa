//! Whatever a service does, nothing of it is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{LIMIT, Process, TestStack, Up, phase_is, wait_until};

/// Starts one service in the background and waits until it has printed `says`.
#[track_caller]
fn started(service: &str, says: &str) -> TestStack {
    let stack = TestStack::new(&format!("services: {{ it: {{ {service} }} }}"));
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", says);
    stack
}

/// How long `work` takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let outcome = work();
    (outcome, began.elapsed())
}

#[test]
fn a_service_deaf_to_sigterm_is_killed_after_its_grace() {
    let stack = started(
        "command: MISBEHAVE ignore-term, stop_grace_period: 1s",
        "deaf",
    );
    let (_, took) = timed(|| stack.down());
    assert!(
        took >= Duration::from_secs(1),
        "no grace was given: {took:?}"
    );
    let log = String::from_utf8_lossy(&stack.log("it")).into_owned();
    assert!(log.contains("heard SIGTERM"), "{log}");
}

#[test]
fn the_grace_of_the_command_line_overrides_the_services_own() {
    let stack = started(
        "command: MISBEHAVE ignore-term, stop_grace_period: 5m",
        "deaf",
    );
    let (_, took) = timed(|| stack.run(&["down", "-t", "1"]).ok());
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn a_double_forked_daemon_is_gone_after_down() {
    started("command: MISBEHAVE double-fork --stay", "left a daemon").down();
}

#[test]
fn a_double_forked_daemon_deaf_to_sigterm_is_gone_after_down() {
    started(
        "command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s",
        "deaf",
    )
    .down();
}

#[test]
fn a_daemon_does_not_outlive_the_service_that_left_it() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork --deaf, stop_grace_period: 1s } }",
    );
    let output = stack.up().wait().ok();
    assert!(output.stdout.contains("left a daemon"), "{output}");
}

#[test]
fn a_restarted_daemoniser_never_has_two_daemons() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork, restart_policy: { condition: any, delay: 50ms, max_delay: 50ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "five attempts", |it| {
        // Not the one in the middle, `misbehave detach sleep`.
        let daemons = stack
            .service_processes()
            .iter()
            .filter(|process| process.command().ends_with("misbehave sleep "))
            .count();
        assert!(daemons <= 1, "{daemons} daemons at once");
        it.attempt() >= 5
    });
    stack.down();
}

#[test]
fn a_child_in_a_session_of_its_own_is_gone_after_down() {
    started(
        "command: MISBEHAVE gc-setsid --deaf, stop_grace_period: 1s",
        "deaf",
    )
    .down();
}

#[test]
fn a_child_in_the_same_group_hears_the_stop_signal_exactly_once() {
    let stack = started("command: MISBEHAVE gc-same-group heard", "recording");
    stack.down();
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn a_pipe_in_other_hands_delays_neither_restart_nor_down() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE hold-pipe 200, restart_policy: { condition: any, delay: 50ms, max_delay: 50ms }, stop_grace_period: 1s } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "a second attempt", |it| it.attempt() >= 2);
    let (_, took) = timed(|| stack.down());
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn a_tree_that_forks_again_when_told_to_end_is_gone_after_down() {
    started(
        "command: MISBEHAVE fork-tree 50 --refork, stop_grace_period: 2s",
        "the tree stands",
    )
    .down();
}

#[test]
fn a_stopped_service_ends_politely() {
    let stack = started(
        "command: MISBEHAVE stop-self, stop_grace_period: 5m",
        "stopping myself",
    );
    let (_, took) = timed(|| stack.down());
    assert!(took < LIMIT, "it was not woken: {took:?}");
}

#[test]
fn the_stop_signal_of_a_service_is_the_one_it_gets() {
    let stack = started(
        "command: [MISBEHAVE, record, 'TERM,INT,QUIT', heard], stop_signal: SIGINT",
        "recording",
    );
    stack.down();
    assert_eq!(stack.read("heard"), "SIGINT\n");
}

#[test]
fn twenty_deaf_services_stop_within_one_grace_period() {
    let services: String = (0..20)
        .map(|n| format!("  s{n}: {{ command: MISBEHAVE ignore-term, stop_grace_period: 4s }}\n"))
        .collect::<Vec<_>>()
        .concat();
    let stack = TestStack::new(&format!("services:\n{services}"));
    stack.run(&["up", "-d"]).ok();
    for n in 0..20 {
        stack.wait_for_log(&format!("s{n}"), "deaf");
    }
    let (_, took) = timed(|| stack.down());
    // Two graces would be eight seconds, twenty of them eighty.
    assert!(took >= Duration::from_secs(4), "{took:?}");
    assert!(
        took < Duration::from_secs(8),
        "one after the other: {took:?}"
    );
}

/// A foreground `up` with a service that is deaf for five minutes.
#[track_caller]
fn deaf_in_the_foreground(stack: &TestStack) -> Up {
    let mut up = stack.up();
    up.wait_for_line("deaf");
    up
}

const DEAF: &str = "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 5m } }";

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let stack = TestStack::new(DEAF);
    let mut up = deaf_in_the_foreground(&stack);
    stack.world().processes();
    up.signal(Signal::SIGINT);
    up.wait_for_line("heard SIGTERM");
    // A second signal counts from half a second after the first on.
    let first = Instant::now();
    wait_until("half a second to pass", || {
        (first.elapsed() > Duration::from_millis(600)).then_some(())
    });
    up.signal(Signal::SIGINT);
    let (output, took) = timed(|| up.wait());
    output.expect(130);
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn the_same_ctrl_c_heard_twice_is_one() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE record TERM heard --takes 1000, stop_grace_period: 5m } }",
    );
    let mut up = stack.up();
    up.wait_for_line("recording");
    up.signal(Signal::SIGINT);
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
    let it = stack.service("it").expect("ps lists what ended");
    assert_eq!(it.exit_signal(), None, "it was killed");
}

#[test]
fn ctrl_c_says_who_is_waited_for() {
    let stack = TestStack::new(DEAF);
    let mut up = deaf_in_the_foreground(&stack);
    up.signal(Signal::SIGINT);
    up.wait_for_line("heard SIGTERM");
    stack.wait_for("it", "stopping", phase_is("stopping"));
    wait_until("a line about `it`", || {
        let stderr = up.stderr();
        stderr
            .lines()
            .any(|line| line.contains("it") && line.contains("stop"))
            .then_some(())
    });
    stack.run(&["down", "-t", "0"]).ok();
    up.wait();
}

#[test]
fn sigterm_ends_a_foreground_run_with_143() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    up.signal(Signal::SIGTERM);
    up.wait().expect(143);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn a_service_that_is_stopped_alone_leaves_nothing_while_the_others_run_on() {
    let stack = TestStack::new(
        "
services:
  daemon: { command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s }
  other: { command: MISBEHAVE sleep }
",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("daemon", "deaf");
    stack.run(&["stop", "daemon"]).ok();
    let left: Vec<String> = stack
        .service_processes()
        .iter()
        .filter_map(|process| process.variable("STACK_SERVICE"))
        .collect();
    assert_eq!(left, ["other"]);
    stack.down();
}

const TREE: &str = "
services:
  polite: { command: MISBEHAVE record TERM clean, stop_grace_period: 1s }
  deaf: { command: MISBEHAVE ignore-term, stop_grace_period: 1s }
  daemon: { command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s }
  session: { command: MISBEHAVE gc-setsid, stop_grace_period: 1s }
";

#[track_caller]
fn tree_started() -> TestStack {
    let stack = TestStack::new(TREE);
    stack.run(&["up", "-d"]).ok();
    for (service, says) in [
        ("polite", "recording"),
        ("deaf", "deaf"),
        ("daemon", "deaf"),
        ("session", "child"),
    ] {
        stack.wait_for_log(service, says);
    }
    stack
}

#[test]
fn sigkill_of_the_supervisor_leaves_nothing() {
    let stack = tree_started();
    let supervisor = stack.own_process("supervisor_pid");
    assert!(!stack.world().processes().is_empty());
    supervisor.signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    // The guardian asked politely first, with each service's own signal.
    assert_eq!(stack.read("clean"), "SIGTERM\n");
    stack.run(&["down"]).ok();
}

#[test]
fn sigkill_of_the_supervisor_ends_a_foreground_run_and_is_said() {
    let stack = TestStack::new(TREE);
    let mut up = stack.up();
    up.wait_for_line("recording");
    let supervisor = stack.own_process("supervisor_pid");
    stack.world().processes();
    supervisor.signal(Signal::SIGKILL);
    let output = up.wait().expect(1).says(&["supervisor"]);
    let left = stack.service_processes();
    assert!(left.is_empty(), "{left:?} after {output}");
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn sigkill_of_a_foreground_up_leaves_nothing() {
    let stack = TestStack::new(TREE);
    let mut up = stack.up();
    up.wait_for_line("recording");
    stack.own_process("supervisor_pid");
    stack.world().processes();
    up.signal(Signal::SIGKILL);
    up.wait().expect(137);
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn sigkill_of_the_guardian_leaves_nothing_behind_a_down() {
    let stack = tree_started();
    let guardian = stack.own_process("guardian_pid");
    stack.world().processes();
    guardian.signal(Signal::SIGKILL);
    // Whether the supervisor stops or replaces it, `down` finds a clean end.
    stack.run(&["down"]).ok();
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn what_a_service_says_while_it_stops_costs_it_nothing_though_nobody_reads() {
    let yaml = "
services:
  sh: { command: \"trap 'echo stopping; sleep 0.3; echo cleaned >> out; exit 0' TERM; echo up; while :; do sleep 0.05; done\" }
";
    for are_both in [false, true] {
        let stack = TestStack::new(yaml);
        stack.run(&["up", "-d"]).ok();
        stack.wait_for_log("sh", "up");
        let guardian = stack.own_process("guardian_pid");
        let supervisor = stack.own_process("supervisor_pid");
        if are_both {
            guardian.signal(Signal::SIGSTOP);
        }
        supervisor.signal(Signal::SIGKILL);
        if are_both {
            guardian.signal(Signal::SIGKILL);
        }
        stack.run(&["down"]);
        stack.world().wait_until_nothing_is_left();
        assert_eq!(stack.read("out"), "cleaned\n", "both killed: {are_both}");
    }
}

#[test]
fn up_works_again_after_sigkill_of_the_supervisor() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE bind $<PORT:auto> --http } }");
    stack.up_detached();
    let first = stack.port_of("it");
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    stack.up_detached();
    assert_eq!(stack.port_of("it"), first);
    stack.down();
}

#[test]
fn down_where_nothing_runs_is_no_failure() {
    TestStack::new("services: { it: { command: MISBEHAVE sleep } }").down();
}

#[test]
fn the_guardian_and_the_supervisor_are_two_processes_while_it_runs() {
    let stack = started(
        "command: MISBEHAVE ignore-term, stop_grace_period: 1s",
        "deaf",
    );
    let guardian = stack.own_process("guardian_pid");
    let supervisor = stack.own_process("supervisor_pid");
    assert_ne!(guardian, supervisor);
    stack.down();
    let alive = |process: &Process| process.is_alive().then_some(());
    wait_until("both to be gone", || {
        (alive(&guardian).is_none() && alive(&supervisor).is_none()).then_some(())
    });
}
