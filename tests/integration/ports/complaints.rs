//! Servers that want another port than their own, and say that it is in use.

use crate::harness::{TestStack, require};

/// A stack whose `api` runs `command`, with a port of its own that this does not ask for, beside one
/// that stays.
fn stack_of(command: &str) -> TestStack {
    TestStack::new(&format!(
        "services: {{ api: {{ command: {command}, environment: {{ PORT: $<PORT:auto> }} }}, on: {{ command: MISBEHAVE sleep }} }}",
    ))
}

/// Starts it in vain: so often, and with these words.
#[track_caller]
fn fails(stack: &TestStack, attempts: i64, words: &[&str]) {
    let output = stack.run(&["up", "--wait"]).expect(1);
    // The line may be broken anywhere.
    let said = output
        .stderr
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for part in words {
        assert!(said.contains(part), "no `{part}` in {output}");
    }
    let api = stack.service("api").expect("it is listed");
    assert_eq!(api.attempt(), attempts, "{output}");
    assert_eq!(api.port_state(), "held");
}

/// Its own port is the same the next time, as there was nothing wrong with it.
#[track_caller]
fn its_port_stays(stack: &TestStack) {
    let port = stack.port_of("api");
    stack.down();
    let again = stack.run(&["up", "--wait"]).expect(1);
    assert!(!again.stderr.contains("not taken again"), "{again}");
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

/// What `api` does that wants `other`, which a helper has.
#[track_caller]
fn is_told_which_and_who(stack: &TestStack, other: u16) {
    let mut holder = stack.helper(&["bind", &other.to_string()]);
    holder.wait_for_line("listening");
    let tried = format!(
        "address already in use, but not its own port {}: it tried 127.0.0.1:{other}, which pid {} (",
        stack.port(8000),
        holder.pid()
    );
    fails(stack, 1, &[&tried]);
    its_port_stays(stack);
}

#[test]
fn a_server_that_names_another_port_is_told_which_and_who_has_it() {
    let stack = stack_of("MISBEHAVE bind P8090");
    is_told_which_and_who(&stack, stack.port(8090));
}

#[test]
fn so_is_one_that_prints_its_error_twice() {
    if !require("node") {
        return;
    }
    let stack = stack_of("[node, server.js]");
    let other = stack.port(8090);
    let server =
        format!("require('http').createServer(() => {{}}).listen({other}, '127.0.0.1');\n");
    stack.write("server.js", &server);
    is_told_which_and_who(&stack, other);
}

#[test]
fn a_server_that_names_no_port_is_tried_once_more_and_its_port_kept() {
    let stack = stack_of("MISBEHAVE bind P8090 --unnamed");
    let mut holder = stack.helper(&["bind", &stack.port(8090).to_string()]);
    holder.wait_for_line("listening");
    let own = format!(
        "address already in use, but not its own port {}",
        stack.port(8000)
    );
    fails(&stack, 2, &[&own, "does not say which"]);
    its_port_stays(&stack);
}

#[test]
fn whoever_blames_its_own_port_for_nothing_is_not_told_that_the_stack_has_it() {
    let stack = stack_of("'echo listen EADDRINUSE 127.0.0.1:$PORT; exit 1'");
    let own = format!(
        "its own port {}, though nobody else was seen there",
        stack.port(8000)
    );
    fails(&stack, 2, &[&own]);
    stack.down();
}

#[test]
fn a_server_that_lives_on_without_another_port_says_what_it_waits_for() {
    let stack = stack_of("MISBEHAVE bind P8090 --stay-when-taken");
    let other = stack.port(8090);
    let mut holder = stack.helper(&["bind", &other.to_string()]);
    holder.wait_for_line("listening");
    stack.run(&["up", "-d"]).ok();
    let api = stack.wait_for("api", "a word about it", |api| {
        let trouble = &api.reason_data()["failure"]["trouble"];
        trouble["port"] == other && trouble["pid"] == holder.pid()
    });
    assert_eq!((api.attempt(), api.phase()), (1, "starting"));
    stack.down();
}
