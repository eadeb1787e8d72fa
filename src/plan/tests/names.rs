//! What the project is called, and which generated file is whose.

use super::Project;
use crate::plan::code;
use crate::spec::code as spec_code;

const BODY: &str = "services: { a: { command: x } }";

#[test]
fn the_caller_names_the_project_then_the_file_then_the_directory() {
    let name = |project: Project| project.plan().project.to_string();
    let with_name = format!("name: My Shop_2\n{BODY}");
    assert_eq!(name(Project::new(&with_name).named("other")), "other");
    assert_eq!(name(Project::new(&with_name)), "myshop_2");
    assert_eq!(name(Project::in_directory("-My.Dir", BODY)), "mydir");
}

#[test]
fn a_name_from_the_caller_must_be_one() {
    for (name, hint) in [
        ("My Shop", "use `myshop`: a to z, 0 to 9, `-` and `_`"),
        ("-x", "use `x`: a to z, 0 to 9, `-` and `_`"),
        ("日本", "use a to z, 0 to 9, `-` and `_`"),
        ("", "use a to z, 0 to 9, `-` and `_`"),
    ] {
        let project = Project::new(BODY).named(name);
        let problem = project.problem();
        assert_eq!(problem.code, code::PROJECT_NAME, "{name}");
        assert_eq!(problem.hint.as_deref(), Some(hint), "{name}");
        assert!(project.draft().0.is_none());
    }
}

#[test]
fn where_no_name_can_be_made_of_anything_one_is_asked_for() {
    let directory = Project::in_directory("日本", BODY);
    let problem = directory.problem();
    assert_eq!(problem.code, code::PROJECT_NAME);
    assert!(problem.hint.unwrap().contains("`name: shop`"));
    assert_eq!(directory.named("shop").codes(), [""; 0]);
    let file = Project::new(&format!("name: '${{NAME:-日本}}'\n{BODY}")).problem();
    assert_eq!(file.code, spec_code::BAD_NAME);
    assert_eq!(super::at(&file), (1, 7));
    let required = Project::new(&format!("name: '${{NAME:?}}'\n{BODY}"));
    assert_eq!(required.codes(), [spec_code::REQUIRED_VARIABLE]);
}

#[test]
fn without_a_name_everything_else_is_checked_all_the_same() {
    let project = Project::service("healthcheck: { http: / }").named("No Name");
    assert_eq!(project.codes(), [code::PROJECT_NAME, code::HTTP_PORT]);
}

#[test]
fn a_second_copy_writes_a_file_of_its_own() {
    let path = |yaml: &str, name: Option<&str>| {
        let mut project = Project::new(&format!("{yaml}\n{BODY}"));
        if let Some(name) = name {
            project = project.named(name);
        }
        let dotenv = project.plan().dotenv?;
        let path = dotenv.path.strip_prefix(&project.directory).unwrap();
        Some(path.to_str().unwrap().to_owned())
    };
    for (yaml, name, expected) in [
        ("", None, Some(".env")),
        ("", Some("shop"), Some(".env")),
        ("", Some("other"), Some(".env.other")),
        ("name: other", None, Some(".env")),
        ("name: Other", Some("other"), Some(".env")),
        ("name: other", Some("shop"), Some(".env.shop")),
        ("dotenv: { path: conf/x.env }", None, Some("conf/x.env")),
        (
            "dotenv: { path: conf/x.env }",
            Some("other"),
            Some("conf/x.env.other"),
        ),
        ("dotenv: false", None, None),
        ("dotenv: false", Some("other"), None),
        ("dotenv: true", None, Some(".env")),
    ] {
        assert_eq!(path(yaml, name).as_deref(), expected, "{yaml} {name:?}");
    }
}

#[test]
fn without_a_file_the_values_are_there_all_the_same() {
    let project = Project::new("dotenv: false\nservices: { a: { command: 'x $<PORT:auto>' } }");
    let plan = project.plan();
    assert!(plan.dotenv.is_none());
    assert_eq!(plan.values, [("A_PORT".to_owned(), "8000".to_owned())]);
}
