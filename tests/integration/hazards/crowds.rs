//! Others who want something of the same supervisor, or of the machine: nobody is kept out.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::harness::{TestStack, phase_is};

/// Clients that follow what the stack prints, as many as are let in.
fn followers(stack: &TestStack) -> Vec<BufReader<UnixStream>> {
    let socket = stack.lock()["socket"].as_str().expect("a path").to_owned();
    let mut followers = Vec::new();
    // The limit is 48; a row of refusals says that it is reached.
    let mut refused = 0;
    while refused < 16 {
        let mut stream = UnixStream::connect(&socket).expect("somebody listens");
        stream
            .write_all(b"GET /v1/logs HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it is taken");
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).expect("it answers");
        match status.split(' ').nth(1) {
            Some("200") => followers.push(stream),
            Some("503") => refused += 1,
            _ => panic!("{status}"),
        }
        assert!(followers.len() < 1_000, "there is no limit");
    }
    followers
}

#[test]
fn followers_keep_no_command_out() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE sleep }, b: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]).ok();
    let followers = followers(&stack);
    assert!(followers.len() >= 48, "{}", followers.len());
    stack.run(&["restart", "a"]).ok();
    stack.run(&["stop", "b"]).ok();
    stack.run(&["start", "b"]).ok();
    stack.run(&["logs"]).ok();
    stack.run(&["ps"]).ok();
    stack.run(&["up", "-d", "--wait"]).ok();
    let mut up = stack.up();
    up.wait_for_line("Ctrl-C stops");
    stack.run(&["logs", "-f"]).expect(3).says(&["too many"]);
    stack.down();
    up.wait().ok();
}

#[test]
fn who_waits_for_a_supervisor_that_is_suspended_is_told() {
    let stack = TestStack::new(
        "services: { slow: { command: MISBEHAVE record TERM heard --takes 60000 } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("slow", "recording");
    let stop = stack.start(&["stop", "-t", "60s"]);
    stack.wait_for("slow", "stopping", phase_is("stopping"));
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.suspend();
    let output = stop.wait().expect(5).says(&["did not answer"]);
    assert!(output.stderr.contains("suspended"), "{output}");
    supervisor.signal(Signal::SIGCONT);
    stack.run(&["down", "-t", "100ms"]).ok();
}

#[test]
fn a_client_needs_no_further_thread() {
    let stack = TestStack::new("services: { a: { command: MISBEHAVE record TERM heard } }");
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("a", "recording");
    let alone = |arguments: &[&str]| {
        let wrapper = ["MISBEHAVE", "no-processes", "--"];
        stack.run_command(stack.wrapped(&wrapper, arguments)).ok()
    };
    assert!(alone(&["ps"]).stdout.contains("running"));
    assert!(alone(&["logs"]).stdout.contains("recording"));
    alone(&["stop", "a"]);
    alone(&["down"]);
    assert!(stack.service_processes().is_empty());
}

#[test]
fn a_supervisor_needs_no_further_thread() {
    // What it learns about the server's port is for the ledger, whose lock may have to be waited for.
    let stack =
        TestStack::new("services: { a: { command: MISBEHAVE bind $<PORT:auto> --no-reuseaddr } }");
    let wrapper = ["MISBEHAVE", "no-threads", "--"];
    stack
        .run_command(stack.wrapped(&wrapper, &["up", "-d", "--wait"]))
        .ok();
    assert_eq!(stack.service("a").unwrap().port_state(), "listening");
    stack.down();
    assert!(stack.ledger_row().get("release").is_some());
}
