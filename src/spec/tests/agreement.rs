//! Our reader against the YAML test suite and against another reader.

use std::path::Path;

use serde_yaml_value::{Value, same};

use super::{source, tree_codes};
use crate::spec::code;

use crate::support::yaml;

/// Inputs that are good YAML and still refused, each because the product says so.
const REFUSED_BY_US: [(&str, &str); 1] = [("J7PZ", code::UNKNOWN_TAG)];

#[test]
fn the_yaml_test_suite_is_accepted_and_refused_as_it_says() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/yaml-test-suite");
    if !suite.is_dir() {
        let is_required = std::env::var("STACK_TEST_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!is_required, "the corpus is required and not there");
        println!("skipped: needs the corpus");
        return;
    }
    let expected = fs_err::read_to_string(suite.join("EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();
    let cases = expected.lines().filter(|line| !line.starts_with('#'));
    for case in cases {
        let mut columns = case.split('\t');
        let (Some(id), Some(must)) = (columns.next(), columns.next()) else {
            continue;
        };
        let text = fs_err::read_to_string(suite.join(format!("{id}.yaml"))).unwrap();
        let codes = tree_codes(&text);
        let by_us = REFUSED_BY_US.iter().find(|(refused, _)| *refused == id);
        let is_right = match (must, by_us) {
            (_, Some((_, code))) => codes == [*code],
            ("accept", None) => codes.is_empty(),
            (_, None) => !codes.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{case}: {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Texts on which every reader should agree, with structure, styles, folding and aliases.
const COMMON: [&str; 12] = [
    "a: b\nc: [d, e, {f: g}]\n",
    "a: |\n  x\n   y\n\n  z\nb: >\n  x\n  y\n\n  z\n",
    "a: |-\n  x\nb: |+\n  x\n\nc: >2-\n    x\n   y\n",
    "a: 'it''s'\nb: \"t\\tn\\n\\u00e9 \\x41\"\n",
    "a: &x {k: v}\nb: *x\nc: [*x, *x]\n",
    "a: one\n  two\n\n  three\nb: \"x\n  y\"\n",
    "? complex\n: value\nplain: x#y:z\n",
    "- a\n-\n  - b\n  - c\n- {d: e}\n",
    "\"quoted key\": x\n'single': y\n",
    "é: 日本\n\"🦀\": \"\\U0001F980\"\n",
    "a: # comment\n  b # more\nc:   d   \n",
    "%YAML 1.2\n---\na: b\n...\n",
];

#[test]
fn another_reader_sees_the_same_texts_and_structure() {
    for text in COMMON {
        let theirs = yaml::from_str(text).unwrap();
        let source = source(text);
        let mut problems = Vec::new();
        let ours = crate::spec::load::tree(&source, &mut problems)
            .unwrap()
            .unwrap();
        assert!(same(&ours, &theirs), "{text}\n{ours:#?}\n{theirs:#?}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_another_writer_writes_is_read_back(
        map in proptest::collection::btree_map(".{0,12}", ".{0,40}", 0..6)
    ) {
        let text = yaml::to_string(&map).unwrap();
        proptest::prop_assume!(!text.contains('\0') && !map.values().any(|v| v.contains('\0')));
        // The other one writes it without quotes, and here it is the key that merges.
        proptest::prop_assume!(!map.contains_key("<<"));
        let source = source(&text);
        let mut problems = Vec::new();
        let tree = crate::spec::load::tree(&source, &mut problems);
        // The two parsers differ on which rare characters must be escaped; ours may refuse one.
        if let Ok(Some(tree)) = tree {
            let theirs: Value = yaml::from_str(&text).unwrap();
            proptest::prop_assert!(same(&tree, &theirs), "{text:?}");
        }
    }
}

/// Comparing the two trees.
mod serde_yaml_value {
    use crate::spec::tree::{Kind, Node};
    use crate::support::yaml;

    pub(super) use yaml::Value;

    pub(super) fn same(ours: &Node<'_>, theirs: &Value) -> bool {
        match (&ours.kind, theirs) {
            (Kind::Scalar { text, .. }, Value::String(other)) => text.as_ref() == other,
            (Kind::Scalar { .. }, Value::Null) => ours.is_null(),
            (Kind::Scalar { text, .. }, Value::Bool(other)) => **text == other.to_string(),
            // A number keeps its source text with us; theirs is only its value.
            (Kind::Scalar { .. }, Value::Number(_)) => true,
            (Kind::Sequence(items), Value::Sequence(others)) => {
                items.len() == others.len()
                    && items
                        .iter()
                        .zip(others)
                        .all(|(ours, theirs)| same(ours, theirs))
            }
            (Kind::Mapping(entries), Value::Mapping(others)) => {
                entries.len() == others.len()
                    && entries.iter().zip(others).all(|(entry, (key, value))| {
                        same(&entry.key, key) && same(&entry.value, value)
                    })
            }
            _ => false,
        }
    }
}
