//! Hooks: `pre_start`, `post_start` and `pre_stop`, with real processes.

use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, phase_is, wait_until};
use crate::process_keys::{is_root, open_to_all};

/// What a service and its hooks have logged, line by line.
fn lines(stack: &TestStack) -> Vec<String> {
    let log = String::from_utf8(stack.log("web")).expect("text");
    let lines = log.lines().filter(|line| *line != "recording");
    lines.map(str::to_owned).collect()
}

#[test]
fn hooks_run_one_after_the_other_in_the_environment_of_their_service() {
    let stack = TestStack::new(
        "
services:
  web:
    command: MISBEHAVE record TERM heard
    working_dir: sub
    environment: { WHO: web }
    pre_start:
      - command: echo $WHO $MORE $PORT in ${PWD##*/}
        environment: { MORE: $<PORT:auto> }
      - [sh, -c, 'echo second >&2; sleep 0.1']
      - sleep 0.1; echo third
    post_start: { command: pwd -P; touch started, working_dir: other }
    pre_stop: '[ ! -e heard ] && echo bye'
",
    );
    for directory in ["sub", "other"] {
        fs::create_dir(stack.path(directory)).unwrap();
    }
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_file("other/started");
    stack.down();
    let port = stack.port_of("web");
    let other = stack.path("other").canonicalize().unwrap();
    assert_eq!(
        lines(&stack),
        [
            format!("web {port} {port} in sub"),
            "second".to_owned(),
            "third".to_owned(),
            other.display().to_string(),
            "bye".to_owned(),
        ]
    );
    assert_eq!(
        stack.read("sub/heard").trim(),
        "SIGTERM",
        "once, after `pre_stop`"
    );
}

#[test]
fn a_failing_pre_start_is_a_failed_start_and_counts_for_the_policy() {
    let stack = TestStack::new(
        "
services:
  web:
    command: touch ran
    pre_start: [sh, -c, 'echo no database yet; exit 7']
    restart: on-failure:2
  after: { command: touch after, depends_on: [web] }
  gone: { command: touch ran, pre_start: [no-such-program], restart: always }
",
    );
    let told = "`pre_start` (sh -c echo no database yet; exit 7) exited with code 7; gave up after 2 \
                restarts";
    let gone = "`pre_start`: the program `no-such-program` is not found";
    stack.up().wait().expect(1).says(&[
        told,
        gone,
        "no database yet",
        "not started because of it: after",
    ]);
    assert_eq!(lines(&stack), ["no database yet"; 3]);
    assert!(!stack.path("ran").exists() && !stack.path("after").exists());
    let web = stack.service("web").unwrap();
    assert_eq!((web.attempt(), web.failures()), (3, 3));
}

#[test]
fn what_has_prepared_a_service_is_done_again_only_when_somebody_starts_it_anew() {
    let stack = TestStack::new(
        "
services:
  web:
    command: MISBEHAVE sleep
    pre_start: echo prepared
    restart: always
    restart_policy: { delay: 1ms }
",
    );
    stack.run(&["up", "-d"]).ok();
    let first = stack.service("web").and_then(|web| web.pid()).unwrap();
    Process::of(first).unwrap().signal(Signal::SIGKILL);
    stack.wait_for("web", "runs again", |web| {
        web.phase() == "running" && web.pid() != Some(first)
    });
    assert_eq!(lines(&stack), ["prepared"]);
    stack.run(&["restart", "web"]).ok();
    assert_eq!(lines(&stack), ["prepared"; 2]);
    stack.down();
}

#[test]
fn a_stop_ends_what_prepares_a_service_in_peace_and_with_all_that_it_has_started() {
    let stack = TestStack::new(
        "
services:
  web:
    command: touch ran
    pre_start: |
      trap 'echo told; exit 0' TERM
      echo begun
      MISBEHAVE sleep & wait
  stubborn:
    command: touch ran
    stop_grace_period: 300ms
    pre_start: MISBEHAVE ignore-term
",
    );
    let up = stack.up();
    stack.wait_for_log("web", "begun");
    stack.wait_for("web", "prepared", |web| {
        web.reason().contains("pre_start") && web.phase() == "starting"
    });
    let begun = Instant::now();
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(lines(&stack), ["begun", "told"]);
    assert!(!stack.path("ran").exists());
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_group() {
    let stack = TestStack::new(
        "
services:
  web:
    command: touch ran
    pre_start: { command: MISBEHAVE sleep & echo $! > pid; wait, timeout: 300ms }
",
    );
    stack
        .up()
        .wait()
        .expect(1)
        .says(&["`pre_start`", "was killed after 300 ms"]);
    let pid = stack.read("pid").trim().parse().unwrap();
    wait_until("its child is gone", || {
        Process::of(pid).is_none().then_some(())
    });
    assert!(!stack.path("ran").exists());
}

#[test]
fn a_hook_that_nobody_waits_for_only_warns() {
    let stack = TestStack::new(
        "
services:
  web:
    command: MISBEHAVE sleep
    post_start: [[sh, -c, exit 3], [touch, not-reached]]
    pre_stop: no-such-program
",
    );
    let mut up = stack.up();
    up.wait_for_line("`post_start` (sh -c exit 3) exited with code 3");
    stack.wait_for("web", "runs", phase_is("running"));
    up.signal(Signal::SIGTERM);
    up.wait()
        .expect(143)
        .says(&["`pre_stop` (no-such-program) was not executed"]);
    assert!(!stack.path("not-reached").exists());
}

#[test]
fn the_grace_period_is_for_the_last_hook_and_the_service_together() {
    let stack = TestStack::new(
        "
services:
  half:
    command: MISBEHAVE record TERM heard
    stop_grace_period: 2s
    pre_stop: sleep 60
  whole:
    command: MISBEHAVE record TERM unheard
    stop_grace_period: 2m
    pre_stop: { command: sleep 60, timeout: 1m }
",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("whole", "runs", phase_is("running"));
    let begun = Instant::now();
    let down = stack.run(&["down", "-t", "2"]).ok();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1900), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    down.says(&["`pre_stop` (sleep 60) was killed after 1 s"]);
    assert_eq!(stack.read("heard").trim(), "SIGTERM");
    assert!(!stack.path("unheard").exists());
}

#[test]
fn a_last_hook_may_end_the_service_itself() {
    let stack = TestStack::new(
        "
services:
  web:
    command: MISBEHAVE sleep
    pre_stop: 'kill -KILL $(cat pid); sleep 0.3; echo after'
    post_start: 'true'
",
    );
    stack.run(&["up", "-d"]).ok();
    let pid = stack.service("web").and_then(|web| web.pid()).unwrap();
    stack.write("pid", &pid.to_string());
    stack.run(&["stop", "web"]).ok();
    assert_eq!(lines(&stack), ["after"]);
    assert_eq!(stack.service("web").unwrap().phase(), "stopped");
    stack.down();
}

#[test]
fn a_hook_is_its_services_users_and_finds_its_files() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "
configs: { motd: { content: hush } }
services:
  web:
    command: MISBEHAVE sleep
    user: '4242'
    pre_start: 'id -u; cat $<configs.motd>; echo'
    post_start: [{ command: [id, -u], user: '4711' }]
",
    );
    open_to_all(&stack);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("web", "4711");
    stack.down();
    assert_eq!(lines(&stack), ["4242", "hush", "4711"]);
}

#[test]
fn a_changed_hook_is_taken_over_while_its_service_runs() {
    let yaml = "services: { web: { command: MISBEHAVE sleep, pre_stop: echo old } }";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.write_yaml(&yaml.replace("old", "new"));
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["`web`: pre_stop changed; not restarted"]);
    stack.down();
    assert_eq!(lines(&stack), ["new"]);
}

#[test]
fn nobody_waits_for_a_start_that_fails_again_and_again() {
    let stack = TestStack::new(
        "
services:
  web:
    command: sleep 1000
    pre_start: exit 7
    deploy: { restart_policy: { condition: any, delay: 10ms } }
",
    );
    for command in [&["up", "-d"][..], &["restart", "web"], &["start", "web"]] {
        let failed = stack.run(command);
        assert_eq!(failed.code, 1, "{command:?}: {failed:?}");
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "{failed:?}");
        failed.says(&["`pre_start`", "exited with code 7"]);
    }
    stack.down();
}
