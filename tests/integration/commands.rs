//! The verbs, and how a second terminal sees a running stack.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{TestStack, Up, World, binary, misbehave, phase_is};

const PAIR: &str = "
services:
  db: { command: MISBEHAVE bind $<PORT:auto> --http }
  api: { command: MISBEHAVE bind $<PORT:auto> --http, depends_on: { db: { condition: service_healthy } } }
";

#[test]
fn a_second_terminal_sees_and_stops_a_foreground_run() {
    let stack = TestStack::new(PAIR);
    let mut up = stack.up();
    stack.wait_for("api", "healthy", phase_is("healthy"));
    up.wait_for_line(&stack.port(8001).to_string());
    stack.down();
    up.wait();
}

#[test]
fn twenty_ups_at_once_start_everything_once() {
    let stack =
        TestStack::new("services: { it: { command: 'echo x >> starts; exec MISBEHAVE sleep' } }");
    let starting: Vec<Up> = (0..20).map(|_| stack.start(&["up", "-d"])).collect();
    for up in starting {
        up.wait().ok();
    }
    stack.wait_for("it", "running", phase_is("running"));
    stack.wait_for_file("starts");
    stack.down();
    assert_eq!(stack.read("starts"), "x\n");
}

#[test]
fn up_on_a_running_stack_starts_what_was_stopped_and_nothing_else() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let db = stack.service("db").and_then(|db| db.pid());
    stack.run(&["stop", "api"]).ok();
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("api", "healthy", phase_is("healthy"));
    assert_eq!(stack.service("db").and_then(|db| db.pid()), db);
    stack.down();
}

#[test]
fn a_foreground_up_on_a_running_stack_attaches_and_ctrl_c_stops_it() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE lines 2000 20 } }");
    stack.run(&["up", "-d"]).ok();
    let mut up = stack.up();
    stack.wait_for("it", "running", phase_is("running"));
    // What is attached answers a signal; wait until it shows that it is.
    up.wait_for_line("it");
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn stop_and_start_keep_the_port() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let port = stack.port_of("db");
    stack.run(&["stop", "db"]).ok();
    let db = stack.service("db").expect("it is listed");
    assert_eq!((db.phase(), db.port_state()), ("stopped", "held"));
    stack.run(&["start", "db"]).ok();
    stack.wait_for("db", "healthy", phase_is("healthy"));
    assert_eq!(stack.port_of("db"), port);
    stack.down();
}

#[test]
fn restart_gives_a_new_process_on_the_same_port() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let before = stack.service("api").and_then(|api| api.pid());
    stack.run(&["restart", "api"]).ok();
    stack.wait_for("api", "healthy anew", |api| {
        api.phase() == "healthy" && api.pid() != before
    });
    assert_eq!(stack.port_of("api"), stack.port(8001));
    stack.down();
}

#[test]
fn commands_that_need_a_running_stack_say_how_to_start_one() {
    let stack = TestStack::new(PAIR);
    for command in [["start", "api"], ["restart", "api"]] {
        stack.run(&command).expect(4).says(&["up -d"]);
    }
    stack.run(&["port", "api"]).expect(4);
}

#[test]
fn an_unknown_service_gets_a_suggestion() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    stack.run(&["stop", "apo"]).expect(2).says(&["apo", "api"]);
    stack.down();
}

#[test]
fn port_prints_the_number_alone() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let expected = format!("{}\n", stack.port(8001));
    assert_eq!(stack.run(&["port", "api"]).ok().stdout, expected);
    assert_eq!(stack.run(&["port", "api", "PORT"]).ok().stdout, expected);
    stack.down();
}

#[test]
fn ps_json_has_the_documented_fields() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let api = stack.service("api").expect("it runs");
    assert_eq!(
        (api.phase(), api.attempt(), api.failures()),
        ("healthy", 1, 0)
    );
    assert!(api.pid().is_some());
    let port = api.port_entry();
    assert_eq!(port["name"], "PORT");
    assert_eq!(port["port"], u64::from(stack.port(8001)));
    assert_eq!(port["state"], "listening");
    assert_eq!(port["address"], format!("localhost:{}", stack.port(8001)));
    stack.down();
}

#[test]
fn the_ready_summary_has_urls_and_the_path_of_dotenv() {
    let stack = TestStack::new(
        "services: { web: { command: MISBEHAVE bind $<PORT:auto> --http, healthcheck: { http: /, interval: 1s } } }",
    );
    let url = format!("http://localhost:{}/", stack.port(8000));
    stack.up_detached().says(&[&url, ".env"]);
    stack.down();
}

#[test]
fn dry_run_writes_and_starts_nothing() {
    let stack = TestStack::new("services: { a: { command: 'touch a; echo $<PORT:auto>' } }");
    let output = stack.run(&["up", "--dry-run"]).ok();
    let port = stack.port(8000).to_string();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains(&port), "{output}");
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn config_shows_the_file_and_changes_nothing() {
    let stack = TestStack::new(PAIR);
    let output = stack.run(&["config"]).ok();
    assert!(output.stdout.contains("$<PORT:auto>"), "{output}");
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn what_config_shows_of_a_running_stack_loads_again() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind $<PORT:auto> --http, healthcheck: { http: / } } }",
    );
    stack.up_detached();
    let shown = stack.run(&["config"]).ok().stdout;
    let declared = format!("$<PORT:{}>", stack.port(8000));
    assert!(shown.contains(&declared), "{shown}");
    fs::create_dir(stack.path("elsewhere")).expect("the directory is writable");
    stack.write("elsewhere/shown.yaml", &shown);
    let again = stack.run(&["-f", "elsewhere/shown.yaml", "config"]);
    assert_eq!(shown, again.ok().stdout);
    // The service has its port, and so has its check.
    stack.write("shown.yaml", &shown);
    stack.run(&["-f", "shown.yaml", "up", "-d", "--wait"]).ok();
    stack.down();
}

#[test]
fn down_exits_0_where_nothing_runs_whatever_is_wrong_with_the_file() {
    let stack = TestStack::new("services: { a: { command: [x, '${NOT_SET_ANYWHERE:?say it}'] } }");
    stack.run(&["ps"]).expect(2);
    stack.run(&["down"]).ok().says(&["nothing is running here"]);
    stack.write_yaml("services: [");
    stack.run(&["down"]).expect(2);
}

#[test]
fn a_failure_is_told_once_with_what_was_not_started_because_of_it() {
    let stack = TestStack::new(
        "
services:
  seed: { command: 'echo no such table; exit 3' }
  api: { command: MISBEHAVE sleep, depends_on: { seed: { condition: service_completed_successfully } } }
  web: { command: MISBEHAVE sleep, depends_on: [api] }
",
    );
    for arguments in [&["up"][..], &["up", "-d"]] {
        let output = stack.run(arguments).expect(1);
        let said = &output.stderr;
        assert_eq!(said.matches("error: ").count(), 1, "{output}");
        assert!(
            said.contains(
                "error: service `seed` failed: exited with code 3\n  \
                 not started because of it: api, web\n  its last line:\n  │ no such table\n"
            ),
            "{output}"
        );
    }
}

#[test]
fn an_end_by_somebody_is_told_once_and_a_quick_stop_in_one_line() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    let output = stack.down();
    let mut said: Vec<&str> = output.stderr.lines().collect();
    said.sort_unstable();
    assert_eq!(said, ["api  stopped", "db   stopped", "stopped everything"]);
}

#[test]
fn a_stack_that_has_just_failed_is_no_lost_connection() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep, working_dir: gone } }");
    for _ in 0..5 {
        stack
            .run(&["up", "--wait"])
            .expect(1)
            .says(&["service `it`", "gone"]);
    }
}

#[test]
fn a_stop_from_elsewhere_is_seen_where_the_stack_is_shown() {
    let stack = TestStack::new(PAIR);
    let mut up = stack.up();
    stack.wait_for("api", "healthy", phase_is("healthy"));
    stack.run(&["stop", "api"]).ok();
    up.wait_for_line("api  stopped");
    stack.down();
    up.wait();
}

#[test]
fn logs_that_follow_a_silent_service_end_with_their_reader() {
    let stack = TestStack::new("services: { it: { command: 'echo once; exec MISBEHAVE sleep' } }");
    stack.run(&["up", "-d"]).ok();
    let line = format!("{} logs -f | head -n 1", binary().display());
    let direct = stack.command(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .current_dir(direct.get_current_dir().expect("it is set"));
    for (key, value) in direct.get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    let mut logs = Up::start(stack.world(), command);
    logs.wait_for_line("once");
    logs.wait().ok();
    stack.down();
}

#[test]
fn bare_stack_helps_a_newcomer() {
    let stack = TestStack::new(PAIR);
    let output = stack.run(&[]).ok();
    assert!(output.stdout.contains("\n  stack up  "), "{output}");
}

#[test]
fn json_progress_is_one_object_a_line() {
    let stack = TestStack::new("services: { a: { command: 'true' } }");
    let output = stack.run(&["up", "--progress", "json"]).ok();
    assert!(!output.stderr.trim().is_empty(), "{output}");
    for line in output.stderr.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
    }
}

#[test]
fn services_start_with_clean_signals_whatever_the_caller_had() {
    let stack = TestStack::new(
        "services: { it: { command: [grep, -E, 'SigBlk|SigIgn', /proc/self/status] } }",
    );
    // The shell ignores them; what it starts inherits that.
    let mut command = Command::new("sh");
    stack.world().prepare(&mut command);
    command
        .args(["-c", "trap '' INT HUP QUIT USR1 PIPE; exec \"$0\" up"])
        .arg(crate::harness::binary())
        .current_dir(stack.path(""));
    Up::start(stack.world(), command).wait().ok();
    let log = String::from_utf8_lossy(&stack.log("it")).into_owned();
    let masks: Vec<&str> = log.split_whitespace().skip(1).step_by(2).collect();
    assert_eq!(masks, ["0000000000000000"; 2], "{log}");
}

#[test]
fn services_read_the_end_of_input_at_once() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE stdin-eof } }");
    stack.up().wait().ok();
    assert_eq!(stack.log("it"), b"end of input after 0 bytes\n");
}

#[test]
fn the_project_directory_gets_no_more_than_its_two_names() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    assert_eq!(stack.files(), [".env", ".stack", "stack.yaml"]);
    assert_eq!(stack.read(".stack/.gitignore").trim(), "*");
    stack.down();
    assert_eq!(stack.files(), [".env", ".stack", "stack.yaml"]);
    assert!(stack.world().state_dir().exists());
}

#[test]
fn copies_under_other_names_in_one_directory_do_not_meet() {
    let stack = TestStack::new(PAIR);
    stack.up_detached();
    stack.run(&["-p", "other", "up", "--wait"]).ok();
    assert!(
        stack
            .read(".env.other")
            .contains(&stack.port(8002).to_string())
    );
    stack.run(&["-p", "other", "down"]).ok();
    assert_eq!(stack.service("api").expect("it runs on").phase(), "healthy");
    stack.down();
}

#[test]
fn a_link_to_the_project_is_the_project() {
    let world = World::new();
    let stack = TestStack::in_world(&world, "one", PAIR);
    stack.up_detached();
    let link = world.path().join("link");
    std::os::unix::fs::symlink(stack.path(""), &link).expect("the directory is writable");
    let file = link.join("stack.yaml").display().to_string();
    let mut command = stack.command(&["-f", &file, "up", "-d"]);
    command.current_dir("/");
    let output = Up::start(&world, command).wait().ok();
    assert!(output.stderr.contains("running already"), "{output}");
    let mut command = stack.command(&["down"]);
    command.current_dir(link);
    Up::start(&world, command).wait().ok();
    world.assert_nothing_is_left();
}

#[test]
fn no_pid_of_an_intruders_is_ever_harmed() {
    let stack = TestStack::new(PAIR);
    let mut foreign = Command::new(misbehave());
    foreign.arg("ignore-term");
    let mut foreign = Up::start(stack.world(), foreign);
    stack.world().add_helper(foreign.pid());
    foreign.wait_for_line("deaf");
    stack.up_detached();
    stack.down();
    assert!(!foreign.has_ended());
    assert!(!foreign.stdout().contains("heard"));
}

#[test]
fn a_service_that_was_not_taken_in_yet_is_said_to_be_in_the_file() {
    let stack = TestStack::new("services: { old: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    stack.write("stack.yaml", "services: { new: { command: sleep 1 } }");
    let output = stack.run(&["logs", "new"]).expect(2);
    output.says(&[
        "`new` is in the file, but not in this stack",
        "`stack up` takes it in",
    ]);
    stack.run(&["stop", "old"]).ok();
    stack.down();
}

#[test]
fn up_without_its_file_says_what_runs() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    fs_err::rename(stack.path("stack.yaml"), stack.path("old.yaml")).expect("it is ours");
    let output = stack.run(&["up", "-d"]).expect(2);
    output.says(&[
        "there is no `stack.yaml`",
        "but stack `shop` runs here",
        "`stack down` stops it",
    ]);
    stack.down();
}

#[test]
fn a_service_of_an_inactive_profile_is_named_with_the_way_to_start_it() {
    let stack = TestStack::new(
        "services: { web: { command: MISBEHAVE sleep }, debug: { command: MISBEHAVE sleep, profiles: [tools] } }",
    );
    stack.run(&["up", "-d"]).ok();
    for verb in ["start", "stop", "restart", "logs", "attach"] {
        stack.run(&[verb, "debug"]).expect(2).says(&[
            "service `debug` is not in this stack: its profile `tools` is not active",
            "`stack up debug` starts it, and so does `stack --profile tools up`",
        ]);
    }
    stack
        .run(&["--profile", "tools", "start", "debug"])
        .expect(2)
        .says(&["service `debug` is in the file, but not in this stack"]);
    stack.run(&["up", "-d", "debug"]).ok();
    stack.run(&["restart", "debug"]).ok();
    stack.down();
}
