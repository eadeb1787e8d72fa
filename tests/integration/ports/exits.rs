//! Servers that end without an error when somebody else has their port.

use crate::harness::{TestStack, require};

#[test]
fn a_server_that_ends_with_0_on_a_stolen_port_has_failed_and_the_intruder_is_named() {
    for more in ["", " --silent"] {
        let stack = TestStack::new(&format!(
            "services: {{ next: {{ command: MISBEHAVE wait-file go -- bind $<PORT:auto> --exit-when-taken 0{more} }}, on: {{ command: MISBEHAVE sleep }} }}",
        ));
        stack.run(&["up", "-d"]).ok();
        let port = stack.port_of("next").to_string();
        let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
        intruder.wait_for_line("stole");
        stack.write("go", "");
        let next = stack.wait_for("next", "an end", |next| next.exit_code().is_some());
        assert_eq!(next.phase(), "failed", "{next:?}");
        for part in [port.as_str(), &intruder.pid().to_string(), "misbehave"] {
            assert!(next.reason().contains(part), "no {part} in {next:?}");
        }
        stack.down();
    }
}

#[test]
fn a_node_cluster_whose_port_was_stolen_has_failed_though_its_primary_ends_with_0() {
    if !require("node") {
        return;
    }
    // The worker's error ends the worker alone, and with it goes what kept the primary alive.
    let stack = TestStack::new(
        "services: { cluster: { command: MISBEHAVE wait-file go -- become -- node server.js $<PORT:auto> }, on: { command: MISBEHAVE sleep } }",
    );
    stack.write(
        "server.js",
        "const cluster = require('cluster');
if (cluster.isPrimary) {
  cluster.fork();
} else {
  require('http').createServer((_, answer) => answer.end()).listen(Number(process.argv[2]), '127.0.0.1');
}
",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("cluster").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.write("go", "");
    let cluster = stack.wait_for("cluster", "an end", |it| it.exit_code().is_some());
    assert_eq!((cluster.phase(), cluster.exit_code()), ("failed", Some(0)));
    assert!(
        cluster.reason().contains(&intruder.pid().to_string()),
        "{cluster:?}"
    );
    stack.down();
}
