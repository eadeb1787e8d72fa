//! What the end-to-end tests stand on.
//!
//! - [`TestStack`]: a project; write its `stack.yaml`, run `stack` in it, look at what happened.
//! - [`World`]: what copies of a project share: network, state directory, and the mark by which
//!   leftovers are found when it ends.
//! - [`Up`]: a foreground `stack up`, or any other program that runs beside the test.
//! - [`service::Service`]: a row of `stack ps --format json`.
//!
//! ```ignore
//! let stack = TestStack::new("services: { api: { command: MISBEHAVE bind $<PORT:auto> --http } }");
//! stack.up_detached();
//! assert_eq!(stack.port_of("api"), stack.port(8000));
//! stack.down();
//! ```
//!
//! In the text of a `stack.yaml`, `MISBEHAVE` is the path of the program that misbehaves, and
//! `P8000` is port 8000 of the test's own world.

mod network;
mod notes;
mod output;
mod processes;
mod program;
mod project;
mod service;
mod sockets;
mod terminal;
mod waiting;
mod world;

pub(crate) use notes::{Row, assert_names_exist, numbered_rows_of, rows_of};
pub(crate) use output::Output;
pub(crate) use processes::Process;
pub(crate) use program::{Up, binary, misbehave};
pub(crate) use project::TestStack;
pub(crate) use service::{Service, phase_is};
pub(crate) use sockets::Occupied;
pub(crate) use terminal::{CTRL_C, CTRL_Z, Terminal, up_as_a_job};
pub(crate) use waiting::{LIMIT, wait_until};
pub(crate) use world::World;

/// Whether `program` is there. Where it is not, the test says so and is over, unless
/// `STACK_TEST_REQUIRE=all`, under which a skip is a failure.
pub(crate) fn require(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    is_there || lacks(program)
}

/// Says that the test is over since this machine lacks something; `false`.
#[expect(
    clippy::print_stdout,
    reason = "a skip must be seen in the output of the tests"
)]
pub(crate) fn lacks(what: &str) -> bool {
    let required = std::env::var("STACK_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "needs {what}, and STACK_TEST_REQUIRE=all");
    println!("skipped: needs {what}");
    false
}
