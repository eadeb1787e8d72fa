//! What happens to ports, as events of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{SLOW, says};
use crate::harness::{LIMIT, TestStack};

/// The lines of the event stream of a stack, from its control socket.
struct Events(BufReader<UnixStream>);

impl Events {
    fn of(stack: &TestStack) -> Self {
        let lock = stack.lock();
        let path = lock["socket"]
            .as_str()
            .expect("a running stack has a socket");
        let mut socket = UnixStream::connect(path).expect("it listens");
        socket
            .set_read_timeout(Some(LIMIT))
            .expect("a socket has a limit");
        // Of version 1.0, so that the body comes as it is.
        socket
            .write_all(b"GET /v1/events HTTP/1.0\r\nHost: stack\r\n\r\n")
            .expect("it reads");
        Self(BufReader::new(socket))
    }

    /// The next line that is an event and fits.
    #[track_caller]
    fn wait_for(&mut self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.0.read_line(&mut line);
            assert!(length.is_ok_and(|length| length > 0), "no event: {what}");
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && fits(&event)
            {
                return event;
            }
        }
    }
}

#[test]
fn a_theft_is_an_event_with_pid_command_and_address() {
    let stack = TestStack::new(SLOW);
    stack.run(&["up", "-d"]).ok();
    let mut events = Events::of(&stack);
    events.wait_for("the snapshot", |event| event["stack"].is_object());
    let port = stack.port_of("api");
    let mut intruder = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    intruder.wait_for_line("stole");
    let event = events.wait_for("a theft", |event| event["ports"][0]["state"] == "stolen");
    let seen = &event["ports"][0];
    assert_eq!(seen["pid"], intruder.pid());
    assert_eq!(seen["bound_to"], "127.0.0.1");
    says(
        seen["command"].as_str().unwrap_or_default(),
        &["misbehave", "steal"],
    );
    // That it ends is news, too.
    drop(intruder);
    events.wait_for("the end of the theft", |event| {
        event["ports"][0]["state"] == "not_listening"
    });
    stack.down();
}

#[test]
fn an_intruder_beside_a_healthy_service_is_seen_though_nobody_asks() {
    let stack =
        TestStack::new("services: { api: { command: MISBEHAVE bind $<PORT:auto> --http } }");
    stack.up_detached();
    let mut events = Events::of(&stack);
    events.wait_for("the snapshot", |event| event["stack"].is_object());
    let port = stack.port_of("api").to_string();
    // From here on nothing but the supervisor's own look can find him.
    let mut intruder = stack.helper(&["bind", &port, "--host", "::1"]);
    intruder.wait_for_line("listening");
    let event = events.wait_for("a theft", |event| {
        event["ports"][0]["state"] == "stolen" && event["phase"] == "unhealthy"
    });
    assert_eq!(event["ports"][0]["pid"], intruder.pid());
    assert_eq!(event["ports"][0]["bound_to"], "::1");
    drop(intruder);
    let event = events.wait_for("the end of the theft", |event| event["phase"] == "healthy");
    assert_eq!(event["ports"][0]["state"], "listening");
    stack.down();
}
