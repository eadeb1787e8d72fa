//! Several replicas of a service, `--scale` and `--port`, with real processes.

use std::collections::BTreeSet;

use crate::harness::TestStack;

/// A service of which there may be several, and one that knows them all.
const SCALABLE: &str = "
services:
  web: { command: 'MISBEHAVE bind $<PORT:auto> --http', depends_on: [] }
  api: { command: 'MISBEHAVE bind $<PORT:auto> --http', environment: { WEBS: $<web.PORTS> } }
";

/// The same with three replicas in the file.
fn three() -> String {
    SCALABLE.replace("depends_on: []", "replicas: 3")
}

/// The number of a key of `.env`.
#[track_caller]
fn number(stack: &TestStack, key: &str) -> u16 {
    let dotenv = stack.dotenv();
    let value = dotenv
        .get(key)
        .unwrap_or_else(|| panic!("no {key}: {dotenv:?}"));
    value.parse().expect("a port is a number")
}

/// What a command prints when all is well.
#[track_caller]
fn printed(stack: &TestStack, arguments: &[&str]) -> String {
    let output = stack.run(arguments).ok();
    output.stdout.trim_end().to_owned()
}

#[test]
fn a_port_that_was_asked_for_on_the_command_line_is_stronger_than_the_environment() {
    let mut stack = TestStack::new(SCALABLE);
    stack.set("WEB_PORT", &stack.port(8060).to_string());
    let wished = stack.port(8050);
    stack
        .run(&["up", "--wait", "--port", &format!("web={wished}")])
        .ok();
    assert_eq!(stack.port_of("web"), wished);
    // It runs already: another number cannot be had, and nothing is restarted.
    let pid = stack.service("web").and_then(|service| service.pid());
    let other = stack.port(8051);
    stack
        .run(&["up", "-d", "--port", &format!("web.PORT={other}")])
        .ok()
        .says(&[
            "no effect",
            &other.to_string(),
            &wished.to_string(),
            "stack down",
        ]);
    stack
        .run(&["up", "-d", "--port", &format!("web={wished}")])
        .ok();
    let now = stack.service("web").and_then(|service| service.pid());
    assert_eq!(now, pid);
    stack.down();
}

#[test]
fn a_port_of_the_command_line_that_is_taken_is_an_error_with_strict_ports() {
    let stack = TestStack::new(SCALABLE);
    let wished = stack.port(8050).to_string();
    let mut holder = stack.helper(&["bind", &wished]);
    holder.wait_for_line("listening");
    let port = format!("web={wished}");
    stack
        .run(&["up", "--wait", "--strict-ports", "--port", &port])
        .expect(1)
        .says(&["--port", &wished, "misbehave"]);
    stack
        .run(&["up", "--wait", "--port", &port])
        .ok()
        .says(&["--port", &wished, "misbehave"]);
    assert_eq!(stack.port_of("web"), stack.port(8000));
    stack.down();
}

#[test]
fn arguments_that_name_nothing_start_nothing() {
    let stack = TestStack::new(SCALABLE);
    for (arguments, hint) in [
        (["--scale", "wbe=2"], "did you mean `web`?"),
        (["--scale", "web=5000"], "1000"),
        (["--port", "wbe=8050"], "did you mean `web`?"),
        (["--port", "web.POTR=8050"], "did you mean `web.PORT`?"),
    ] {
        let [flag, value] = arguments;
        stack
            .run(&["up", "-d", flag, value])
            .expect(2)
            .says(&[hint]);
        stack
            .run(&["up", "--dry-run", flag, value])
            .expect(2)
            .says(&[hint]);
    }
    assert!(!stack.files().iter().any(|file| file == ".env"));
}

#[test]
fn a_dry_run_shows_every_replica_and_the_number_that_was_asked_for() {
    let stack = TestStack::new(SCALABLE);
    let wished = stack.port(8050);
    let port = format!("web={wished}");
    let shown = printed(
        &stack,
        &["up", "--dry-run", "--scale", "web=2", "--port", &port],
    );
    let first = format!("web-1\n    PORT: {wished} (`--port`)\n");
    for part in [&first, "web-2\n", "WEB_2_PORT, WEB_PORTS"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn every_replica_listens_on_a_port_of_its_own() {
    let stack = TestStack::new(&three());
    stack.run(&["up", "--wait"]).ok();
    let ports = ["WEB_1_PORT", "WEB_2_PORT", "WEB_3_PORT"].map(|key| number(&stack, key));
    assert_eq!(number(&stack, "WEB_PORT"), ports[0]);
    let list = ports.map(|port| port.to_string()).join(",");
    assert_eq!(stack.dotenv()["WEB_PORTS"], list);
    let bodies: BTreeSet<String> = ports
        .iter()
        .map(|&port| stack.get(port, "/").expect("an answer").1)
        .collect();
    assert_eq!(bodies.len(), 3, "three processes: {bodies:?}");
    assert!(printed(&stack, &["env"]).contains("WEB_3_PORT="));
    let second = printed(&stack, &["port", "web", "--index", "2"]);
    assert_eq!(second, ports[1].to_string());
    stack
        .run(&["port", "web", "--index", "4"])
        .expect(2)
        .says(&["its replicas are 1 to 3"]);
    let webs = printed(
        &stack,
        &["run", "-s", "api", "--", "sh", "-c", "echo $WEBS"],
    );
    assert_eq!(webs, list);
    stack.down();
}

#[test]
fn a_stack_of_nothing_says_so() {
    let stack = TestStack::new(
        "services: { web: { command: 'MISBEHAVE bind $<PORT:auto>', replicas: 0, healthcheck: { http: / } } }",
    );
    for arguments in [&["up"][..], &["up", "-d"]] {
        let output = stack
            .run(arguments)
            .ok()
            .says(&["there is nothing to run: no service has a replica"]);
        assert!(!output.stderr.contains(".env"), "{}", output.stderr);
    }
}

#[test]
fn a_number_that_is_fixed_twice_is_an_error_of_the_file() {
    let stack = TestStack::new(
        "services:
  web: { command: 'MISBEHAVE bind $<PORT:8080>' }
  api: { command: 'MISBEHAVE bind $<PORT:8080>' }
",
    );
    for verb in ["up", "config"] {
        stack
            .run(&[verb])
            .expect(2)
            .says(&["stack::plan::fixed_twice", "the first", "the second"]);
    }
}

#[test]
fn a_scale_to_one_joins_a_stack_that_has_one() {
    let stack = TestStack::new(SCALABLE);
    stack.run(&["up", "--wait"]).ok();
    stack
        .run(&["up", "-d", "--scale", "web=1"])
        .ok()
        .says(&["nothing to start"]);
    stack.down();
}

#[test]
fn the_shown_name_of_a_replica_leads_to_its_service() {
    let stack = TestStack::new(SCALABLE);
    stack.run(&["up", "--wait", "--scale", "web=2"]).ok();
    let hint = "`web-2` names a replica of `web`: write ";
    for arguments in [
        &["stop", "web-2"][..],
        &["start", "web-2"],
        &["restart", "web-2"],
        &["port", "web-2"],
        &["run", "-s", "web-2", "env"],
        &["up", "web-2"],
        &["up", "--scale", "web-2=2"],
        &["up", "--port", "web-2=8000"],
    ] {
        let output = stack.run(arguments);
        assert!(
            output.stderr.contains(hint),
            "{arguments:?}: {}",
            output.stderr
        );
    }
    stack
        .run(&["port", "web-2"])
        .says(&["`stack port web --index 2`"]);
    stack.down();
}

#[test]
fn what_was_scaled_by_the_caller_is_seen_as_it_runs() {
    let stack = TestStack::new(SCALABLE);
    stack.run(&["up", "--wait", "--scale", "web=3"]).ok();
    let list = stack.dotenv()["WEB_PORTS"].clone();
    assert_eq!(list.split(',').count(), 3);
    let config = printed(&stack, &["config"]);
    for part in ["replicas: 3", &list] {
        assert!(config.contains(part), "no {part} in {config}");
    }
    let shell = "echo $WEB_PORTS $WEB_3_PORT $PORT";
    let said = printed(&stack, &["run", "-s", "web", "--", "sh", "-c", shell]);
    let numbers: Vec<&str> = list.split(',').collect();
    assert_eq!(said, format!("{list} {} {}", numbers[2], numbers[0]));
    // The same again is nothing new.
    stack
        .run(&["up", "-d", "--scale", "web=3"])
        .ok()
        .says(&["nothing to start"]);
    stack.down();
}

#[test]
fn what_stays_keeps_its_port_when_the_number_changes() {
    let stack = TestStack::new(SCALABLE);
    stack.run(&["up", "--wait", "--scale", "web=3"]).ok();
    let before = ["WEB_1_PORT", "WEB_2_PORT", "API_PORT"].map(|key| number(&stack, key));
    stack.down();
    for count in ["web=2", "web=4"] {
        stack.run(&["up", "--wait", "--scale", count]).ok();
        let after = ["WEB_1_PORT", "WEB_2_PORT", "API_PORT"].map(|key| number(&stack, key));
        assert_eq!(after, before, "{count}");
        stack.down();
    }
}

#[test]
fn nothing_of_a_service_may_run() {
    let stack = TestStack::new(SCALABLE);
    stack.run(&["up", "--wait", "--scale", "web=0"]).ok();
    assert_eq!(stack.ps().len(), 1);
    assert_eq!(stack.dotenv()["WEB_PORTS"], "");
    assert!(printed(&stack, &["config"]).contains("replicas: 0"));
    stack
        .run(&["run", "-s", "web", "--", "true"])
        .expect(2)
        .says(&["no replica"]);
    stack.down();
}
