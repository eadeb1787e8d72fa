//! The layers of a service's environment (design 2.5).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Project, value};
use crate::plan::code;

/// Every layer sets `K` and those after it, so that each key shows which layer is the last of it.
#[test]
fn later_layers_win_in_the_order_of_the_design() {
    let project = Project::new(
        "env_file: top.env
environment: { L3: environment, L4: environment, A_WEB: environment, L6: environment, L7: environment }
dotenv: { vars: { L4: vars, L6: vars, L7: vars } }
services:
  a:
    command: serve $<WEB:auto>
    env_file: own.env
    environment: { L7: own, STACK_SERVICE: mine }
",
    )
    .file("top.env", "L2=file\nL3=file\nL4=file\nL6=file\nL7=file\n")
    .file("own.env", "L6=ownfile\nL7=ownfile\nSTACK_REPLICA=9\n")
    .caller(&[
        ("L1", "caller"),
        ("L2", "caller"),
        ("L3", "caller"),
        ("L4", "caller"),
        ("L6", "caller"),
        ("L7", "caller"),
        ("STACK_PROJECT", "caller"),
    ]);
    let unit = project.unit();
    for (key, expected) in [
        ("L1", "caller"),
        ("L2", "file"),
        ("L3", "environment"),
        ("L4", "vars"),
        ("A_WEB", "8000"),
        ("L6", "ownfile"),
        ("L7", "own"),
        ("STACK_PROJECT", "shop"),
        ("STACK_SERVICE", "a"),
        ("STACK_REPLICA", "1"),
    ] {
        assert_eq!(value(&unit, key).as_deref(), Some(expected), "{key}");
    }
    let instance = project.plan().instance;
    assert_eq!(value(&unit, "STACK_INSTANCE"), Some(instance));
}

#[test]
fn every_service_gets_every_generated_key() {
    let plan = Project::new(
        "dotenv: { vars: { URL: 'http://127.0.0.1:$<b.PORT>' } }
services:
  a: { command: 'x $<PORT:auto>' }
  b: { command: 'x $<PORT:auto> $<ADMIN:auto>' }
  c: { command: x }
",
    )
    .plan();
    for unit in &plan.units {
        for (key, expected) in [
            ("A_PORT", "8000"),
            ("B_PORT", "8001"),
            ("B_ADMIN", "8002"),
            ("URL", "http://127.0.0.1:8001"),
        ] {
            assert_eq!(value(unit, key).as_deref(), Some(expected), "{key}");
        }
    }
    let keys: Vec<_> = plan.values.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["A_PORT", "B_PORT", "B_ADMIN", "URL"]);
}

#[test]
fn port_is_set_only_where_it_is_declared() {
    let plan = Project::new(
        "services:
  a: { command: 'x $<PORT:auto>' }
  b: { command: 'x $<WEB:auto> $<a.PORT>' }
  c: { command: 'x $<PORT:auto>', environment: { PORT: mine } }
",
    )
    .plan();
    let ports: Vec<_> = plan.units.iter().map(|unit| value(unit, "PORT")).collect();
    let expected = [Some("8000".to_owned()), None, Some("mine".to_owned())];
    assert_eq!(ports, expected);
}

#[test]
fn null_removes_a_key_wherever_it_came_from() {
    let project = Project::new(
        "env_file: e
environment: { TOP: x, CALLER: null }
services: { a: { command: 'x $<WEB:auto>', environment: { FILE: null, TOP: , A_WEB: ~, PWD: null } } }
",
    )
    .file("e", "FILE=x\n")
    .caller(&[("CALLER", "x"), ("STAYS", "x")]);
    for key in ["FILE", "TOP", "A_WEB", "CALLER", "PWD"] {
        assert_eq!(project.value(key), None, "{key}");
    }
    let unit = project.unit();
    let entries = unit.environment.entries();
    assert!(entries.iter().all(|(key, _)| *key != "CALLER"));
    assert!(entries.iter().any(|(key, _)| *key == "STAYS"));
}

#[test]
fn a_bare_key_takes_its_value_from_the_lookup_or_is_removed() {
    let project = Project::new(
        "env_file: e
environment: [FROM_CALLER, NOWHERE]
services: { a: { command: x, environment: [FROM_FILE, FROM_DOTENV, EMPTY, GONE] } }
",
    )
    .file("e", "FROM_FILE=file\nGONE\n")
    .file(".env", "FROM_DOTENV=dotenv\nNOWHERE\n")
    .caller(&[("FROM_CALLER", "caller"), ("EMPTY", "")]);
    for (key, expected) in [
        ("FROM_CALLER", Some("caller")),
        ("FROM_FILE", Some("file")),
        ("FROM_DOTENV", Some("dotenv")),
        ("EMPTY", Some("")),
        ("NOWHERE", None),
        ("GONE", None),
    ] {
        assert_eq!(project.value(key).as_deref(), expected, "{key}");
    }
}

#[test]
fn what_is_the_users_in_dotenv_is_for_the_file_and_not_for_the_services() {
    let project = Project::service("environment: { TAKEN: '${MINE}' }").file(".env", "MINE=x\n");
    assert_eq!(project.value("TAKEN").as_deref(), Some("x"));
    assert_eq!(project.value("MINE"), None);
}

#[test]
fn pwd_is_the_directory_in_which_the_service_starts() {
    let project = Project::service("working_dir: ./sub/../web/").caller(&[("PWD", "/elsewhere")]);
    let unit = project.unit();
    let expected = project.path("sub/../web");
    assert_eq!(unit.directory, expected);
    assert_eq!(value(&unit, "PWD").as_deref(), expected.to_str());
    let set = Project::service("environment: { PWD: mine }");
    assert_eq!(set.value("PWD").as_deref(), Some("mine"));
}

#[test]
fn env_files_override_each_other_in_order() {
    let project = Project::new(
        "env_file: [one, two]
services: { a: { command: x, env_file: [three, {path: gone, required: false}, four] } }
",
    )
    .file("one", "A=1\nB=1\nC=1\nD=1\n")
    .file("two", "B=2\nC=2\nD=2\n")
    .file("three", "C=3\nD=3\n")
    .file("four", "D=4\n");
    for (key, expected) in [("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")] {
        assert_eq!(project.value(key).as_deref(), Some(expected), "{key}");
    }
}

#[test]
fn the_block_that_stack_wrote_is_no_env_file() {
    let written = |user: &str| {
        let entries = [("A_PORT".to_owned(), "7777".to_owned())];
        crate::dotenv::fence::render(user.as_bytes(), &entries)
            .unwrap()
            .bytes
    };
    for (yaml, path) in [
        (
            "env_file: .env\nservices: { a: { command: 'x $<PORT:auto>' } }",
            ".env",
        ),
        (
            "services: { a: { command: 'x $<PORT:auto>', env_file: [./.env] } }",
            ".env",
        ),
        (
            "dotenv: false\nservices: { a: { command: 'x $<PORT:auto>', env_file: [.env] } }",
            ".env",
        ),
        (
            "dotenv: { path: .ports }\nservices: { a: { command: 'x $<PORT:auto>', env_file: .ports } }",
            ".ports",
        ),
        (
            "services: { a: { command: 'x $<PORT:auto>', env_file: .env.other } }",
            ".env.other",
        ),
    ] {
        let before = Project::new(yaml).file(path, "MINE=1\n");
        assert_eq!(before.value("MINE").as_deref(), Some("1"), "{yaml}");
        let fingerprint = before.good().fingerprint().to_owned();
        let after = before.file(path, written("MINE=1\n"));
        assert_eq!(after.value("A_PORT").as_deref(), Some("8000"), "{yaml}");
        assert_eq!(after.value("MINE").as_deref(), Some("1"), "{yaml}");
        assert_eq!(after.good().fingerprint(), fingerprint, "{yaml}");
    }
    // Another project's ports are what whoever names its file is after.
    let other = Project::service("env_file: ../shop/sub/.env").file("sub/.env", written(""));
    assert_eq!(other.value("A_PORT").as_deref(), Some("7777"));
}

#[test]
fn the_generated_file_may_be_an_env_file_before_it_is_there() {
    let yaml = |top: &str, file: &str| {
        format!("{top}\nservices: {{ a: {{ command: 'x $<PORT:auto>', env_file: {file} }} }}")
    };
    for (top, file, expected) in [
        ("", ".env", None),
        ("", "./.env", None),
        ("dotenv: { path: .ports }", ".ports", None),
        ("dotenv: { path: .ports }", ".env", Some(code::ENV_FILE)),
        ("dotenv: false", ".env", Some(code::ENV_FILE)),
        ("", ".env.local", Some(code::ENV_FILE)),
    ] {
        let codes = Project::new(&yaml(top, file)).codes();
        assert_eq!(codes, Vec::from_iter(expected), "{top} {file}");
    }
}

/// Keys that layers quarrel about. `A_WEB` is a generated one.
const KEYS: [&str; 5] = ["K0", "K1", "K2", "K3", "A_WEB"];

/// What a layer says about the keys: nothing, a value, or that it is removed.
type Layer = BTreeMap<usize, Option<u8>>;

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = prop::collection::btree_map(0..KEYS.len(), prop::option::of(0u8..9), 0..5);
    prop::collection::vec(layer, 6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_environment_is_that_of_a_naive_model(layers in layers()) {
        // The caller, a top-level file, the top level, `dotenv.vars`, a file, the service: a file
        // and the generated keys cannot remove one.
        let set = |layer: usize| -> Vec<(&str, Option<String>)> {
            layers[layer]
                .iter()
                .filter(|(key, _)| layer != 3 || KEYS[**key] != "A_WEB")
                .map(|(key, value)| (KEYS[*key], value.map(|v| format!("{layer}-{v}"))))
                .collect()
        };
        let values = |layer| set(layer).into_iter().filter_map(|(k, v)| Some((k, v?)));
        let map = |layer: usize, is_null: bool| {
            let lines: Vec<String> = set(layer)
                .into_iter()
                .filter(|(_, value)| is_null || value.is_some())
                .map(|(key, value)| format!("{key}: {}", value.unwrap_or("null".to_owned())))
                .collect();
            format!("{{{}}}", lines.join(", "))
        };
        let file = |layer| {
            let lines: Vec<String> = values(layer).map(|(k, v)| format!("{k}={v}\n")).collect();
            lines.concat()
        };
        let yaml = format!(
            "env_file: top\nenvironment: {}\ndotenv: {{vars: {}}}\nservices:\n  a:\n    command: \
             'x $<WEB:auto>'\n    env_file: own\n    environment: {}\n",
            map(2, true), map(3, false), map(5, true),
        );
        let caller: Vec<_> = values(0).collect();
        let caller: Vec<_> = caller.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let unit = Project::new(&yaml)
            .file("top", file(1))
            .file("own", file(4))
            .caller(&caller)
            .unit();
        let mut model: BTreeMap<&str, String> = BTreeMap::new();
        model.extend(values(0));
        model.extend(values(1));
        let apply = |model: &mut BTreeMap<&'static str, String>, layer: usize| {
            for (key, value) in layers[layer].iter().map(|(k, v)| (KEYS[*k], v)) {
                match value {
                    Some(value) => model.insert(key, format!("{layer}-{value}")),
                    None => model.remove(key),
                };
            }
        };
        let mut model: BTreeMap<&'static str, String> = model
            .into_iter()
            .map(|(key, value)| (*KEYS.iter().find(|k| **k == key).unwrap(), value))
            .collect();
        apply(&mut model, 2);
        model.insert("A_WEB", "8000".to_owned());
        let fixed = |layer| values(layer).map(|(k, v)| (*KEYS.iter().find(|x| **x == k).unwrap(), v));
        model.extend(fixed(3));
        model.extend(fixed(4));
        apply(&mut model, 5);
        for key in KEYS {
            prop_assert_eq!(value(&unit, key), model.get(key).cloned(), "{}\n{}", key, yaml);
        }
    }
}
