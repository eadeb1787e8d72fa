//! The harness can fail: each of its reckonings is shown something that it must refuse.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::harness::{Occupied, TestStack, Up, World, misbehave};

/// What a test panicked with.
fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it must panic");
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[test]
fn a_leftover_service_is_found_by_its_mark_and_ended() {
    let world = World::new();
    let mut command = Command::new(misbehave());
    world.prepare(&mut command);
    command.arg("ignore-term").env("STACK_SERVICE", "worker");
    let mut leftover = Up::start(&world, command);
    leftover.wait_for_line("deaf");
    let message = panic_of(|| drop(world));
    assert!(message.contains("[worker]"), "{message}");
    assert_eq!(leftover.wait().code, 128 + 9);
}

#[test]
fn a_daemon_that_cleared_its_environment_is_found_by_its_namespace() {
    let stack = TestStack::new("services: {}");
    if stack.world().network().identity().is_none() {
        return;
    }
    let mut command = Command::new(misbehave());
    command.args(["double-fork", "--deaf"]).env_clear();
    Up::start(stack.world(), command).wait_for_line("deaf");
    let message = panic_of(|| drop(stack));
    assert!(message.contains("ignore-term"), "{message}");
}

#[test]
fn every_way_to_occupy_a_port_shows_to_a_strict_bind() {
    let stack = TestStack::new("services: {}");
    for how in Occupied::ALL {
        let taken = stack.occupy(8000, how);
        let port = stack.port(8000).to_string();
        let rival = stack.helper(&["bind", &port, "--host", "::", "--no-reuseaddr"]);
        let output = rival.wait();
        assert_eq!(output.code, 70, "{how:?}: {output}");
        drop(taken);
    }
}

#[test]
fn what_runs_in_one_world_is_invisible_in_another() {
    let (one, other) = (
        TestStack::new("services: {}"),
        TestStack::new("services: {}"),
    );
    let port = one.port(8000).to_string();
    let mut server = one.helper(&["bind", &port]);
    server.wait_for_line("listening");
    let _free = other.occupy(8000, Occupied::AnyDual);
}
