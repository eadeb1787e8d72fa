//! `stack up` on a terminal: Ctrl-C, Ctrl-Z, and the window that is closed.

use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{
    CTRL_C, CTRL_Z, Process, Terminal, TestStack, phase_is, require, up_as_a_job, wait_until,
};

/// `stack up` as the leader of a session with a terminal: no shell stands between.
#[track_caller]
fn up_on_a_terminal(stack: &TestStack) -> Terminal {
    Terminal::start(stack.world(), &stack.command(&["up"]))
}

/// The letter of a process's state: `S`, `T`, …
fn state_of(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[track_caller]
fn wait_for_state(pid: i32, wanted: char) {
    wait_until(&format!("state {wanted} of {pid}"), || {
        (state_of(pid) == Some(wanted)).then_some(())
    });
}

#[test]
fn ctrl_c_reaches_a_service_once_and_as_its_stop_signal() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: 'exec MISBEHAVE record INT,TERM heard --stay', stop_grace_period: 1s } }",
    );
    let terminal = up_on_a_terminal(&stack);
    terminal.wait_for("recording");
    terminal.press(CTRL_C);
    let (code, screen) = terminal.wait();
    assert_eq!(code, 130, "{screen}");
    // The keyboard's SIGINT never got there.
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn a_closed_terminal_stops_everything() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE record TERM heard }, daemon: { command: MISBEHAVE double-fork --stay } }",
    );
    let terminal = up_on_a_terminal(&stack);
    terminal.wait_for("recording");
    terminal.wait_for("left a daemon");
    stack.world().processes();
    terminal.hang_up();
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn ctrl_z_stops_the_services_and_fg_continues_them() {
    if !(require("setsid") && require("bash")) {
        return;
    }
    let stack = TestStack::new("services: { it: { command: MISBEHAVE lines 1 1 } }");
    let terminal = up_as_a_job(&stack);
    terminal.wait_for("line 1");
    let it = stack.wait_for("it", "running", phase_is("running"));
    let service = it.pid().expect("it runs");
    let supervisor = stack.own_process("supervisor_pid");
    terminal.press(CTRL_Z);
    terminal.wait_for("job stopped");
    wait_for_state(service, 'T');
    // Only the client has stopped: the supervisor goes on answering.
    assert_ne!(state_of(supervisor.pid), Some('T'));
    assert_eq!(
        stack.service("it").expect("it is told").pid(),
        Some(service)
    );
    terminal.press(b"\n");
    wait_for_state(service, 'S');
    let it = stack.wait_for("it", "running", phase_is("running"));
    assert_eq!((it.pid(), it.attempt()), (Some(service), 1));
    terminal.press(CTRL_C);
    let (_, screen) = terminal.wait();
    assert!(screen.contains("job ended with 130"), "{screen}");
}

#[test]
fn ctrl_z_stops_what_has_left_the_session_of_its_service() {
    if !(require("setsid") && require("bash")) {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: '(setsid MISBEHAVE sleep &); (env -i setsid MISBEHAVE sleep &); echo both are there; exec MISBEHAVE sleep' } }",
    );
    let terminal = up_as_a_job(&stack);
    terminal.wait_for("both are there");
    let supervisor = stack.own_process("supervisor_pid");
    let sleepers = || {
        let ours = |process: &Process| process.command().trim_end().ends_with("sleep");
        let all = stack.world().processes();
        all.into_iter().filter(ours).collect::<Vec<_>>()
    };
    wait_until("three processes", || (sleepers().len() == 3).then_some(()));
    terminal.press(CTRL_Z);
    terminal.wait_for("job stopped");
    for process in sleepers() {
        wait_for_state(process.pid, 'T');
    }
    assert_ne!(state_of(supervisor.pid), Some('T'));
    terminal.press(b"\n");
    for process in sleepers() {
        wait_for_state(process.pid, 'S');
    }
    terminal.press(CTRL_C);
    terminal.wait();
}

#[test]
fn clocks_stand_still_while_everything_is_stopped() {
    if !(require("setsid") && require("bash")) {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: 'date +%s%N >> starts; exit 1', restart_policy: { condition: any, delay: 3s, max_delay: 3s } } }",
    );
    let terminal = up_as_a_job(&stack);
    stack.wait_for("it", "backoff", phase_is("backoff"));
    terminal.press(CTRL_Z);
    terminal.wait_for("job stopped");
    let stopped = Instant::now();
    let pause = wait_until("some time to pass", || {
        let passed = stopped.elapsed();
        (passed > Duration::from_millis(1500)).then_some(passed)
    });
    terminal.press(b"\n");
    let starts = wait_until("a second start", || {
        let starts: Vec<u64> = stack
            .read("starts")
            .lines()
            .map(|line| line.parse().expect("nanoseconds"))
            .collect();
        (starts.len() == 2).then_some(starts)
    });
    terminal.press(CTRL_C);
    terminal.wait();
    // Ten per cent of jitter.
    let earliest = pause + Duration::from_millis(2700);
    let between = Duration::from_nanos(starts[1] - starts[0]);
    assert!(between >= earliest, "{between:?} with a pause of {pause:?}");
}

#[test]
fn ctrl_z_without_a_shell_stops_nothing() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new("services: { it: { command: MISBEHAVE lines 1 1 } }");
    let terminal = up_on_a_terminal(&stack);
    terminal.wait_for("line 1");
    terminal.press(CTRL_Z);
    terminal.wait_for("Ctrl-Z is ignored");
    let supervisor = stack.own_process("supervisor_pid");
    assert_ne!(state_of(supervisor.pid), Some('T'));
    terminal.press(CTRL_C);
    assert_eq!(terminal.wait().0, 130);
}

/// `b` waits for ever, so that there is something to show that moves.
const WAITING: &str = "
services:
  a: { command: MISBEHAVE sleep, healthcheck: { test: 'false', interval: 1h } }
  b: { command: MISBEHAVE sleep, depends_on: { a: { condition: service_healthy } } }
";

#[test]
fn the_terminal_is_left_as_it_was_however_it_ends() {
    if !require("setsid") {
        return;
    }
    let ends = [
        ("Ctrl-C", Signal::SIGINT),
        ("supervisor", Signal::SIGKILL),
        ("supervisor", Signal::SIGTERM),
        ("client", Signal::SIGKILL),
    ];
    for end in ends {
        let stack = TestStack::new(WAITING);
        let terminal = up_on_a_terminal(&stack);
        let before = terminal.settings();
        terminal.wait_for("waiting");
        let supervisor: Process = stack.own_process("supervisor_pid");
        stack.world().processes();
        let client = Process::of(terminal.pid()).expect("it runs");
        match end {
            ("supervisor", signal) => supervisor.signal(signal),
            ("client", signal) => client.signal(signal),
            _ => terminal.press(CTRL_C),
        }
        stack.world().wait_until_nothing_is_left();
        assert_eq!(terminal.settings(), before, "{end:?}");
        let screen = terminal.screen();
        let (hidden, shown) = (screen.rfind("\x1b[?25l"), screen.rfind("\x1b[?25h"));
        assert!(
            hidden <= shown,
            "{end:?} leaves the cursor hidden: {screen:?}"
        );
    }
}
