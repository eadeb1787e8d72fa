//! Large files take time in proportion to their size, and nothing overflows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Project, at};
use crate::plan::code;

/// Generous for a debug build on a busy machine; what is quadratic needs minutes.
const SOON: Duration = Duration::from_secs(60);

/// How many services: enough for a quadratic walk to be seen, and for a recursive one to overflow.
const MANY: usize = 20_000;

#[track_caller]
fn codes(yaml: &str) -> Vec<&'static str> {
    let project = Project::new(yaml);
    let began = Instant::now();
    let codes = project.codes();
    assert!(began.elapsed() < SOON, "took {:?}", began.elapsed());
    codes
}

fn services(line: impl Fn(usize) -> String) -> String {
    let mut yaml = String::from("services:\n");
    for number in 0..MANY {
        let _ = writeln!(yaml, "  s{number}: {{ command: x, {} }}", line(number));
    }
    yaml
}

#[test]
fn what_no_program_can_be_given_is_named() {
    let long = "x".repeat(140_000);
    let own = Project::service(&format!("environment: {{ OWN: {long} }}")).problem();
    assert_eq!((own.code, at(&own)), (code::TOO_LONG, (4, 20)));
    assert!(own.message.contains("`OWN`") && own.message.contains("140004 bytes"));
    for project in [
        Project::service("env_file: e").file("e", format!("SMALL=1\nCERT={long}\n")),
        Project::new("env_file: e\nservices: { a: { command: x } }")
            .file("e", format!("CERT={long}\n")),
    ] {
        let problem = project.problem();
        assert_eq!(problem.code, code::TOO_LONG);
        assert!(problem.message.contains("`CERT`"), "{}", problem.message);
        assert_eq!(problem.labels[0].span.text(), "e");
    }
    let word = Project::service(&format!("command: [x, {long}]")).problem();
    assert_eq!(word.code, code::TOO_LONG);
    let fits = format!("environment: {{ OWN: {} }}", "x".repeat(131_071 - 4));
    assert_eq!(Project::service(&fits).codes(), [""; 0]);
}

#[test]
fn a_chain_as_long_as_the_file_is_no_cycle() {
    let chain = services(|number| match number {
        0 => "labels: {}".to_owned(),
        _ => format!("depends_on: [s{}]", number - 1),
    });
    assert_eq!(codes(&chain), [""; 0]);
}

#[test]
fn a_cycle_as_long_as_the_file_is_one_short_message() {
    let cycle = services(|number| format!("depends_on: [s{}]", (number + 1) % MANY));
    let (_, problems) = Project::new(&cycle).draft();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, code::CYCLE);
    assert!(problems[0].message.len() < 200, "{}", problems[0].message);
    assert!(problems[0].message.contains("s0 → s1 → "));
}

#[test]
fn a_file_of_unknown_names_is_told_in_time() {
    let unknown = services(|number| format!("depends_on: [s{number}x]"));
    assert_eq!(codes(&unknown).len(), MANY);
}

#[test]
fn everybody_gets_everybodys_ports_without_a_copy() {
    let ports = services(|_| "environment: { PORT: $<PORT:auto> }".to_owned());
    assert_eq!(codes(&ports), [""; 0]);
}

#[test]
fn what_is_for_all_services_is_resolved_once() {
    let mut yaml = String::from("environment:\n");
    for number in 0..500 {
        let _ = writeln!(yaml, "  K{number}: '${{NONE}}'");
    }
    yaml.push_str("services:\n");
    for number in 0..500 {
        let _ = writeln!(yaml, "  s{number}: {{ command: x }}");
    }
    assert_eq!(codes(&yaml).len(), 500);
}
