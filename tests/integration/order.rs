//! What starts and stops before what, and what happens when that cannot be.

use nix::sys::signal::Signal;

use crate::harness::{TestStack, phase_is, require, wait_until};

/// The lines that `trace` services wrote, in order.
#[track_caller]
fn trace(stack: &TestStack) -> Vec<String> {
    stack.read("trace").lines().map(str::to_owned).collect()
}

#[test]
fn services_start_in_dependency_order_and_stop_in_reverse() {
    // The order of the file is not the order of the dependencies.
    let stack = TestStack::new(
        "
services:
  web:
    command: MISBEHAVE trace trace web --takes 50
    depends_on: { api: { condition: service_healthy } }
  api:
    command: MISBEHAVE trace trace api --takes 50 --port $<PORT:auto>
    depends_on: { db: { condition: service_healthy } }
  db:
    command: MISBEHAVE trace trace db --takes 50 --port $<PORT:auto>
",
    );
    stack.up_detached();
    stack.wait_for("web", "running", phase_is("running"));
    stack.wait_for_file("trace");
    // `web` says so itself only after it was executed.
    wait_until("`web` to write", || {
        trace(&stack).contains(&"+web".to_owned()).then_some(())
    });
    stack.down();
    assert_eq!(
        trace(&stack),
        ["+db", "+api", "+web", "-web", "-api", "-db"]
    );
}

#[test]
fn a_dependency_is_not_told_to_stop_before_the_last_process_of_its_dependents_has_ended() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE trace trace db }
  web: { command: 'setsid MISBEHAVE trace trace worker --takes 300 & exec MISBEHAVE trace trace web', depends_on: [db] }
",
    );
    stack.run(&["up", "-d"]).ok();
    wait_until("all three", || (trace(&stack).len() == 3).then_some(()));
    stack.down();
    assert_eq!(trace(&stack)[3..], ["-web", "-worker", "-db"]);
}

#[test]
fn service_started_waits_for_no_more_than_the_execution() {
    let stack = TestStack::new(
        "
services:
  slow: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> }
  next: { command: touch next, depends_on: { slow: { condition: service_started } } }
",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_file("next");
    assert_eq!(stack.wait_for("slow", "seen", |_| true).phase(), "starting");
    stack.down();
}

#[test]
fn service_healthy_without_a_check_means_that_the_port_is_listening() {
    let stack = TestStack::new(
        "
services:
  late: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --http }
  next: { command: touch next, depends_on: { late: { condition: service_healthy } } }
",
    );
    let up = stack.up();
    stack.wait_for("next", "waiting", phase_is("waiting"));
    assert!(!stack.path("next").exists());
    stack.write("go", "");
    stack.wait_for_file("next");
    up.signal(Signal::SIGTERM);
    up.wait().expect(143);
}

#[test]
fn service_healthy_with_a_check_waits_for_the_check() {
    let stack = TestStack::new(
        "
services:
  db:
    command: MISBEHAVE sleep
    healthcheck: { test: test -e ready, interval: 50ms, retries: 1000 }
  next: { command: touch next, depends_on: { db: { condition: service_healthy } } }
",
    );
    stack.start(&["up", "-d", "db"]).wait().ok();
    assert_eq!(stack.wait_for("db", "seen", |_| true).phase(), "starting");
    stack.write("ready", "");
    stack.wait_for("db", "healthy", phase_is("healthy"));
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_file("next");
    stack.down();
}

#[test]
fn service_completed_successfully_waits_for_the_end() {
    let stack = TestStack::new(
        "
services:
  migrate: { command: MISBEHAVE wait-file go }
  api: { command: touch api, depends_on: { migrate: { condition: service_completed_successfully } } }
",
    );
    let up = stack.up();
    stack.wait_for("migrate", "running", phase_is("running"));
    assert!(!stack.path("api").exists());
    stack.write("go", "");
    up.wait().ok();
    assert!(stack.path("api").exists());
}

#[test]
fn up_wait_succeeds_when_a_one_shot_ended_with_0() {
    let stack = TestStack::new(
        "
services:
  build: { command: MISBEHAVE one-shot 0 100 }
  api:
    command: MISBEHAVE bind $<PORT:auto> --http
    depends_on: { build: { condition: service_completed_successfully } }
    healthcheck: { http: /, interval: 1s }
",
    );
    stack.up_detached();
    let build = stack.service("build").expect("ps lists what ended");
    assert_eq!((build.phase(), build.exit_code()), ("completed", Some(0)));
    assert_eq!(stack.service("api").expect("it runs").phase(), "healthy");
    stack.down();
}

#[test]
fn up_wait_succeeds_beside_a_one_shot_that_nobody_waits_for() {
    let stack = TestStack::new(
        "
services:
  seed: { command: MISBEHAVE one-shot 0 }
  api: { command: MISBEHAVE bind $<PORT:auto> --late 100 --http }
",
    );
    stack.up_detached();
    assert_eq!(stack.service("api").expect("it runs").phase(), "healthy");
    stack.wait_for("seed", "completed", phase_is("completed"));
    stack.down();
}

#[test]
fn up_wait_fails_when_a_one_shot_did() {
    let stack = TestStack::new(
        "
services:
  build: { command: MISBEHAVE one-shot 2 100 }
  api:
    command: MISBEHAVE bind $<PORT:auto> --http
    depends_on: { build: { condition: service_completed_successfully } }
",
    );
    stack.run(&["up", "--wait"]).expect(1).says(&["build", "2"]);
    assert_eq!(stack.service("api").expect("listed").phase(), "failed");
    stack.down();
}

#[test]
fn a_dependency_that_ends_before_it_is_healthy_fails_its_dependents() {
    let stack = TestStack::new(
        "
services:
  db: { command: \"echo 'no space left' >&2; exit 5\", healthcheck: { test: 'false', interval: 1h } }
  api: { command: touch api, depends_on: { db: { condition: service_healthy } } }
",
    );
    let output = stack.up().wait().expect(1);
    output.says(&["db", "api", "no space left"]);
    assert!(!stack.path("api").exists());
    let api = stack
        .service("api")
        .expect("ps lists what was never started");
    assert_eq!(api.phase(), "failed");
    assert!(api.reason().contains("db"), "{}", api.reason());
}

#[test]
fn a_dependency_on_a_wrong_port_ends_the_wait_of_its_dependents() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE bind-elsewhere, environment: { P: $<PORT:auto> } }
  api: { command: touch api, depends_on: { db: { condition: service_healthy } } }
",
    );
    // Ten seconds after it was seen, not the five minutes that a silent one has.
    let port = stack.port(8000).to_string();
    let output = stack.run(&["up", "-d"]).expect(1);
    output.says(&["api", "db", &port]);
    assert!(!stack.path("api").exists());
    stack.down();
}

#[test]
fn a_restart_takes_along_who_asked_for_it_and_nobody_else() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE sleep }
  api: { command: MISBEHAVE sleep, depends_on: { db: { condition: service_started, restart: true } } }
  web: { command: MISBEHAVE sleep, depends_on: { db: { condition: service_started } } }
",
    );
    stack.run(&["up", "-d"]).ok();
    let pids = || ["db", "api", "web"].map(|name| stack.service(name).and_then(|it| it.pid()));
    let before = pids();
    stack.run(&["restart", "db"]).ok();
    stack.wait_for("api", "running anew", |api| {
        api.phase() == "running" && api.pid() != before[1]
    });
    let after = pids();
    assert_ne!(after[0], before[0]);
    assert_eq!(after[2], before[2]);
    stack.down();
}

#[test]
fn a_failed_one_shot_stops_its_dependents_with_the_chain_of_reasons() {
    let stack = TestStack::new(
        "
services:
  migrate: { command: \"echo 'relation users is missing' >&2; exit 3\" }
  api:
    command: touch api
    depends_on: { migrate: { condition: service_completed_successfully } }
  web:
    command: touch web
    depends_on: [api]
  other: { command: MISBEHAVE one-shot 0 50 }
",
    );
    let output = stack.up().wait().expect(1);
    let output = output.says(&["migrate", "api", "web", "relation users is missing"]);
    assert!(output.stderr.contains('3'), "{output}");
    assert!(!stack.path("api").exists());
    assert!(!stack.path("web").exists());
    let web = stack.service("web").expect("ps lists what never started");
    assert_eq!(web.phase(), "failed");
    for name in ["api", "migrate"] {
        assert!(web.reason().contains(name), "{}", web.reason());
    }
    // What does not depend on it went on.
    let other = stack.service("other").expect("ps lists what ended");
    assert_eq!(other.phase(), "completed");
}

#[test]
fn a_dependency_that_is_not_required_may_fail() {
    let stack = TestStack::new(
        "
services:
  cache: { command: MISBEHAVE one-shot 1 }
  api:
    command: touch api
    depends_on: { cache: { condition: service_completed_successfully, required: false } }
",
    );
    stack.up().wait().expect(1);
    assert!(stack.path("api").exists());
}

#[test]
fn a_cycle_prints_its_path_and_starts_nothing() {
    let stack = TestStack::new(
        "
services:
  alpha: { command: touch alpha, depends_on: [beta] }
  beta: { command: touch beta, depends_on: [gamma] }
  gamma: { command: touch gamma, depends_on: [alpha] }
",
    );
    let output = stack.up().wait().expect(2);
    output.says(&["alpha", "beta", "gamma", "stack.yaml:"]);
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn services_that_are_named_start_with_their_dependencies_and_without_the_rest() {
    let stack = TestStack::new(
        "
services:
  db: { command: MISBEHAVE trace trace db }
  api: { command: MISBEHAVE trace trace api, depends_on: [db] }
  web: { command: MISBEHAVE trace trace web, depends_on: [api] }
",
    );
    stack.run(&["up", "-d", "api"]).ok();
    stack.wait_for("api", "running", phase_is("running"));
    stack.down();
    assert!(!trace(&stack).iter().any(|line| line.ends_with("web")));
    stack.run(&["up", "-d", "--no-deps", "web"]).ok();
    stack.wait_for("web", "running", phase_is("running"));
    stack.down();
    let starts = trace(&stack);
    assert_eq!(
        starts.iter().filter(|line| *line == "+db").count(),
        1,
        "{starts:?}"
    );
}

#[test]
fn abort_on_failure_stops_the_rest() {
    let stack = TestStack::new(
        "services: { bad: { command: MISBEHAVE one-shot 4 100 }, good: { command: MISBEHAVE sleep } }",
    );
    stack
        .run(&["up", "--abort-on-failure"])
        .expect(1)
        .says(&["bad"]);
}

#[test]
fn exit_code_from_stops_the_stack_and_hands_the_code_on() {
    let stack = TestStack::new(
        "services: { tests: { command: MISBEHAVE one-shot 42 100 }, db: { command: MISBEHAVE sleep } }",
    );
    stack
        .run(&["up", "--exit-code-from", "tests"])
        .expect(42)
        .says(&["stopping everything, as tests has ended (`--exit-code-from`)"]);
}

#[test]
fn the_flags_that_end_a_stack_work_where_it_runs_already() {
    let yaml = "
services:
  db: { command: MISBEHAVE sleep }
  tests: { command: MISBEHAVE one-shot 42 100 }
  bad: { command: MISBEHAVE one-shot 4 100, profiles: [bad] }
";
    let stack = TestStack::new(yaml);
    let is_down = || {
        assert!(stack.service_processes().is_empty());
        // Its supervisor is on its way out.
        stack.run(&["down"]).ok();
    };
    for first in [&["up", "-d", "db"][..], &["up", "-d"]] {
        stack.run(first);
        // One that has failed or completed before runs once more.
        stack
            .run(&["up", "--exit-code-from", "tests"])
            .expect(42)
            .says(&[
                "the stack is running already; attached to it",
                "stopping everything, as tests has ended (`--exit-code-from`)",
            ]);
        is_down();
    }
    stack.write_yaml(&yaml.replace("one-shot 42", "one-shot 0"));
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("tests", "its end", phase_is("completed"));
    stack.run(&["up", "--exit-code-from", "tests"]).ok();
    is_down();
    stack.run(&["up", "-d", "db"]).ok();
    stack
        .run(&["--profile", "bad", "up", "--abort-on-failure"])
        .expect(1)
        .says(&["stopping everything, as bad failed"]);
    is_down();
}

#[test]
fn a_stack_that_ends_with_a_service_which_is_gone_from_the_file_says_so() {
    let yaml =
        "services: { tests: { command: MISBEHAVE sleep }, db: { command: MISBEHAVE sleep } }";
    let stack = TestStack::new(yaml);
    let up = stack.start(&["up", "--exit-code-from", "tests"]);
    stack.wait_for("tests", "its start", phase_is("running"));
    stack.write_yaml(&yaml.replace("tests: { command: MISBEHAVE sleep }, ", ""));
    let late = stack.run(&["up", "-d"]);
    let output = up.wait();
    let why = "stopping everything, as tests is no longer in the file (`--exit-code-from`)";
    assert!(output.stderr.contains(why), "{output}");
    // Where it found that stack gone it has started another one.
    if late.code == 0 {
        assert!(
            stack.service("db").is_some_and(|db| db.pid().is_some()),
            "{late}"
        );
    } else {
        let late = late.expect(3);
        late.says(&["error: nothing is up: the whole stack was stopped"]);
    }
    stack.down();
}
