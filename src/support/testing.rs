//! A process of its own for a test that a fork beside it would disturb.
//!
//! The tests of a room share one process, and some of them start programs. From such a fork to its
//! exec the child has a copy of every descriptor, also of those that are closed on exec: a pipe
//! whose last writer was dropped has a writer after all, a socket without a listener still takes
//! clients, a lock that was given back is still held, and a program that was just written is "text
//! file busy". A test that needs one of these to be gone *at once* runs alone.

use std::process::Command;

/// Set in a test process that runs a single test.
const ALONE: &str = "STACK_TEST_ALONE";

/// Runs `body`, a closure of a test, in a process where no other test runs.
pub(crate) fn alone<F: FnOnce()>(body: F) {
    if is_alone() {
        body();
    } else {
        again_alone(test_of::<F>());
    }
}

/// The same for an `async` block, in a runtime like that of `#[tokio::test]`.
pub(crate) fn alone_async<F: Future<Output = ()>>(body: F) {
    if is_alone() {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(body);
    } else {
        again_alone(test_of::<F>());
    }
}

fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

fn again_alone(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    // A name that no test has would be a success of nothing.
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}");
}

/// The name of the test in which a closure or an `async` block stands:
/// `stack::ports::tests::it_works::{{closure}}` is in `ports::tests::it_works`.
pub(crate) fn test_of<F>() -> &'static str {
    let inner = std::any::type_name::<F>();
    let (path, _) = inner.split_once("::{{closure}}").unwrap();
    path.strip_prefix("stack::").unwrap()
}
