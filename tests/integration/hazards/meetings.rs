//! Operations that meet: a start in a restart, an up beside a down.

use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, Up, phase_is, wait_until};

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
    // `db` does not depend on `slow`, so it does not wait for it.
    stack.wait_for("db", "a second attempt", |db| db.attempt() == 2);
    assert_eq!(
        stack.service("slow").expect("it is listed").phase(),
        "stopping"
    );
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
