//! Which changes need a new start, and which do not.

use super::{Project, numbered};

fn fingerprint(yaml: &str) -> String {
    Project::new(yaml).good().fingerprint().to_owned()
}

/// A stack in which everything that can be said is said.
const FULL: &str = "\
ports: { range: 8000-8100, exclude: [8050] }
dotenv: { path: .env.x, vars: { URL: 'http://localhost:$<a.PORT>' } }
environment: { TOP: one }
shell: [/bin/sh, -c]
services:
  a:
    entrypoint: [nice]
    command: [serve, $<PORT:auto>, $<OTHER:auto>]
    working_dir: sub
    environment: { OWN: $<PORT> }
    env_file: e
    depends_on: { b: { condition: service_started } }
    healthcheck: { http: { path: /, port: 80, status: [200], headers: { X: y } }, interval: 1s, timeout: 1s, retries: 1, start_period: 1s, start_interval: 1s, listener: any }
    restart: on-failure:1
    restart_policy: { delay: 1s, max_delay: 2s, window: 1s }
    success_exit_codes: [3]
    stop_signal: INT
    stop_grace_period: 1s
    logging: { max-size: 1m, options: { max-file: 3 } }
    labels: { l: one }
    handoff: fd
  more: { command: x $<M:auto>, replicas: 2 }
  none: { command: x, replicas: 0 }
  b: { command: x | y }
";

/// One text of [`FULL`], and one that means something else.
const CHANGES: [(&str, &str); 43] = [
    ("8000-8100", "8000-8101"),
    ("[8050]", "[8051]"),
    (".env.x", ".env.y"),
    ("http://localhost", "http://127.0.0.1"),
    ("$<a.PORT>'", "$<a.OTHER>'"),
    ("TOP: one", "TOP: two"),
    ("TOP: one", "TOP: null"),
    ("/bin/sh, -c", "/bin/sh, -ec"),
    ("[nice]", "[nice, -n5]"),
    ("[serve", "[server"),
    ("PORT:auto>", "PORT:auto:5173>"),
    ("PORT:auto>", "PORT:8080>"),
    ("PORT:auto>", "PORT:auto:9100-9101>"),
    ("$<PORT:auto>, $<OTHER:auto>", "$<OTHER:auto>, $<PORT:auto>"),
    ("working_dir: sub", "working_dir: other"),
    ("OWN: $<PORT>", "OWN: $<OTHER>"),
    ("env_file: e", "env_file: f"),
    ("service_started", "service_completed_successfully"),
    ("service_started }", "service_started, restart: true }"),
    ("path: /,", "path: /x,"),
    ("port: 80,", "port: 81,"),
    ("[200]", "[201]"),
    ("X: y", "X: z"),
    ("interval: 1s, t", "interval: 2s, t"),
    ("retries: 1", "retries: 2"),
    ("start_period: 1s", "start_period: 2s"),
    ("on-failure:1", "on-failure:2"),
    ("delay: 1s,", "delay: 1500ms,"),
    ("window: 1s", "window: 2s"),
    ("[3]", "[4]"),
    ("INT", "HUP"),
    ("grace_period: 1s", "grace_period: 2s"),
    ("max-size: 1m", "max-size: 2m"),
    ("max-file: 3", "max-file: 4"),
    ("l: one", "l: two"),
    ("x | y", "x | z"),
    ("  b: {", "  c: { command: x }\n  b: {"),
    ("OTHER:auto>", "OTHER:auto/udp>"),
    ("OTHER:auto>", "OTHER:auto/tcp+udp>"),
    ("replicas: 2", "replicas: 3"),
    ("replicas: 0", "replicas: 1"),
    ("  b: { command", "  b: { replicas: 1, command"),
    ("handoff: fd", "handoff: release"),
];

fn full(yaml: &str) -> Project {
    Project::new(yaml).file("e", "F=1\n").file("f", "F=2\n")
}

#[test]
fn whatever_changes_what_runs_changes_it() {
    let usual = full(FULL).good().fingerprint().to_owned();
    for (from, to) in CHANGES {
        let yaml = FULL.replacen(from, to, 1);
        assert_ne!(yaml, FULL, "{from}");
        // The directory is another one, and its path is in the environment: hold it against one
        // that has the same text.
        let project = full(FULL);
        let before = project.good().fingerprint().to_owned();
        let changed = Project { yaml, ..project };
        assert_ne!(changed.good().fingerprint(), before, "{from} → {to}");
    }
    assert_eq!(usual.len(), 16);
}

#[test]
fn it_is_the_same_for_other_ports_runs_callers_and_wordings() {
    let project = full(FULL);
    let before = project.good();
    let plan = before.finish(&numbered(&before), &mut Vec::new());
    assert_eq!(plan.fingerprint, before.fingerprint());
    let project = project.caller(&[("A_PORT", "8999"), ("HOME", "/elsewhere")]);
    assert_eq!(project.good().fingerprint(), before.fingerprint());
    for (from, to) in [
        ("stop_signal: INT", "stop_signal: SIGINT"),
        ("interval: 1s, t", "interval: 1000ms, t"),
        ("TOP: one", "TOP: '${NONE:-one}'"),
        ("services:", "x-mine: 1\nservices: # and a comment"),
        ("working_dir: sub", "working_dir: ./sub/"),
        ("replicas: 2", "deploy: { replicas: '${NONE:-2}' }"),
    ] {
        let yaml = FULL.replacen(from, to, 1);
        assert_ne!(yaml, FULL, "{from}");
        let same = Project { yaml, ..full(FULL) };
        let same = Project {
            directory: project.directory.clone(),
            ..same
        };
        assert_eq!(same.good().fingerprint(), before.fingerprint(), "{to}");
    }
}

#[test]
fn a_scale_counts_like_the_key() {
    let project = Project::service("command: x $<PORT:auto>");
    let before = project.good().fingerprint().to_owned();
    let scaled = project.scaled("a", 2);
    let fingerprint = scaled.good().fingerprint().to_owned();
    assert_ne!(fingerprint, before);
    let yaml = super::one_service("command: x $<PORT:auto>\nscale: 2");
    let said = Project {
        yaml,
        arguments: crate::plan::Arguments::default(),
        files: Vec::new(),
        ..scaled
    };
    assert_eq!(said.good().fingerprint(), fingerprint);
}

#[test]
fn a_scale_to_the_one_that_there_is_counts_for_nothing() {
    let yaml = "services:
  a: { command: x $<PORT:auto> }
  b: { command: x $<PORT:auto>, replicas: 1 }
  c: { command: x }
";
    let project = || Project::new(yaml);
    let same = |project: Project| {
        let plain = Project {
            arguments: crate::plan::Arguments::default(),
            files: Vec::new(),
            ..project
        };
        plain.good().fingerprint().to_owned()
    };
    for (service, count, is_same) in [
        ("a", 1, true),
        ("b", 1, true),
        ("c", 1, true),
        ("a", 2, false),
        ("a", 0, false),
    ] {
        let project = project().scaled(service, count);
        let scaled = project.good();
        let equal = scaled.fingerprint() == same(project);
        assert_eq!(equal, is_same, "--scale {service}={count}");
    }
    // Whoever scales still has the keys.
    let plan = project().scaled("a", 1).plan();
    assert!(plan.values.iter().any(|(key, _)| key == "A_1_PORT"));
}

#[test]
fn what_an_env_file_says_counts() {
    let project = Project::service("env_file: e").file("e", "A=1\n");
    let before = project.good().fingerprint().to_owned();
    assert_eq!(project.good().fingerprint(), before);
    assert_ne!(project.file("e", "A=2\n").good().fingerprint(), before);
}

#[test]
fn a_variable_counts_by_what_it_comes_to() {
    let yaml = "services: { a: { command: [x, '${V:-one}'] } }";
    let project = Project::new(yaml);
    let before = project.good().fingerprint().to_owned();
    let same = project.caller(&[("V", "one")]);
    assert_eq!(same.good().fingerprint(), before);
    let mut other = same;
    other.caller.clear();
    let other = other.caller(&[("V", "two")]);
    assert_ne!(other.good().fingerprint(), before);
}

#[test]
fn where_a_project_lies_and_what_it_is_called_changes_nothing_by_itself() {
    let yaml = "services: { a: { command: x, working_dir: sub } }";
    assert_eq!(fingerprint(yaml), fingerprint(yaml), "two directories");
    assert_eq!(
        fingerprint(&format!("name: other\n{yaml}")),
        fingerprint(yaml)
    );
    for word in ["project.dir", "project.name"] {
        let yaml =
            |name| format!("name: {name}\nservices: {{ a: {{ command: [x, \"$<{word}>\"] }} }}");
        assert_ne!(
            fingerprint(&yaml("one")),
            fingerprint(&yaml("two")),
            "{word}"
        );
    }
}
