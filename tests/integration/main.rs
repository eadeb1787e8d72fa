//! The end-to-end tests: the real binary, real children, real sockets.
//!
//! One file a theme, over the harness in `harness/`. Every test has a project directory, a state
//! directory and, where the system allows it, a network namespace of its own; at its end nothing
//! that it started may be left. Nothing here waits for a fixed time: a test waits for what it
//! expects to see, and a generous limit turns "never" into a failure.

mod harness;

mod architecture;
mod attach;
mod background;
mod browser;
mod changes;
mod changes_pairs;
mod client;
mod commands;
mod comparison;
mod dotenv;
mod early;
mod files;
mod foreign;
mod harness_checks;
mod hazards;
mod helper_checks;
mod hooks;
mod log_flags;
mod logs;
mod order;
mod ports;
mod process_keys;
mod readiness;
mod real_servers;
mod reference;
mod restart;
mod rotation;
mod schedule;
mod spec;
mod stop;
mod terminal;
mod watching;
mod watching_beside;
