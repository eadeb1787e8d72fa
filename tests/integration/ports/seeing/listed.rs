//! `stack ports`: every port of every stack.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{TWO, directory, list, ports, says, who};
use crate::harness::{TestStack, World, phase_is};

#[test]
fn the_ports_of_two_stacks_are_listed_from_anywhere() {
    let world = World::new();
    let one = TestStack::in_world(&world, "one", TWO);
    let two = TestStack::in_world(&world, "two", TWO);
    one.up_detached();
    two.up_detached();

    let rows = list(&one, &[]);
    let shown: Vec<(String, Value, Value)> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let what = format!("{} {} {}", text("service"), text("name"), text("state"));
            (what, row["port"].clone(), row["project_dir"].clone())
        })
        .collect();
    let expected: Vec<(String, Value, Value)> = [(&one, 8000), (&two, 8002)]
        .into_iter()
        .flat_map(|(stack, first)| {
            let services = ["api PORT listening", "web PORT listening"];
            services.into_iter().zip(first..).map(|(what, port)| {
                (
                    what.to_owned(),
                    json!(stack.port(port)),
                    json!(directory(stack)),
                )
            })
        })
        .collect();
    assert_eq!(shown, expected);
    let api = one.service("api").expect("it runs");
    assert_eq!(rows[0]["pid"], json!(api.pid()));
    assert_eq!(rows[0]["bound_to"], "127.0.0.1");
    assert_eq!(rows[1]["bound_to"], "::1");
    assert!(rows.iter().all(|row| row["is_verified"] == true));

    let output = ports(&one, &[]);
    let line = output
        .stdout
        .lines()
        .find(|line| line.contains(&format!("[::1]:{}", two.port(8003))))
        .unwrap_or_else(|| panic!("{output}"));
    let pid = two
        .service("web")
        .and_then(|web| web.pid())
        .expect("it runs");
    says(
        line,
        &[
            "shop",
            "web",
            "PORT",
            "listening",
            &pid.to_string(),
            &directory(&two),
        ],
    );
    one.down();
    two.down();
}

#[test]
fn what_a_stack_had_last_is_listed_only_when_asked_for() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    stack.down();
    let output = ports(&stack, &[]).says(&["no stack with ports is running", "stack ports --all"]);
    assert_eq!(output.stdout, "");
    assert_eq!(list(&stack, &[]), Vec::<Value>::new());
    let rows = list(&stack, &["--all"]);
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row["state"] == "remembered" && row["supervisor_pid"].is_null())
    );
    says(
        &who(&stack, stack.port(8000)),
        &[
            "nobody has port",
            "remembered for `api` (PORT)",
            "does not run",
        ],
    );
    // What runs has no memories of itself.
    stack.up_detached();
    assert!(
        list(&stack, &["-a"])
            .iter()
            .all(|row| row["state"] != "remembered")
    );
    stack.down();
}

#[test]
fn where_no_stack_ever_ran_there_is_nothing_to_list() {
    let stack = TestStack::new(TWO);
    let output = ports(&stack, &[]);
    assert_eq!(output.stderr, "no stack with ports is running\n");
    assert_eq!(ports(&stack, &["--all", "--format", "json"]).stdout, "[]\n");
}

#[test]
fn replicas_have_rows_of_their_own_and_udp_is_marked() {
    let stack = TestStack::new(
        "
services:
  gate: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto>, stop_grace_period: 1s }
  web:
    command: MISBEHAVE bind $<PORT:auto>
    replicas: 2
    depends_on: { gate: { condition: service_healthy } }
  dns:
    command: MISBEHAVE bind $<PORT:auto/tcp+udp> --udp $<FEED:auto/udp>
    depends_on: { gate: { condition: service_healthy } }
",
    );
    let up = stack.up();
    stack.wait_for("dns", "waiting", phase_is("waiting"));
    let text = ports(&stack, &[]).stdout;
    let words: Vec<String> = text
        .lines()
        .skip(2)
        .map(|line| {
            line.split_whitespace()
                .take(5)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let port = |number| stack.port(number);
    assert_eq!(
        words,
        [
            format!("shop web-1 PORT {} held", port(8001)),
            format!("shop web-2 PORT {} held", port(8002)),
            format!("shop dns PORT {}/tcp+udp held", port(8003)),
            format!("shop dns FEED {}/udp held", port(8004)),
        ],
        "{text}"
    );
    let rows = list(&stack, &[]);
    assert_eq!(
        (&rows[2]["replica"], &rows[2]["replicas"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(rows[3]["protocol"], "tcp+udp");
    says(
        &who(&stack, port(8004)),
        &[
            "UDP port",
            "is held for `dns` (FEED)",
            "udp [::]",
            ": held, pid",
        ],
    );
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn a_stack_whose_supervisor_is_suspended_is_listed_as_the_kernel_sees_it() {
    let world = World::new();
    let stack = TestStack::in_world(&world, "one", TWO);
    let other = TestStack::in_world(
        &world,
        "two",
        "services: { db: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    stack.up_detached();
    other.up_detached();
    let api = stack.service("api").and_then(|api| api.pid());
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.signal(Signal::SIGSTOP);
    let output = ports(&stack, &["--format", "json"]).says(&[
        "warning: stack `shop`",
        &directory(&stack),
        &format!("(pid {})", supervisor.pid),
        "as the kernel sees them",
    ]);
    supervisor.signal(Signal::SIGCONT);
    let rows: Vec<Value> = serde_json::from_str(&output.stdout).expect("an array");
    let states: Vec<_> = rows
        .iter()
        .map(|row| (&row["state"], &row["is_verified"]))
        .collect();
    let [listening, yes, no] = [json!("listening"), json!(true), json!(false)];
    assert_eq!(states.len(), 3, "{output}");
    assert_eq!(states[0], (&listening, &no));
    assert_eq!(rows[0]["pid"], json!(api));
    assert_eq!(states[1], (&listening, &no));
    assert_eq!(states[2], (&listening, &yes));
    stack.down();
    other.down();
}
