//! Which ports are asked for, and who wishes for which.

use super::Project;
use crate::plan::code;
use crate::ports::request::Want;

/// The wish for the first port and where it came from, and the codes of the warnings.
fn wish(project: &Project) -> (Option<(u16, String)>, Vec<&'static str>) {
    let mut problems = Vec::new();
    let requests = project.good().requests(&mut problems);
    let wish = requests[0].wish.as_ref();
    let wish = wish.map(|wish| (wish.port, wish.origin.clone()));
    assert!(problems.iter().all(|problem| !problem.is_error()));
    (wish, problems.iter().map(|problem| problem.code).collect())
}

fn project() -> Project {
    Project::service("command: serve $<PORT:auto>")
}

#[test]
fn ports_are_asked_for_in_the_order_of_the_file() {
    let draft = Project::new(
        "services:
  b: { command: 'x $<PORT:auto> $<SECOND:auto:5173>' }
  a: { command: 'x $<PORT:8080>', environment: { X: '$<R:auto:9100-9199>' } }
",
    )
    .good();
    let found: Vec<_> = draft
        .requests(&mut Vec::new())
        .into_iter()
        .map(|request| {
            (
                format!("{}.{}", request.key.service, request.key.name),
                request.want,
            )
        })
        .collect();
    let range = "9100-9199".parse().unwrap();
    let expected = [
        ("b.PORT", Want::Auto),
        ("b.SECOND", Want::Prefer(5173)),
        ("a.PORT", Want::Fixed(8080)),
        ("a.R", Want::Within(range)),
    ];
    let expected: Vec<_> = expected
        .map(|(key, want)| (key.to_owned(), want))
        .into_iter()
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_callers_wish_is_stronger_than_that_of_dotenv() {
    let caller = "`A_PORT` in the environment";
    let dotenv = "`A_PORT` in `.env`";
    let both = project()
        .file(".env", "A_PORT=8500\n")
        .caller(&[("A_PORT", "8999")]);
    assert_eq!(wish(&both), (Some((8999, caller.to_owned())), vec![]));
    let one = project().file(".env", "A_PORT=8500\n");
    assert_eq!(wish(&one), (Some((8500, dotenv.to_owned())), vec![]));
    assert_eq!(wish(&project()), (None, vec![]));
}

#[test]
fn what_is_no_port_number_is_ignored_with_a_warning() {
    for bad in ["", "no", "0", "65536", "80 ", "-1"] {
        let alone = project().caller(&[("A_PORT", bad)]);
        assert_eq!(wish(&alone), (None, vec![code::WISH]), "{bad}");
        let with_other = project()
            .file(".env", "A_PORT=8500\n")
            .caller(&[("A_PORT", bad)]);
        let (found, warnings) = wish(&with_other);
        assert_eq!(found.map(|(port, _)| port), Some(8500), "{bad}");
        assert_eq!(warnings, [code::WISH], "{bad}");
    }
}

#[test]
fn what_stack_wrote_itself_is_no_wish() {
    let entries = [("A_PORT".to_owned(), "7777".to_owned())];
    let block = crate::dotenv::fence::render(b"", &entries).unwrap().bytes;
    assert_eq!(wish(&project().file(".env", block)), (None, vec![]));
}

#[test]
fn a_second_copy_sees_the_users_wishes_and_its_own_first() {
    let second = || project().named("other").file(".env", "A_PORT=8500\n");
    let (found, _) = wish(&second());
    assert_eq!(found, Some((8500, "`A_PORT` in `.env`".to_owned())));
    let (found, _) = wish(&second().file(".env.other", "A_PORT=8600\n"));
    assert_eq!(found, Some((8600, "`A_PORT` in `.env.other`".to_owned())));
}

#[test]
fn an_env_file_wishes_for_nothing() {
    let project = Project::new("env_file: e\nservices: { a: { command: 'x $<PORT:auto>' } }")
        .file("e", "A_PORT=8500\n");
    assert_eq!(wish(&project), (None, vec![]));
    // Nor can it hide the port that was found.
    assert_eq!(project.value("A_PORT").as_deref(), Some("8000"));
}

#[test]
fn two_generated_values_cannot_have_one_key() {
    for yaml in [
        "services: { a-b: { command: 'x $<PORT:auto>' }, a.b: { command: 'x $<PORT:auto>' } }",
        "services: { a: { command: 'x $<B_PORT:auto>' }, a_b: { command: 'x $<PORT:auto>' } }",
        "services: { a: { command: 'x $<port:auto> $<PORT:auto>' } }",
        "dotenv: { vars: { A_PORT: x } }\nservices: { a: { command: 'x $<PORT:auto>' } }",
        "dotenv: false\nservices: { a: { command: 'x $<port:auto> $<PORT:auto>' } }",
    ] {
        let problem = Project::new(yaml).problem();
        assert_eq!(problem.code, code::KEY_COLLISION, "{yaml}");
        assert_eq!(problem.labels.len(), 2, "{yaml}");
    }
}

#[test]
fn what_no_env_file_can_hold_is_refused_where_it_stands() {
    for (value, code) in [
        ("a $$(id) b", "stack::dotenv::command_substitution"),
        ("\"a\\rb\"", "stack::dotenv::carriage_return"),
        ("\"a'b`c\"", "stack::dotenv::backtick"),
    ] {
        let service = "services: { a: { command: x } }";
        let project = Project::new(&format!("dotenv:\n  vars:\n    KEY: {value}\n{service}"));
        let problem = project.problem();
        assert_eq!(problem.code, code);
        assert_eq!(super::at(&problem), (3, 10), "{value}");
    }
    let project = Project::new("dotenv: {vars: {LD_PRELOAD: x}}\nservices: {a: {command: x}}");
    assert_eq!(project.problem().code, "stack::dotenv::obeyed_key");
}

#[test]
fn a_line_of_nothing_is_an_empty_value() {
    let project =
        Project::new("dotenv: {vars: {EMPTY: , NULL: null}}\nservices: {a: {command: x}}");
    let empty = |key: &str| (key.to_owned(), String::new());
    assert_eq!(project.plan().values, [empty("EMPTY"), empty("NULL")]);
}
