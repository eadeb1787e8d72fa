//! A service over another one.

use super::*;

#[test]
fn a_service_extends_another_with_all_that_it_has() {
    let text = "
services:
  base:
    command: [a]
    environment: { A: 1, B: 2 }
    depends_on: [db]
    labels: [x=y]
  web:
    extends: base
    command: [b]
    environment: [B=3]
  api: { extends: { service: web } }
  db: { command: db }
";
    let spec = good(text);
    assert_eq!(words(&spec.services["web"]), "b");
    assert_eq!(words(&spec.services["api"]), "b");
    for name in ["web", "api"] {
        let service = &spec.services[name];
        assert_eq!(environment(service), ["A=1", "B=3"]);
        assert_eq!((service.depends_on.len(), service.labels.len()), (1, 1));
    }
    assert_eq!(environment(&spec.services["base"]), ["A=1", "B=2"]);
    // It is known by its own name.
    assert_eq!(spec.services["web"].name_span.location().line, 8);
}

#[test]
fn a_service_extends_one_of_another_file_whose_paths_start_there() {
    let common = "
services:
  base: { extends: { file: ../deep/more.yaml, service: root }, env_file: [base.env], command: '${REALM}' }
";
    let more = "services: { root: { command: x, working_dir: here, env_file: root.env } }";
    let text = "services: { web: { extends: { file: common/c.yaml, service: base }, env_file: [web.env] } }";
    let spec = good_files(
        &[text],
        &[("common/c.yaml", common), ("deep/more.yaml", more)],
    );
    let service = &spec.services["web"];
    let files: Vec<_> = service
        .env_file
        .iter()
        .map(|file| file.path.span.dir().join(file.path.as_literal().unwrap()))
        .collect();
    assert_eq!(
        files,
        [
            "/project/deep/root.env",
            "/project/common/base.env",
            "/project/web.env"
        ]
        .map(PathBuf::from)
    );
    let directory = service.working_dir.as_ref().expect("it has one");
    assert_eq!(directory.span.dir(), std::path::Path::new("/project/deep"));
}

#[test]
fn reset_and_override_work_on_what_is_extended() {
    let text = "
services:
  base: { command: x, labels: [a=b], environment: { A: 1 } }
  web: { extends: base, labels: !reset [], environment: !override { B: 2 } }
  api: { extends: web, labels: [c=d] }
";
    let spec = good(text);
    assert_eq!(environment(&spec.services["web"]), ["B=2"]);
    assert_eq!(spec.services["web"].labels.len(), 0);
    assert_eq!(spec.services["api"].labels.len(), 1);
    // What it is extended by does not take anything away from an earlier file.
    let base = "services: { web: { command: y, labels: [z=z] } }";
    let over = "services: { none: { command: x, labels: !reset [] }, web: { extends: none } }";
    let spec = good_files(&[base, over], &[]);
    assert_eq!(spec.services["web"].labels.len(), 1);
}

#[test]
fn a_file_extends_what_it_has_itself_and_not_what_is_merged() {
    let base = "services: { base: { command: old }, web: { extends: base } }";
    let over = "services: { base: { command: new } }";
    let spec = good_files(&[base, over], &[]);
    assert_eq!(words(&spec.services["web"]), "old");
    let found = places(
        &[
            "services: { base: { command: x } }",
            "services: { web: { extends: base } }",
        ],
        &[],
    );
    assert_eq!(
        found[0],
        (crate::spec::code::BAD_EXTENDS, "1.yaml:1:29".to_owned())
    );
}

#[test]
fn what_cannot_be_extended_is_told() {
    let code = crate::spec::code::BAD_EXTENDS;
    for text in [
        "services: { web: { command: x, extends: wbe } }",
        "services: { web: { command: x, extends: web } }",
        "services: { web: { command: x, extends: { service: a, file: none.yaml } } }",
        "services: { web: { command: x, extends: { file: other.yaml } } }",
        "services: { web: { command: x, extends: { service: b, file: other.yaml } } }",
        "services: { a: { command: x, extends: b }, b: { command: x, extends: a } }",
        "services: { web: { command: x, extends: { service: back, file: other.yaml } } }",
    ] {
        let back = "services: { a: { command: x }, back: { command: x, extends: { file: other.yaml, service: back } } }";
        let found = places(&[text], &[("other.yaml", back)]);
        assert!(
            !found.is_empty() && found.iter().all(|(it, _)| *it == code),
            "{text} {found:?}"
        );
    }
    let cycle =
        load_text("services: { a: { command: x, extends: b }, b: { command: x, extends: a } }");
    let message = &cycle.problems[0].message;
    assert_eq!(
        message,
        "services extend each other: a (stack.yaml) → b (stack.yaml) → a (stack.yaml)"
    );
    assert_eq!(
        codes("services: { web: { command: x, extends: [a] } }"),
        ["stack::spec::wrong_type"]
    );
}
