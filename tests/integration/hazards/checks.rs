//! Health checks that misbehave.

use crate::harness::{Process, TestStack, phase_is, wait_until};

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
fn what_a_check_prints_costs_no_memory() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep, healthcheck: { test: 'test -e go && MISBEHAVE spam 50000000', interval: 50ms, retries: 100000 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let supervisor = stack.own_process("supervisor_pid");
    let before = supervisor.memory("VmHWM");
    stack.write("go", "");
    // It has printed everything by then: nobody who stops reading lets it go on.
    stack.wait_for("it", "healthy", phase_is("healthy"));
    let grown = supervisor.memory("VmHWM") - before;
    assert!(grown < 4096, "{grown} KiB for 50 MB of output");
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
fn what_a_check_leaves_in_the_background_ends_before_long() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork --stay, healthcheck: { test: 'echo x >> checks; MISBEHAVE double-fork --deaf', interval: 20ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    wait_until("20 checks", || {
        (stack.read("checks").len() >= 40).then_some(())
    });
    // The service, its daemon, and of the check itself and what it left at most two at a time.
    let processes = stack.service_processes();
    assert!(processes.len() <= 8, "{processes:?}");
    // One that ends meanwhile has no variables at all.
    let has = |process: &Process, key: &str| process.variable(key).is_some();
    let of_service = processes
        .iter()
        .filter(|it| !has(it, "STACK_COMMAND") && has(it, "STACK_SERVICE"));
    assert_eq!(of_service.count(), 2, "{processes:?}");
    stack.down();
}

#[test]
fn the_mark_of_a_check_is_nothing_to_the_services_of_a_stack_that_it_calls() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork --stay, healthcheck: { test: 'echo x >> checks', interval: 20ms } } }",
    );
    let mut command = stack.command(&["up", "-d"]);
    command.env("STACK_COMMAND", "1");
    stack.run_command(command).ok();
    wait_until("5 checks", || {
        (stack.read("checks").len() >= 10).then_some(())
    });
    assert_eq!(stack.service_processes().len(), 2);
    stack.down();
}
