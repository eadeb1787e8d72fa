//! `command`, `entrypoint` and `shell` made one argv (design 2.4).

use super::Project;
use crate::plan::code;
use crate::spec::code as spec_code;

fn argv(lines: &str) -> Vec<String> {
    Project::service(lines).unit().execution.argv
}

#[test]
fn entrypoint_and_command_are_one_argv_in_all_their_forms() {
    for (lines, expected) in [
        ("command: serve -v 'a b'", vec!["serve", "-v", "a b"]),
        ("command: serve | tee", vec!["/bin/sh", "-c", "serve | tee"]),
        ("command: [serve, '| tee']", vec!["serve", "| tee"]),
        ("entrypoint: nice -n 5", vec!["nice", "-n", "5"]),
        ("entrypoint: [nice, serve]", vec!["nice", "serve"]),
        ("entrypoint: a; b", vec!["/bin/sh", "-c", "a; b"]),
        (
            "entrypoint: [nice, -n]\ncommand: [5, serve]",
            vec!["nice", "-n", "5", "serve"],
        ),
        (
            "entrypoint: [nice]\ncommand: serve -v",
            vec!["nice", "serve", "-v"],
        ),
        (
            "entrypoint: nice -n 5\ncommand: [a b]",
            vec!["nice", "-n", "5", "a b"],
        ),
        (
            "entrypoint: nice -n 5\ncommand: serve -v",
            vec!["nice", "-n", "5", "serve", "-v"],
        ),
        (
            "entrypoint: [nice]\ncommand: a && b",
            vec!["nice", "/bin/sh", "-c", "a && b"],
        ),
        ("entrypoint: []\ncommand: [serve]", vec!["serve"]),
    ] {
        assert_eq!(argv(lines), expected, "{lines}");
    }
}

#[test]
fn an_entrypoint_that_needs_a_shell_takes_no_command() {
    for command in ["[x]", "x", "x; y"] {
        let project = Project::service(&format!("entrypoint: a && b\ncommand: {command}"));
        let problem = project.problem();
        assert_eq!(problem.code, code::ENTRYPOINT_LINE);
        assert_eq!(super::at(&problem), (3, 17));
    }
}

#[test]
fn a_shell_that_was_asked_for_runs_every_line_and_no_list() {
    let project = Project::new(
        "shell: [/bin/bash, -eu, -c]
services:
  a: { command: serve -v, healthcheck: { test: check } }
  b: { command: [serve, -v] }
  c: { entrypoint: [nice], command: serve }
",
    );
    let plan = project.plan();
    let argv = |index: usize| plan.units[index].execution.argv.clone();
    assert_eq!(argv(0), ["/bin/bash", "-eu", "-c", "serve -v"]);
    assert_eq!(argv(1), ["serve", "-v"]);
    assert_eq!(argv(2), ["nice", "/bin/bash", "-eu", "-c", "serve"]);
    let health = format!("{:?}", plan.units[0].health);
    assert!(health.contains("/bin/bash"), "{health}");
    let lines: Vec<_> = plan
        .units
        .iter()
        .map(|u| u.execution.is_shell_line)
        .collect();
    assert_eq!(lines, [true, false, true]);
}

#[test]
fn a_program_whose_variable_is_empty_is_found_before_anything_starts() {
    for lines in [
        "command: ['${NONE:-}', x]",
        "entrypoint: ['${NONE:-}']\ncommand: [x]",
    ] {
        let problem = Project::service(lines).problem();
        assert_eq!(problem.code, spec_code::EMPTY_COMMAND, "{lines}");
    }
}

#[test]
fn an_empty_entrypoint_is_none() {
    for entrypoint in ["''", "[]", "' '"] {
        let project = Project::service(&format!("entrypoint: {entrypoint}\ncommand: run it"));
        assert_eq!(project.unit().execution.argv, ["run", "it"], "{entrypoint}");
        let alone = Project::service(&format!("entrypoint: {entrypoint}"));
        assert_eq!(
            alone.codes(),
            ["stack::spec::empty_command"],
            "{entrypoint}"
        );
    }
}
