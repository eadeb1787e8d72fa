//! One file over another.

use super::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use crate::spec::model::{ProbeSpec, Setting};
use crate::support::name::ServiceName;

#[test]
fn a_later_command_or_entrypoint_or_test_replaces_the_earlier_one() {
    let service = web(
        "entrypoint: [a, b]\nhealthcheck: { test: [CMD, x, y], retries: 9, interval: 1s }",
        "entrypoint: [c]\nhealthcheck: { test: z, interval: 2s }",
    );
    assert!(matches!(&service.entrypoint, Some(CommandSpec::Words(words, _)) if words.len() == 1));
    let health = service.healthcheck.expect("it has one");
    assert!(
        matches!(&health.probe, ProbeSpec::Shell(line) if line.as_literal().as_deref() == Some("z"))
    );
    // What else it says is merged.
    assert!(matches!(&health.times.retries, Some(Setting::Known(it)) if it.value == 9));
    assert!(matches!(&health.times.interval, Some(Setting::Known(it)) if it.value.as_secs() == 2));
}

#[test]
fn another_way_to_ask_replaces_the_earlier_one() {
    let service = web(
        "healthcheck: { test: a, retries: 9 }",
        "healthcheck: { tcp: localhost:1 }",
    );
    let health = service.healthcheck.expect("it has one");
    assert!(matches!(health.probe, ProbeSpec::Tcp(_)));
    assert!(health.times.retries.is_some());
}

#[test]
fn lists_of_hooks_are_appended_and_the_words_of_one_are_replaced() {
    for (base, over, count) in [
        ("[{ command: a }]", "[{ command: b }, [c, d]]", 3),
        ("[{ command: a }, [c, d]]", "b", 3),
        ("[a, b]", "[c, d]", 1),
        ("[a, b]", "[{ command: c }]", 1),
        ("[{ command: a }, b]", "[c, d]", 1),
        ("{ command: a, timeout: 1s }", "{ timeout: 2s }", 1),
        ("a", "[[b], [c]]", 2),
    ] {
        let service = web(&format!("pre_stop: {base}"), &format!("pre_stop: {over}"));
        assert_eq!(service.hooks.len(), count, "{base} and {over}");
        assert!(service.hooks.iter().all(|hook| hook.command.is_some()));
    }
}

#[test]
fn environments_merge_by_key_whatever_their_form() {
    for (base, over) in [
        ("{ A: 1, B: 2 }", "{ B: 3, C: 4 }"),
        ("[A=1, B=2]", "[B=3, C=4]"),
        ("{ A: 1, B: 2 }", "[B=3, C=4]"),
        ("[A=1, B=2]", "{ B: 3, C: 4 }"),
    ] {
        let service = web(
            &format!("environment: {base}"),
            &format!("environment: {over}"),
        );
        assert_eq!(
            environment(&service),
            ["A=1", "B=3", "C=4"],
            "{base} {over}"
        );
    }
    let three = ["{ A: 1, B: 2, C: 3 }", "[B=4]", "{ C: 5 }"]
        .map(|it| format!("services: {{ web: {{ command: x, environment: {it} }} }}"));
    let mut spec = good_files(&[&three[0], &three[1], &three[2]], &[]);
    let service = spec.services.swap_remove("web").unwrap();
    assert_eq!(environment(&service), ["A=1", "B=4", "C=5"]);
}

#[test]
fn nothing_in_an_environment_counts_as_in_one_file() {
    // In a map nothing removes the key, alone in a list it is the caller's.
    let service = web(
        "environment: { A: 1, SET: 2, B: 3 }",
        "environment: { A: null }",
    );
    assert_eq!(environment(&service), ["A!", "SET=2", "B=3"]);
    let service = web("environment: { A: 1, SET: 2 }", "environment: [A, SET]");
    assert_eq!(environment(&service), ["A!", "SET=value"]);
    // No entry is not the same as no map.
    for over in ["environment:", "environment: {}", "environment: []"] {
        let service = web("environment: { A: 1 }", over);
        assert_eq!(environment(&service), ["A=1"], "{over}");
    }
}

#[test]
fn labels_merge_by_key_whatever_their_form() {
    let service = web("labels: { a: 1, b: 2 }", "labels: [b=3]");
    let labels: Vec<_> = service
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_literal().unwrap()))
        .collect();
    assert_eq!(labels, ["a=1", "b=3"]);
}

#[test]
fn nothing_over_a_value_leaves_it_except_a_command() {
    let service = web(
        "working_dir: a\nrestart: always\nhealthcheck: { test: t }\nlogging: { max-file: 3 }",
        "working_dir:\nrestart:\nhealthcheck:\nlogging:",
    );
    assert_eq!(
        service
            .working_dir
            .and_then(|it| it.as_literal())
            .as_deref(),
        Some("a")
    );
    assert!(service.restart.is_some() && service.healthcheck.is_some());
    assert!(service.logging.max_file.is_some());
    let over = "services: { web: { command: null, entrypoint: [x] } }";
    let spec = good_files(&["services: { web: { command: run } }", over], &[]);
    assert_eq!(words(&spec.services["web"]), "none");
}

#[test]
fn a_list_over_nothing_or_a_text_replaces_it() {
    let service = web("env_file:\nlabels:", "env_file: [a]\nlabels: [b=c]");
    assert_eq!(service.labels.len(), 1);
}

#[test]
fn env_files_are_appended_and_each_is_read_once() {
    let paths = |service: &ServiceSpec| -> Vec<String> {
        let files = service.env_file.iter();
        files
            .filter_map(|file| {
                Some(format!(
                    "{}{}",
                    file.path.as_literal()?,
                    if file.is_required { "" } else { "?" }
                ))
            })
            .collect()
    };
    for (base, over, wanted) in [
        ("[a, b]", "[c]", "a b c"),
        ("a", "b", "a b"),
        ("a", "[b]", "a b"),
        ("[a]", "b", "a b"),
        ("[a, b]", "[a]", "a b"),
        ("[a, b]", "{ path: a, required: false }", "a? b"),
        ("[a, b]", "[{ path: a, required: false }, c]", "a? b c"),
    ] {
        let service = web(&format!("env_file: {base}"), &format!("env_file: {over}"));
        assert_eq!(paths(&service).join(" "), wanted, "{base} {over}");
    }
    let twice = good("services: { web: { command: x, env_file: [a, b, a] } }");
    assert_eq!(paths(&twice.services["web"]), ["a", "b"]);
}

#[test]
fn a_list_of_dependencies_becomes_a_map() {
    use crate::spec::model::Condition::{Healthy, Started};
    let both = |base: &str, over: &str| {
        let file = |it: &str| {
            format!(
                "services: {{ web: {{ command: x, depends_on: {it} }}, a: {{ command: x, healthcheck: {{ test: t }} }}, b: {{ command: x }} }}"
            )
        };
        let spec = good_files(&[&file(base), &file(over)], &[]);
        let edges = spec.services["web"].depends_on.iter();
        edges
            .map(|(name, edge)| {
                (
                    name.to_string(),
                    edge.condition,
                    edge.is_required,
                    edge.restart,
                )
            })
            .collect::<Vec<_>>()
    };
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let healthy = "{ a: { condition: service_healthy, required: false, restart: true } }";
    assert_eq!(
        both("[a]", "[b]"),
        [
            (a.clone(), Started, true, false),
            (b.clone(), Started, true, false)
        ]
    );
    assert_eq!(
        both("[b]", healthy),
        [
            (b.clone(), Started, true, false),
            (a.clone(), Healthy, false, true)
        ]
    );
    // The short form says a condition, and that it is required; of a restart it says nothing.
    assert_eq!(
        both(healthy, "[a, b]"),
        [(a.clone(), Started, true, true), (b, Started, true, false)]
    );
    assert_eq!(both("[a]", healthy), [(a.clone(), Healthy, false, true)]);
    // The long form needs no condition where an earlier file has one.
    assert_eq!(
        both("[a]", "{ a: { restart: true } }"),
        [(a.clone(), Started, true, true)]
    );
    assert_eq!(
        both(healthy, "{ a: { required: true } }"),
        [(a, Healthy, true, true)]
    );
}

#[test]
fn logging_merges_unless_the_driver_is_another() {
    let size = |base: &str, over: &str| {
        let service = web(&format!("logging: {base}"), &format!("logging: {over}"));
        (
            service.logging.max_size.is_some(),
            service.logging.max_file.is_some(),
        )
    };
    assert_eq!(size("{ max-size: 1m }", "{ max-file: 2 }"), (true, true));
    assert_eq!(
        size(
            "{ driver: local, options: { max-size: 1m } }",
            "{ options: { max-file: '2' } }"
        ),
        (true, true)
    );
    assert_eq!(
        size(
            "{ driver: local, options: { max-size: 1m } }",
            "{ driver: json-file, options: { max-file: '2' } }"
        ),
        (false, true)
    );
}

#[test]
fn the_top_level_merges_too() {
    let base = "name: a\nports: { range: 8000-8009, exclude: [8001] }\nshell: [a, b]\nenvironment: { A: 1 }\ndotenv: { path: x, vars: { A: 1 } }\nenv_file: [one]\nservices: { web: { command: x } }";
    let over = "name: b\nports: { range: 9000-9009, exclude: [9001] }\nshell: [c]\nenvironment: [B=2]\ndotenv: { vars: { B: 2 } }\nenv_file: two\nservices: { api: { command: y } }";
    let spec = good_files(&[base, over], &[]);
    assert_eq!(spec.name.map(|name| name.to_string()).as_deref(), Some("b"));
    assert_eq!(
        (spec.ports.ranges.len(), spec.ports.ranges[0].start()),
        (1, 9000)
    );
    assert_eq!(spec.ports.exclude.len(), 2);
    assert_eq!(spec.shell.as_deref(), Some(&["c".to_owned()][..]));
    assert_eq!(spec.environment.len(), 2);
    let dotenv = spec.dotenv.expect("there is one");
    assert_eq!((dotenv.path.as_str(), dotenv.vars.len()), ("x", 2));
    assert_eq!(spec.env_file.len(), 2);
    let names: Vec<_> = spec.services.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["web", "api"]);
    let spec = good_files(&[base, "dotenv: false"], &[]);
    assert!(spec.dotenv.is_none());
}

#[test]
fn reset_takes_away_and_override_takes_the_place() {
    let service = web(
        "environment: { A: 1, B: 2 }\nlabels: [a=1]\nenv_file: [a]\nhealthcheck: { test: t }",
        "environment: !override { C: 3 }\nlabels: !reset []\nenv_file: !override [b]\nhealthcheck: !reset null",
    );
    assert_eq!(environment(&service), ["C=3"]);
    assert!(service.labels.is_empty() && service.healthcheck.is_none());
    assert_eq!(service.env_file.len(), 1);
    // Deeper down, and whatever value stands there.
    let service = web(
        "environment: { A: 1, B: 2 }",
        "environment: { A: !reset x }",
    );
    assert_eq!(environment(&service), ["B=2"]);
    // In one file alone the tags mean the same.
    let spec = good(
        "services: { web: { command: x, labels: !reset { a: b }, environment: !override { A: 1 } }, api: !reset null }",
    );
    assert_eq!(spec.services.len(), 1);
    assert_eq!(spec.services["web"].labels.len(), 0);
    assert_eq!(environment(&spec.services["web"]), ["A=1"]);
    // A whole service, and one of three files.
    let base = "services: { web: { command: x }, api: { command: y } }";
    let spec = good_files(&[base, "services: { api: !reset null }"], &[]);
    assert_eq!(spec.services.len(), 1);
    let spec = good_files(
        &[
            base,
            "services: { api: !reset null }",
            "services: { api: { command: z } }",
        ],
        &[],
    );
    assert_eq!(words(&spec.services["api"]), "z");
}

#[test]
fn every_problem_stands_in_its_own_file() {
    let base = "services:\n  web:\n    command: x\n    restart: sometimes\n    labels: [1, 2]\n";
    let over = "services:\n  web:\n    colour: red\n    environment: { 1A: x }\n";
    let found = places(&[base, over], &[]);
    let found: Vec<_> = found
        .iter()
        .map(|(code, place)| (code.rsplit("::").next().unwrap(), place.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("bad_value", "stack.yaml:4:14"),
            ("unknown_key", "1.yaml:3:5"),
            ("bad_key", "1.yaml:4:20"),
        ]
    );
}

#[test]
fn an_empty_later_file_changes_nothing_and_a_broken_one_is_reported() {
    let base = "services: { web: { command: x } }";
    assert_eq!(good_files(&[base, "# nothing\n"], &[]).services.len(), 1);
    assert_eq!(good_files(&["", base], &[]).services.len(), 1);
    let loaded = load_files(&[base, "services: ["], &[]);
    assert!(loaded.spec.is_none());
    assert_eq!(loaded.problems.len(), 1);
}

#[test]
fn a_required_variable_is_asked_for_also_where_a_later_file_replaces_the_value() {
    let over = "services: { web: { environment: { A: fixed }, command: [y] } }";
    let code = crate::spec::code::REQUIRED_VARIABLE;
    for base in [
        "services: { web: { command: [x], environment: { A: '${UNSET:?is needed}' } } }",
        "services: { web: { command: [x, '${UNSET?}'] } }",
        "services: { web: { command: [x], environment: !reset { A: '${UNSET?}' } } }",
    ] {
        let found = places(&[base, over], &[]);
        assert_eq!(found.len(), 1, "{base} {found:?}");
        assert_eq!(found[0].0, code);
    }
    // What a shell reads is the shell's, and keys of one's own are one's own.
    let shell = "x-a: '${UNSET?}'\nservices: { web: { command: 'a ${UNSET?}', healthcheck: { test: '${UNSET?}' } } }";
    good_files(&[shell, over], &[]);
}

/// The environments of up to five files, each a map or a list; a key of nothing is removed.
fn environments() -> impl Strategy<Value = Vec<(bool, BTreeMap<String, Option<u8>>)>> {
    let one = (
        any::<bool>(),
        prop::collection::btree_map("[A-E]", any::<Option<u8>>(), 0..5),
    );
    prop::collection::vec(one, 1..5)
}

proptest! {
    #[test]
    fn of_every_key_the_last_file_counts_whatever_the_forms_are(files in environments()) {
        let text = |(is_list, entries): &(bool, BTreeMap<String, Option<u8>>)| {
            let entries = entries.iter().map(|(key, value)| match (is_list, value) {
                (true, Some(value)) => format!("{key}={value}"),
                (true, None) => key.clone(),
                (false, Some(value)) => format!("{key}: {value}"),
                (false, None) => format!("{key}: null"),
            });
            let entries = entries.collect::<Vec<_>>().join(", ");
            let list = if *is_list { format!("[{entries}]") } else { format!("{{ {entries} }}") };
            format!("services: {{ web: {{ command: x, environment: {list} }} }}")
        };
        let texts: Vec<String> = files.iter().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut wanted = BTreeMap::new();
        for (_, entries) in &files {
            wanted.extend(entries.clone());
        }
        let wanted: Vec<String> = wanted
            .into_iter()
            .map(|(key, value)| value.map_or(format!("{key}!"), |value| format!("{key}={value}")))
            .collect();
        let spec = good_files(&texts, &[]);
        let mut settled = environment(&spec.services["web"]);
        settled.sort();
        prop_assert_eq!(&settled, &wanted);
        // The same as a chain of services of which each extends the one before.
        let mut chain = "services:\n".to_owned();
        for (number, (is_list, entries)) in files.iter().enumerate() {
            let one = text(&(*is_list, entries.clone()));
            let keys = &one["services: { web: { ".len()..one.len() - " } }".len()];
            let extends = number.checked_sub(1).map(|before| format!(", extends: s{before}"));
            let extends = extends.unwrap_or_default();
            writeln!(chain, "  s{number}: {{ {keys}{extends} }}").unwrap();
        }
        let spec = good(&chain);
        let mut settled = environment(&spec.services.last().expect("there is one").1.clone());
        settled.sort();
        prop_assert_eq!(settled, wanted);
    }
}

#[test]
fn what_an_earlier_file_takes_away_a_later_one_may_write() {
    let first = "services: { web: { command: x, environment: !reset {}, labels: !reset [], profiles: !reset [] } }";
    let second = "services: { web: { environment: { A: 1 }, labels: { l: v } } }";
    let spec = good_files(&[first, second], &[]);
    let service = &spec.services["web"];
    assert_eq!(environment(service), ["A=1"]);
    assert_eq!(service.labels.len(), 1);
    // Also where what was before is in a third.
    let base = "services: { web: { command: x, environment: { B: 2 } } }";
    let spec = good_files(&[base, first, second], &[]);
    assert_eq!(environment(&spec.services["web"]), ["A=1"]);
}

#[test]
fn one_entry_of_a_list_is_taken_away_by_its_key() {
    let base = "
services:
  web: { command: x, environment: [A=1, B=2, C], labels: [a=1, b=2], depends_on: [db, api] }
  db: { command: x }
  api: { command: x }
";
    let over = "services: { web: { environment: { A: !reset null, C: !reset null }, labels: { b: !reset null }, depends_on: { db: !reset null } } }";
    let more = "services: { web: { environment: [D=4] } }";
    let spec = good_files(&[base, over, more], &[]);
    let service = &spec.services["web"];
    assert_eq!(environment(service), ["B=2", "D=4"]);
    assert_eq!(service.labels.keys().collect::<Vec<_>>(), ["a"]);
    let names: Vec<&str> = service.depends_on.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["api"]);
}
