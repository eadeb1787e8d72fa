//! Services that say themselves that they are ready: in a line of their output, or by `sd_notify(3)`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, phase_is, require, wait_until};
use crate::process_keys::{is_root, open_to_all};

#[test]
fn a_service_is_healthy_when_it_has_printed_the_line_on_either_stream() {
    let stack = TestStack::new(
        "
services:
  out:
    command: |
      echo getting ready
      while [ ! -e go ]; do sleep 0.02; done
      printf 'listening on '; sleep 0.3; printf '\\033[1m'\"$PORT\"'\\033[0m\\n'
      sleep 60
    healthcheck: { log: 'listening on $<PORT:auto>$' }
  err: { command: 'echo prompt\\> >&2; sleep 60', healthcheck: { log: '^prompt>$' } }
  hook:
    command: MISBEHAVE sleep
    pre_start: echo done
    post_start: echo done
    healthcheck: { log: done, interval: 100ms, retries: 2 }
  after: { command: touch after, depends_on: { out: { condition: service_healthy } } }
",
    );
    stack.run(&["up", "-d", "err", "hook"]).ok();
    stack.wait_for("err", "healthy", phase_is("healthy"));
    // What a hook prints is not the service's word.
    let hook = stack.wait_for("hook", "unhealthy", phase_is("unhealthy"));
    assert_eq!(hook.reason_data()["failure"]["kind"], "not_printed");
    let up = stack.start(&["up", "out", "after"]);
    stack.wait_for_log("out", "getting ready");
    let out = stack.wait_for("out", "asked", |out| out.reason().contains("not_printed"));
    assert_eq!(out.phase(), "starting");
    stack.write("go", "");
    stack.wait_for_file("after");
    stack.wait_for("out", "healthy", phase_is("healthy"));
    drop(up);
    stack.down();
}

#[test]
fn every_attempt_has_to_print_the_line_anew() {
    let stack = TestStack::new(
        "
services:
  web:
    command: 'if [ ! -e second ]; then echo ready; touch second; fi; exec MISBEHAVE sleep'
    restart: always
    healthcheck: { log: ready }
",
    );
    stack.run(&["up", "-d"]).ok();
    let web = stack.wait_for("web", "healthy", phase_is("healthy"));
    let process = Process::of(web.pid().unwrap()).unwrap();
    process.signal(Signal::SIGKILL);
    stack.wait_for("web", "second attempt asked", |web| {
        web.attempt() == 2 && web.phase() == "starting" && web.reason().contains("not_printed")
    });
    stack.down();
}

#[test]
fn a_corrected_pattern_is_looked_for_in_what_was_printed_before() {
    let yaml = "
services: { web: { command: 'echo ready; exec MISBEHAVE sleep', healthcheck: { log: READY } } }";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let web = stack.wait_for("web", "starting", phase_is("starting"));
    stack.write_yaml(&yaml.replace("READY", "^ready$"));
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["`web`: healthcheck changed; not restarted"]);
    let healthy = stack.wait_for("web", "healthy", phase_is("healthy"));
    assert_eq!(healthy.pid(), web.pid());
    stack.down();
}

const NOTIFY: &str = "
services:
  web:
    command: 'echo $NOTIFY_SOCKET > where; exec MISBEHAVE notify say'
    healthcheck: { notify: true, interval: 1s }
";

/// Lets the service of [`NOTIFY`] send a message, whole.
fn say(stack: &TestStack, message: &str) {
    stack.write("say.part", message);
    fs::rename(stack.path("say.part"), stack.path("say")).expect("both are there");
}

#[test]
fn a_service_says_how_it_is() {
    let stack = TestStack::new(NOTIFY);
    stack.run(&["up", "-d"]).ok();
    say(&stack, "STATUS=reading 3 of 7");
    let web = stack.wait_for("web", "says so", |web| web.reason().contains("3 of 7"));
    assert_eq!(web.phase(), "starting");
    say(&stack, "READY=1\nSTATUS=serving");
    stack.wait_for("web", "healthy", phase_is("healthy"));
    let ps = stack.run(&["ps"]).ok().stdout;
    assert!(ps.contains("healthy") && ps.contains("serving"), "{ps}");
    say(&stack, "WATCHDOG=1");
    // No other one follows.
    let web = stack.wait_for("web", "missed", phase_is("unhealthy"));
    assert_eq!(web.reason_data()["failure"]["kind"], "watchdog");
    say(&stack, "WATCHDOG=1\nWATCHDOG_USEC=0");
    stack.wait_for("web", "there again", phase_is("healthy"));
    say(&stack, "STATUS=\nSTOPPING=1");
    let web = stack.wait_for("web", "going", phase_is("unhealthy"));
    assert_eq!(web.reason_data()["failure"]["kind"], "stopping");
    let ps = stack.run(&["ps"]).ok().stdout;
    assert!(ps.contains("it says that it is stopping"), "{ps}");
    stack.down();
}

#[test]
fn a_service_that_is_restarted_for_what_it_says_is_said_to_be_and_one_that_ends_is_left_alone() {
    let notify = NOTIFY.replace("interval: 1s", "interval: 100ms, retries: 2");
    let stack = TestStack::new(&format!(
        "{notify}    on_unhealthy: restart\n    stop_grace_period: 2s\n    deploy: {{ restart_policy: {{ condition: any, delay: 1h }} }}"
    ));
    stack.run(&["up", "-d"]).ok();
    say(&stack, "READY=1");
    let first = stack.wait_for("web", "healthy", phase_is("healthy"));
    say(&stack, "STOPPING=1");
    let web = stack.wait_for("web", "going", phase_is("unhealthy"));
    assert_eq!(web.pid(), first.pid());
    // The checks that follow find the same.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stack.service("web").unwrap().pid(), first.pid());
    say(&stack, "READY=1");
    stack.wait_for("web", "healthy again", phase_is("healthy"));
    say(&stack, "WATCHDOG=trigger");
    let web = stack.wait_for("web", "restarted", phase_is("backoff"));
    assert_eq!(web.reason_data()["failure"]["kind"], "watchdog");
    let log = stack.read(".stack/shop/supervisor.log");
    assert!(
        log.contains("is unhealthy and is restarted for it"),
        "{log}"
    );
    stack.down();
}

#[test]
fn a_service_that_reloads_for_too_long_is_unhealthy_until_it_is_ready_again() {
    let stack = TestStack::new(&NOTIFY.replace("interval: 1s", "interval: 100ms, retries: 2"));
    stack.run(&["up", "-d"]).ok();
    say(&stack, "READY=1");
    stack.wait_for("web", "healthy", phase_is("healthy"));
    say(&stack, "RELOADING=1");
    let web = stack.wait_for("web", "unhealthy", phase_is("unhealthy"));
    assert_eq!(web.reason_data()["failure"]["kind"], "reloading");
    say(&stack, "READY=1");
    stack.wait_for("web", "healthy again", phase_is("healthy"));
    stack.down();
}

#[test]
fn nobody_else_says_how_a_service_is_and_its_socket_goes_with_it() {
    let stack = TestStack::new(&format!(
        "{NOTIFY}  other: {{ command: 'MISBEHAVE notify say-it', environment: {{ NOTIFY_SOCKET: '' }} }}"
    ));
    stack.run(&["up", "-d", "web"]).ok();
    let path = wait_until("its socket", || {
        let text = fs::read_to_string(stack.path("where")).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    });
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"READY=1", &path).unwrap();
    // Its own word is heard after that one.
    say(&stack, "STATUS=later");
    let web = stack.wait_for("web", "says something", |web| {
        web.reason().contains("later")
    });
    assert_eq!(web.phase(), "starting");
    // So is one of the stack that is not the service.
    stack.write_yaml(&format!(
        "{NOTIFY}  other: {{ command: 'exec env NOTIFY_SOCKET={path} MISBEHAVE notify say-it' }}"
    ));
    stack.write("say-it", "READY=1");
    stack.run(&["up", "-d"]).ok();
    wait_until("it is sent", || {
        (!stack.path("say-it").exists()).then_some(())
    });
    say(&stack, "STATUS=last");
    let web = stack.wait_for("web", "says something", |web| web.reason().contains("last"));
    assert_eq!(web.phase(), "starting");
    stack.down();
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn the_socket_of_a_deep_directory_has_a_short_path() {
    let world = crate::harness::World::new();
    let deep = "d".repeat(60);
    let stack = TestStack::in_world(&world, &format!("{deep}/{deep}"), NOTIFY);
    stack.run(&["up", "-d"]).ok();
    say(&stack, "READY=1");
    stack.wait_for("web", "healthy", phase_is("healthy"));
    stack.down();
    assert!(!std::path::Path::new(stack.read("where").trim()).exists());
}

#[test]
fn systemd_notify_is_answered() {
    if !require("systemd-notify") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  web:
    command: |
      systemd-notify --status='warming up'
      while [ ! -e go ]; do sleep 0.02; done
      systemd-notify --ready --status=serving && touch answered
      exec MISBEHAVE sleep
    healthcheck: { notify: true }
",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("web", "says so", |web| web.reason().contains("warming up"));
    let begun = std::time::Instant::now();
    stack.write("go", "");
    // It waits until what it has said is taken in (`BARRIER=1`), up to its own limit of 5 s.
    stack.wait_for_file("answered");
    assert!(begun.elapsed() < Duration::from_secs(4));
    let web = stack.service("web").unwrap();
    assert_eq!(web.phase(), "healthy");
    assert!(web.reason().contains("serving"));
    stack.down();
}

#[test]
fn a_service_of_another_user_reaches_its_socket() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(&NOTIFY.replace("    health", "    user: '4242'\n    health"));
    for file in ["where", "say"] {
        stack.write(file, "");
        std::os::unix::fs::chown(stack.path(file), Some(4242), None).unwrap();
    }
    open_to_all(&stack);
    std::os::unix::fs::chown(stack.path(""), Some(4242), None).unwrap();
    stack.run(&["up", "-d"]).ok();
    say(&stack, "READY=1");
    stack.wait_for("web", "healthy", phase_is("healthy"));
    stack.down();
}

#[test]
fn turning_notify_on_restarts_the_service_as_it_must_be_told_where() {
    let yaml = "services: { web: { command: MISBEHAVE sleep } }";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.write_yaml(
        "services: { web: { command: MISBEHAVE sleep, healthcheck: { notify: true } } }",
    );
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["`web`: healthcheck, healthcheck.notify changed; restarting"]);
    stack.down();
}
