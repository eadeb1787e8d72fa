//! `docs/design/hazards.md` and `docs/design/threats.md` name tests that exist, and leave out nothing.

use crate::harness::{Row, assert_names_exist, numbered_rows_of, rows_of};

/// Checks that a row names a test, or says that none shows it.
#[track_caller]
fn assert_all_are_shown(rows: &[Row]) {
    for row in rows {
        let is_open = row.tests().contains("open: ");
        assert!(
            is_open || !row.names().is_empty(),
            "neither a test nor `open: …`: {row:?}"
        );
    }
    assert_names_exist(rows);
}

#[test]
fn each_of_the_seventy_hazards_has_tests_that_exist_or_says_what_is_missing() {
    let rows = numbered_rows_of("hazards.md");
    let mut numbers: Vec<_> = rows.iter().filter_map(Row::number).collect();
    // They are listed by subject.
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=70).collect::<Vec<_>>());
    assert_all_are_shown(&rows);
}

#[test]
fn each_threat_has_tests_that_exist() {
    let rows = rows_of("threats.md");
    assert!(rows.len() > 20, "the tables are not where they were");
    assert_all_are_shown(&rows);
}
