//! What can go wrong around the processes of `stack` itself: each kind of death at each moment,
//! operations that meet, and what is inherited from whoever calls.

use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{LIMIT, Process, TestStack, Up, World, binary, phase_is, require, wait_until};

/// A tree of each kind: polite, deaf, daemonised, in a session of its own.
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
fn kill_both(stack: &TestStack) {
    let guardian = stack.own_process("guardian_pid");
    let supervisor = stack.own_process("supervisor_pid");
    stack.world().processes();
    guardian.signal(Signal::SIGSTOP);
    supervisor.signal(Signal::SIGSTOP);
    for process in [&guardian, &supervisor] {
        process.signal(Signal::SIGKILL);
        wait_until("its end", || (!process.is_alive()).then_some(()));
    }
}

#[test]
fn down_ends_what_is_left_when_both_are_killed() {
    let stack = tree_started();
    kill_both(&stack);
    assert!(!stack.service_processes().is_empty());
    let output = stack.down();
    assert!(output.stderr.contains("ended 6 processes"), "{output}");
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn up_after_both_are_killed_runs_one_copy() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE bind $<PORT:auto> --http } }");
    stack.up_detached();
    let (port, old) = (stack.port_of("it"), stack.service("it").expect("it runs"));
    kill_both(&stack);
    stack.up_detached();
    let new = stack.service("it").expect("it runs");
    assert_ne!(old.pid(), new.pid());
    assert_eq!(stack.port_of("it"), port);
    assert_eq!(stack.service_processes().len(), 1);
    stack.down();
}

#[test]
fn the_end_of_the_guardian_alone_stops_everything() {
    let stack = tree_started();
    stack.own_process("guardian_pid").signal(Signal::SIGKILL);
    stack.world().wait_until_nothing_is_left();
    assert_eq!(stack.read("clean"), "SIGTERM\n");
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
    // Of the two, the guardian is the one whose parent is not the other.
    let ours: Vec<Process> = stack
        .world()
        .processes()
        .into_iter()
        .filter(|process| {
            fs::read_link(format!("/proc/{}/exe", process.pid)).is_ok_and(|exe| exe == binary())
        })
        .collect();
    let guardian = ours
        .iter()
        .find(|process| {
            let parent = parent_of(process.pid);
            ours.iter().all(|other| Some(other.pid) != parent)
        })
        .expect("the guardian runs");
    guardian.signal(Signal::SIGTERM);
    up.wait().expect(143);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
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
    stack.down();
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
fn the_guardian_keeps_the_lock_and_nothing_else() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE bind $<PORT:auto> } }");
    // `exec 9` stands for whatever a caller has open: a lock, or a pipe whose end is waited for.
    let mut command = stack.command(&[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec 9>caller; exec \"$0\" up --wait"])
        .arg(binary());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell.current_dir(
        command
            .current_dir(stack.path(""))
            .get_current_dir()
            .expect("set"),
    );
    Up::start(stack.world(), shell).wait().ok();
    let targets = |pid: i32| -> Vec<String> {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.display().to_string())
            .collect()
    };
    let guardian = targets(stack.own_process("guardian_pid").pid);
    assert!(
        guardian.iter().any(|target| target.ends_with("/lock")),
        "{guardian:?}"
    );
    assert!(
        !guardian.iter().any(|target| target.starts_with("socket:")),
        "{guardian:?}"
    );
    for process in stack.world().processes() {
        let open = targets(process.pid);
        assert!(
            !open.iter().any(|target| target.ends_with("/caller")),
            "{open:?}"
        );
    }
    stack.down();
}

#[test]
fn a_service_gets_three_descriptors_whatever_the_caller_has_open() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE fd-dump fds } }");
    let mut command = Command::new("bash");
    if !require("bash") {
        return;
    }
    let script = "exec 9<stack.yaml 251<stack.yaml; exec \"$0\" up";
    stack
        .world()
        .prepare(command.args(["-c", script]))
        .arg(binary());
    command.current_dir(stack.path(""));
    Up::start(stack.world(), command).wait().ok();
    let fds = stack.read("fds");
    let numbers: Vec<&str> = fds
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(numbers, ["0", "1", "2"], "{fds}");
}

#[test]
fn a_hangup_that_the_caller_ignores_is_ignored() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    let mut command = Command::new("nohup");
    if !require("nohup") {
        return;
    }
    stack.world().prepare(&mut command).arg(binary()).arg("up");
    command.current_dir(stack.path(""));
    let mut up = Up::start(stack.world(), command);
    stack.wait_for("it", "running", phase_is("running"));
    up.signal(Signal::SIGHUP);
    // Taken in after the other one, and answered in words.
    up.signal(Signal::SIGUSR1);
    up.wait_for_line("attempt 1");
    assert_eq!(
        stack.service("it").expect("it is listed").phase(),
        "running"
    );
    up.signal(Signal::SIGTERM);
    up.wait().expect(143);
}

#[test]
fn a_hangup_stops_a_foreground_run() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    up.signal(Signal::SIGHUP);
    up.wait();
    assert_eq!(stack.read("heard"), "SIGTERM\n");
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
fn a_start_in_the_middle_of_a_restart_does_not_split_it() {
    let stack = TestStack::new(
        "services: { slow: { command: MISBEHAVE record TERM heard --takes 1500 }, quick: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("slow", "recording");
    let restart = stack.start(&["restart"]);
    stack.wait_for("slow", "stopping", phase_is("stopping"));
    stack.run(&["start", "slow"]);
    for name in ["slow", "quick"] {
        stack.wait_for(name, "a second attempt", |it| {
            it.phase() == "running" && it.attempt() == 2
        });
    }
    restart.wait().ok();
    stack.down();
}

#[test]
fn a_restart_of_several_ends_well_though_one_is_down_long_before_the_other() {
    let stack = TestStack::new(
        "services: { slow: { command: MISBEHAVE record TERM heard --takes 300 }, quick: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("slow", "recording");
    let output = stack.run(&["restart"]).ok().says(&["restarted slow"]);
    assert!(output.stderr.contains("quick"), "{output}");
    stack.down();
}

#[test]
fn who_waits_for_a_service_waits_over_its_restart() {
    let stack = TestStack::new(
        "services: { db: { command: MISBEHAVE sleep, healthcheck: { test: test -e ready, interval: 50ms, retries: 100000 } }, slow: { command: MISBEHAVE record TERM heard --takes 1500 }, web: { command: MISBEHAVE sleep, depends_on: { db: { condition: service_healthy } } } }",
    );
    let up = stack.start(&["up", "--wait"]);
    stack.wait_for("web", "waiting", phase_is("waiting"));
    stack.wait_for_log("slow", "recording");
    let restart = stack.start(&["restart", "db", "slow"]);
    // `db` is down at once and has to wait for `slow`, as is said.
    stack.wait_for("db", "waiting", phase_is("waiting"));
    assert_eq!(
        stack.service("web").expect("it is listed").phase(),
        "waiting"
    );
    stack.write("ready", "");
    restart.wait().ok();
    stack.wait_for("web", "running", phase_is("running"));
    up.wait();
    stack.down();
}

#[test]
fn a_restart_of_the_service_of_exit_code_from_is_not_its_end() {
    let stack = TestStack::new(
        "services: { it: { command: 'exec MISBEHAVE record USR1,TERM heard' }, on: { command: MISBEHAVE sleep } }",
    );
    let mut up = stack.start(&["up", "--exit-code-from", "it"]);
    up.wait_for_line("recording");
    stack.run(&["restart", "it"]).ok();
    let it = stack.wait_for("it", "a second attempt", |it| {
        it.attempt() == 2 && it.phase() == "running"
    });
    assert!(!up.has_ended());
    wait_until("its second word", || {
        (up.stdout().matches("recording").count() == 2).then_some(())
    });
    Process::of(it.pid().expect("it runs"))
        .expect("it runs")
        .signal(Signal::SIGKILL);
    up.wait().expect(137);
}

#[test]
fn ctrl_c_is_130_also_with_exit_code_from() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.start(&["up", "--exit-code-from", "it"]);
    up.wait_for_line("recording");
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn a_foreground_up_ends_when_everything_was_stopped() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE sleep }, b: { command: MISBEHAVE sleep } }",
    );
    let up = stack.up();
    stack.wait_for("b", "running", phase_is("running"));
    stack.run(&["stop", "a"]).ok();
    stack.run(&["stop", "b"]).ok();
    up.wait().ok();
}

#[test]
fn ups_and_downs_at_once_end_in_good_order() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE bind $<PORT:auto> --http } }");
    for _ in 0..3 {
        let running: Vec<Up> = (0..6)
            .map(|n| stack.start(if n % 2 == 0 { &["up", "-d"] } else { &["down"] }))
            .collect();
        for one in running {
            let output = one.wait();
            // Done, overtaken by a down, or busy being stopped by one.
            assert!([0, 1, 3].contains(&output.code), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
        }
        assert!(stack.service_processes().len() <= 1);
        stack.down();
    }
}

#[test]
fn a_check_that_hangs_is_killed_and_never_runs_twice() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep, healthcheck: { test: [CMD, MISBEHAVE, linger, '200'], interval: 50ms, timeout: 200ms, retries: 5 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "unhealthy", |it| {
        // The service itself, and one check.
        let checks = stack
            .service_processes()
            .iter()
            .filter(|process| process.command().contains("linger"))
            .count();
        assert!(checks <= 1, "{checks} checks at once");
        it.phase() == "unhealthy"
    });
    // With a check under way.
    wait_until("a check", || {
        (stack.service_processes().len() == 2).then_some(())
    });
    stack.down();
}

#[test]
fn a_check_that_floods_its_output_holds_nobody_up() {
    // What it leaves behind floods on while the check itself has ended.
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep, healthcheck: { test: 'setsid yes & exit 1', interval: 50ms, retries: 3 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "unhealthy", phase_is("unhealthy"));
    stack.down();
}

#[test]
fn a_lease_that_names_a_stranger_harms_nobody() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    let mut stranger = stack.helper(&["ignore-term"]);
    stranger.wait_for_line("deaf");
    stack.run(&["up", "-d"]).ok();
    stack.down();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has it");
    let lease = format!("{:>10} {:>14} {:>14} it", stranger.pid(), 1, 2);
    stack.write(
        ".stack/shop/leases",
        &format!("boot {}\n{lease}\n", boot.trim()),
    );
    stack.run(&["up", "-d"]).ok();
    stack.down();
    assert!(!stranger.has_ended());
    assert!(
        !stranger.stdout().contains("heard"),
        "{}",
        stranger.stdout()
    );
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

#[test]
fn a_long_path_gets_its_socket_elsewhere() {
    let stack = TestStack::in_world(
        &World::new(),
        &"long".repeat(50),
        "services: { it: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    stack.up_detached();
    assert_eq!(stack.service("it").expect("it runs").phase(), "healthy");
    stack.down();
}

#[test]
fn files_are_for_their_owner_alone_whatever_the_mask() {
    use std::os::unix::fs::PermissionsExt;
    let stack =
        TestStack::new("services: { it: { command: 'echo $<KEY:auto>; exec MISBEHAVE sleep' } }");
    let mut command = Command::new("sh");
    stack
        .world()
        .prepare(command.args(["-c", "umask 0; exec \"$0\" up -d"]))
        .arg(binary());
    command.current_dir(stack.path(""));
    Up::start(stack.world(), command).wait().ok();
    let mut seen = 0;
    let mut next = vec![stack.path(".env"), stack.path(".stack/shop")];
    while let Some(path) = next.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            wanted,
            "{}",
            path.display()
        );
        seen += 1;
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("it is ours");
            next.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    assert!(seen > 5, "{seen} files");
    stack.down();
}

#[test]
fn too_few_descriptors_are_a_clear_failure() {
    let services: String = (0..40)
        .map(|n| format!("  s{n}: {{ command: MISBEHAVE sleep }}\n"))
        .collect::<Vec<_>>()
        .concat();
    let stack = TestStack::new(&format!("services:\n{services}"));
    let mut command = Command::new("sh");
    stack
        .world()
        .prepare(command.args(["-c", "ulimit -n 64; exec \"$0\" up -d"]))
        .arg(binary());
    command.current_dir(stack.path(""));
    let output = Up::start(stack.world(), command).wait().expect(1);
    assert!(output.stderr.contains("open files"), "{output}");
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn what_cannot_be_executed_says_why_and_is_no_loop() {
    let stack = TestStack::new(
        "
services:
  missing: { command: [./missing], restart: always }
  locked: { command: [./locked], restart: always }
  strange: { command: [./strange], restart: always }
  nowhere: { command: 'true', working_dir: nowhere, restart: always }
",
    );
    stack.write("locked", "#!/bin/sh\n");
    stack.write("strange", "#!/no/such/interpreter\n");
    let mut mode = fs::metadata(stack.path("strange"))
        .expect("it is there")
        .permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(stack.path("strange"), mode).expect("it is ours");
    let began = Instant::now();
    stack.up().wait().expect(1);
    assert!(began.elapsed() < Duration::from_secs(20));
    for (name, word) in [
        ("missing", "missing"),
        ("locked", "locked"),
        ("strange", "interpreter"),
        ("nowhere", "nowhere"),
    ] {
        let it = stack.service(name).expect("ps lists what failed");
        assert_eq!((it.phase(), it.attempt()), ("failed", 0), "{name}");
        assert!(it.reason().contains(word), "{name}: {}", it.reason());
    }
}
