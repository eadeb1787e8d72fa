//! A file within another one.

use super::*;

#[test]
fn an_included_file_brings_its_services_with_their_own_directory() {
    let api = "
name: other
version: '3'
include: [deeper/db.yaml]
environment: { TOP: '${REALM}' }
dotenv: { path: .env.api, vars: { FROM_API: x } }
services:
  api: { command: ['${REALM}'], env_file: api.env }
";
    let db = "services: { db: { command: ['${REALM}'] } }";
    let text = "include: [api/stack.yaml]\nservices: { web: { command: ['${REALM}'], depends_on: [api, db] } }";
    let spec = good_files(
        &["name: mine", text],
        &[
            ("api/stack.yaml", &api.replace("version: '3'\n", "")),
            ("api/deeper/db.yaml", db),
        ],
    );
    assert_eq!(
        spec.name.map(|name| name.to_string()).as_deref(),
        Some("mine")
    );
    let names: Vec<_> = spec.services.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["db", "api", "web"]);
    assert_eq!(
        ["web", "api", "db"].map(|name| words(&spec.services[name])),
        ["0", "1", "2"]
    );
    let dirs = ["web", "api", "db"].map(|name| spec.services[name].name_span.dir().to_owned());
    assert_eq!(
        dirs,
        ["/project", "/project/api", "/project/api/deeper"].map(PathBuf::from)
    );
    assert_eq!(
        spec.included[0].environment["TOP"]
            .value
            .as_ref()
            .unwrap()
            .as_literal()
            .as_deref(),
        Some("1")
    );
    let dotenv = spec.dotenv.expect("there is one");
    assert_eq!((dotenv.path.as_str(), dotenv.vars.len()), (".env", 1));
}

#[test]
fn the_long_form_of_include_names_directory_and_several_files() {
    let one = "services: { api: { command: x, environment: { A: 1, B: 2 } } }";
    let two = "services: { api: { environment: { B: 3 } } }";
    let text = "include: { path: [a/one.yaml, b/two.yaml], project_directory: c, env_file: [x.env] }\nservices: {}";
    let loaded = load_files(&[text], &[("a/one.yaml", one), ("b/two.yaml", two)]);
    let spec = loaded.spec.expect("it can be read");
    let api = &spec.services["api"];
    assert_eq!(environment(api), ["A=1", "B=3"]);
    assert_eq!(api.name_span.dir(), std::path::Path::new("/project/c"));
}

#[test]
fn the_including_file_is_laid_over_the_included_and_the_first_of_two_counts() {
    let first = "services: { api: { command: [first], environment: { A: 1, B: 1, C: 1 } }, one: { command: x } }";
    let second = "services: { api: { command: [second], environment: { B: 2, D: 2 } }, two: { command: x } }";
    let text = "include: [first.yaml, second.yaml]\nservices: { api: { environment: { C: 3 } }, web: { extends: api } }";
    let spec = good_files(&[text], &[("first.yaml", first), ("second.yaml", second)]);
    let api = &spec.services["api"];
    assert_eq!(words(api), "first");
    let mut settled = environment(api);
    settled.sort();
    assert_eq!(settled, ["A=1", "B=1", "C=3", "D=2"]);
    // What is included can be extended.
    assert_eq!(words(&spec.services["web"]), "first");
    let names: Vec<_> = spec.services.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["api", "one", "two", "web"]);
    let reset =
        "include: [first.yaml]\nservices: { api: { environment: !reset {} }, one: !reset null }";
    let spec = good_files(&[reset], &[("first.yaml", first)]);
    assert_eq!(spec.services.len(), 1);
    assert!(spec.services["api"].environment.is_empty());
}

#[test]
fn what_cannot_be_included_is_told() {
    let code = crate::spec::code::BAD_INCLUDE;
    let web = "services: { web: { command: x } }";
    for (line, others) in [
        ("none.yaml", vec![]),
        ("stack.yaml", vec![("stack.yaml", "include: a.yaml")]),
        (
            "a.yaml",
            vec![
                ("a.yaml", "include: b.yaml\nservices: { a: { command: x } }"),
                ("b.yaml", "include: a.yaml\nservices: { b: { command: x } }"),
            ],
        ),
        ("a.yaml", vec![("a.yaml", "")]),
        (
            "a.yaml",
            vec![("a.yaml", "shell: [sh]\nservices: { a: { command: x } }")],
        ),
        (
            "a.yaml",
            vec![(
                "a.yaml",
                "ports: { range: 1-2 }\nservices: { a: { command: x } }",
            )],
        ),
    ] {
        let found = places(&[&format!("include: [{line}]\n{web}")], &others);
        assert!(found.len() == 1 && found[0].0 == code, "{line} {found:?}");
    }
    let loop_of_two = [
        ("a.yaml", "include: b.yaml\nservices: { a: { command: x } }"),
        ("b.yaml", "include: a.yaml\nservices: { b: { command: x } }"),
    ];
    let problems = load_files(&[&format!("include: a.yaml\n{web}")], &loop_of_two).problems;
    assert_eq!(
        problems[0].message,
        "files include each other: stack.yaml → a.yaml → b.yaml → a.yaml"
    );
    let found = places(&[&format!("include: [[a]]\n{web}")], &[]);
    assert_eq!(found[0].0, "stack::spec::wrong_type");
    let found = places(
        &[&format!("include: [{{ project_directory: x }}]\n{web}")],
        &[],
    );
    assert_eq!(found[0].0, "stack::spec::wrong_type");
    // Whatever else is wrong in it is told as if it were the only file.
    let found = places(
        &[&format!("include: [a.yaml]\n{web}")],
        &[(
            "a.yaml",
            "sevices: {}\nservices: { a: { comand: x, command: y } }",
        )],
    );
    let places: Vec<_> = found.iter().map(|(_, place)| place.as_str()).collect();
    assert_eq!(places, ["a.yaml:1:1", "a.yaml:2:18"]);
}
