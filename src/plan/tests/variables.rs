//! `${VAR}`: where its value comes from, its operators, and the files that are asked.

use super::{Project, at};
use crate::plan::code;
use crate::spec::code as spec_code;

/// What `text` comes to as a value of the environment.
#[track_caller]
fn resolved(text: &str, project: impl Fn(Project) -> Project) -> String {
    let lines = format!("environment: {{ X: '{text}' }}");
    project(Project::service(&lines)).value("X").unwrap()
}

#[test]
fn the_caller_is_asked_first_then_env_files_then_dotenv() {
    let project = Project::new(
        "env_file: [one, two]
services: { a: { command: x, env_file: [three], environment: { X: '${C} ${F} ${L} ${D} ${S:-none}' } } }
",
    )
    .caller(&[("C", "caller")])
    .file("one", "C=one\nF=one\nL=one\n")
    .file("two", "L=two\n")
    .file("three", "S=three\nC=three\n")
    .file(".env", "C=dotenv\nF=dotenv\nL=dotenv\nD=dotenv\n");
    let value = project.value("X");
    assert_eq!(value.as_deref(), Some("caller one two dotenv none"));
}

#[test]
fn operators_are_those_of_compose() {
    let set = |project: Project| project.caller(&[("SET", "v"), ("EMPTY", "")]);
    for (text, expected) in [
        ("${SET}|${EMPTY}|${NONE}", "v||"),
        ("${SET:-d}|${EMPTY:-d}|${NONE:-d}", "v|d|d"),
        ("${SET-d}|${EMPTY-d}|${NONE-d}", "v||d"),
        ("${SET:+a}|${EMPTY:+a}|${NONE:+a}", "a||"),
        ("${SET+a}|${EMPTY+a}|${NONE+a}", "a|a|"),
        ("${SET:?m}|${SET?m}|${EMPTY?m}", "v|v|"),
        ("${NONE:-${EMPTY:-${SET}}}", "v"),
        ("$$SET $${SET} $1 a$", "$SET ${SET} $1 a$"),
    ] {
        assert_eq!(resolved(text, set), expected, "{text}");
    }
}

#[test]
fn a_missing_variable_is_a_warning_and_a_required_one_an_error() {
    let unset = Project::service("environment: { X: 'a ${NONE}' }").problem();
    assert_eq!(
        (unset.code, unset.is_error()),
        (spec_code::UNSET_VARIABLE, false)
    );
    assert_eq!(at(&unset), (4, 26));
    for text in ["${NONE:?say why}", "${NONE?say why}", "${EMPTY:?say why}"] {
        let project = Project::service(&format!("environment: {{ X: '{text}' }}"));
        let problem = project.caller(&[("EMPTY", "")]).problem();
        assert_eq!(problem.code, spec_code::REQUIRED_VARIABLE);
        assert!(problem.message.contains("say why"), "{}", problem.message);
    }
}

#[test]
fn what_a_variable_held_is_never_looked_at_again() {
    let evil = [("EVIL", "${SET} $<PORT> $$ $(id)"), ("SET", "v")];
    let project = |project: Project| project.caller(&evil);
    assert_eq!(resolved("${EVIL}", project), "${SET} $<PORT> $$ $(id)");
    assert_eq!(
        resolved("${NONE:-${EVIL}}", project),
        "${SET} $<PORT> $$ $(id)"
    );
    let list = Project::service("command: [x, '${EVIL}']").caller(&evil);
    assert_eq!(list.unit().execution.argv[1], "${SET} $<PORT> $$ $(id)");
}

#[test]
fn a_bare_variable_is_left_alone_with_a_warning_when_it_is_set() {
    let project = Project::service("environment: { X: '$SET $NONE' }").caller(&[("SET", "v")]);
    let problem = project.problem();
    assert_eq!(problem.code, spec_code::BARE_VARIABLE);
    assert!(!problem.is_error());
    assert_eq!(project.value("X").as_deref(), Some("$SET $NONE"));
}

#[test]
fn a_broken_line_in_dotenv_is_a_warning_with_its_place() {
    let project = Project::service("environment: { X: '${GOOD}' }")
        .file(".env", "# mine\nno key here\nGOOD=1\nA='open\n");
    let (_, problems) = project.draft();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.code, problem.is_error(), at(problem)))
        .collect();
    let expected = [
        ("stack::dotenv::key_space", false, (2, 3)),
        ("stack::dotenv::unterminated_quote", false, (4, 3)),
    ];
    assert_eq!(found, expected);
    assert!(problems[0].labels[0].span.path().ends_with(".env"));
    assert!(problems[0].labels[0].span.path().is_relative());
    assert_eq!(project.value("X").as_deref(), Some("1"));
}

#[test]
fn a_broken_env_file_is_an_error_with_its_line_and_column() {
    for lines in ["env_file: e", "env_file: [{path: e, required: false}]"] {
        let project = Project::service(lines).file("e", "\u{feff}A=1\n  é b=2\nC=3\n");
        let problem = project.problem();
        assert_eq!(problem.code, "stack::dotenv::key_space");
        assert!(problem.is_error());
        assert_eq!(at(&problem), (2, 4));
        assert_eq!(problem.labels[0].span.path().to_str(), Some("e"));
        assert!(problem.hint.is_some());
    }
    let unset = Project::service("env_file: e")
        .file("e", "A=${NONE}\n")
        .problem();
    assert_eq!(
        (unset.code, at(&unset)),
        (spec_code::UNSET_VARIABLE, (1, 3))
    );
}

#[test]
fn a_missing_env_file_is_an_error_unless_it_may_be_missing() {
    for yaml in [
        "env_file: gone\nservices: { a: { command: x } }",
        "services: { a: { command: x, env_file: [gone] } }",
        "services: { a: { command: x, env_file: [{path: '${NONE:-gone}'}] } }",
    ] {
        let problem = Project::new(yaml).problem();
        assert_eq!(problem.code, code::ENV_FILE);
        assert!(problem.message.contains("`gone` does not exist"));
    }
    let optional = Project::service("env_file: [{path: gone, required: false}]");
    assert_eq!(optional.codes(), [""; 0]);
    let directory = Project::service("env_file: [{path: sub, required: false}]").file("sub/x", "");
    assert_eq!(directory.problem().code, code::ENV_FILE);
}

#[test]
fn a_path_that_could_not_be_made_is_told_once() {
    for yaml in [
        "env_file: '${NONE:?no}'\nservices: { a: { command: x } }",
        "services: { a: { command: x, env_file: '${NONE:?no}' } }",
    ] {
        let codes = Project::new(yaml).codes();
        assert_eq!(codes, [spec_code::REQUIRED_VARIABLE], "{yaml}");
    }
}

#[test]
fn a_device_is_no_env_file() {
    let problem = Project::service("env_file: /dev/zero").problem();
    assert_eq!(problem.code, code::ENV_FILE);
    assert!(
        problem.message.contains("larger than"),
        "{}",
        problem.message
    );
}

#[test]
fn a_file_full_of_mistakes_is_told_in_time() {
    let project = Project::service("env_file: e").file("e", "no key\n".repeat(200_000));
    let (_, problems) = project.draft();
    assert!((1..=100).contains(&problems.len()), "{}", problems.len());
}

#[test]
fn the_path_of_an_env_file_may_hold_placeholders() {
    let project = Project::new(
        "services: { a: { command: 'x $<PORT:auto>', env_file: ['$<service>.env', 'p$<PORT>.env'] } }",
    )
    .file("a.env", "BY_NAME=1\n")
    .file("p8000.env", "BY_PORT=1\n");
    assert_eq!(project.value("BY_NAME").as_deref(), Some("1"));
    assert_eq!(project.value("BY_PORT").as_deref(), Some("1"));
}

#[test]
fn an_env_file_is_read_once() {
    let project = Project::service("env_file: e").file("e", "A=1\n");
    let draft = project.good();
    let project = project.file("e", "A=2\n");
    let plan = draft.finish(&super::numbered(&draft), &mut Vec::new());
    assert_eq!(super::value(&plan.units[0], "A").as_deref(), Some("1"));
    assert_eq!(project.value("A").as_deref(), Some("2"));
}

#[test]
fn dotenv_is_the_users_where_stack_does_not_write_it() {
    let body = "services: { a: { command: x, environment: { X: '${A:-none} ${B:-none}' } } }";
    for (top, expected) in [
        ("dotenv: false", "dotenv none"),
        ("dotenv: { path: conf/ports.env }", "ports ports"),
        ("", "dotenv none"),
    ] {
        let project = Project::new(&format!("{top}\n{body}"))
            .file(".env", "A=dotenv\n")
            .file("conf/ports.env", "A=ports\nB=ports\n");
        assert_eq!(project.value("X").as_deref(), Some(expected), "{top}");
    }
}

#[test]
fn variables_of_the_top_level_have_values_too() {
    let project = Project::new(
        "name: '${NAME:-shop}-x'
dotenv: { path: '${NAME:-gen}.env' }
env_file: '${WHICH}.env'
shell: ['${SH:-/bin/sh}', -c]
services: { a: { command: 'x; y' } }
",
    )
    .file("one.env", "A=1\n")
    .caller(&[("WHICH", "one")]);
    let plan = project.plan();
    assert_eq!(plan.project.as_str(), "shop-x");
    assert_eq!(plan.dotenv.unwrap().path, project.path("gen.env"));
    assert_eq!(plan.units[0].execution.argv, ["/bin/sh", "-c", "x; y"]);
    assert_eq!(project.value("A").as_deref(), Some("1"));
}
