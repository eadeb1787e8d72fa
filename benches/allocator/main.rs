//! The allocator against its physical limit: sockets that are bound and kept, and nothing else.
//!
//! The difference is what the ledger (lock, read, write), the kernel's settings and the choice
//! cost. `cargo bench --bench allocator [-- FILTER]` runs all of it, in a network namespace of its
//! own where one can be had (else the ports 8000 to 8999 and 20000 to 21999 should be free);
//! `-- crowd [ROUNDS]` only the crowd.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod asked;
mod crowd;
mod single;

use std::process::Command;

/// Set once it was tried to get a network namespace.
const INSIDE: &str = "STACK_BENCH_NETNS";

fn main() {
    if crowd::is_child() {
        crowd::child();
        return;
    }
    if std::env::var_os(INSIDE).is_none() && again_in_own_network() {
        return;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let crowd_only = words.iter().any(|word| word == "crowd");
    if !crowd_only {
        divan::main();
    }
    if crowd_only || words.iter().all(|word| word.starts_with('-')) {
        let rounds = words.iter().find_map(|word| word.parse().ok());
        crowd::run(rounds);
    }
}

/// Runs this program again where every port is free. Says whether that was possible.
fn again_in_own_network() -> bool {
    let flags: &[&str] = if nix::unistd::geteuid().is_root() {
        &["--net"]
    } else {
        &["--user", "--map-root-user", "--net"]
    };
    let possible = Command::new("unshare").args(flags).arg("true").output();
    let (Ok(true), Ok(program)) = (
        possible.map(|output| output.status.success()),
        std::env::current_exe(),
    ) else {
        return false;
    };
    Command::new("unshare")
        .args(flags)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .is_ok()
}
