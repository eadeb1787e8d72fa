//! The demonstration's binary as such. That there is a test of it also makes `cargo test` build it
//! for the end-to-end tests, which run it in a stack.

use std::process::Command;

#[test]
fn without_a_service_it_says_how_it_is_used() {
    let output = Command::new(env!("CARGO_BIN_EXE_stack-demo"))
        .output()
        .expect("cargo has built it");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stack-demo <backend|ui|admin>"), "{said}");
}
