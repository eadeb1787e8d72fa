//! Tables in design notes that name the tests which hold `stack` to them.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

/// A line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    cells: Vec<String>,
}

impl Row {
    /// The number in its first cell.
    pub(crate) fn number(&self) -> Option<u32> {
        self.cells.first()?.parse().ok()
    }

    /// Its last cell, which is about tests.
    pub(crate) fn tests(&self) -> &str {
        self.cells.last().map_or("", String::as_str)
    }

    /// What is named in that cell.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.tests().split('`').skip(1).step_by(2).collect()
    }
}

/// The rows of all tables of a note, without their headings.
#[track_caller]
pub(crate) fn rows_of(note: &str) -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/design").join(note)).expect("it is there");
    rows_in(&text)
}

/// The numbered rows of a note, whose other tables have no numbers.
#[track_caller]
pub(crate) fn numbered_rows_of(note: &str) -> Vec<Row> {
    let mut rows = rows_of(note);
    rows.retain(|row| row.number().is_some());
    rows
}

fn rows_in(text: &str) -> Vec<Row> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|-");
    let rows = lines.iter().enumerate().filter(|(at, line)| {
        let is_heading = lines.get(at + 1).is_some_and(|next| is_rule(next));
        line.starts_with('|') && !is_rule(line) && !is_heading
    });
    rows.map(|(_, line)| Row {
        cells: line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect(),
    })
    .collect()
}

/// Checks that whatever is named is a test of this project, or, with a slash, a file or directory.
#[track_caller]
pub(crate) fn assert_names_exist(rows: &[Row]) {
    let tests = tests();
    assert!(tests.len() > 500, "the tests are not where they were");
    let missing: Vec<String> = rows
        .iter()
        .flat_map(|row| row.names().into_iter().map(move |name| (row, name)))
        .filter(|(_, name)| {
            let is_there = if name.contains('/') {
                root().join(name).exists()
            } else {
                tests.contains(*name)
            };
            !is_there
        })
        .map(|(row, name)| format!("`{name}` of row {}", row.cells[0]))
        .collect();
    assert!(missing.is_empty(), "not there: {}", missing.join(", "));
}

/// The names of all tests of this project.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests"] {
        collect(&root().join(directory), &mut tests);
    }
    tests
}

fn collect(directory: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("it is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_in(&fs::read_to_string(&path).expect("it is readable"), tests);
        }
    }
}

/// Every function behind `#[test]` or its like that is not left out of a run.
fn tests_in(source: &str, tests: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some(function) = line
            .strip_prefix("fn ")
            .or_else(|| line.strip_prefix("async fn "))
        {
            if is_test {
                tests.extend(function.split_once('(').map(|(name, _)| name.to_owned()));
            }
            is_test = false;
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn tables_and_tests_are_read_as_they_are_written() {
    let note = "| # | what | tests |\n|---|---|---|\n| 1 | x | `a` `b` |\n| 3 | y | open |\ntext | no row |\n";
    let rows = rows_in(note);
    let read: Vec<_> = rows.iter().map(|row| (row.number(), row.names())).collect();
    assert_eq!(read, [(Some(1), vec!["a", "b"]), (Some(3), vec![])]);
    let source = "#[test]\nfn one() {}\nfn no_test() {}\n    #[tokio::test(start_paused = true)]\n    async fn \
                  two() {}\n#[test]\n#[ignore = \"a part\"]\nfn part() {}\n#[test]\nfn three(\n    x: u8,\n) {}\n";
    let mut tests = BTreeSet::new();
    tests_in(source, &mut tests);
    assert_eq!(Vec::from_iter(tests), ["one", "three", "two"]);
}
