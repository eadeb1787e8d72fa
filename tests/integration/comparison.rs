//! The comparison with other runners, `benches/peers`: what README and docs say of it is what was
//! measured, and what was measured of `stack` holds for the binary of today.
//!
//! `STACK_UPDATE_GENERATED=1 cargo test --test integration generated` writes the documents anew from
//! `docs/comparison.json`; `benches/peers/run.py` measures.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

use crate::harness::{binary, require};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the script, and says what it printed; it must succeed.
#[track_caller]
fn run_script(arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .arg(root().join("benches/peers/run.py"))
        .args(arguments)
        .output()
        .expect("python3 runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// No process of `stack`'s services is left, none runs twice, and nothing needs a hand.
#[track_caller]
fn assert_stack_leaves_nothing(path: &Path) {
    let text = fs::read_to_string(path).expect("there are results");
    let results: Value = serde_json::from_str(&text).expect("they are JSON");
    let rows = results["faults"].as_array().expect("there are faults");
    let mut parts = Vec::new();
    for row in rows.iter().filter(|row| row["runner"] == "stack") {
        let rounds = row["found"].as_array().expect("there are rounds");
        assert!(!rounds.is_empty(), "nothing was found out: {results:#}");
        for (key, count) in rounds
            .iter()
            .flat_map(|round| round.as_object().expect("counts"))
        {
            assert!(*count == 0, "{key}: {row}");
        }
        parts.push(row["part"].as_str().unwrap_or("polite stop"));
    }
    parts.sort_unstable();
    assert_eq!(
        parts,
        [
            "client",
            "guardian",
            "polite stop",
            "supervisor",
            "supervisor and guardian"
        ]
    );
}

#[test]
fn the_generated_comparison_is_what_was_measured() {
    if !require("python3") {
        return;
    }
    if std::env::var_os("STACK_UPDATE_GENERATED").is_some() {
        run_script(&["--render"]);
    } else {
        run_script(&["--render", "--check"]);
    }
    assert_stack_leaves_nothing(&root().join("docs/comparison.json"));
}

#[test]
fn the_readme_names_the_versions_that_were_measured() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("it is there");
    let results: Value = serde_json::from_str(&read("docs/comparison.json")).expect("it is JSON");
    let readme = read("README.md");
    for (runner, called) in [
        ("process-compose", "process-compose "),
        ("docker compose", "Docker Compose "),
    ] {
        let measured = &results["runners"][runner]["version"];
        let measured = measured.as_str().expect("it was measured");
        let named = readme.split(called).filter_map(|rest| {
            let version = rest.split([' ', '|', ',']).next()?;
            version
                .starts_with(|it: char| it.is_ascii_digit())
                .then_some(version)
        });
        let named: Vec<&str> = named.collect();
        assert_eq!(named.len(), 1, "{named:?}");
        assert!(measured.starts_with(named[0]), "{named:?}, {measured}");
    }
}

/// What was measured, with `stack`'s faults measured again, once: the rest stays as it was.
#[track_caller]
fn assert_only_stack_is_new(merged: &Path) {
    let read = |path: &Path| -> Value {
        let text = fs::read_to_string(path).expect("there are results");
        serde_json::from_str(&text).expect("they are JSON")
    };
    let (old, new) = (read(&root().join("docs/comparison.json")), read(merged));
    let split = |results: &Value| -> (Vec<Value>, Vec<Value>) {
        let rows = results["faults"].as_array().expect("there are faults");
        rows.iter()
            .cloned()
            .partition(|row| row["runner"] == "stack")
    };
    let ((_, old_rest), (stack, new_rest)) = (split(&old), split(&new));
    assert_eq!(old_rest, new_rest);
    assert_eq!(old["speed"], new["speed"]);
    assert_eq!(old["date"], new["date"]);
    for row in stack {
        assert_eq!(row["found"].as_array().map(Vec::len), Some(1), "{row}");
    }
}

#[test]
fn the_comparison_finds_nothing_that_stack_leaves() {
    if !require("python3") || !require("cc") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory for the results");
    let results = directory.path().join("results.json");
    let results_text = results.to_str().expect("its path is text");
    let stack = binary();
    let stack = stack.to_str().expect("its path is text");
    run_script(&[
        "--quick",
        "--only",
        "stack",
        "--stack",
        stack,
        "--merge",
        "--json",
        results_text,
    ]);
    assert_stack_leaves_nothing(&results);
    assert_only_stack_is_new(&results);
}
