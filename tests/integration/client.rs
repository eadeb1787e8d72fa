//! The client of a stack: what it shows, when it leaves, and what its end means.

use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};

use crate::harness::{
    CTRL_C, CTRL_Z, Output, Process, Terminal, TestStack, Up, phase_is, require, up_as_a_job,
    wait_until,
};

const SLEEPER: &str = "services: { it: { command: MISBEHAVE sleep } }";

/// Deaf for longer than any test takes.
const DEAF: &str = "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 5m } }";

/// `b` waits for ever.
const WAITING: &str = "
services:
  a: { command: MISBEHAVE sleep, healthcheck: { test: 'false', interval: 1h } }
  b: { command: MISBEHAVE sleep, depends_on: { a: { condition: service_healthy } } }
";

/// What the three standard streams of a process are.
fn streams_of(pid: i32) -> Vec<String> {
    let target = |number| fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it is open");
    let streams = [0, 1, 2].map(target);
    streams
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn guardian_and_supervisor_have_no_terminal() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new(SLEEPER);
    let terminal = Terminal::start(stack.world(), &stack.command(&["up"]));
    stack.wait_for("it", "running", phase_is("running"));
    for key in ["guardian_pid", "supervisor_pid"] {
        let pid = stack.own_process(key).pid;
        let streams = streams_of(pid);
        assert_eq!(streams[0], "/dev/null", "{key}");
        assert!(
            streams[1..]
                .iter()
                .all(|path| path.ends_with("/supervisor.log")),
            "{streams:?}"
        );
        assert_ne!(
            getsid(Some(Pid::from_raw(pid))).expect("it runs"),
            getsid(Some(Pid::from_raw(terminal.pid()))).expect("it runs"),
        );
    }
    terminal.press(CTRL_C);
    assert_eq!(terminal.wait().0, 130);
}

#[test]
fn an_idle_stack_waits_for_no_time() {
    let stack = TestStack::new(SLEEPER);
    let mut up = stack.up();
    up.wait_for_line("Ctrl-C stops the stack");
    let shown = Instant::now();
    // In `epoll_wait` and its like the fourth argument is for how long; -1 is for ever.
    let sleeps_for_ever = |pid: i32| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).expect("it runs");
        call.split(' ')
            .nth(4)
            .is_some_and(|limit| limit.ends_with("ffffffff"))
    };
    for pid in [up.pid(), stack.own_process("supervisor_pid").pid] {
        wait_until("a sleep without an end", || {
            sleeps_for_ever(pid).then_some(())
        });
    }
    let waited = shown.elapsed();
    assert!(waited < Duration::from_secs(5), "only after {waited:?}");
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn the_end_of_any_other_viewer_changes_nothing() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    let mut logs = stack.start(&["logs", "-f"]);
    logs.wait_for_line("recording");
    let mut joined = stack.start(&["up"]);
    joined.wait_for_line("attached");
    for viewer in [logs, joined] {
        viewer.signal(Signal::SIGKILL);
        viewer.wait().expect(137);
    }
    let it = stack.service("it").expect("it runs");
    assert_eq!((it.phase(), it.attempt()), ("running", 1));
    assert!(!up.has_ended());
    up.signal(Signal::SIGTERM);
    up.wait().expect(143);
}

#[test]
fn a_terminal_that_takes_nothing_keeps_nobody_from_the_end() {
    if !require("setsid") {
        return;
    }
    // More than a terminal and the client take together.
    let stack = TestStack::new(
        "services: { it: { command: 'i=0; while [ $i -lt 40000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; echo done > said; exec MISBEHAVE sleep' } }",
    );
    let terminal = Terminal::start(stack.world(), &stack.command(&["up"]));
    // No service is slowed by a viewer.
    stack.wait_for_file("said");
    terminal.press(CTRL_C);
    let client = Process::of(terminal.pid()).expect("it has not been waited for");
    wait_until("the end of a client whose screen nobody reads", || {
        (!client.is_alive()).then_some(())
    });
    assert_eq!(terminal.wait().0, 130);
}

/// Runs `up` into a reader that is a line of a shell; its stderr, and the exit code below it.
fn up_into(stack: &TestStack, reader: &str) -> Output {
    let script =
        format!("{{ \"$0\" \"$@\" 2>said; echo $? >>said; }} | {{ {reader}; }}; cat said >&2");
    let shell = stack.wrapped(&["sh", "-c", &script], &["up", "--progress", "plain"]);
    stack.run_command(shell).ok()
}

const FLOOD_AND_CRASH: &str = "
services:
  flood: { command: MISBEHAVE spam 2000000 }
  tick: { command: 'sleep 1; echo boom; exit 7' }
";

#[test]
fn a_slow_reader_gets_every_line_and_the_error() {
    let stack = TestStack::new(FLOOD_AND_CRASH);
    // Nothing for longer than a second, and then a little at a time.
    let reader = "sleep 4; for i in 1 2 3 4 5 6 7 8; do head -c 65536; sleep 0.2; done; cat";
    let output = up_into(&stack, reader);
    let said = &output.stderr;
    assert_eq!(output.stdout.matches("flood |").count(), 20_000);
    assert!(output.stdout.contains("tick  | boom"));
    assert!(
        said.contains("service `tick` failed: exited with code 7"),
        "{said}"
    );
    assert!(
        said.ends_with("\n1\n") && !said.contains("not shown"),
        "{said}"
    );
}

#[test]
fn what_nobody_reads_is_counted_and_hides_no_error() {
    let stack = TestStack::new(FLOOD_AND_CRASH);
    let said = up_into(&stack, "sleep 15; cat").stderr;
    assert!(
        said.contains("service `tick` failed: exited with code 7"),
        "{said}"
    );
    assert!(
        said.contains(" lines were not shown, as nobody read stdout"),
        "{said}"
    );
    assert!(said.ends_with("\n1\n"), "{said}");
}

#[test]
fn who_stops_waiting_is_told_that_the_stack_goes_on() {
    for (arguments, signal, code) in [
        (&["up", "--wait"][..], Signal::SIGINT, 130),
        (&["up", "-d"], Signal::SIGTERM, 143),
    ] {
        let stack = TestStack::new(WAITING);
        let up = stack.start(arguments);
        stack.wait_for("b", "waiting", phase_is("waiting"));
        up.signal(signal);
        up.wait()
            .expect(code)
            .says(&["not waiting any longer", "goes on in the background"]);
        assert_eq!(stack.service("b").expect("it is told").phase(), "waiting");
        stack.down();
    }
}

#[test]
fn a_wait_that_somebody_overtakes_ends_and_says_by_what() {
    let stack = TestStack::new(WAITING);
    let mut up = stack.start(&["up", "--wait"]);
    up.wait_for_line("waiting");
    stack.run(&["stop", "b"]).ok();
    stack.run(&["stop", "a"]).ok();
    up.wait()
        .expect(3)
        .says(&["b did not start: a later `stack stop` took over"]);
    // Joined, it is the same.
    let mut up = stack.start(&["up", "--wait", "b"]);
    up.wait_for_line("waiting");
    stack.down();
    up.wait()
        .expect(3)
        .says(&["not everything is up: the whole stack was stopped"]);
}

#[test]
fn a_crash_loop_keeps_nobody_from_the_summary() {
    let stack = TestStack::new(
        "
services:
  web: { command: MISBEHAVE bind $<PORT:auto> --http }
  # With a port it is never ready, however late it ends.
  emails: { command: 'echo no config; exit 1', environment: { P: $<PORT:auto> }, restart_policy: { condition: any, delay: 20ms, max_delay: 5m } }
",
    );
    let mut up = stack.up();
    up.wait_for_line("shop is up");
    up.wait_for_line("its last line");
    let said = up.stderr();
    assert!(said.contains("shop is up, but for emails"), "{said}");
    assert!(
        said.contains("`emails` is crash-looping: exited with code 1"),
        "{said}"
    );
    assert!(said.contains("│ no config"), "{said}");
    up.signal(Signal::SIGTERM);
    // It is told once.
    let output = up.wait().expect(143);
    assert_eq!(
        output.stderr.matches("is crash-looping").count(),
        1,
        "{output}"
    );
}

#[test]
fn a_stop_that_takes_long_says_how_to_kill() {
    let stack = TestStack::new(DEAF);
    let mut up = stack.up();
    up.wait_for_line("deaf");
    stack.world().processes();
    up.signal(Signal::SIGINT);
    up.wait_for_line("press Ctrl-C again to kill everything now");
    up.signal(Signal::SIGINT);
    up.wait().expect(130).says(&["killing everything now"]);
}

#[test]
fn a_killed_guardian_is_a_failure_after_everything_has_been_stopped() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    stack.own_process("guardian_pid").signal(Signal::SIGKILL);
    up.wait().expect(1).says(&["the guardian was killed"]);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

/// Kills guardian and supervisor at once.
fn lose_both(stack: &TestStack) {
    let both = ["guardian_pid", "supervisor_pid"].map(|key| stack.own_process(key));
    stack.world().processes();
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for process in &both {
            process.signal(signal);
        }
    }
}

#[test]
fn who_loses_both_stops_what_is_left_at_once() {
    let stack = TestStack::new(
        "services: { it: { command: 'MISBEHAVE record INT,TERM heard', stop_signal: SIGINT } }",
    );
    let mut up = stack.up();
    up.wait_for_line("recording");
    lose_both(&stack);
    let said = "supervisor and guardian were killed; what they had left has been stopped";
    up.wait().expect(1).says(&[said]);
    stack.world().assert_nothing_is_left();
    assert_eq!(stack.read("heard"), "SIGINT\n");
    let output = stack.down();
    assert!(output.stderr.contains("nothing is running"), "{output}");
}

#[test]
fn a_stroke_kills_what_two_killed_processes_have_left() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 5m } }",
    );
    let mut up = stack.up();
    up.wait_for_line("deaf");
    lose_both(&stack);
    up.wait_for_line("of an earlier run to end, for 5 m 0 s at most");
    up.signal(Signal::SIGINT);
    up.wait()
        .expect(1)
        .says(&["what they had left has been stopped"]);
    stack.world().assert_nothing_is_left();
}

#[test]
fn ctrl_c_continues_a_suspended_guardian() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    stack.own_process("guardian_pid").suspend();
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn ctrl_c_says_why_nothing_stops_where_the_supervisor_is_suspended() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
    let mut up = stack.up();
    up.wait_for_line("recording");
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.suspend();
    up.signal(Signal::SIGINT);
    let hint = format!("`kill -CONT {}` lets it go on", supervisor.pid);
    up.wait_for_line(&hint);
    supervisor.signal(Signal::SIGCONT);
    up.wait().expect(130);
    assert_eq!(stack.read("heard"), "SIGTERM\n");
}

#[test]
fn what_stands_still_can_be_stopped_and_outlives_no_client() {
    if !(require("setsid") && require("bash")) {
        return;
    }
    for is_killed in [false, true] {
        let stack = TestStack::new("services: { it: { command: MISBEHAVE record TERM heard } }");
        let terminal = up_as_a_job(&stack);
        terminal.wait_for("recording");
        stack.world().processes();
        let guardian = stack.own_process("guardian_pid");
        terminal.press(CTRL_Z);
        terminal.wait_for("job stopped");
        if is_killed {
            let client = Process::of(guardian.parent().expect("it runs")).expect("it is stopped");
            client.signal(Signal::SIGKILL);
        } else {
            stack.down();
        }
        wait_until("the end of the stack", || {
            (!guardian.is_alive()).then_some(())
        });
        assert_eq!(stack.read("heard"), "SIGTERM\n", "{is_killed}");
        terminal.press(b"\n");
        terminal.wait();
    }
}

#[test]
fn a_supervisor_that_cannot_begin_says_why_to_the_client() {
    let stack = TestStack::new(SLEEPER);
    // Where the leases go there is a directory.
    fs::create_dir_all(stack.path(".stack/shop/leases/in-the-way")).expect("a new directory");
    for arguments in [&["up"][..], &["up", "-d"]] {
        stack.run(arguments).expect(1).says(&["directory"]);
    }
}

#[test]
fn what_happened_before_the_client_asked_is_told_once_and_in_order() {
    let services: Vec<String> = (1..=6)
        .map(|number| format!("s{number}: {{ command: sleep 0.0{number} }}"))
        .collect();
    let stack = TestStack::new(&format!("services: {{ {} }}", services.join(", ")));
    for _ in 0..3 {
        let output = stack.run(&["up", "--progress", "json"]).ok();
        let lines = output.stderr.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("an object a line");
            line
        });
        let told: Vec<serde_json::Value> = lines.filter(|line| line["kind"] == "service").collect();
        for number in 1..=6 {
            let of_it = told
                .iter()
                .filter(|line| line["id"] == format!("s{number}"));
            let statuses: Vec<&str> = of_it.filter_map(|line| line["status"].as_str()).collect();
            assert_eq!(statuses, ["running", "completed"], "{output}");
        }
    }
}

#[test]
fn nobody_waits_for_a_stack_that_is_suspended() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE record TERM heard }, b: { command: sleep 100 } }",
    );
    let terminal = up_as_a_job(&stack);
    terminal.wait_for("recording");
    stack.world().processes();
    terminal.press(CTRL_Z);
    terminal.wait_for("job stopped");
    for arguments in [
        &["stop", "a"][..],
        &["start", "a"],
        &["restart"],
        &["up", "--wait"],
        &["up"],
    ] {
        stack
            .run(arguments)
            .expect(3)
            .says(&["the stack is suspended", "`fg`"]);
    }
    stack.run(&["ps"]).ok().says(&["suspended", "`fg`"]);
    stack.down();
    assert_eq!(stack.read("heard"), "SIGTERM\n");
    terminal.press(b"\n");
    terminal.wait();
}

#[test]
fn who_starts_what_is_on_its_way_waits_for_it_as_well() {
    let stack = TestStack::new(
        "services: { dep: { command: 'MISBEHAVE wait-file go' }, \
         srv: { command: sleep 100, depends_on: { dep: { condition: service_completed_successfully } } } }",
    );
    let up = stack.start(&["up", "-d"]);
    stack.wait_for("srv", "waiting", phase_is("waiting"));
    let starts = [&["start", "srv"][..], &["up", "-d", "srv"], &["up", "-d"]];
    let mut starts = starts.map(|arguments| stack.start(arguments));
    for start in &mut starts[1..] {
        start.wait_for_line("running already");
    }
    stack.write("go", "");
    for start in starts {
        start.wait().ok();
        let srv = stack.service("srv").expect("it is listed");
        assert_eq!(srv.phase(), "running");
    }
    up.wait().ok();
    stack.run(&["start", "srv"]).ok().says(&["nothing to do"]);
    stack.down();
}

/// `stack up 2>&1`.
fn up_with_one_stream(stack: &TestStack) -> Up {
    let mut command = Command::new("sh");
    stack.world().prepare(&mut command);
    command
        .args(["-c", "exec \"$0\" up 2>&1"])
        .arg(crate::harness::binary())
        .current_dir(stack.path(""));
    Up::start(stack.world(), command)
}

#[test]
fn what_a_service_prints_while_it_stops_comes_before_the_news_of_its_end() {
    let service = "{ command: 'trap \"echo last words; exit 0\" TERM; echo ready; while :; do sleep 0.01; done' }";
    let stack = TestStack::new(&format!(
        "services: {{ a: {service}, b: {service}, c: {service} }}"
    ));
    let up = up_with_one_stream(&stack);
    wait_until("all of them", || {
        (up.stdout().matches("| ready").count() == 3).then_some(())
    });
    up.signal(Signal::SIGINT);
    let said = up.wait().expect(130).stdout;
    for name in ["a", "b", "c"] {
        let place = |text: &str| {
            said.find(text)
                .unwrap_or_else(|| panic!("no `{text}` in {said}"))
        };
        assert!(
            place(&format!("{name} | last words")) < place(&format!("{name}  stopped")),
            "{said}"
        );
    }
    assert!(said.ends_with("all services are stopped\n"), "{said}");
}

#[test]
fn a_line_that_is_not_finished_and_a_message_do_not_share_one_where_both_streams_meet() {
    let stack = TestStack::new(
        "services: { a: { command: 'printf unfinished; sleep 100' }, \
         b: { command: 'MISBEHAVE wait-file go' } }",
    );
    let up = up_with_one_stream(&stack);
    wait_until("the unfinished line", || {
        up.stdout().contains("| unfinished").then_some(())
    });
    stack.write("go", "");
    wait_until("the message", || {
        up.stdout().contains("b  completed").then_some(())
    });
    assert!(up.stdout().contains("\nb  completed"), "{}", up.stdout());
    stack.down();
    up.wait().ok();
}

#[test]
fn a_failure_is_told_whatever_another_service_does_at_that_moment() {
    // The other one begins anew all the time.
    let stack = TestStack::new(
        "
services:
  bad: { command: 'exit 1' }
  one: { command: 'true', restart_policy: { condition: any, delay: 0s } }
",
    );
    for _ in 0..5 {
        stack
            .run(&["up", "--wait"])
            .expect(1)
            .says(&["service `bad` failed"]);
        stack.down();
    }
}
