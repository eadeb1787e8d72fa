//! `stack ports who N`: one number, whoever has it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use fs_err as fs;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{SLOW, TWO, WAITING, directory, list, ports, says, who, who_json};
use crate::harness::{TestStack, phase_is, wait_until};

#[test]
fn a_held_port_is_explained_though_no_other_tool_shows_it() {
    let stack = TestStack::new(WAITING);
    let up = stack.up();
    stack.wait_for("api", "waiting", phase_is("waiting"));
    let port = stack.port(8001);
    let tables = stack.world().network().enter(|| {
        ["tcp", "tcp6"]
            .map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")))
            .map(Result::unwrap_or_default)
            .concat()
    });
    assert!(!tables.contains(&format!(":{port:04X} ")), "{tables}");

    let supervisor = stack.own_process("supervisor_pid").pid;
    let text = who(&stack, port);
    says(
        &text,
        &[
            &format!("port {port} is held for `api` (PORT) of stack `shop`"),
            &directory(&stack),
            &format!("supervisor (pid {supervisor})"),
            "`lsof` do not show it",
        ],
    );
    let told = who_json(&stack, port);
    assert_eq!(told["stacks"][0]["state"], "held");
    // Linux before 6.8 does not show the socket.
    for socket in told["sockets"].as_array().expect("an array") {
        assert_eq!(socket["state"], "held");
        assert_eq!(socket["process"]["pid"], supervisor);
    }
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn an_intruders_port_is_explained_with_pid_and_command() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let mut foreign = stack.helper(&["bind", &port.to_string()]);
    foreign.wait_for_line("listening");
    let text = who(&stack, port);
    says(
        &text,
        &[
            &format!("port {port} is taken by pid {} (`", foreign.pid()),
            &format!("bind {port}`)"),
            &format!("tcp 127.0.0.1:{port}: listening"),
            &directory(&stack),
        ],
    );
    let told = who_json(&stack, port);
    assert_eq!(told["stacks"], json!([]));
    let process = &told["sockets"][0]["process"];
    assert_eq!(process["pid"], foreign.pid());
    assert_eq!(process["directory"], directory(&stack));
    assert!(process["started_at"].as_u64().is_some_and(|at| at > 0));
}

#[test]
fn an_intruders_udp_port_is_seen_and_told_from_tcp() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let network = stack.world().network();
    let _socket = network.enter(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("free"));
    says(
        &who(&stack, port),
        &[&format!("UDP port {port} is taken by pid")],
    );
    assert_eq!(who_json(&stack, port)["sockets"][0]["protocol"], "udp");
}

#[test]
fn leftovers_and_outgoing_connections_are_called_what_they_are() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let mut server = stack.helper(&["bind", &port.to_string(), "--http"]);
    server.wait_for_line("listening on");
    let (client, number) = stack.world().network().enter(|| {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        let number = client.local_addr().expect("connected").port();
        let asked = client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        asked
            .and_then(|()| client.read(&mut [0; 4096]))
            .expect("an answer");
        (client, number)
    });
    // The server's connection is closed first, so that its end stays.
    drop(server);
    says(
        &who(&stack, number),
        &[
            "outgoing connection of pid",
            &format!("to 127.0.0.1:{port}"),
        ],
    );
    drop(client);
    let text = wait_until("leftovers alone", || {
        Some(who(&stack, port)).filter(|text| text.contains("closed connections are left"))
    });
    says(&text, &["which the kernel keeps for a minute"]);
    let told = who_json(&stack, port);
    assert_eq!(told["sockets"][0]["state"], "leftover");
    assert_eq!(told["sockets"][0]["process"], Value::Null);
}

#[test]
fn what_is_known_of_a_free_number_is_told() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    assert_eq!(who(&stack, port), format!("nobody has port {port}\n"));
    let granted = ports(&stack, &["free", "--range", &format!("{port}-{port}")]);
    assert_eq!(granted.stdout, format!("{port}\n"));
    says(
        &who(&stack, port),
        &["nobody has port", "given out by `stack ports free`"],
    );
    assert_eq!(who_json(&stack, port)["is_granted"], true);
    says(&who(&stack, 6000), &["browsers refuse to connect"]);
    says(&who(&stack, 40_000), &["range of outgoing connections"]);
}

#[test]
fn of_a_stolen_port_both_are_named_whose_it_is_and_who_has_it() {
    let stack = TestStack::new(SLOW);
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    let mut intruder = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    says(
        &who(&stack, port),
        &[
            &format!("port {port} belongs to `api` (PORT) of stack `shop`"),
            &format!("stolen by pid {}", intruder.pid()),
            &format!("tcp 127.0.0.1:{port}: listening, pid {}", intruder.pid()),
        ],
    );
    let row = &list(&stack, &[])[0];
    assert_eq!(
        (&row["state"], &row["pid"]),
        (&json!("stolen"), &json!(intruder.pid()))
    );
    assert_eq!(row["bound_to"], "127.0.0.1");
    says(
        row["command"].as_str().unwrap_or_default(),
        &["misbehave", "steal"],
    );
    stack.down();
}

#[test]
fn a_service_that_listens_elsewhere_is_found_by_either_number() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind-elsewhere, environment: { P: $<PORT:auto> } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("api", "wrong port", |api| api.port_state() == "wrong_port");
    let row = &list(&stack, &[])[0];
    assert_eq!(
        (&row["state"], &row["bound_to"]),
        (&json!("wrong_port"), &json!("127.0.0.1"))
    );
    let elsewhere = row["listens_on"][0].as_u64().expect("a port");
    let elsewhere = u16::try_from(elsewhere).expect("a port");
    says(
        &ports(&stack, &[]).stdout,
        &["wrong port", &format!("127.0.0.1:{elsewhere}")],
    );
    says(
        &who(&stack, stack.port(8000)),
        &[&format!("which listens on {elsewhere} instead")],
    );
    says(
        &who(&stack, elsewhere),
        &["is taken by pid", "service `api` of instance shop-"],
    );
    stack.down();
}

#[test]
fn all_is_for_the_list_alone_and_free_ports_come_as_json_as_well() {
    let stack = TestStack::new(WAITING);
    for line in [["ports", "-a", "free"], ["ports", "free", "--nope"]] {
        let output = stack.run(&line);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output}");
    }
    let output = stack
        .run(&["ports", "free", "-n", "2", "--format", "json"])
        .ok();
    let ports: Vec<u16> = serde_json::from_str(&output.stdout).expect("an array of numbers");
    assert_eq!(ports.len(), 2);
}
