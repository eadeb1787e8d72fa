//! What is inherited from whoever calls, and what is not; what the system refuses.

use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, Up, World, binary, phase_is, require};

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
    let guardian = stack.own_process("guardian_pid").open_files();
    assert!(
        guardian.iter().any(|target| target.ends_with("/lock")),
        "{guardian:?}"
    );
    assert!(
        !guardian.iter().any(|target| target.starts_with("socket:")),
        "{guardian:?}"
    );
    for process in stack.world().processes() {
        let open = process.open_files();
        assert!(
            !open.iter().any(|target| target.ends_with("/caller")),
            "{open:?}"
        );
    }
    stack.down();
}

#[test]
fn stack_itself_listens_on_no_port() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    for key in ["guardian_pid", "supervisor_pid"] {
        let process = stack.own_process(key);
        // The tenth field of a line is the number of the socket.
        let tables = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"].map(|table| {
            let path = format!("/proc/{}/net/{table}", process.pid);
            fs::read_to_string(path).unwrap_or_default()
        });
        let numbers = tables.iter().flat_map(|table| table.lines().skip(1));
        for number in numbers.filter_map(|line| line.split_whitespace().nth(9)) {
            let socket = format!("socket:[{number}]");
            assert!(!process.open_files().contains(&socket), "{key}");
        }
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
        ("strange", "no_interpreter"),
        ("nowhere", "nowhere"),
    ] {
        let it = stack.service(name).expect("ps lists what failed");
        assert_eq!((it.phase(), it.attempt()), ("failed", 0), "{name}");
        assert!(it.reason().contains(word), "{name}: {}", it.reason());
    }
}

#[test]
fn a_command_without_descriptors_says_so() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    for verb in ["ps", "logs", "down"] {
        let limit = format!("ulimit -n 8; exec \"$0\" {verb}");
        let wrapped = stack.wrapped(&["sh", "-c", &limit], &[]);
        stack
            .run_command(wrapped)
            .expect(1)
            .says(&["Too many open files"]);
    }
    stack.down();
}

#[test]
fn a_supervisor_without_descriptors_can_be_asked_and_stopped() {
    if !require("prlimit") {
        return;
    }
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    let supervisor = stack.own_process("supervisor_pid");
    // Nothing above its highest one, and nothing below that is free: what it opens next it cannot have.
    let open = |process: &Process| {
        let entries = fs_err::read_dir(format!("/proc/{}/fd", process.pid)).expect("it runs");
        let numbers = entries.flatten().map(|it| it.file_name());
        let numbers = numbers.filter_map(|it| it.to_str()?.parse::<u64>().ok());
        numbers.collect::<Vec<_>>()
    };
    let numbers = open(&supervisor);
    let limit = numbers.len() as u64;
    let limit = format!("--nofile={limit}:{limit}");
    let pid = format!("--pid={}", supervisor.pid);
    let status = std::process::Command::new("prlimit")
        .args([&pid, &limit])
        .status();
    assert!(status.expect("it is there").success());
    for _ in 0..3 {
        stack.run(&["ps"]).ok();
    }
    stack.down();
}
