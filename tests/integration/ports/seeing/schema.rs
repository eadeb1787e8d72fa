//! The JSON forms are those that the guide documents.

use std::collections::BTreeSet;

use fs_err as fs;
use serde_json::Value;

use super::{TWO, list, who_json};
use crate::harness::TestStack;

/// The names in the first column of the table under a heading of the guide.
fn documented(heading: &str) -> BTreeSet<String> {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/ports.md");
    let text = fs::read_to_string(guide).expect("the guide is there");
    let (_, section) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no `{heading}` in the guide"));
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[track_caller]
fn keys(value: &Value) -> BTreeSet<String> {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().cloned().collect()
}

#[test]
fn the_documented_fields_are_those_that_are_printed() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let told = who_json(&stack, stack.port(8000));
    assert_eq!(
        keys(&list(&stack, &[])[0]),
        documented("### `stack ports --format json`")
    );
    assert_eq!(keys(&told["stacks"][0]), keys(&list(&stack, &[])[0]));
    assert_eq!(
        keys(&told),
        documented("### `stack ports who --format json`")
    );
    let socket = &told["sockets"][0];
    assert_eq!(keys(socket), documented("Each of `sockets`:"));
    assert_eq!(keys(&socket["process"]), documented("Its `process`:"));
    stack.down();
}
