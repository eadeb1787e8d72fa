//! Who is started again, after how long, and who is not.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, phase_is, wait_until};

/// A project with one service that notes the time of each start in `starts` and exits with `code`.
fn failing(code: u8, policy: &str) -> TestStack {
    TestStack::new(&format!(
        "services: {{ it: {{ command: 'date +%s%N >> starts; exit {code}', {policy} }} }}"
    ))
}

/// The pauses between the starts.
#[track_caller]
fn pauses(stack: &TestStack) -> Vec<Duration> {
    let starts: Vec<u64> = stack
        .read("starts")
        .lines()
        .map(|line| line.parse().expect("nanoseconds"))
        .collect();
    starts
        .windows(2)
        .map(|pair| Duration::from_nanos(pair[1] - pair[0]))
        .collect()
}

#[test]
fn without_a_policy_nothing_is_restarted() {
    let stack = failing(1, "labels: {}");
    stack.up().wait().expect(1);
    assert_eq!(pauses(&stack), []);
    let it = stack.service("it").expect("ps lists what ended");
    assert_eq!((it.phase(), it.exit_code()), ("failed", Some(1)));
}

/// The delays that `up --progress json` announced, in milliseconds.
#[track_caller]
fn announced_delays(progress: &str) -> Vec<i64> {
    let milliseconds = |value: &serde_json::Value| {
        let time: jiff::Timestamp = value.as_str().and_then(|text| text.parse().ok())?;
        Some(time.as_millisecond())
    };
    progress
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .filter_map(|object: serde_json::Value| {
            let next = milliseconds(&object["service"]["next_attempt_at"])?;
            Some(next - milliseconds(&object["time"])?)
        })
        .collect()
}

#[test]
fn delays_start_at_a_tenth_of_a_second_and_double() {
    let stack = failing(1, "restart: on-failure:5");
    let output = stack.run(&["up", "--progress", "json"]).expect(1);
    let (pauses, announced) = (pauses(&stack), announced_delays(&output.stderr));
    assert_eq!((pauses.len(), announced.len()), (5, 5), "{output}");
    for ((pause, announced), nominal) in pauses
        .iter()
        .zip(announced)
        .zip([100, 200, 400, 800, 1_600])
    {
        // Ten per cent of jitter, and the rounding of two times to milliseconds.
        let (earliest, latest) = (nominal * 9 / 10, nominal * 11 / 10);
        assert!(
            (earliest - 1..=latest + 1).contains(&announced),
            "{announced} ms for {nominal} ms"
        );
        // What was announced is kept: a loaded machine may be later, but never earlier.
        let kept = i64::try_from(pause.as_millis()).expect("it is short") + 1;
        assert!(
            kept >= announced,
            "{pause:?} for {announced} ms in {pauses:?}"
        );
    }
}

#[test]
fn good_running_for_its_window_lets_the_delays_start_anew() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE crash 3 count -- sleep, restart_policy: { condition: any, delay: 10ms, window: 500ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let kill = |attempt: i64, runs: Duration| {
        let it = stack.wait_for("it", "running", |it| {
            it.phase() == "running" && it.attempt() == attempt && it.pid().is_some()
        });
        let seen = Instant::now();
        wait_until("it to have run", || (seen.elapsed() > runs).then_some(()));
        Process::of(it.pid().expect("it runs"))
            .expect("it runs")
            .signal(Signal::SIGKILL);
        stack
            .wait_for("it", "the next attempt", |it| it.attempt() == attempt + 1)
            .failures()
    };
    stack.wait_for("it", "three failures", |it| it.failures() == 3);
    assert_eq!(kill(4, Duration::from_millis(600)), 1);
    stack.down();
}

#[test]
fn on_failure_gives_up_after_its_number_and_says_so() {
    let stack = failing(7, "restart: on-failure:2");
    let output = stack.up().wait().expect(1).says(&["it"]);
    assert_eq!(pauses(&stack).len(), 2, "{output}");
    let it = stack.service("it").expect("ps lists what ended");
    assert_eq!((it.phase(), it.exit_code()), ("failed", Some(7)));
    assert!(it.reason().contains("gave_up"), "{}", it.reason());
}

#[test]
fn on_failure_leaves_a_success_alone() {
    let stack = failing(0, "restart: on-failure");
    stack.up().wait().ok();
    assert_eq!(pauses(&stack), []);
}

#[test]
fn a_success_exit_code_of_its_own_is_no_failure() {
    let stack = failing(3, "restart: on-failure, success_exit_codes: [3]");
    stack.up().wait().ok();
    assert_eq!(pauses(&stack), []);
}

#[test]
fn always_restarts_after_a_success() {
    let stack = failing(0, "restart: always");
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "three attempts", |it| it.attempt() >= 3);
    stack.down();
}

#[test]
fn a_service_that_recovers_is_left_running() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE crash 2 count -- bind $<PORT:auto> --http, restart: on-failure } }",
    );
    stack.up_detached();
    let it = stack.service("it").expect("it runs");
    assert_eq!((it.phase(), it.attempt()), ("healthy", 3));
    stack.down();
}

#[test]
fn six_failures_in_a_row_are_a_crash_loop() {
    let stack = failing(
        1,
        "restart_policy: { condition: any, delay: 1ms, max_delay: 1h }",
    );
    stack.run(&["up", "-d"]).ok();
    // The delay doubles, so that the table is read before the 14th attempt is due.
    stack.wait_for("it", "many failures", |it| it.failures() >= 13);
    let table = stack.run(&["ps"]).ok();
    assert!(table.stdout.contains("crash-looping"), "{table}");
    stack.down();
}

#[test]
fn a_missing_program_is_no_loop() {
    let stack = TestStack::new(
        "services: { it: { command: [no-such-program-anywhere], restart: always } }",
    );
    stack
        .up()
        .wait()
        .expect(1)
        .says(&["no-such-program-anywhere"]);
    let it = stack.service("it").expect("ps lists what failed");
    assert_eq!(it.phase(), "failed");
}

#[test]
fn a_stack_that_ends_before_anybody_watches_says_why() {
    let stack = TestStack::new("services: { it: { command: ./script, restart: always } }");
    stack.write("script", "#!/no/such/interpreter\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(stack.path("script"), executable).expect("it is ours");
    for up in [&["up", "-d"][..], &["up", "--wait"]] {
        let output = stack.run(up).expect(1);
        output.says(&["it", "interpreter in its first line does not exist"]);
    }
}

#[test]
fn what_keeps_a_program_from_being_executed_is_named() {
    let stack = TestStack::new("services: { it: { command: ./script, env_file: big.env } }");
    stack.write("big.env", "SMALL=1\n");
    stack.write("script", "#!/bin/sh\n");
    let output = stack.up().wait().expect(1);
    output.says(&["is not executable", "chmod +x"]);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(stack.path("script"), executable).expect("it is ours");
    stack.write("big.env", &format!("BUNDLE={}\n", "x".repeat(140_000)));
    let output = stack.up().wait().expect(2);
    output.says(&["the variable `BUNDLE` has", "131071 at most"]);
}

#[test]
fn a_shell_that_finds_no_program_is_no_loop_either() {
    let stack = TestStack::new(
        "services: { it: { command: 'no-such-program-anywhere | cat >&2; exit 127', restart: always } }",
    );
    stack.up().wait().expect(1);
    assert_eq!(stack.service("it").expect("ps lists it").attempt(), 1);
}

#[test]
fn a_stop_wins_over_a_pending_restart() {
    let stack = failing(
        1,
        "restart_policy: { condition: any, delay: 200ms, max_delay: 200ms }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "backoff", phase_is("backoff"));
    stack.run(&["stop", "it"]).ok();
    let starts = pauses(&stack).len();
    assert_eq!(
        stack.service("it").expect("it is listed").phase(),
        "stopped"
    );
    stack.down();
    assert_eq!(pauses(&stack).len(), starts);
}

#[test]
fn a_stop_by_hand_never_triggers_a_restart() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep, restart: always } }");
    stack.run(&["up", "-d"]).ok();
    stack.run(&["stop", "it"]).ok();
    let it = stack.service("it").expect("it is listed");
    assert_eq!((it.phase(), it.attempt()), ("stopped", 1));
    stack.run(&["start", "it"]).ok();
    stack.wait_for("it", "running", phase_is("running"));
    stack.down();
}

#[test]
fn a_restart_by_hand_clears_the_counters() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE crash 3 count -- sleep, restart: on-failure } }",
    );
    stack.run(&["up", "-d"]).ok();
    let before = stack.wait_for("it", "running after failures", |it| {
        it.phase() == "running" && it.attempt() == 4
    });
    assert_eq!(before.failures(), 3);
    stack.run(&["restart", "it"]).ok();
    let after = stack.wait_for("it", "running anew", |it| {
        it.phase() == "running" && it.pid() != before.pid()
    });
    assert_eq!(after.failures(), 0);
    stack.down();
}

#[test]
fn death_by_a_foreign_signal_is_a_failure() {
    let stack =
        TestStack::new("services: { it: { command: MISBEHAVE sleep, restart: on-failure } }");
    stack.run(&["up", "-d"]).ok();
    let pid = stack.wait_for("it", "running", phase_is("running")).pid();
    let process = Process::of(pid.expect("it runs")).expect("it runs");
    process.signal(Signal::SIGKILL);
    let it = stack.wait_for("it", "a second attempt", |it| it.attempt() == 2);
    assert_eq!(it.exit_signal(), Some(9));
    stack.down();
}
