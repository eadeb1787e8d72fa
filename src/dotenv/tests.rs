//! What the parts of this room promise together, and what other readers make of it.

/// Says that a test needs something this machine lacks; a failure where skipping is not allowed.
pub(super) fn skip(what: &str) {
    assert!(
        std::env::var_os("STACK_TEST_REQUIRE").is_none_or(|value| value != "all"),
        "needs {what}"
    );
    println!("skipped: needs {what}");
}
