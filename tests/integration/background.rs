//! Services that put themselves in the background.

use crate::harness::{TestStack, phase_is};

/// What tells that a service has to stay in the foreground.
const HINT: &str = "keep it in the foreground";

#[test]
fn a_server_that_puts_itself_in_the_background_has_failed() {
    // Nobody but the port says that it is a server.
    let stack = TestStack::new(
        "services: { db: { command: MISBEHAVE double-fork, environment: { P: $<PORT:auto> } } }",
    );
    let output = stack.up().wait().expect(1);
    output.says(&[
        "`db` failed: put itself in the background",
        "misbehave sleep",
        HINT,
    ]);
    stack.run(&["up", "--wait"]).expect(1).says(&[HINT]);
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn a_service_with_a_check_that_puts_itself_in_the_background_has_failed() {
    let stack = TestStack::new(
        "services: { db: { command: 'MISBEHAVE sleep & exit 0', healthcheck: { test: test -e never } } }",
    );
    stack.run(&["up", "--wait"]).expect(1).says(&[HINT]);
}

#[test]
fn a_server_that_goes_to_the_background_once_it_listens_has_failed() {
    let stack = TestStack::new(
        "services: { db: { command: 'MISBEHAVE bind $<PORT:auto> & MISBEHAVE wait-file go' } }",
    );
    let up = stack.up();
    stack.wait_for("db", "healthy", phase_is("healthy"));
    stack.write("go", "");
    up.wait().expect(1).says(&[HINT, "misbehave bind"]);
}

#[test]
fn a_server_whose_starter_waits_until_it_serves_is_never_ready() {
    // As `pg_ctl start` does it, which looks from time to time.
    let stack = TestStack::new(
        "
services:
  db:
    command: |
      setsid MISBEHAVE bind $<PORT:auto> > said &
      until grep -q listening said; do sleep 0.01; done; sleep 0.4
  next: { command: touch next, depends_on: { db: { condition: service_healthy } } }
",
    );
    stack.run(&["up", "--wait"]).expect(1).says(&[HINT]);
    assert!(!stack.path("next").exists());
}

#[test]
fn each_attempt_to_go_to_the_background_is_told_and_counted() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork, restart: on-failure, restart_policy: { delay: 10ms, max_attempts: 2 } } }",
    );
    let output = stack.up().wait().expect(1);
    assert_eq!(
        output.stderr.matches("; restarting in").count(),
        2,
        "{output}"
    );
    assert!(output.stderr.matches(HINT).count() >= 3, "{output}");
    output.says(&["gave up after 2 restarts"]);
}

#[test]
fn a_one_shot_that_is_waited_for_may_leave_a_daemon_which_is_named_and_ended() {
    let stack = TestStack::new(
        "
services:
  build: { command: MISBEHAVE double-fork, environment: { P: $<PORT:auto> } }
  next: { command: touch next, depends_on: { build: { condition: service_completed_successfully } } }
",
    );
    let output = stack.up().wait().ok();
    output.says(&[
        "build",
        "completed",
        "misbehave sleep",
        "behind in the background",
    ]);
    assert!(stack.path("next").exists());
}

#[test]
fn a_command_of_which_nothing_more_is_expected_completes_with_a_warning() {
    let stack = TestStack::new("services: { it: { command: 'MISBEHAVE sleep & echo started' } }");
    let output = stack.up().wait().ok();
    output.says(&[
        "warning: it ended and left pid",
        "misbehave sleep",
        "behind in the background",
        "stays in the foreground",
    ]);
}

#[test]
fn what_is_put_in_the_background_has_the_grace_of_its_service() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE double-fork --deaf, stop_grace_period: 5m } }",
    );
    let mut up = stack.up();
    up.wait_for_line("killed in 5 m");
    stack.run(&["down", "-t", "0"]).ok();
    up.wait();
}

#[test]
fn what_is_gone_by_the_time_that_everything_is_logged_was_in_the_background_all_the_same() {
    // It has the output of the service, which is over only when it ends.
    let stack =
        TestStack::new("services: { it: { command: 'PORT=$<PORT:auto> sleep 0.2 & exit 0' } }");
    let output = stack.run(&["up", "--wait"]).expect(1);
    // Named as it was at that moment, before its exec or after it.
    output.says(&["put itself in the background", "sleep 0.2"]);
}
