//! The table of situations in `docs/design/ports.md` names tests that exist, for each number.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;

/// The text of every Rust file below `directory`.
fn source(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("it is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).expect("it is readable"));
        }
    }
}

#[test]
fn each_of_the_twenty_scenarios_has_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    source(&root.join("src"), &mut text);
    source(&root.join("tests"), &mut text);
    let note = fs::read_to_string(root.join("docs/design/ports.md")).expect("it is readable");
    let (_, table) = note
        .split_once("## Scenarios and their tests")
        .expect("the note has the table");
    let rows: BTreeMap<u32, &str> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1);
            let number = cells.next()?.trim().parse().ok()?;
            Some((number, cells.nth(1)?))
        })
        .collect();
    assert_eq!(
        rows.keys().copied().collect::<Vec<_>>(),
        (1..=20).collect::<Vec<_>>()
    );
    for (number, names) in rows {
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "scenario {number} has no test");
        for name in names {
            let is_there = text.contains(&format!("#[test]\nfn {name}()"));
            assert!(is_there, "scenario {number}: there is no test `{name}`");
        }
    }
}
