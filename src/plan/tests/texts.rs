//! Placeholders in every form and in every place where one may stand.

use super::{Project, at, numbered, port_key};
use crate::plan::code;
use crate::plan::model::ProbePlan;
use crate::spec::code as spec_code;

#[test]
fn every_form_has_its_value() {
    let project = Project::new(
        "services:
  a:
    command: [x]
    environment:
      OWN: $<PORT>
      DECLARED: $<PORT:auto>
      AGAIN: $<PORT:auto>
      PREFER: $<P:auto:5173>
      WITHIN: $<W:auto:9100-9199>
      FIXED: $<F:8080>
      FORWARD: $<later.x.PORT>
      ALL: $<later.x.PORTS>
      NAME: $<project.name>
      DIR: $<project.dir>
      INSTANCE: $<instance>
      SERVICE: $<service>-$<replica>
      LITERAL: $$<PORT>
      NESTED: ${NONE:-$<PORT>}
  later.x:
    command: [x, $<PORT:auto>, $<a.PORT>]
",
    );
    let plan = project.plan();
    for (key, expected) in [
        ("OWN", "8000"),
        ("DECLARED", "8000"),
        ("AGAIN", "8000"),
        ("PREFER", "8001"),
        ("WITHIN", "8002"),
        ("FIXED", "8003"),
        ("FORWARD", "8004"),
        ("ALL", "8004"),
        ("NAME", "shop"),
        ("DIR", project.directory.to_str().unwrap()),
        ("INSTANCE", plan.instance.as_str()),
        ("SERVICE", "a-1"),
        ("LITERAL", "$<PORT>"),
        ("NESTED", "8000"),
    ] {
        assert_eq!(project.value(key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(plan.units[1].execution.argv, ["x", "8004", "8000"]);
}

#[test]
fn the_plural_of_a_port_is_all_of_them_unless_it_has_that_name() {
    let plan = Project::new(
        "services:
  a: { command: [x, $<dns.PORTS>, $<dns.DNS>, $<all.PORTS>] }
  dns: { command: 'x $<PORT:auto> $<DNS:auto>', replicas: 2 }
  all: { command: 'x $<PORTS:auto> $<PORT:auto>' }
",
    )
    .plan();
    let argv = &plan.units[0].execution.argv;
    assert_eq!(argv[1..], ["8000,8002", "8001", "8004"]);
}

#[test]
fn they_stand_in_every_text_of_a_service() {
    let project = Project::new(
        "environment: { TOP: $<a.PORT> }
dotenv: { vars: { VAR: 'http://$<project.name>:$<a.PORT>' } }
services:
  a:
    entrypoint: [wrap, $<PORT>]
    command: serve --port $<PORT:auto>
    working_dir: dir-$<PORT>
    labels: { port: $<PORT>, list: '$<b.PORTS>' }
    healthcheck:
      http: { path: /h/$<PORT>, port: $<b.PORT>, status: ['$<service-status>'], headers: { X: $<PORT> } }
  b: { command: serve $<PORT:auto>, healthcheck: { tcp: '127.0.0.1:$<PORT>' } }
  c: { command: x, healthcheck: { test: check $<a.PORT> } }
  d: { command: x, healthcheck: { test: [CMD, check, '$<b.PORT>'] } }
"
        .replace("'$<service-status>'", "200")
        .as_str(),
    );
    let plan = project.plan();
    let [a, b, c, d] = &plan.units[..] else {
        panic!("four units");
    };
    assert_eq!(
        a.execution.argv,
        ["wrap", "8000", "serve", "--port", "8000"]
    );
    assert_eq!(a.directory, project.path("dir-8000"));
    assert_eq!(
        (&a.labels["port"], &a.labels["list"]),
        (&"8000".into(), &"8001".into())
    );
    let Some(ProbePlan::Http(http)) = a.health.as_ref().map(|health| &health.probe) else {
        panic!("an http check");
    };
    assert_eq!((http.path.as_str(), http.port), ("/h/8000", 8001));
    assert_eq!(http.headers, [("X".to_owned(), "8000".to_owned())]);
    let probe = |unit: &crate::plan::UnitPlan| unit.health.clone().unwrap().probe;
    let tcp = ProbePlan::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 8001,
    };
    assert_eq!(probe(b), tcp);
    let argv = |unit| match probe(unit) {
        ProbePlan::Command(execution) => execution.argv,
        ProbePlan::Http(_)
        | ProbePlan::Tcp { .. }
        | ProbePlan::Log { .. }
        | ProbePlan::Notify { .. } => {
            panic!("a command")
        }
    };
    assert_eq!(argv(c), ["check", "8000"]);
    assert_eq!(argv(d), ["check", "8001"]);
    assert_eq!(
        plan.values[2],
        ("VAR".to_owned(), "http://shop:8000".to_owned())
    );
    assert_eq!(super::value(d, "TOP").as_deref(), Some("8000"));
}

#[test]
fn a_text_that_would_be_shell_syntax_is_refused_in_shell_text_alone() {
    let in_directory =
        |lines: &str| Project::in_directory("a shop", &super::one_service(lines)).named("shop");
    for lines in [
        "command: ls $<project.dir>",
        "command: x\nhealthcheck: { test: ls $<project.dir> }",
        "entrypoint: ls $<project.dir>",
    ] {
        let problem = in_directory(lines).problem();
        assert_eq!(problem.code, spec_code::UNSAFE_IN_SHELL, "{lines}");
        assert!(problem.hint.is_some());
    }
    assert_eq!(
        at(&in_directory("command: ls $<project.dir>").problem()),
        (3, 17)
    );
    for lines in [
        "command: [ls, $<project.dir>]",
        "healthcheck: { test: [CMD, ls, $<project.dir>] }",
        "environment: { DIR: $<project.dir> }",
        "working_dir: $<project.dir>/sub",
    ] {
        assert_eq!(in_directory(lines).codes(), [""; 0], "{lines}");
    }
}

#[test]
fn shell_text_reaches_the_shell_as_it_was_written() {
    let line = "echo $HOME ${X:-y} $(date) $$ \"$<PORT:auto>\" $$<PORT>";
    let project = Project::service(&format!("command: '{line}'")).caller(&[("X", "no")]);
    let execution = project.unit().execution;
    let expected = "echo $HOME ${X:-y} $(date) $$ \"8000\" $<PORT>";
    assert_eq!(execution.argv, ["/bin/sh", "-c", expected]);
    assert!(execution.is_shell_line);
}

#[test]
fn misplaced_placeholders_are_told_once() {
    for yaml in [
        "environment: { A: $<PORT:auto> }\nservices: { a: { command: x } }",
        "environment: { A: $<service> }\nservices: { a: { command: x } }",
        "dotenv: { vars: { A: $<PORT> } }\nservices: { a: { command: x } }",
        "dotenv: { path: $<project.name> }\nservices: { a: { command: x } }",
        "name: $<service>\nservices: { a: { command: x } }",
        "env_file: $<service>\nservices: { a: { command: x } }",
        "shell: [$<service>]\nservices: { a: { command: x } }",
    ] {
        let codes = Project::new(yaml).codes();
        assert_eq!(codes, [spec_code::MISPLACED_PLACEHOLDER], "{yaml}");
    }
}

#[test]
fn a_port_that_the_running_stack_has_not_is_an_error_with_a_way_out() {
    let draft = Project::service("command: x $<PORT:auto> $<NEW:auto>").good();
    let old = [(port_key("a", "PORT"), 8000)].into();
    let mut problems = Vec::new();
    draft.finish(&old, &mut problems);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].code, code::NOT_ALLOCATED);
    assert!(problems[0].hint.is_some());
    let mut problems = Vec::new();
    draft.finish(&numbered(&draft), &mut problems);
    assert_eq!(problems, []);
}

/// Pieces of texts, good, bad and both.
const PIECES: [&str; 22] = [
    "$<PORT:auto>",
    "$<PORT>",
    "$<b.PORT>",
    "$<b.PORTS>",
    "$<project.dir>",
    "$<replica>",
    "$<instance>",
    "$$<",
    "$$",
    "$",
    "${SET}",
    "${NONE}",
    "${NONE:-$<PORT>}",
    "${SET:+${SET}}",
    "${NONE:?no}",
    "${",
    "$<",
    "}",
    "é",
    " ",
    "$SET",
    "x",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn resolving_never_panics(picks in proptest::collection::vec(0..PIECES.len(), 0..8)) {
        let text: String = picks.iter().map(|&pick| PIECES[pick]).collect();
        let project = Project::new(&format!(
            "environment: {{ T: '{text}' }}
services:
  a:
    command: ['x{text}', '{text}']
    working_dir: '{text}'
    labels: {{ l: '{text}' }}
    stop_grace_period: '{text}'
    env_file: [{{path: '{text}', required: false}}]
    healthcheck: {{ http: '/{text}', retries: '{text}' }}
  b:
    command: 'x {text}'
    healthcheck: {{ test: 'x {text}' }}
    environment: {{ P: '$<PORT:auto>', X: '{text}' }}
"
        ))
        .caller(&[("SET", "v $<PORT> ${SET}")]);
        let (draft, _) = project.draft();
        if let Some(draft) = draft {
            draft.finish(&numbered(&draft), &mut Vec::new());
            draft.finish(&crate::plan::Assignment::new(), &mut Vec::new());
            draft.show(None);
            draft.show(Some(&numbered(&draft)));
        }
    }
}
