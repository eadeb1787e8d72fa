//! UDP, alone and beside TCP on one number.

use crate::harness::{Occupied, TestStack, phase_is};

/// Asks over UDP: the answer, if there is one.
fn ask(stack: &TestStack, port: u16) -> Option<String> {
    let output = stack
        .helper(&["udp-ask", "127.0.0.1", &port.to_string(), "hello"])
        .wait();
    (output.code == 0).then_some(output.stdout)
}

#[test]
fn a_udp_service_is_healthy_once_it_is_bound_and_answers() {
    for sharing in ["--reuseaddr", ""] {
        let stack = TestStack::new(&format!(
            "services: {{ dns: {{ command: MISBEHAVE udp $<PORT:auto/udp> {sharing} }} }}"
        ));
        stack.up_detached();
        let dns = stack.service("dns").expect("it is listed");
        assert_eq!((dns.phase(), dns.port_state()), ("healthy", "listening"));
        assert_eq!(dns.port_entry()["protocol"], "udp");
        let answer = ask(&stack, stack.port_of("dns")).expect("an answer");
        assert_eq!(
            answer,
            format!("pid {} hello\n", dns.pid().expect("it runs"))
        );
        stack.down();
    }
}

#[test]
fn a_udp_port_comes_back_after_a_restart_and_is_kept_in_between() {
    let stack = TestStack::new(
        "services: { dns: { command: MISBEHAVE udp $<PORT:auto/udp> --reuseaddr }, on: { command: MISBEHAVE sleep } }",
    );
    stack.up_detached();
    let port = stack.port_of("dns");
    stack.run(&["stop", "dns"]).ok();
    for more in [&[][..], &["--reuseaddr"][..]] {
        let number = port.to_string();
        let output = stack.helper(&[&["udp", &number], more].concat()).wait();
        assert_eq!(output.code, 70, "{output}");
    }
    stack.run(&["start", "dns"]).ok();
    stack.wait_for("dns", "healthy", phase_is("healthy"));
    assert_eq!(stack.port_of("dns"), port);
    assert!(ask(&stack, port).is_some());
    stack.down();
    let free = stack
        .helper(&["udp", &port.to_string()])
        .wait_for_line("for UDP");
    assert!(free.contains(&port.to_string()));
}

#[test]
fn a_pair_needs_a_number_that_is_free_for_both() {
    let stack = TestStack::new(
        "services: { dns: { command: MISBEHAVE udp $<PORT:auto/tcp+udp> --reuseaddr --tcp } }",
    );
    let mut udp = stack.helper(&["udp", &stack.port(8000).to_string()]);
    udp.wait_for_line("for UDP");
    let tcp = stack.occupy(8001, Occupied::Loopback);
    stack.up_detached();
    let port = stack.port_of("dns");
    assert_eq!(port, stack.port(8002));
    let pid = stack
        .service("dns")
        .and_then(|dns| dns.pid())
        .expect("it runs");
    assert_eq!(ask(&stack, port), Some(format!("pid {pid} hello\n")));
    assert_eq!(stack.get(port, "/"), Some((200, format!("pid {pid}"))));
    drop((udp, tcp));
    stack.down();
}

#[test]
fn a_pair_of_which_only_one_half_is_there_is_not_healthy() {
    let stack = TestStack::new(
        "services: { dns: { command: MISBEHAVE udp $<PORT:auto/tcp+udp> --reuseaddr } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("dns", "for UDP");
    let dns = stack.service("dns").expect("it is listed");
    assert_eq!(
        (dns.phase(), dns.port_state()),
        ("starting", "not_listening")
    );
    stack.down();
}

#[test]
fn a_stolen_udp_port_is_named() {
    let stack = TestStack::new(
        "services: { dns: { command: MISBEHAVE wait-file go -- udp $<PORT:auto/udp> --reuseaddr } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("dns").to_string();
    let mut intruder = stack.helper(&["udp", &port, "--reuseaddr"]);
    intruder.wait_for_line("for UDP");
    let dns = stack.wait_for("dns", "stolen", |dns| dns.port_state() == "stolen");
    assert_ne!(dns.phase(), "healthy");
    assert_eq!(dns.port_entry()["pid"], i64::from(intruder.pid()));
    stack.down();
}
