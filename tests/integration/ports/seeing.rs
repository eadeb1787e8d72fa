//! What `stack ports`, `stack ports who` and the event stream show of ports: those of every stack,
//! those that no other tool shows, and those of others.

mod events;
mod listed;
mod schema;
mod who;

use serde_json::Value;

use crate::harness::{Output, TestStack, Up};

const TWO: &str = "
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: 'MISBEHAVE bind $<PORT:auto> --host ::1' }
";

/// Two services, of which the second waits for ever for the first.
const WAITING: &str = "
services:
  gate: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto>, stop_grace_period: 1s }
  api:
    command: MISBEHAVE bind $<PORT:auto>
    depends_on: { gate: { condition: service_healthy } }
";

const SLOW: &str = "
services:
  api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> --http, stop_grace_period: 1s }
";

/// `stack ports …`, run where there is no `stack.yaml`.
#[track_caller]
fn ports(stack: &TestStack, arguments: &[&str]) -> Output {
    let all = [&["ports"], arguments].concat();
    let mut command = stack.command(&all);
    command.current_dir(stack.world().path());
    Up::start(stack.world(), command).wait().ok()
}

#[track_caller]
fn list(stack: &TestStack, arguments: &[&str]) -> Vec<Value> {
    let output = ports(stack, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[track_caller]
fn who(stack: &TestStack, port: u16) -> String {
    ports(stack, &["who", &port.to_string()]).stdout
}

#[track_caller]
fn who_json(stack: &TestStack, port: u16) -> Value {
    let output = ports(stack, &["who", &port.to_string(), "--format", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Whether a text says every one of `parts`.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

fn directory(stack: &TestStack) -> String {
    stack
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned()
}
