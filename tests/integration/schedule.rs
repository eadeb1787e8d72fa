//! Services that run again and again by a schedule, with real processes.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{TestStack, phase_is, wait_until};

/// The lines that a job has written into `runs`.
fn runs(stack: &TestStack) -> Vec<String> {
    stack.read("runs").lines().map(str::to_owned).collect()
}

/// Waits until a job has written so many lines.
#[track_caller]
fn wait_for_runs(stack: &TestStack, count: usize) {
    stack.wait_for_file("runs");
    wait_until("the runs", || (runs(stack).len() >= count).then_some(()));
}

fn row(stack: &TestStack, name: &str) -> Value {
    let table = stack.run(&["ps", "--format", "json"]).ok().stdout;
    let table: Value = serde_json::from_str(&table).expect("JSON");
    let mut rows = table.as_array().expect("an array").iter();
    let row = rows.find(|row| row["service"] == name);
    row.expect("a row").clone()
}

#[test]
fn a_job_runs_at_once_and_again_while_the_foreground_stays() {
    let stack = TestStack::new(
        "services: { job: { command: echo it >> runs; echo done, schedule: { every: 300ms } } }",
    );
    let mut up = stack.up();
    wait_for_runs(&stack, 3);
    assert!(!up.has_ended(), "another run is to come");
    stack.wait_for("job", "scheduled", phase_is("scheduled"));
    let job = row(&stack, "job");
    assert!(job["next_run"].as_u64() > job["since"].as_u64(), "{job}");
    assert_eq!(
        (&job["exit"]["code"], &job["restarts"]),
        (&0.into(), &0.into())
    );
    let table = stack.run(&["ps"]).ok().stdout;
    assert!(
        table.contains("NEXT RUN") && !table.contains("RESTARTS"),
        "{table}"
    );
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
    let log = String::from_utf8(stack.log("job")).unwrap();
    assert_eq!(
        log.lines().count(),
        runs(&stack).len(),
        "the lines of all runs"
    );
}

#[test]
fn runs_do_not_overlap_and_are_not_made_up_for() {
    let stack = TestStack::new(
        "services: { job: { command: 'echo begin >> runs; sleep 1; echo end >> runs',
                            schedule: { every: 200ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    wait_for_runs(&stack, 6);
    stack.run(&["down"]).ok();
    let runs = runs(&stack);
    let expected = ["begin", "end"].into_iter().cycle();
    assert!(
        runs.iter()
            .zip(expected)
            .all(|(run, expected)| run == expected),
        "{runs:?}"
    );
    let log = stack.read(".stack/shop/supervisor.log");
    let told = log.matches("skipped a run").count();
    assert!((1..=runs.len()).contains(&told), "once a run: {log}");
}

#[test]
fn a_run_that_fails_is_shown_and_ends_nothing() {
    let stack = TestStack::new(
        "
services:
  web: { command: MISBEHAVE sleep }
  job: { command: echo it >> runs; exit 3, schedule: '* * * * * *' }
  never: { command: ./missing, schedule: { every: 1h } }
",
    );
    stack.run(&["up", "--wait", "--abort-on-failure"]).ok();
    wait_for_runs(&stack, 2);
    let failed =
        |job: &crate::harness::Service| job.phase() == "scheduled" && job.exit_code() == Some(3);
    stack.wait_for("job", "a failed run", failed);
    assert_eq!(stack.service("web").unwrap().phase(), "running");
    assert_eq!(stack.service("never").unwrap().phase(), "scheduled");
    let table = stack.run(&["ps"]).ok().stdout;
    assert!(table.contains("exited with code 3"), "{table}");
    assert!(table.contains("missing"), "{table}");
    stack.run(&["down"]).ok();
}

#[test]
fn a_failed_run_is_tried_again_as_its_policy_says() {
    let stack = TestStack::new(
        "services: { job: { command: echo it >> runs; exit 3, schedule: { every: 1h },
                            restart: on-failure:2 } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("job", "scheduled", phase_is("scheduled"));
    assert_eq!(runs(&stack).len(), 3);
    assert_eq!(row(&stack, "job")["restarts"], 2);
    stack.down();
}

#[test]
fn a_nightly_job_waits_for_its_time_unless_it_is_named() {
    let stack = TestStack::new(
        "
services:
  web: { command: MISBEHAVE sleep, depends_on: [job] }
  job: { command: echo it >> runs, schedule: '@yearly', pre_start: touch prepared }
",
    );
    let output = stack.run(&["up", "--wait"]).ok();
    assert!(output.stderr.contains("next run on"), "{}", output.stderr);
    stack.run(&["restart"]).ok();
    assert!(!stack.path("runs").exists() && !stack.path("prepared").exists());
    stack.run(&["start", "job"]).ok();
    wait_for_runs(&stack, 1);
    assert!(stack.path("prepared").exists());
    stack.wait_for("job", "scheduled", phase_is("scheduled"));
    stack.run(&["restart", "job"]).ok();
    wait_for_runs(&stack, 2);
    stack.run(&["stop", "job"]).ok();
    assert_eq!(row(&stack, "job").get("next_run"), None);
    assert_eq!(stack.service("job").unwrap().phase(), "stopped");
    stack.down();
}

#[test]
fn a_changed_schedule_is_taken_over_and_a_removed_one_starts_the_service() {
    let with = |job: &str| {
        format!(
            "services: {{ web: {{ command: MISBEHAVE sleep }}, job: {{ command: echo it >> runs{job} }} }}"
        )
    };
    let stack = TestStack::new(&with(", schedule: '@yearly'"));
    stack.run(&["up", "-d"]).ok();
    stack.write_yaml(&with(", schedule: { every: 500ms }"));
    let output = stack.run(&["up", "-d"]).ok();
    let words = "`job`: schedule changed; not restarted";
    assert!(output.stderr.contains(words), "{}", output.stderr);
    wait_for_runs(&stack, 2);
    stack.write_yaml(&with(""));
    let output = stack.run(&["up", "-d"]).ok();
    let words = "`job`: schedule changed; restarting";
    assert!(output.stderr.contains(words), "{}", output.stderr);
    stack.wait_for("job", "completed", phase_is("completed"));
    assert_eq!(row(&stack, "job").get("next_run"), None);
    stack.down();
}

#[test]
fn nobody_takes_the_exit_code_of_what_runs_again_and_again() {
    let stack = TestStack::new("services: { job: { command: 'true', schedule: '@daily' } }");
    stack
        .run(&["up", "--exit-code-from", "job"])
        .expect(2)
        .says(&["`job` has a `schedule`, so it has no exit code"]);
}

#[test]
fn nothing_runs_any_more_once_the_supervisor_was_killed() {
    let stack =
        TestStack::new("services: { job: { command: 'true', schedule: { every: 300ms } } }");
    stack.run(&["up", "-d"]).ok();
    let guardian = stack.own_process("guardian_pid");
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    wait_until("the end of the guardian", || {
        (!guardian.is_alive()).then_some(())
    });
    let job = row(&stack, "job");
    assert_eq!(
        (&job["phase"], job.get("next_run")),
        (&"stopped".into(), None),
        "{job}"
    );
}
