//! Several copies, and what a dead one has left.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Occupied, Process, TestStack, World, require, wait_until};

const TWO: &str = "
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: MISBEHAVE bind $<PORT:auto> --http }
";

const SERVICES: [&str; 2] = ["api", "web"];

fn ports_of(stack: &TestStack) -> [u16; 2] {
    SERVICES.map(|service| stack.port_of(service))
}

#[test]
fn worktrees_and_a_clone_keep_their_own_ports_over_ten_restarts_in_any_order() {
    if !require("git") {
        return;
    }
    let world = World::new();
    let origin = TestStack::in_world(&world, "origin", TWO);
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=it", "-c", "user.email=it@example.com"])
            .args(["-c", "init.defaultBranch=main", "-C"])
            .arg(origin.path(""))
            .args(arguments)
            .output()
            .expect("there is git");
        assert!(done.status.success(), "git {arguments:?}: {done:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "stack.yaml"]);
    git(&["commit", "-q", "-m", "all"]);
    for copy in ["left", "right"] {
        let there = world.path().join(copy).join("shop");
        git(&[
            "worktree",
            "add",
            "-q",
            "--detach",
            &there.display().to_string(),
        ]);
    }
    let there = world.path().join("clone/shop");
    git(&["clone", "-q", ".", &there.display().to_string()]);
    let copies: Vec<TestStack> = ["left", "right", "clone"]
        .into_iter()
        .map(|copy| TestStack::in_world(&world, copy, TWO))
        .collect();
    for copy in &copies {
        copy.up_detached();
    }
    let ports: Vec<[u16; 2]> = copies.iter().map(ports_of).collect();
    let mut all: Vec<u16> = ports.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6, "{ports:?}");
    // Every order of three, and some more: which one is alone, comes first, comes last.
    for round in [2, 0, 1, 1, 2, 0, 0, 2, 1, 0] {
        let (copy, next) = (&copies[round], &copies[(round + 1) % 3]);
        copy.down();
        if round == 1 {
            next.down();
            next.up_detached();
        }
        copy.up_detached();
        for (copy, ports) in copies.iter().zip(&ports) {
            assert_eq!(ports_of(copy), *ports);
        }
    }
    for copy in &copies {
        copy.down();
    }
}

#[test]
fn an_orphan_that_listens_is_ended_by_the_next_up_which_says_so_and_keeps_the_port() {
    let stack = TestStack::new(TWO);
    // So that the same ports are no matter of chance.
    let taken = stack.occupy(8000, Occupied::Loopback);
    stack.up_detached();
    drop(taken);
    let before = ports_of(&stack);
    let mut clients = stack.helper(&["keep-alive", "127.0.0.1", &before[0].to_string(), "5"]);
    clients.wait_for_line("kept 5");
    let orphan = stack.service("api").and_then(|api| api.pid());
    let orphan = Process::of(orphan.expect("it runs")).expect("it runs");
    let own = ["guardian_pid", "supervisor_pid"].map(|key| stack.own_process(key));
    stack.world().processes();
    for process in &own {
        process.suspend();
    }
    for process in &own {
        process.signal(Signal::SIGKILL);
        wait_until("its end", || (!process.is_alive()).then_some(()));
    }
    assert!(orphan.is_alive());
    let answer = stack.get(before[0], "/").expect("an answer");
    assert_eq!(answer.1, format!("pid {}", orphan.pid));
    stack.up_detached().says(&["ended 2 processes"]);
    assert!(!orphan.is_alive());
    assert_eq!(ports_of(&stack), before);
    stack.down();
}

#[test]
fn every_port_can_be_taken_in_every_way_the_moment_down_returns() {
    let stack = TestStack::new(
        "
services:
  plain: { command: MISBEHAVE bind $<PORT:auto> --http }
  child: { command: MISBEHAVE reload -- bind $<PORT:auto> --http }
  daemon: { command: MISBEHAVE double-fork --stay --deaf, environment: { P: $<PORT:auto> }, stop_grace_period: 100ms }
  idle: { command: MISBEHAVE sleep, environment: { P: $<PORT:auto> }, healthcheck: { test: sleep 60, interval: 50ms } }
",
    );
    stack.run(&["up", "-d"]).ok();
    for service in ["plain", "child"] {
        stack.wait_for(service, "healthy", |it| it.phase() == "healthy");
    }
    stack.wait_for_log("daemon", "left a daemon");
    let expected: Vec<u16> = (8000..8004).map(|port| stack.port(port)).collect();
    let mut ports: Vec<u16> = stack
        .dotenv()
        .values()
        .filter_map(|port| port.parse().ok())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, expected);
    stack.down();
    for port in 8000..8004 {
        for how in Occupied::ALL {
            drop(stack.occupy(port, how));
        }
    }
}

#[test]
fn no_grandchild_inherits_a_held_port() {
    let stack = TestStack::new(
        "services: { api: { command: [sh, -c, 'MISBEHAVE fd-dump fds; exit'], environment: { P: $<PORT:auto> } }, other: { command: MISBEHAVE one-shot 0, environment: { P: '$<ONE:auto> $<TWO:auto>' } } }",
    );
    stack.up().wait().ok();
    let descriptors = stack.wait_for_file("fds");
    assert!(!descriptors.contains("socket"), "{descriptors}");
}

#[test]
fn a_fixed_port_of_another_stack_names_its_project_and_nothing_is_started() {
    let world = World::new();
    let holder = TestStack::in_world(&world, "holder", TWO);
    holder.up_detached();
    let other = TestStack::in_world(
        &world,
        "other",
        "services: { web: { command: 'MISBEHAVE bind $<PORT:P8001>' }, job: { command: touch started } }",
    );
    let port = other.port(8001).to_string();
    let pid = holder.service("web").and_then(|web| web.pid());
    let directory = holder.path("").display().to_string();
    let output = other.run(&["up", "--wait"]).expect(1).says(&[
        &port,
        &pid.expect("it runs").to_string(),
        "misbehave bind",
    ]);
    // The path may be broken anywhere by the frame around the message.
    let squeezed: String = output.stderr.split_whitespace().collect();
    let directory = directory.trim_end_matches('/');
    assert!(squeezed.contains(directory), "no {directory} in {output}");
    assert!(!other.path("started").exists());
    assert!(!other.path(".env").exists());
    holder.down();
}
