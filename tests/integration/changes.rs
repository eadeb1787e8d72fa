//! A stack that runs takes over a changed file: `up` on what runs already, with real processes.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use crate::harness::{Occupied, Process, TestStack, phase_is, wait_until};

const STACK: &str = "
services:
  db:
    command: MISBEHAVE bind $<PORT:auto>
  api:
    command: MISBEHAVE bind $<PORT:auto>
    environment: { LOG_LEVEL: info }
    depends_on: { db: { condition: service_healthy } }
  web: { command: 'MISBEHAVE record INT,TERM heard', depends_on: [api] }
  old: { command: MISBEHAVE sleep }
";

/// Every service that runs, with its process.
fn pids(stack: &TestStack) -> BTreeMap<String, i32> {
    let rows = stack.ps().into_iter();
    rows.filter_map(|row| Some((row.name().to_owned(), row.pid()?)))
        .collect()
}

/// Starts a stack and waits until all of it is ready.
#[track_caller]
fn started(yaml: &str) -> TestStack {
    let stack = TestStack::new(yaml);
    stack.run(&["up", "--wait"]).ok();
    stack
}

#[test]
fn only_what_changed_restarts_and_everything_else_keeps_its_process_and_its_port() {
    let stack = started(STACK);
    let (before, ports) = (pids(&stack), ["db", "api"].map(|name| stack.port_of(name)));
    let dotenv = stack.read(".env");
    stack.write_yaml(
        &STACK
            .replace("LOG_LEVEL: info", "LOG_LEVEL: debug")
            .replace(
                "  old: { command: MISBEHAVE sleep }",
                "  cache: { command: MISBEHAVE bind $<PORT:auto> }",
            )
            .replace(
                "depends_on: [api]",
                "depends_on: [api], labels: { team: web }",
            ),
    );
    let lines = [
        "`api`: environment `LOG_LEVEL` changed; restarting",
        "`web`: labels changed; not restarted",
        "`cache`: new; starting",
        "`old`: no longer in the file; stopping",
    ];
    let told = "the file has changed; `stack up` applies it";
    stack.run(&["ps"]).ok().says(&[told]);
    // A look changes nothing.
    let output = stack.run(&["up", "--dry-run"]).ok();
    for line in lines {
        assert!(output.stdout.contains(line), "{output}");
    }
    assert_eq!((pids(&stack), stack.read(".env")), (before.clone(), dotenv));

    stack.run(&["up", "--wait"]).ok().says(&lines);
    let after = pids(&stack);
    assert_eq!((after["db"], after["web"]), (before["db"], before["web"]));
    assert_ne!(after["api"], before["api"]);
    wait_until("`old` to be gone", || {
        (!pids(&stack).contains_key("old")).then_some(())
    });
    assert!(Process::of(before["old"]).is_none_or(|process| !process.is_alive()));
    assert_eq!(["db", "api"].map(|name| stack.port_of(name)), ports);
    let level = Process::of(after["api"]).and_then(|process| process.variable("LOG_LEVEL"));
    assert_eq!(level.as_deref(), Some("debug"));
    let keys: Vec<String> = stack.dotenv().into_keys().collect();
    assert_eq!(keys, ["API_PORT", "CACHE_PORT", "DB_PORT"]);
    let output = stack.run(&["ps"]).ok();
    assert!(!output.stderr.contains(told), "{output}");
    stack.run(&["up", "-d"]).ok().says(&["nothing to start"]);
    assert_eq!(pids(&stack), after);
    stack.down();
}

#[test]
fn what_is_taken_over_live_counts_for_who_runs_already() {
    for killed in [false, true] {
        let stack = started(STACK);
        stack.wait_for_log("web", "recording");
        let before = pids(&stack);
        let yaml = STACK.replace("depends_on: [api]", "depends_on: [api], stop_signal: INT");
        stack.write_yaml(&yaml);
        stack
            .run(&["up", "-d"])
            .ok()
            .says(&["`web`: stop_signal changed; not restarted"]);
        assert_eq!(pids(&stack), before);
        if killed {
            // The guardian knows of it, too.
            stack.world().processes();
            stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
            stack.world().wait_until_nothing_is_left();
        } else {
            stack.down();
        }
        assert_eq!(stack.read("heard"), "SIGINT\n");
    }
}

#[test]
fn a_check_that_changes_is_asked_from_then_on() {
    let yaml = "
services:
  it: { command: MISBEHAVE sleep, healthcheck: { test: test -e one, interval: 50ms, retries: 1 } }
";
    let stack = TestStack::new(yaml);
    stack.write("one", "");
    stack.run(&["up", "--wait"]).ok();
    let pid = pids(&stack)["it"];
    stack.write_yaml(&yaml.replace("-e one", "-e two"));
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["healthcheck changed; not restarted"]);
    stack.wait_for("it", "the new check", phase_is("unhealthy"));
    stack.write("two", "");
    stack.wait_for("it", "the new check", phase_is("healthy"));
    assert_eq!(pids(&stack)["it"], pid);
    stack.down();
}

#[test]
fn a_file_with_a_mistake_or_a_port_that_is_taken_changes_nothing() {
    let stack = started(STACK);
    let (before, dotenv) = (pids(&stack), stack.read(".env"));
    let taken = stack.port(8070);
    let _occupied = stack.occupy(8070, Occupied::Loopback);
    for (from, to, code, says) in [
        (
            "LOG_LEVEL: info",
            "LOG_LEVEL: $<nobody.PORT>".to_owned(),
            2,
            "nobody",
        ),
        (
            "old: { command: MISBEHAVE sleep }",
            format!("old: {{ command: MISBEHAVE bind $<PORT:{taken}> }}"),
            1,
            "taken by pid",
        ),
    ] {
        stack.write_yaml(&STACK.replace(from, &to));
        for arguments in [&["up", "-d"][..], &["up", "--dry-run"]] {
            stack.run(arguments).expect(code).says(&[says]);
        }
        assert_eq!(
            (pids(&stack), stack.read(".env")),
            (before.clone(), dotenv.clone())
        );
    }
    stack.down();
}

#[test]
fn a_change_that_fails_leaves_alone_what_it_has_not_reached() {
    let stack = started(STACK);
    let before = pids(&stack);
    let yaml = STACK
        .replace(
            "  db:\n    command: MISBEHAVE bind $<PORT:auto>",
            "  db:\n    command: ./no-such-program $<PORT:auto>",
        )
        .replace("LOG_LEVEL: info", "LOG_LEVEL: debug");
    stack.write_yaml(&yaml);
    stack
        .run(&["up", "-d"])
        .expect(1)
        .says(&["db", "its changes were not applied"]);
    let after = pids(&stack);
    assert_eq!((after.get("db"), after["api"]), (None, before["api"]));
    stack.run(&["ps"]).ok().says(&["the file has changed"]);
    // Mended, it goes on where it stopped.
    stack.write_yaml(&STACK.replace("LOG_LEVEL: info", "LOG_LEVEL: debug"));
    stack.run(&["up", "--wait"]).ok();
    assert_ne!(pids(&stack)["api"], before["api"]);
    stack.down();
}

#[test]
fn a_number_of_replicas_that_changes_leaves_the_others_alone() {
    let stack = TestStack::new("services: { web: { command: MISBEHAVE bind $<PORT:auto> } }");
    let up = |scale: &str| {
        let arguments = ["up", "--wait", "--scale", scale];
        stack.run(&arguments).ok();
        let rows = stack.ps().into_iter();
        let rows = rows.map(|row| {
            let port = row.port_entry()["port"].as_u64();
            (row.pid(), port)
        });
        rows.collect::<Vec<_>>()
    };
    let one = up("web=1");
    let three = up("web=3");
    assert_eq!((three.len(), three[0]), (3, one[0]));
    let two = up("web=2");
    wait_until("the third to be gone", || {
        (stack.ps().len() == 2).then_some(())
    });
    assert_eq!(two[..2], three[..2]);
    // As in Compose, without a word it is as the file says.
    stack
        .run(&["up", "--wait"])
        .ok()
        .says(&["`web-2`: no longer wanted; stopping"]);
    wait_until("the second to be gone", || {
        (stack.ps().len() == 1).then_some(())
    });
    assert_eq!(pids(&stack).into_values().next(), one[0].0);
    stack.down();
}

#[test]
fn who_is_started_anew_can_be_said() {
    let stack = started(STACK);
    let before = pids(&stack);
    stack.write_yaml(&STACK.replace("LOG_LEVEL: info", "LOG_LEVEL: debug"));
    stack
        .run(&["up", "-d", "--no-recreate"])
        .ok()
        .says(&["`api`: environment `LOG_LEVEL` changed; left as it is"]);
    // Neither is what was not named.
    stack
        .run(&["up", "-d", "old"])
        .ok()
        .says(&["left as it is"]);
    assert_eq!(pids(&stack), before);
    stack
        .run(&["up", "--wait", "--force-recreate", "old"])
        .ok()
        .says(&["`old`: restarting"]);
    let after = pids(&stack);
    assert_ne!(after["old"], before["old"]);
    assert_eq!((after["db"], after["api"]), (before["db"], before["api"]));
    stack.run(&["up", "-d", "--no-start", "-y"]).ok();
    assert_eq!(
        stack.service("api").expect("it is there").phase(),
        "stopped"
    );
    stack.down();
}

#[test]
fn without_a_start_the_ports_are_found_and_nothing_runs() {
    let stack = TestStack::new(STACK);
    stack
        .run(&["up", "--no-start"])
        .ok()
        .says(&["nothing was started"]);
    let ports = ["db", "api"].map(|name| stack.port_of(name));
    stack.run(&["ps"]).expect(4);
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(["db", "api"].map(|name| stack.port_of(name)), ports);
    stack.down();
}

#[test]
fn another_file_stops_nothing_that_it_does_not_know_unless_that_is_said() {
    let stack = started(STACK);
    stack.write(
        "other.yaml",
        "name: shop\nservices: { job: { command: sleep 1000 } }\n",
    );
    let before = pids(&stack);
    stack
        .run(&["-f", "other.yaml", "up", "-d"])
        .expect(3)
        .says(&["`db`, `api`, `web`, `old`", "`--remove-orphans`"]);
    assert_eq!(pids(&stack), before);
    stack
        .run(&["-f", "other.yaml", "up", "-d", "--remove-orphans"])
        .ok();
    wait_until("the others to be gone", || {
        let names: Vec<String> = pids(&stack).into_keys().collect();
        (names == ["job"]).then_some(())
    });
    stack.down();
}

#[test]
fn a_restart_keeps_the_environment_of_the_up_that_started_it() {
    let mut stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    let from_caller = |stack: &TestStack| {
        let process = Process::of(pids(stack)["it"]).expect("it runs");
        process.variable("FROM_CALLER").unwrap_or_default()
    };
    stack.set("FROM_CALLER", "one");
    stack.run(&["up", "-d"]).ok();
    stack.set("FROM_CALLER", "two");
    stack.run(&["up", "-d"]).ok().says(&["nothing to start"]);
    stack.run(&["restart", "it"]).ok();
    assert_eq!(from_caller(&stack), "one");
    stack.run(&["up", "-d", "--force-recreate"]).ok();
    assert_eq!(from_caller(&stack), "two");
    // It follows where the file refers to it.
    stack.write_yaml(
        "services: { it: { command: MISBEHAVE sleep, environment: { SEEN: '${FROM_CALLER}' } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.set("FROM_CALLER", "three");
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["environment `SEEN` changed"]);
    assert_eq!(from_caller(&stack), "three");
    stack.down();
}

#[test]
fn only_another_file_is_a_file_that_has_changed() {
    let yaml = "services: { it: { command: MISBEHAVE sleep, environment: { SEEN: '${FROM_CALLER:-}' } } }\n";
    let mut stack = TestStack::new(yaml);
    let told = "the file has changed";
    let says_nothing = |stack: &TestStack| {
        for arguments in [&["ps"][..], &["start"], &["restart"]] {
            let output = stack.run(arguments).ok();
            assert!(!output.stderr.contains(told), "{output}");
        }
    };
    stack.set("FROM_CALLER", "one");
    stack.run(&["up", "-d"]).ok();
    says_nothing(&stack);
    // It is the environment of this call that is another.
    stack.set("FROM_CALLER", "two");
    says_nothing(&stack);
    stack.write_yaml(&format!("# nothing but a word\n{yaml}"));
    stack.set("FROM_CALLER", "one");
    says_nothing(&stack);
    // An `up` has seen it, though there was nothing to do.
    stack.run(&["up", "-d"]).ok().says(&["nothing to start"]);
    stack.set("FROM_CALLER", "two");
    says_nothing(&stack);
    for name in ["stack.yaml", "stack.override.yaml", ".env"] {
        let text = match name {
            ".env" => "FROM_CALLER=three\n".to_owned(),
            _ => yaml.replace("SEEN", "OTHER"),
        };
        let before = (name == "stack.yaml").then(|| stack.read(name));
        stack.set("FROM_CALLER", "");
        stack.write(name, &text.replace("MISBEHAVE", "misbehave"));
        stack.run(&["ps"]).ok().says(&[told]);
        match before {
            Some(before) => stack.write(name, &before),
            None => fs_err::remove_file(stack.path(name)).expect("it is there"),
        }
        says_nothing(&stack);
    }
    stack.down();

    // Nobody knows what standard input would be now.
    fs_err::copy(stack.path("stack.yaml"), stack.path("input")).expect("it is there");
    let from_input = ["sh", "-c", "exec \"$0\" \"$@\" < input"];
    let command = stack.wrapped(&from_input, &["-f", "-", "up", "-d"]);
    stack.run_command(command).ok();
    stack.write_yaml(&yaml.replace("SEEN", "OTHER"));
    says_nothing(&stack);
    stack.down();
}

#[test]
fn a_stop_by_hand_does_not_end_a_foreground_stack() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE sleep }, b: { command: MISBEHAVE sleep } }",
    );
    let mut up = stack.up();
    wait_until("both of them", || {
        (stack.service_processes().len() == 2).then_some(())
    });
    stack.run(&["stop", "a"]).ok();
    stack.run(&["stop", "b"]).ok();
    assert!(!up.has_ended());
    stack.run(&["start", "a"]).ok();
    assert_eq!(pids(&stack).len(), 1);
    stack.down();
    up.wait().ok();
}

#[test]
fn a_foreground_stack_shows_what_changes_from_another_terminal() {
    let stack = TestStack::new("services: { a: { command: 'echo one; exec sleep 1000' } }");
    let mut up = stack.up();
    up.wait_for_line("one");
    stack.write_yaml("services: { a: { command: 'echo two; exec sleep 1000', labels: { a: b } }, new: { command: 'echo three; exec sleep 1000' } }");
    stack.run(&["up", "-d"]).ok();
    up.wait_for_line("two");
    up.wait_for_line("three");
    stack.write_yaml("services: { a: { command: 'echo two; exec sleep 1000' } }");
    stack.run(&["up", "-d"]).ok();
    stack.down();
    // With the reasons.
    let output = up.wait().ok();
    for line in [
        "a  command, labels changed; restarting",
        "new  new; starting",
        "a    labels changed; not restarted",
        "new  no longer in the file; stopping",
    ] {
        assert!(output.stderr.contains(line), "{output}");
    }
}

#[test]
fn a_hundred_edits_leak_nothing() {
    let yaml = |number: u32| {
        let extra = if number.is_multiple_of(2) {
            "two: { command: MISBEHAVE bind $<PORT:auto> }"
        } else {
            ""
        };
        format!(
            "services:\n  same: {{ command: MISBEHAVE bind $<PORT:auto> }}\n  one: {{ command: 'MISBEHAVE bind $<PORT:auto>', environment: {{ N: '{number}' }} }}\n  {extra}\n"
        )
    };
    let stack = started(&yaml(0));
    let same = pids(&stack)["same"];
    let mut before = None;
    for number in 1..=100 {
        stack.write_yaml(&yaml(number));
        stack.run(&["up", "-d"]).ok();
        if number == 20 || number == 100 {
            stack.run(&["up", "--wait"]).ok();
            wait_until("nothing to be on its way", || {
                let rows = stack.ps();
                let are_ready = rows.iter().all(|row| row.phase() == "healthy");
                (rows.len() == 3 && are_ready).then_some(())
            });
            let supervisor = stack.own_process("supervisor_pid");
            let now = (supervisor.open_files().len(), supervisor.memory("VmRSS"));
            let (files, memory) = *before.get_or_insert(now);
            assert!(now.0 <= files + 2, "{now:?} {before:?}");
            assert!(now.1 <= memory + 2048, "{now:?} {before:?}");
        }
    }
    assert_eq!(pids(&stack)["same"], same);
    let keys: Vec<String> = stack.dotenv().into_keys().collect();
    assert_eq!(keys, ["ONE_PORT", "SAME_PORT", "TWO_PORT"]);
    stack.down();
}

#[test]
fn who_waits_for_a_change_waits_for_what_it_stops() {
    let stack = TestStack::new("services: {}");
    let web = "  web: { command: MISBEHAVE sleep }\n";
    let deaf = "  old: { command: 'MISBEHAVE ignore-term', stop_grace_period: 700ms }\n";
    for arguments in [
        &["up", "--wait"][..],
        &["up", "-d"],
        &["up", "-d", "--wait"],
    ] {
        stack.write_yaml(&format!("services:\n{web}{deaf}"));
        stack.run(&["up", "--wait"]).ok();
        stack.wait_for_log("old", "deaf");
        let old = Process::of(pids(&stack)["old"]).expect("it runs");
        stack.write_yaml(&format!("services:\n{web}"));
        stack.run(arguments).ok();
        assert!(!old.is_alive());
        assert_eq!(stack.ps().len(), 1);
    }
    stack.write_yaml(&format!("services:\n{web}{deaf}"));
    stack.run(&["up", "--wait"]).ok();
    let web = Process::of(pids(&stack)["web"]).expect("it runs");
    stack.run(&["up", "--no-start", "--force-recreate"]).ok();
    assert!(!web.is_alive());
    assert!(stack.ps().iter().all(|row| row.phase() == "stopped"));
    stack.down();
}

#[test]
fn a_fixed_port_goes_over_to_the_service_that_has_it_now() {
    let stack = TestStack::new("services: {}");
    let (one, two) = (stack.port(8080), stack.port(8081));
    let yaml = |a: u16, name: &str, b: u16| {
        format!(
            "services:\n  a: {{ command: 'MISBEHAVE bind $<PORT:{a}>' }}\n  {name}: {{ command: 'MISBEHAVE bind $<PORT:{b}>' }}\n"
        )
    };
    stack.write_yaml(&yaml(one, "b", two));
    stack.run(&["up", "--wait"]).ok();
    for (a, name, b) in [(two, "b", one), (two, "renamed", one)] {
        stack.write_yaml(&yaml(a, name, b));
        stack.run(&["up", "--wait"]).ok();
        let port = |name: &str| {
            let row = stack.wait_for(name, "its port", phase_is("healthy"));
            row.port_entry()["port"].as_u64()
        };
        assert_eq!((port("a"), port(name)), (Some(a.into()), Some(b.into())));
    }
    // Whoever is slow to let go of it is waited for, and named, as nobody else has it.
    let slow = |name: &str| {
        format!(
            "services: {{ {name}: {{ command: \"trap '' TERM; MISBEHAVE bind $<PORT:{one}>\", stop_grace_period: 1s }} }}"
        )
    };
    stack.write_yaml(&slow("slow"));
    stack.run(&["up", "--wait"]).ok();
    stack.write_yaml(&slow("other"));
    let waits = format!("waiting for slow to release port {one}");
    let output = stack.run(&["up", "--wait"]).ok();
    assert!(output.stderr.contains(&waits), "{output}");
    assert!(!output.stderr.contains("taken"), "{output}");
    assert_eq!(stack.service("other").unwrap().attempt(), 1);
    stack.down();
}

#[test]
fn the_generated_file_follows_where_it_is_to_be() {
    let yaml = "services: { it: { command: MISBEHAVE bind $<PORT:auto> } }";
    let stack = started(yaml);
    let block = stack.read(".env");
    stack.write_yaml(&format!("dotenv: {{ path: other.env }}\n{yaml}"));
    let moved = "the ports are in `other.env` now, instead of `.env`";
    let output = stack.run(&["up", "--dry-run"]).ok();
    assert!(output.stdout.contains(moved), "{output}");
    let output = stack.run(&["up", "-d"]).ok().says(&[moved]);
    assert!(!output.stderr.contains("nothing to start"), "{output}");
    assert_eq!(stack.read("other.env"), block);
    assert!(!stack.path(".env").exists(), "what is out of date is gone");
    stack.run(&["ps"]).ok();
    stack.write_yaml(&format!(
        "dotenv: {{ path: other.env, vars: {{ URL: 'http://localhost:$<it.PORT>' }} }}\n{yaml}"
    ));
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["`other.env` changes: `URL`"]);
    stack.write_yaml(&format!("dotenv: false\n{yaml}"));
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["the ports are not in `other.env` any more"]);
    assert!(!stack.path("other.env").exists());
    // One that cannot be written changes nothing.
    let pid = pids(&stack)["it"];
    fs_err::create_dir(stack.path("dir.env")).expect("it is new");
    stack.write_yaml(&format!(
        "dotenv: {{ path: dir.env }}\n{}",
        yaml.replace("auto>", "auto> --late 1")
    ));
    stack.run(&["up", "-d"]).expect(1).says(&["dir.env"]);
    assert_eq!(pids(&stack)["it"], pid);
    stack.down();
}

#[test]
fn clients_that_change_a_stack_at_once_take_turns() {
    let yaml = |names: &[String]| {
        let service = |name| format!("  {name}: {{ command: 'sleep 1000; : $<PORT:auto>' }}\n");
        let services: String = names.iter().map(service).collect();
        format!("services:\n{services}")
    };
    let stack = TestStack::new(&yaml(&["a".to_owned()]));
    stack.run(&["up", "-d"]).ok();
    let (supervisor, a) = (stack.own_process("supervisor_pid"), pids(&stack)["a"]);
    for round in 0..15 {
        let mut clients = Vec::new();
        for more in ["x", "y", "z"] {
            // In one step, as nobody is to see half of it.
            stack.write("next", &yaml(&["a".to_owned(), format!("{more}{round}")]));
            fs_err::rename(stack.path("next"), stack.path("stack.yaml")).expect("it is ours");
            clients.push(stack.start(&["up", "-d"]));
            std::thread::sleep(std::time::Duration::from_millis(round / 2));
        }
        for client in clients {
            let output = client.wait();
            // Overtaken by a later one, whose services are others.
            assert!([0, 3].contains(&output.code), "{output}");
        }
    }
    assert!(supervisor.is_alive());
    stack.run(&["up", "-d"]).ok();
    let row = stack.service("z14").expect("it is part of the stack");
    let port = row.port_entry()["port"].to_string();
    assert_eq!(stack.dotenv()["Z14_PORT"], port);
    assert_eq!(pids(&stack)["a"], a);
    stack.down();
}

#[test]
fn what_is_left_as_it_is_keeps_its_port_and_its_keys_and_follows_with_the_next_up() {
    let stack = TestStack::new("services: {}");
    let (one, two) = (stack.port(8080), stack.port(8081));
    let yaml = |port: u16, a: u8, more: &str| {
        format!(
            "services:\n  api: {{ command: 'MISBEHAVE bind $<PORT:{port}>' }}\n  web: {{ command: MISBEHAVE sleep, environment: {{ A: '{a}' }} }}\n{more}"
        )
    };
    let old = "  old: { command: 'MISBEHAVE bind $<PORT:auto>' }\n";
    stack.write_yaml(&yaml(one, 1, old));
    stack.run(&["up", "--wait"]).ok();
    let before = pids(&stack);
    stack.write_yaml(&yaml(two, 2, ""));
    stack.run(&["up", "-d", "web"]).ok().says(&[
        "`api`: ports changed; left as it is",
        "`old`: no longer in the file; left as it is",
    ]);
    assert_eq!(
        stack.dotenv()["API_PORT"],
        one.to_string(),
        "it is what runs"
    );
    assert!(stack.dotenv().contains_key("OLD_PORT"));
    stack.run(&["ps"]).ok().says(&["the file has changed"]);
    stack
        .run(&["up", "--wait"])
        .ok()
        .says(&["`api`: command, ports changed; restarting", "stopping"]);
    assert_eq!(stack.dotenv()["API_PORT"], two.to_string());
    wait_until("`old` to be gone", || {
        (!pids(&stack).contains_key("old")).then_some(())
    });
    assert_ne!(pids(&stack)["api"], before["api"]);
    stack.down();
}

#[test]
fn what_is_left_as_it_is_keeps_the_services_that_it_needs() {
    let yaml = "
services:
  db: { command: MISBEHAVE sleep }
  debug: { command: MISBEHAVE sleep, profiles: [debug], depends_on: [db] }
  web: { command: MISBEHAVE sleep }
";
    let stack = TestStack::new(yaml);
    stack.run(&["--profile", "debug", "up", "-d"]).ok();
    let before = pids(&stack);
    let without = yaml
        .replace("  db: { command: MISBEHAVE sleep }\n", "")
        .replace(", depends_on: [db]", "");
    stack.write_yaml(&without);
    stack.run(&["up", "-d"]).ok().says(&[
        "`debug`: depends_on changed; left as it is",
        "`db`: no longer in the file; left as it is, because `debug` needs it",
    ]);
    assert_eq!(pids(&stack), before);
    stack
        .run(&["--profile", "debug", "up", "--wait"])
        .ok()
        .says(&["`db`: no longer in the file; stopping"]);
    // The one that was spared after a failure keeps its own, too.
    let failing = yaml
        .replace(
            "  db: { command: MISBEHAVE sleep }",
            "  new: { command: ./no-such-program }",
        )
        .replace("profiles: [debug], depends_on: [db]", "depends_on: [new]");
    stack.write_yaml(&yaml.replace("profiles: [debug], ", ""));
    stack.run(&["up", "--wait"]).ok();
    let before = pids(&stack);
    stack.write_yaml(&failing.replace(
        "debug: { command: MISBEHAVE sleep",
        "debug: { command: MISBEHAVE sleep, environment: { N: '1' }",
    ));
    // The second comes once everything that the first has led to is carried out.
    for _ in 0..2 {
        stack.run(&["up", "-d"]).expect(1).says(&["debug"]);
    }
    assert_eq!(pids(&stack), before);
    stack.down();
}

#[test]
fn what_refers_to_a_service_that_was_spared_gets_what_that_has() {
    let stack = TestStack::new("services: {}");
    let (one, two) = (stack.port(8080), stack.port(8081));
    let yaml = |db: &str, port: u16| {
        format!(
            "services:\n  db: {{ command: '{db}' }}\n  api: {{ command: 'MISBEHAVE bind $<PORT:{port}>', depends_on: [db] }}\n  web: {{ command: MISBEHAVE sleep, environment: {{ API: $<api.PORT> }}, depends_on: [api] }}\n"
        )
    };
    stack.write_yaml(&yaml("MISBEHAVE sleep", one));
    stack.run(&["up", "--wait"]).ok();
    let before = pids(&stack);
    stack.write_yaml(&yaml("./no-such-program", two));
    stack.run(&["up", "-d"]).expect(1);
    wait_until("the file to say what runs", || {
        (stack.dotenv()["API_PORT"] == one.to_string()).then_some(())
    });
    let after = pids(&stack);
    assert_eq!((after["api"], after["web"]), (before["api"], before["web"]));
    stack.write_yaml(&yaml("MISBEHAVE sleep", two));
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(stack.dotenv()["API_PORT"], two.to_string());
    let web = Process::of(pids(&stack)["web"]).expect("it runs");
    assert_eq!(web.variable("API"), Some(two.to_string()));
    stack.down();
}

#[test]
fn however_many_services_are_spared_each_is_told_once() {
    const COUNT: usize = 12;
    let yaml = |db: &str, n: u8| {
        let service = |place: usize| {
            format!(
                "  s{place}: {{ command: MISBEHAVE sleep, environment: {{ N: '{n}' }}, depends_on: [db] }}\n"
            )
        };
        let services: String = (0..COUNT).map(service).collect();
        format!("services:\n  db: {{ command: '{db}' }}\n{services}")
    };
    let stack = TestStack::new(&yaml("MISBEHAVE sleep", 1));
    stack.run(&["up", "--wait"]).ok();
    let before = pids(&stack);
    let mut events = stack.start(&["up", "--no-log-prefix"]);
    events.wait_for_line("attached to it");
    stack.write_yaml(&yaml("./no-such-program", 2));
    // The second is planned once everything that the first has led to is carried out.
    for _ in 0..2 {
        stack.run(&["up", "-d"]).expect(1);
    }
    let mut after = pids(&stack);
    after.insert("db".to_owned(), before["db"]);
    assert_eq!(after, before);
    stack.down();
    let said = events.wait().stderr;
    let told = said.matches("runs on as it was").count();
    assert_eq!(told, 2 * COUNT, "{said}");
}

#[test]
fn a_stack_whose_directory_was_renamed_takes_changes_over_like_any_other() {
    let yaml = |n: u8| {
        format!(
            "services:\n  a: {{ command: MISBEHAVE sleep, environment: {{ N: '{n}' }} }}\n  b: {{ command: MISBEHAVE sleep, working_dir: sub }}\n"
        )
    };
    let stack = TestStack::new(&yaml(0));
    fs_err::create_dir(stack.path("sub")).expect("it is new");
    stack.run(&["up", "-d"]).ok();
    let b = pids(&stack)["b"];
    let (here, there) = (stack.path(""), stack.path("").with_file_name("renamed"));
    fs_err::rename(&here, &there).expect("it is ours");
    let run = |arguments: &[&str]| {
        let mut command = stack.command(arguments);
        command.current_dir(&there);
        stack.run_command(command)
    };
    for n in 1..=3 {
        fs_err::write(
            there.join("stack.yaml"),
            fs_err::read_to_string(there.join("stack.yaml"))
                .expect("it is there")
                .replace(&format!("'{}'", n - 1), &format!("'{n}'")),
        )
        .expect("it is ours");
        let output = run(&["up", "-d"]).ok();
        assert!(!output.stderr.contains("`b`"), "{output}");
    }
    fs_err::rename(&there, &here).expect("it is ours");
    assert_eq!(pids(&stack)["b"], b);
    stack.down();
}

#[test]
fn no_port_moves_for_a_wish_or_for_a_range_in_which_it_is() {
    let mut stack = TestStack::new("services: {}");
    let range = format!("{}-{}", stack.port(8000), stack.port(8020));
    let yaml = |range: &str, n: u8| {
        format!(
            "ports: {{ range: {range} }}\nservices:\n  api: {{ command: 'MISBEHAVE bind $<PORT:auto>' }}\n  web: {{ command: MISBEHAVE sleep, environment: {{ N: '{n}' }} }}\n"
        )
    };
    stack.write_yaml(&yaml(&range, 0));
    stack.run(&["up", "--wait"]).ok();
    let (before, port) = (pids(&stack), stack.port_of("api"));
    let taken = stack.port(8010);
    let _occupied = stack.occupy(8010, Occupied::Loopback);
    stack.set("API_PORT", &taken.to_string());
    stack.write_yaml(&yaml(
        &format!("{}-{}", stack.port(8000), stack.port(8015)),
        1,
    ));
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(
        (pids(&stack)["api"], stack.port_of("api")),
        (before["api"], port)
    );
    stack.down();
}

#[test]
fn a_service_follows_what_it_depends_on_where_the_file_says_so() {
    let yaml = |n: u8| {
        format!(
            "services:\n  db: {{ command: MISBEHAVE sleep, environment: {{ N: '{n}' }} }}\n  web: {{ command: MISBEHAVE sleep, depends_on: {{ db: {{ condition: service_started, restart: true }} }} }}\n  other: {{ command: MISBEHAVE sleep, depends_on: [db] }}\n"
        )
    };
    let stack = started(&yaml(0));
    let before = pids(&stack);
    stack.write_yaml(&yaml(1));
    stack
        .run(&["up", "--wait"])
        .ok()
        .says(&["`web`: restarting with `db`"]);
    let after = pids(&stack);
    assert_ne!(after["web"], before["web"]);
    assert_eq!(after["other"], before["other"]);
    stack.down();
}

#[test]
fn a_new_check_is_waited_for() {
    let yaml = "
services:
  it: { command: MISBEHAVE sleep, healthcheck: { test: 'false', interval: 50ms, retries: 1 } }
  web: { command: MISBEHAVE sleep }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "the old check", phase_is("unhealthy"));
    let new = yaml.replace("'false'", "'true'").replace(
        "web: { command: MISBEHAVE sleep }",
        "web: { command: MISBEHAVE sleep, environment: { N: '1' }, depends_on: { it: { condition: service_healthy } } }",
    );
    stack.write_yaml(&new);
    stack.run(&["up", "--wait"]).ok();
    stack.write_yaml(&new.replace("'true'", "'false'"));
    stack.run(&["up", "--wait"]).expect(1).says(&["it"]);
    stack.down();
}

#[test]
fn what_starts_again_gets_the_environment_of_who_starts_it() {
    let mut stack = TestStack::new(
        "services: { it: { command: MISBEHAVE sleep }, other: { command: MISBEHAVE sleep } }",
    );
    stack.set("FROM_CALLER", "one");
    stack.run(&["up", "-d"]).ok();
    let other = pids(&stack)["other"];
    stack.run(&["stop", "it"]).ok();
    stack.set("FROM_CALLER", "two");
    stack.run(&["up", "-d"]).ok();
    let process = Process::of(pids(&stack)["it"]).expect("it runs");
    assert_eq!(process.variable("FROM_CALLER").as_deref(), Some("two"));
    assert_eq!(pids(&stack)["other"], other);
    stack.down();
}

#[test]
fn ports_that_nobody_came_back_for_are_given_back() {
    let stack = started("services: { old: { command: MISBEHAVE sleep } }");
    let port = stack.port(8090);
    stack.write(
        "other.yaml",
        &format!(
            "name: shop\nservices: {{ web: {{ command: 'sleep 1000; : $<PORT:{port}>' }} }}\n"
        ),
    );
    stack.run(&["-f", "other.yaml", "up", "-d"]).expect(3);
    stack
        .run(&["-f", "other.yaml", "up", "-d", "--remove-orphans"])
        .ok();
    assert_eq!(stack.dotenv()["WEB_PORT"], port.to_string());
    stack.down();
}

#[test]
fn a_start_that_fails_is_not_tried_again_for_those_that_stay_as_they_are() {
    let yaml = "
services:
  a: { command: MISBEHAVE sleep }
  b: { command: MISBEHAVE sleep, depends_on: [a] }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let before = stack.service("b").unwrap();
    stack.write_yaml(
        "
services:
  a: { command: MISBEHAVE sleep, environment: { NEW: 1 }, pre_start: echo once; exit 3 }
  b: { command: MISBEHAVE sleep, depends_on: [a], environment: { NEW: 1 } }
",
    );
    let failed = stack.run(&["up", "-d"]).expect(1);
    assert!(!failed.stderr.contains("b  started"), "{failed:?}");
    failed.says(&["b is running: its changes were not applied: a `pre_start`"]);
    assert_eq!(stack.log("a"), b"once\n");
    assert_eq!(stack.service("b").unwrap().pid(), before.pid());
    stack.down();
}

#[test]
fn a_generated_key_of_a_service_that_is_left_alone_restarts_nobody() {
    let yaml = |tool: &str, more: &str| {
        format!(
            "services:\n  db: {{ command: MISBEHAVE sleep }}\n  tool: {{ command: 'MISBEHAVE {tool}'{more} }}\n"
        )
    };
    let stack = started(&yaml("sleep", ""));
    let before = pids(&stack);
    stack.write_yaml(&yaml("bind $<PORT:auto>", ", profiles: [q]"));
    for _ in 0..3 {
        stack.run(&["up", "-d"]).ok();
        assert_eq!(pids(&stack), before);
    }
    stack.write_yaml(&yaml("bind $<PORT:auto>", ""));
    for flags in [&["up", "-d", "db"][..], &["up", "-d", "--no-recreate"]] {
        for _ in 0..3 {
            stack.run(flags).ok();
            assert_eq!(pids(&stack), before);
        }
    }
    // What starts meanwhile is told of no port that nobody has.
    stack.run(&["restart", "db"]).ok();
    let db_pid = pids(&stack)["db"];
    let db = Process::of(db_pid).unwrap();
    assert_eq!(db.variable("TOOL_PORT"), None);
    stack.run(&["up", "--wait"]).ok();
    let after = pids(&stack);
    assert_ne!(after["tool"], before["tool"]);
    assert_eq!(after["db"], db_pid);
    stack.down();
}

#[test]
fn clients_that_want_the_same_at_once_restart_it_once() {
    let stack = started(
        "services: { a: { command: MISBEHAVE ignore-term, environment: { V: 1 }, stop_grace_period: 1s } }",
    );
    stack.write_yaml("services: { a: { command: MISBEHAVE ignore-term, environment: { V: 2 }, stop_grace_period: 1s } }");
    let ups: Vec<_> = (0..4).map(|_| stack.start(&["up", "--wait"])).collect();
    for up in ups {
        up.wait().ok();
    }
    let rows = stack.ps();
    assert_eq!(rows[0].attempt(), 2);
    stack.down();
}

#[test]
fn fewer_files_than_at_the_start_stop_nothing_unless_that_is_said() {
    let stack = TestStack::new("services: { a: { command: MISBEHAVE sleep } }");
    let sleeping = "services: { n: { command: sleep 1000 } }\n";
    stack.write("dev.yaml", sleeping);
    stack.write("more.yaml", "services: { m: { command: sleep 1000 } }\n");
    let both = ["-f", "stack.yaml", "-f", "dev.yaml"];
    let up = |files: &[&str], rest: &[&str]| {
        let words: Vec<&str> = [files, &["up", "-d"], rest].concat();
        stack.run(&words)
    };
    let is_refused = |files: &[&str], service: &str, file: &str| {
        let before = pids(&stack);
        let said = [file, service, "`--remove-orphans`"];
        up(files, &[]).expect(3).says(&said);
        assert_eq!(pids(&stack), before);
    };
    up(&both, &[]).ok();
    is_refused(&[], "`n`", "dev.yaml`");
    // What is named alone may come from a further file; that of the others counts all the same.
    let further = ["-f", "stack.yaml", "-f", "more.yaml"];
    up(&further, &["m"])
        .ok()
        .says(&["`n`: no longer in the file; left as it is"]);
    is_refused(&further, "`n`", "dev.yaml`");
    is_refused(&both, "`m`", "more.yaml`");
    // A file that has it no more is no other file.
    stack.write("dev.yaml", "services: {}\n");
    up(&[&both[..], &further[2..]].concat(), &[])
        .ok()
        .says(&["`n`: no longer in the file; stopping"]);
    up(&[], &["--remove-orphans"]).ok().says(&["`m`"]);
    up(&[], &[]).ok();
    stack.down();
}

#[test]
fn a_port_goes_over_within_the_stack_as_in_a_fresh_start() {
    let stack = TestStack::new("services: {}");
    let (n, m) = (stack.port(8080), stack.port(8081));
    let yaml = |a: &str, c: &str| {
        format!(
            "services:\n  a: {{ command: 'MISBEHAVE bind $<PORT:{a}>' }}\n  c: {{ command: 'MISBEHAVE bind $<PORT:{c}>' }}\n"
        )
    };
    stack.write_yaml(&yaml(&n.to_string(), "auto"));
    stack.run(&["up", "--wait"]).ok();
    // A fixed number and `auto` swap services.
    stack.write_yaml(&yaml("auto", &n.to_string()));
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(stack.port_of("c"), n);
    assert_ne!(stack.port_of("a"), n);
    // One that is preferred is had from whoever is leaving it.
    stack.write_yaml(&yaml(&format!("auto:{n}"), &m.to_string()));
    stack.run(&["up", "-d", "c"]).ok();
    let output = stack.run(&["up", "--wait", "--force-recreate"]).ok();
    assert!(!output.stderr.contains("instead"), "{output}");
    assert_eq!(stack.port_of("c"), m);
    // Who is left as it is has it, and is named.
    stack.write_yaml(&format!(
        "{}  d: {{ command: 'MISBEHAVE bind $<PORT:{m}>' }}\n",
        yaml("auto", "auto")
    ));
    stack
        .run(&["up", "-d", "d", "--no-recreate"])
        .expect(1)
        .says(&[&format!(
            "port {m} for PORT of service `d`: it is PORT of service `c` here"
        )]);
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(stack.port_of("d"), m);
    stack.down();
}

#[test]
fn a_range_that_is_full_of_what_leaves_is_enough() {
    let yaml = |name: &str| {
        format!("services: {{ {name}: {{ command: 'MISBEHAVE bind $<PORT:auto>' }} }}")
    };
    let stack = TestStack::new("services: {}");
    let n = stack.port(8080);
    let yaml = |name: &str| format!("ports: {{ range: {n}-{n} }}\n{}", yaml(name));
    stack.write_yaml(&yaml("a"));
    stack.run(&["up", "--wait"]).ok();
    stack.write_yaml(&yaml("renamed"));
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(stack.port_of("renamed"), n);
    stack.down();
}

#[test]
fn who_waits_for_a_port_of_its_dependent_has_that_go_first() {
    let stack = TestStack::new("services: {}");
    let (one, two) = (stack.port(8080), stack.port(8081));
    let yaml = |a: u16, b: u16| {
        format!(
            "services:\n  a: {{ command: 'MISBEHAVE bind $<PORT:{a}>' }}\n  b: {{ command: 'MISBEHAVE bind $<PORT:{b}>', depends_on: {{ a: {{ condition: service_healthy }} }} }}\n"
        )
    };
    stack.write_yaml(&yaml(one, two));
    stack.run(&["up", "--wait"]).ok();
    stack.write_yaml(&yaml(two, one));
    stack.run(&["up", "--wait"]).ok();
    assert_eq!(["a", "b"].map(|name| stack.port_of(name)), [two, one]);
    assert_eq!(
        ["a", "b"].map(|name| stack.service(name).unwrap().attempt()),
        [2, 2]
    );
    stack.down();
}
