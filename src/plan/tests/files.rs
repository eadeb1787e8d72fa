//! Several files: what their paths and variables mean, and that they can be sent.

use super::*;

/// A project of three files in three directories.
fn project() -> Project {
    let text = "
include: [api/stack.yaml]
environment: { TOP: root, ONLY_ROOT: '1' }
services:
  web:
    command: [run, '${WHO}', '${API_ONLY:-none}']
    extends: { file: common/base.yaml, service: base }
";
    let api = "
env_file: top.env
environment: { TOP: api, ONLY_API: '${API_ONLY}', PORT_OF_API: $<api.PORT> }
services:
  api:
    command: [./run, '${WHO}', '${API_ONLY}', $<PORT:auto>]
    env_file: api.env
    environment: [WHO, API_ONLY]
";
    let base = "services: { base: { working_dir: sub, env_file: base.env, command: x } }";
    Project::new(text)
        .file("api/stack.yaml", api)
        .file("api/top.env", "FROM_TOP=1\nWHICH=top\n")
        .file("api/api.env", "WHICH=own\nINNER=${API_ONLY}\n")
        .file("api/.env", "WHO=api\nAPI_ONLY=${WHO}-only\n")
        .file("common/base.yaml", base)
        .file("common/base.env", "FROM_BASE=1\n")
        .file(".env", "WHO=root\n")
}

fn of(plan: &Plan, service: &str) -> UnitPlan {
    plan.units[plan.unit_of(service).unwrap()].clone()
}

#[test]
fn an_included_file_has_its_own_directory_and_variables_under_those_of_the_project() {
    let project = project();
    let plan = project.plan();
    let (web, api) = (of(&plan, "web"), of(&plan, "api"));
    assert_eq!(api.execution.argv[1..], ["root", "root-only", "8000"]);
    assert_eq!(web.execution.argv[1..], ["root", "none"]);
    assert_eq!(api.directory, project.path("api"));
    assert_eq!(web.directory, project.path("common/sub"));
    let values = |unit: &UnitPlan, keys: &[&str]| {
        let values = keys
            .iter()
            .map(|key| value(unit, key).unwrap_or_else(|| "-".to_owned()));
        values.collect::<Vec<_>>().join(" ")
    };
    let keys = [
        "TOP",
        "ONLY_ROOT",
        "ONLY_API",
        "FROM_TOP",
        "FROM_BASE",
        "PORT_OF_API",
    ];
    assert_eq!(values(&api, &keys), "root 1 root-only 1 - 8000");
    assert_eq!(values(&web, &keys), "root 1 - - 1 -");
    assert_eq!(
        values(&api, &["WHICH", "INNER", "WHO", "API_ONLY"]),
        "own root-only root root-only"
    );
}

#[test]
fn the_variables_of_an_include_may_come_from_files_that_it_names() {
    let text = |env: &str| {
        format!(
            "include: [{{ path: api/stack.yaml, env_file: {env} }}]\nservices: {{ w: {{ command: x }} }}"
        )
    };
    let project = |env: &str| {
        Project::new(&text(env))
            .file(
                "api/stack.yaml",
                "services: { api: { command: [run, '${A:-no}', '${B:-no}'] } }",
            )
            .file("api/.env", "A=dotenv\n")
            .file("one.env", "A=one\nB=one\n")
            .file("two.env", "B=two$A\n")
    };
    let words = |project: &Project| of(&project.plan(), "api").execution.argv[1..].join(" ");
    assert_eq!(words(&project("one.env")), "one one");
    assert_eq!(words(&project("[one.env, two.env]")), "one two");
    assert_eq!(words(&project("/dev/null")), "no no");
    assert_eq!(project("[none.env]").codes(), [crate::plan::code::ENV_FILE]);
    let stronger = project("one.env").caller(&[("A", "caller")]);
    assert_eq!(words(&stronger), "caller one");
}

#[test]
fn the_generated_block_of_an_included_stack_is_nobodys_variable() {
    let fenced = crate::dotenv::fence::render(b"MINE=1\n", &[("PORT_OF".into(), "1".into())]);
    let project = Project::new("include: [api/stack.yaml]\nservices: { w: { command: x } }")
        .file(
            "api/stack.yaml",
            "services: { api: { command: [run, '${MINE}', '${PORT_OF:-none}'] } }",
        )
        .file("api/.env", fenced.unwrap().bytes);
    assert_eq!(
        of(&project.plan(), "api").execution.argv[1..],
        ["1", "none"]
    );
}

#[test]
fn paths_of_merged_files_start_at_the_first_and_those_of_extended_ones_at_their_own() {
    let mut project =
        Project::new("services: { a: { command: x, env_file: a.env, working_dir: w } }")
            .file(
                "over/stack.yaml",
                "services: { a: { env_file: b.env }, b: { command: x, working_dir: v } }",
            )
            .file("a.env", "A=1\n")
            .file("b.env", "B=1\n");
    project.files = vec!["stack.yaml".into(), "over/stack.yaml".into()];
    let plan = project.plan();
    let (a, b) = (of(&plan, "a"), of(&plan, "b"));
    assert_eq!(
        (value(&a, "A"), value(&a, "B")),
        (Some("1".into()), Some("1".into()))
    );
    assert_eq!(
        (a.directory, b.directory),
        (project.path("w"), project.path("v"))
    );
}

#[test]
fn files_on_the_command_line_take_the_place_of_dotenv() {
    let text = "env_file: top.env\nservices: { a: { command: [run, '${A:-no}', '${B:-no}', '${C:-no}', '${D:-no}'], environment: [A] } }";
    let project = |files: &[&str]| {
        let mut project = Project::new(text)
            .file(".env", "A=dotenv\nD=dotenv\nSTACK_PROFILES=x\n")
            .file("top.env", "A=top\nC=top\n")
            .file("one.env", "A=one\nB=one\n")
            .file("two.env", "B=${A}-two\n");
        let paths = files.iter().map(|path| crate::spec::find::FilePath {
            file: project.path(path),
            shown: path.into(),
        });
        project.arguments.env_files = paths.collect();
        project
    };
    let words = |project: &Project| project.unit().execution.argv[1..].join(" ");
    assert_eq!(words(&project(&[])), "top no top dotenv");
    assert_eq!(words(&project(&["one.env"])), "one one top no");
    assert_eq!(
        words(&project(&["one.env", "two.env"])),
        "one one-two top no"
    );
    assert_eq!(words(&project(&["two.env", "one.env"])), "one one top no");
    assert_eq!(
        words(&project(&["one.env"]).caller(&[("A", "caller")])),
        "caller one top no"
    );
    assert_eq!(project(&["one.env"]).value("A").as_deref(), Some("one"));
    let problem = project(&["none.env"]).problem();
    assert_eq!(problem.code, crate::plan::code::ENV_FILE);
    assert_eq!(
        problem.message,
        "`none.env` (`--env-file`) cannot be read: it does not exist"
    );
}

#[test]
fn a_raw_env_file_is_taken_as_it_is() {
    let project =
        Project::service("env_file: [{ path: raw.env, format: raw }]\nenvironment: { B: '2' }")
            .file("raw.env", "A=\"$HOME\" # x\nB=1\nSET\nUNSET\n")
            .caller(&[("SET", "caller")]);
    assert_eq!(project.value("A").as_deref(), Some("\"$HOME\" # x"));
    assert_eq!(project.value("B").as_deref(), Some("2"));
    assert_eq!(project.value("SET").as_deref(), Some("caller"));
    assert_eq!(project.value("UNSET"), None);
    let bad =
        Project::service("env_file: [{ path: raw.env, format: raw }]").file("raw.env", "A B=c\n");
    assert_eq!(bad.codes(), ["stack::dotenv::key_space"]);
    assert_eq!(
        Project::service("env_file: [{ path: x, format: yaml, required: false }]").codes(),
        ["stack::spec::bad_value"]
    );
}

#[test]
fn the_project_s_name_comes_from_the_flag_then_dotenv_then_the_file() {
    let named = || Project::service("").file(".env", "STACK_PROJECT_NAME=fromenv\n");
    assert_eq!(named().good().project().to_string(), "fromenv");
    assert_eq!(
        named().plan().dotenv.unwrap().path.file_name().unwrap(),
        ".env"
    );
    assert_eq!(named().named("flag").good().project().to_string(), "flag");
    let mut with_name = named();
    with_name.yaml.insert_str(0, "name: file\n");
    assert_eq!(with_name.good().project().to_string(), "fromenv");
}

#[test]
fn all_files_can_be_sent_and_planned_from_without_a_disk() {
    let project = project().file(
        "stack.override.yaml",
        "services: { web: { environment: { OVER: '1' } } }",
    );
    let sources = project.sources();
    // Whoever drafts asks for the other files.
    let (draft, problems) = Draft::new(sources);
    assert!(problems.iter().all(|it| !it.is_error()), "{problems:#?}");
    let draft = draft.unwrap();
    let sent = serde_json::to_string(draft.sources()).unwrap();
    let wanted = draft.finish(&numbered(&draft), &mut Vec::new());
    fs_err::remove_dir_all(&project.directory).unwrap();
    let received: Sources = serde_json::from_str(&sent).unwrap();
    let (draft, problems) = Draft::new(received);
    assert!(problems.iter().all(|it| !it.is_error()), "{problems:#?}");
    let draft = draft.unwrap();
    let plan = draft.finish(&numbered(&draft), &mut Vec::new());
    assert_eq!(plan.fingerprint, wanted.fingerprint);
    for (one, other) in plan.units.iter().zip(&wanted.units) {
        assert_eq!(one.environment.entries(), other.environment.entries());
        assert_eq!(
            (&one.execution, &one.directory),
            (&other.execution, &other.directory)
        );
    }
    assert_eq!(value(&of(&plan, "web"), "OVER").as_deref(), Some("1"));
}

#[test]
fn what_is_shown_of_several_files_means_the_same_in_one() {
    let project = project();
    let shown = project.good().show(None);
    let text = crate::support::yaml::to_string(&shown).unwrap();
    let mut one = Project::new(&text)
        .file("api/top.env", "FROM_TOP=1\nWHICH=top\n")
        .file("api/api.env", "WHICH=own\nINNER=root-only\n")
        .file("common/base.env", "FROM_BASE=1\n");
    one.directory.clone_from(&project.directory);
    let (several, one) = (project.plan(), one.plan());
    for name in ["web", "api"] {
        let (several, one) = (of(&several, name), of(&one, name));
        assert_eq!(several.directory, one.directory);
        assert_eq!(several.execution, one.execution);
        for key in [
            "TOP",
            "ONLY_API",
            "FROM_TOP",
            "FROM_BASE",
            "WHO",
            "WHICH",
            "INNER",
        ] {
            assert_eq!(
                value(&several, key),
                value(&one, key),
                "{name} {key}\n{text}"
            );
        }
    }
}

#[test]
fn every_path_starts_at_the_directory_of_its_own_file() {
    let service = "{ command: x, working_dir: w, env_file: e, label_file: l, watch: [w, { path: v, action: rebuild, command: y }], configs: [c], secrets: [s],
      pre_start: { command: x, working_dir: w }, post_start: { command: x, working_dir: ./w }, pre_stop: { command: x, working_dir: ../w } }";
    let inner = format!(
        "configs: {{ c: {{ file: c }} }}\nsecrets: {{ s: {{ file: s }} }}\nservices: {{ a: {service} }}"
    );
    let extended = "services: { a: { extends: { file: in/stack.yaml, service: a } } }\nconfigs: { c: { file: in/c } }\nsecrets: { s: { file: in/s } }";
    for outer in ["include: [in/stack.yaml]", extended] {
        let project = Project::new(outer)
            .file("in/stack.yaml", &inner)
            .file("in/e", "FROM_ENV=1\n")
            .file("in/l", "from_labels=1\n")
            .file("in/c", "config")
            .file("in/s", "secret");
        let unit = project.unit();
        assert_eq!(unit.directory, project.path("in/w"), "{outer}");
        let hooks = unit
            .hooks
            .iter()
            .map(|hook| hook.directory.clone().unwrap());
        let hooks: Vec<_> = hooks.collect();
        let wanted = ["in/w", "in/w", "in/../w"].map(|path| project.path(path));
        assert_eq!(hooks, wanted, "{outer}");
        let watched: Vec<_> = unit.watch.iter().map(|it| it.path.clone()).collect();
        let wanted = ["./in/w", "./in/v"].map(std::path::PathBuf::from);
        assert_eq!(watched, wanted, "{outer}");
        assert_eq!(value(&unit, "FROM_ENV").as_deref(), Some("1"), "{outer}");
        assert_eq!(unit.labels["from_labels"], "1", "{outer}");
        let contents = unit.belongings.files.iter();
        let contents: Vec<_> = contents.map(|file| file.content.0.to_vec()).collect();
        assert_eq!(contents, [b"config", b"secret"], "{outer}");
        // What is shown of it is the same, seen from the project directory.
        let text = crate::support::yaml::to_string(&project.good().show(None)).unwrap();
        let again = Project {
            yaml: text.clone(),
            ..project
        };
        assert_eq!(again.unit().hooks, unit.hooks, "{text}");
        assert_eq!(again.unit().watch, unit.watch, "{text}");
    }
}

#[test]
fn a_later_file_may_give_a_config_another_kind_of_content() {
    let yaml = "configs: { c: { file: gone } }\nservices: { a: { command: x, configs: [c] } }";
    let project = Project::new(yaml).file(
        "stack.override.yaml",
        "configs: { c: !override { content: other } }",
    );
    let files = &project.unit().belongings.files;
    assert_eq!(*files[0].content.0, *b"other");
}
