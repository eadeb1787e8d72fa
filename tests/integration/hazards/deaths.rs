//! Each kind of death at each moment: supervisor, guardian, both, a service, an orphan.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{LIMIT, Process, TestStack, Up, binary, phase_is, require, wait_until};

/// A tree of each kind: polite, deaf, daemonised, in a session of its own.
const TREE: &str = "
services:
  polite: { command: MISBEHAVE record TERM clean, stop_grace_period: 1s }
  deaf: { command: MISBEHAVE ignore-term, stop_grace_period: 1s }
  daemon: { command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s }
  session: { command: MISBEHAVE gc-setsid, stop_grace_period: 1s }
";

#[track_caller]
pub(super) fn tree_started() -> TestStack {
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
    stack.world().processes();
    stack
}

/// Sends a signal by its number: the real-time ones have no name in our library.
#[track_caller]
fn signal_number(pid: i32, number: i32) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{number} {pid}")])
        .status()
        .expect("there is a shell");
    assert!(status.success());
}

/// Kills supervisor and guardian so that neither learns of the other's death.
#[track_caller]
pub(super) fn kill_both(stack: &TestStack) {
    let guardian = stack.own_process("guardian_pid");
    let supervisor = stack.own_process("supervisor_pid");
    stack.world().processes();
    guardian.suspend();
    supervisor.suspend();
    for process in [&guardian, &supervisor] {
        process.signal(Signal::SIGKILL);
        wait_until("its end", || (!process.is_alive()).then_some(()));
    }
}

#[test]
fn the_end_of_the_guardian_alone_stops_everything() {
    let stack = tree_started();
    stack.own_process("guardian_pid").signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn down_removes_the_secrets_of_a_stack_whose_supervisor_was_killed() {
    let stack = TestStack::new(
        "
secrets: { key: { file: key } }
services: { web: { command: MISBEHAVE sleep, secrets: [key] } }
",
    );
    stack.write("key", "hush");
    stack.run(&["up", "-d"]).ok();
    assert_eq!(stack.read(".stack/shop/secrets/web/key"), "hush");
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    stack.down();
    assert!(!stack.path(".stack/shop/secrets").exists());
}

#[test]
fn a_supervisor_that_a_real_time_signal_ends_is_missed() {
    let stack = tree_started();
    signal_number(stack.own_process("supervisor_pid").pid, 34);
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn a_service_that_a_real_time_signal_ends_has_ended() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep }, on: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]).ok();
    signal_number(
        stack
            .service("it")
            .and_then(|it| it.pid())
            .expect("it runs"),
        34,
    );
    let it = stack.wait_for("it", "failed", phase_is("failed"));
    assert_eq!(it.exit_signal(), Some(34));
    stack.down();
}

#[test]
fn a_signal_from_outside_the_pid_namespace_reaches_the_supervisor() {
    let is_possible = require("unshare")
        && Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !is_possible {
        return;
    }
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let inside = stack.command(&[]);
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            "\"$0\" up; exit $?",
        ])
        .arg(binary())
        .current_dir(stack.path(""));
    for (key, value) in inside.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let mut up = Up::start(stack.world(), command);
    up.wait_for_line("recording");
    // Client, guardian and supervisor: the guardian is the one in the middle.
    let ours: Vec<Process> = stack
        .world()
        .processes()
        .into_iter()
        .filter(|process| {
            fs::read_link(format!("/proc/{}/exe", process.pid)).is_ok_and(|exe| exe == binary())
        })
        .collect();
    let is_ours = |pid: Option<i32>| ours.iter().any(|other| Some(other.pid) == pid);
    let is_parent = |pid: i32| ours.iter().any(|other| other.parent() == Some(pid));
    let guardian = ours
        .iter()
        .find(|process| is_ours(process.parent()) && is_parent(process.pid))
        .expect("the guardian runs");
    guardian.signal(Signal::SIGTERM);
    up.wait().expect(143);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn a_supervisor_killed_in_the_middle_of_a_start_leaves_nothing() {
    let services: String = (0..20)
        .map(|n| format!("  s{n}: {{ command: MISBEHAVE bind $<PORT:auto> --http }}\n"))
        .collect::<Vec<_>>()
        .concat();
    let stack = TestStack::new(&format!("services:\n{services}"));
    for round in 0..5 {
        let up = stack.start(&["up", "--wait"]);
        // The lock names it before the first service is executed.
        let supervisor = stack.own_process("supervisor_pid");
        supervisor.signal(Signal::SIGKILL);
        up.wait().expect(1);
        stack.world().wait_until_nothing_is_left();
        assert_eq!(stack.dotenv().len(), 20, "round {round}");
    }
    stack.up_detached();
    stack.down();
}

#[test]
fn an_up_whose_supervisor_is_killed_takes_no_earlier_word_for_its_own() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE sleep, healthcheck: { test: test -e ready, interval: 50ms, retries: 100000 } }, b: { command: MISBEHAVE sleep, depends_on: { a: { condition: service_healthy } } } }",
    );
    // The word of a good run is there.
    stack.write("ready", "");
    stack.up_detached();
    stack.down();
    fs::remove_file(stack.path("ready")).expect("it was written");
    let up = stack.start(&["up", "-d"]);
    stack.wait_for("b", "waiting", phase_is("waiting"));
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    up.wait().expect(1);
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn down_waits_for_a_guardian_that_is_stopping_everything() {
    // Longer than anybody waits for a supervisor to answer.
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 7s } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "deaf");
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.signal(Signal::SIGKILL);
    wait_until("its end", || (!supervisor.is_alive()).then_some(()));
    let guardian = stack.own_process("guardian_pid").pid;
    let output = stack.down();
    for part in [
        format!("waiting for the guardian of this stack (pid {guardian})"),
        "the guardian has stopped everything".to_owned(),
    ] {
        assert!(output.stderr.contains(&part), "{output}");
    }
}

#[test]
fn down_hurries_a_guardian_when_it_is_told_to() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 5m } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "deaf");
    stack.world().processes();
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.signal(Signal::SIGKILL);
    wait_until("its end", || (!supervisor.is_alive()).then_some(()));
    // Whoever asks meanwhile hears what is so.
    let service = stack.service("it").expect("it is known");
    assert_eq!(
        (service.phase(), service.pid().is_some()),
        ("stopping", true)
    );
    assert!(
        service.reason().contains("supervisor_killed"),
        "{}",
        service.reason()
    );
    for verb in ["stop", "restart"] {
        let output = stack.run(&[verb]).expect(3);
        assert!(
            output.stderr.contains("is the guardian of this stack"),
            "{output}"
        );
    }
    let output = stack.run(&[]).ok();
    assert!(
        output.stdout.contains("is the guardian of this stack"),
        "{output}"
    );
    stack.run(&["down", "-t", "1"]).ok();
    stack.world().wait_until_nothing_is_left();
}

/// The sockets that a process has open, by their numbers.
fn sockets_of(pid: i32) -> HashSet<String> {
    let mut open = Process::of(pid).expect("it runs").open_files();
    open.retain(|target| target.starts_with("socket:"));
    open.into_iter().collect()
}

#[test]
fn an_up_that_waited_for_the_lock_shares_nothing_with_its_supervisor() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 1s, healthcheck: { test: 'false', interval: 1h } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "deaf");
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    // Its guardian needs a second, in which this one waits.
    let up = stack.start(&["up", "--wait"]);
    stack.wait_for("it", "starting", phase_is("starting"));
    let supervisor = stack.own_process("supervisor_pid");
    // A common pipe for signals would take the news of an end from one for the other.
    let shared: HashSet<String> = &sockets_of(up.pid()) & &sockets_of(supervisor.pid);
    assert!(shared.is_empty(), "{shared:?}");
    stack.run(&["down", "-t", "0"]).ok();
    up.wait();
}

#[test]
fn who_comes_behind_a_suspended_guardian_ends_with_a_reason() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    let guardian = stack.own_process("guardian_pid");
    guardian.suspend();
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.signal(Signal::SIGKILL);
    wait_until("its end", || (!supervisor.is_alive()).then_some(()));
    for arguments in [&["up", "-d"][..], &["down"]] {
        let output = stack.run(arguments).expect(5);
        assert!(output.stderr.contains("is suspended"), "{output}");
    }
    guardian.signal(Signal::SIGCONT);
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn the_grace_of_up_is_kept_whoever_is_killed() {
    for killed in ["supervisor_pid", "guardian_pid"] {
        let stack = TestStack::new(
            "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 5m } }",
        );
        stack.run(&["up", "-d", "-t", "1"]).ok();
        stack.wait_for_log("it", "deaf");
        stack.world().processes();
        stack.own_process(killed).signal(Signal::SIGKILL);
        stack.world().wait_until_nothing_is_left();
    }
}

#[test]
fn the_guardian_asks_every_process_once_and_by_the_right_signal() {
    let stack = TestStack::new(
        "services: { it: { command: 'MISBEHAVE record INT,TERM heard --stay & wait', stop_signal: SIGINT, stop_grace_period: 1s } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "recording");
    stack.world().processes();
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("heard"), "SIGINT\n");
}

#[test]
fn what_left_the_group_is_asked_before_it_is_killed() {
    for mode in ["double-fork --stay", "gc-setsid"] {
        let stack = TestStack::new(&format!(
            "services: {{ it: {{ command: MISBEHAVE {mode}, stop_grace_period: 5m }} }}"
        ));
        stack.run(&["up", "-d"]).ok();
        wait_until("two processes", || {
            (stack.service_processes().len() == 2).then_some(())
        });
        let began = Instant::now();
        stack.down();
        assert!(
            began.elapsed() < LIMIT,
            "{mode}: nobody asked what left the group"
        );
    }
}

#[test]
fn what_left_its_session_has_the_grace_of_its_own_service() {
    let stack = TestStack::new(
        "
services:
  child: { command: MISBEHAVE gc-setsid --deaf, stop_grace_period: 1s }
  daemon: { command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s }
  slow: { command: MISBEHAVE ignore-term, stop_grace_period: 5m }
",
    );
    stack.run(&["up", "-d"]).ok();
    for service in ["child", "daemon", "slow"] {
        stack.wait_for_log(service, "deaf");
    }
    let guardian = stack.own_process("guardian_pid");
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    wait_until("the end of all but `slow`", || {
        (stack.service_processes().len() == 1).then_some(())
    });
    guardian.signal(Signal::SIGTERM);
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn orphans_that_end_leave_no_zombies_and_take_no_status_along() {
    let stack = TestStack::new(
        "services: { it: { command: 'i=0; while [ $i -lt 500 ]; do (true &); i=$((i+1)); done; echo done; exec MISBEHAVE wait-file end -- one-shot 7' } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "done");
    let supervisor = stack.own_process("supervisor_pid").pid;
    wait_until("the service alone", || {
        let path = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = fs::read_to_string(path).expect("it runs");
        (children.split_whitespace().count() == 1).then_some(())
    });
    stack.write("end", "");
    stack.world().wait_until_nothing_is_left();
    let it = stack.service("it").expect("ps lists what ended");
    assert_eq!(it.exit_code(), Some(7));
}
