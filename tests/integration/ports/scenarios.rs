//! The table of situations in `docs/design/ports.md` names tests that exist, for each number.

use crate::harness::{Row, assert_names_exist, numbered_rows_of};

#[test]
fn each_of_the_twenty_scenarios_has_tests_that_exist() {
    let rows = numbered_rows_of("ports.md");
    let numbers: Vec<_> = rows.iter().filter_map(Row::number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    for row in &rows {
        assert!(!row.names().is_empty(), "a row without a test: {row:?}");
    }
    assert_names_exist(&rows);
}
