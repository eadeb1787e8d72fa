//! Which variables there are and are used, and what is written.

use super::*;
use crate::plan::written;

#[test]
fn every_variable_is_shown_with_the_layer_that_counts() {
    let project =
        Project::new("name: ours\nenv_file: [one.env, two.env]\nservices: { a: { command: x } }")
            .file("one.env", "A=one\nB=one\nC=one\nPASSWORD=x\n")
            .file("two.env", "B=two\n")
            .file(".env", "C=own\nD=own\n")
            .caller(&[("A", "caller"), ("URL", "http://u:p@h")]);
    let shown = |project: &Project| {
        let all = project.good().environment().into_iter();
        all.map(|it| format!("{}={} {}", it.name, it.value, it.from))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&project),
        [
            "A=caller the environment",
            "B=two two.env",
            "C=one one.env",
            "D=own .env",
            "PASSWORD=******** one.env",
            "STACK_PROJECT_NAME=ours name",
            "URL=http://u:********@h the environment",
        ]
    );
    let name = |project: Project| {
        shown(&project)
            .into_iter()
            .find(|it| it.starts_with("STACK_"))
    };
    let of = |project: Project| name(project).unwrap();
    assert_eq!(of(project.named("flag")), "STACK_PROJECT_NAME=flag -p");
    let plain = || Project::service("");
    assert_eq!(of(plain()), "STACK_PROJECT_NAME=shop the directory");
    let caller = plain().named("x").caller(&[("STACK_PROJECT_NAME", "x")]);
    assert_eq!(of(caller), "STACK_PROJECT_NAME=x the environment");
    let dotenv = plain().file(".env", "STACK_PROJECT_NAME=y\n");
    assert_eq!(of(dotenv), "STACK_PROJECT_NAME=y .env");
}

#[test]
fn the_project_s_name_is_a_variable_of_the_files() {
    let word = |project: &Project| project.unit().execution.argv[1].clone();
    let text = "name: '${SET-My}-Shop'\nservices: { a: { command: [x, '${STACK_PROJECT_NAME}'] } }";
    assert_eq!(word(&Project::new(text)), "my-shop");
    assert_eq!(word(&Project::new(text).named("other")), "other");
    let without = &text[text.find('\n').unwrap() + 1..];
    assert_eq!(word(&Project::new(without)), "shop");
}

#[test]
fn every_variable_that_is_used_is_shown_with_its_default() {
    let text = "
env_file: ['${FILE:-x.env}']
services:
  a:
    command: 'shell ${NOT_OURS}'
    environment: ['A=${A}', 'B=${B:?b is needed}', 'C=${C-${D:-$<PORT:auto>}}', 'E=${E:+other}', 'B=${B-later}']
";
    let project = Project::new(&text.replace(", 'B=${B-later}'", "")).file("x.env", "");
    let (draft, _) = project.draft();
    let used = draft.unwrap().used_variables().into_iter();
    let used: Vec<_> = used
        .map(|it| {
            (
                it.name,
                it.required,
                it.default.unwrap_or_default(),
                it.alternate.unwrap_or_default(),
            )
        })
        .map(|(name, required, default, alternate)| {
            format!("{name} {required} {default} {alternate}")
        })
        .collect();
    assert_eq!(
        used,
        [
            "A false  ",
            "B true  ",
            "C false ${D:-$<PORT:auto>} ",
            "D false $<PORT:auto> ",
            "E false  other",
            "FILE false x.env ",
        ]
    );
}

#[test]
fn what_is_written_is_shown_merged_and_as_it_stands() {
    let project = Project::new(
        "services: { a: { command: x, environment: { A: '${A}', N: 1 }, depends_on: [b], labels: [k=v] }, b: { command: y, restart: no } }",
    )
    .file(
        "stack.override.yaml",
        "services: { a: { environment: [B=2, SECRET=s, LONE], depends_on: { c: { condition: service_started } } }, c: { command: !!str 1 } }",
    );
    let (written, problems) = written(project.sources());
    assert_eq!(problems, []);
    let written = written.unwrap();
    let value = serde_json::to_string(&written.value["services"]["a"]).unwrap();
    assert_eq!(
        value,
        r#"{"command":"x","environment":{"A":"${A}","N":1,"B":"2","SECRET":"********","LONE":null},"depends_on":{"b":{"condition":"service_started"},"c":{"condition":"service_started"}},"labels":["k=v"]}"#
    );
    let lines: Vec<_> = written
        .lines
        .iter()
        .map(|it| {
            let (file, at) = (it.file.display(), it.location);
            format!("{} {file}:{}:{}", it.path, at.line, at.column)
        })
        .collect();
    for line in [
        "services.a.environment.A stack.yaml:1:48",
        "services.a.environment.B stack.override.yaml:1:32",
        "services.a.labels[0] stack.yaml:1:90",
        "services.c.command stack.override.yaml:1:127",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}\n{lines:#?}");
    }
}
