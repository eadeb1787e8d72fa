//! Every key of the Compose schema has a verdict for a process, and none is ignored without a word.
//!
//! `tests/fixtures/compose/keys.txt` lists the keys of the public schema, each with one of these:
//! `same`, `adapted` (it means something else or less, which its documentation says), `later` (not built
//! yet), `refused` (with the way out).

use std::fmt::Write;

use crate::spec::code;
use crate::spec::testing::load_text;

const FIXTURE: &str = include_str!("../../../tests/fixtures/compose/keys.txt");

/// Maps that stand in a list.
const LISTED: [&str; 10] = [
    "include",
    "watch",
    "env_file",
    "configs",
    "secrets",
    "ports",
    "post_start",
    "pre_stop",
    "devices",
    "volumes",
];

/// A file in which the last part of a path stands, and all that lead to it.
fn yaml(path: &[&str]) -> String {
    let mut text = "1".to_owned();
    for index in (0..path.len()).rev() {
        let above = index.checked_sub(1).map(|above| path[above]);
        let name = match (path[index], above) {
            ("NAME", Some("services")) => "a",
            ("NAME", Some("ulimits")) => "nofile",
            (name, _) => name,
        };
        let is_command = name == "command" && above == Some("NAME");
        let beside = match (index, path[0]) {
            (0, "services") => "",
            (0, _) => ", services: { a: { command: x } }",
            (2, "services") if !is_command => ", command: x",
            (_, _) => "",
        };
        let is_listed = above.is_some_and(|above| LISTED.contains(&above)) && name != "NAME";
        text = format!("{{ {name}: {text}{beside} }}");
        if is_listed {
            text = format!("[{text}]");
        }
    }
    text
}

/// What the loader says of the keys of a path: nothing, or of the first that does not work.
fn verdict(path: &[&str]) -> Option<(&'static str, String)> {
    let text = yaml(path);
    let problems = load_text(text.as_str()).problems;
    let told = problems.iter().find(|problem| {
        let spans = problem.labels.iter().map(|label| label.span.text());
        let mut spans = spans.take(1);
        let is_of_key = spans.any(|span| path.contains(&span));
        let codes = [
            code::UNKNOWN_KEY,
            code::NOT_SUPPORTED_YET,
            code::NEEDS_CONTAINER,
        ];
        is_of_key && codes.contains(&problem.code)
    })?;
    Some((told.code, told.hint.clone().unwrap_or_default()))
}

#[test]
fn every_key_of_the_compose_schema_has_a_verdict_for_a_process() {
    let mut wrong = String::new();
    let mut count = 0;
    for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
        count += 1;
        let (key, wanted) = line.split_once(' ').expect("a key and its verdict");
        let path: Vec<&str> = key.split('.').collect();
        let found = verdict(&path);
        let found = match &found {
            None => "works",
            Some((code::NEEDS_CONTAINER, hint)) if !hint.is_empty() => "refused",
            Some((code::NOT_SUPPORTED_YET, hint)) if !hint.is_empty() => "later",
            Some(_) => "unknown",
        };
        let is_right = match wanted {
            "same" | "adapted" => found == "works",
            wanted => found == wanted,
        };
        // That a key works means that its map is read at all, in which another one is not known.
        let mut other = path.clone();
        other.pop();
        other.push("zzzz");
        let is_read =
            other.len() == 1 || verdict(&other).is_some_and(|(code, _)| code == code::UNKNOWN_KEY);
        let is_right = is_right && (found != "works" || is_read);
        if !is_right {
            writeln!(wrong, "{key}: the list says {wanted}, and it is {found}").unwrap();
        }
    }
    assert!(count > 300, "keys are missing: {count}");
    assert!(wrong.is_empty(), "{wrong}");
}
