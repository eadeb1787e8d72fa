//! The graph: edges that lead nowhere, conditions that cannot be met, cycles.

use std::fmt::Write as _;

use super::{Project, at};
use crate::plan::code;
use crate::spec::code as spec_code;
use crate::spec::model::Condition;
use crate::spec::problem::Problem;

/// Services, each with those that it depends on.
fn project(services: &[(&str, &[&str])]) -> Project {
    let mut yaml = String::from("services:\n");
    for (name, others) in services {
        let _ = writeln!(
            yaml,
            "  {name}: {{ command: x, depends_on: [{}] }}",
            others.join(", ")
        );
    }
    Project::new(&yaml)
}

fn labels(problem: &Problem) -> Vec<usize> {
    let labels = problem.labels.iter();
    labels.map(|label| label.span.location().line).collect()
}

#[test]
fn edges_are_units_with_their_conditions() {
    let plan = Project::new(
        "services:
  a: { command: x, depends_on: { c: { condition: service_healthy, restart: true }, b: { condition: service_completed_successfully, required: false } } }
  b: { command: x }
  c: { command: x $<PORT:auto>, depends_on: [b] }
",
    )
    .plan();
    let edges = &plan.units[0].depends_on;
    let found: Vec<_> = edges
        .iter()
        .map(|edge| {
            (
                edge.unit.label(1),
                edge.condition,
                edge.is_required,
                edge.restart,
            )
        })
        .collect();
    let expected = [
        ("c".to_owned(), Condition::Healthy, true, true),
        (
            "b".to_owned(),
            Condition::CompletedSuccessfully,
            false,
            false,
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_unknown_dependency_is_told_with_a_near_name() {
    let problem = project(&[("web", &["apy"]), ("api", &[])]).problem();
    assert_eq!(problem.code, code::UNKNOWN_DEPENDENCY);
    assert_eq!(at(&problem), (2, 35));
    assert_eq!(problem.hint.as_deref(), Some("write `api`"));
    // A service is not a suggestion for its own dependency.
    let problem = project(&[("apy", &["api"])]).problem();
    assert_eq!(
        problem.hint.as_deref(),
        Some("add the service, or remove the line")
    );
    let optional = "services: { a: { command: x, depends_on: { gone: { condition: \
                    service_started, required: false } } } }";
    assert_eq!(Project::new(optional).codes(), [code::UNKNOWN_DEPENDENCY]);
}

#[test]
fn a_service_cannot_depend_on_itself() {
    let problem = project(&[("a", &["a"])]).problem();
    assert_eq!(problem.code, code::SELF_DEPENDENCY);
    let both = project(&[("a", &["a", "b"]), ("b", &["a"])]);
    assert_eq!(both.codes(), [code::SELF_DEPENDENCY, code::CYCLE]);
}

#[test]
fn cycles_are_printed_with_their_path() {
    let two = project(&[("a", &["b"]), ("b", &["a"])]).problem();
    assert_eq!(two.code, code::CYCLE);
    assert_eq!(two.message, "services wait for each other: a → b → a");
    assert_eq!(labels(&two), [2, 3]);
    let five = project(&[
        ("free", &["a"]),
        ("c", &["d"]),
        ("a", &["free-too", "b"]),
        ("b", &["c"]),
        ("d", &["e"]),
        ("e", &["a"]),
        ("free-too", &[]),
    ])
    .problem();
    assert_eq!(
        five.message,
        "services wait for each other: c → d → e → a → b → c"
    );
    assert_eq!(labels(&five).len(), 5);
}

#[test]
fn two_knots_are_two_problems_in_the_order_of_the_file() {
    let (_, problems) = project(&[
        ("x", &["y"]),
        ("a", &["b"]),
        ("y", &["x"]),
        ("b", &["a", "x"]),
    ])
    .draft();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        found,
        [
            "services wait for each other: x → y → x",
            "services wait for each other: a → b → a",
        ]
    );
}

#[test]
fn what_lies_before_a_cycle_is_no_part_of_it() {
    // From `a` the first edge within the knot leads to `b`, which never comes back to `a` that way.
    let problem = project(&[("a", &["b"]), ("b", &["c"]), ("c", &["b", "a"])]).problem();
    assert_eq!(problem.message, "services wait for each other: b → c → b");
}

#[test]
fn nobody_waits_for_the_health_of_what_has_none() {
    let yaml = |other: &str| {
        format!(
            "services:
  a: {{ command: x, depends_on: {{ b: {{ condition: service_healthy }} }} }}
  b: {{ {other} }}
"
        )
    };
    let problem = Project::new(&yaml("command: x")).problem();
    assert_eq!(problem.code, code::NEVER_HEALTHY);
    assert_eq!(labels(&problem), [2, 3]);
    for other in [
        "command: x $<PORT:auto>",
        "command: x, healthcheck: { tcp: 1 }",
        "command: [x], environment: { P: $<P:auto> }",
    ] {
        assert_eq!(Project::new(&yaml(other)).codes(), [""; 0], "{other}");
    }
    let none = "command: x, healthcheck: { test: NONE }";
    assert_eq!(Project::new(&yaml(none)).codes(), [code::NEVER_HEALTHY]);
}

#[test]
fn what_is_wrong_with_a_service_is_not_wrong_with_its_dependents() {
    for (body, expected) in [
        ("", spec_code::EMPTY_SERVICE),
        (" { working_dir: x }", spec_code::NO_COMMAND),
        (" [x]", spec_code::WRONG_TYPE),
        (" { image: postgres }", spec_code::NOT_SUPPORTED_YET),
    ] {
        let project = Project::new(&format!(
            "services:
  a: {{ command: x, depends_on: {{ b: {{ condition: service_healthy }} }} }}
  b:{body}
"
        ));
        assert_eq!(project.codes(), [expected], "{body}");
    }
}
