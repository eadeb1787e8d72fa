//! What it costs to read a stack: `stack config` of one large file, of many included ones, of one large
//! file merged over another, and of many services that extend one.
//!
//! `cargo bench --bench files [-- ROUNDS]` prints medians of the whole command, from its start to its
//! exit. A service has about 400 bytes, most of them environment, so that 5,000 are 2 MB; 500, 5,000 and
//! 50,000 show whether the time for each stays the same. `config` reads, checks, plans and prints, `--quiet` does
//! not print, `--sources` prints where each value stands. For a comparison: what starting a process costs.
//! It takes about two minutes, most of them for 50,000 services.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(5);
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let start = median(rounds, directory, &["--version"]);
    println!("start of a process: {start:?}");
    for count in [500, 5_000, 50_000] {
        let text = services(0, count);
        fs_err::write(directory.join("stack.yaml"), &text).expect("writable");
        for flags in [
            &["config"][..],
            &["config", "--quiet"],
            &["config", "--sources"],
        ] {
            let took = median(rounds, directory, flags);
            let each = took.saturating_sub(start) / count;
            let size = text.len() / 1_000;
            let flags = flags.join(" ");
            println!("{count} services, {size} kB, {flags}: {took:?}, {each:?} each");
        }
    }
    included(rounds, directory);
    merged(rounds, directory);
}

/// 100 files of one service each.
fn included(rounds: usize, directory: &Path) {
    let mut text = "include:\n".to_owned();
    for number in 0..100 {
        let below = directory.join(format!("part{number}"));
        fs_err::create_dir(&below).expect("writable");
        fs_err::write(below.join("stack.yaml"), services(number, 1)).expect("writable");
        writeln!(text, "  - part{number}/stack.yaml").expect("a string takes everything");
    }
    text.push_str("services: { web: { command: serve } }\n");
    fs_err::write(directory.join("stack.yaml"), text).expect("writable");
    let took = median(rounds, directory, &["config"]);
    println!("100 included files: {took:?}");
}

/// One large file over another, and services that extend one.
fn merged(rounds: usize, directory: &Path) {
    fs_err::write(directory.join("stack.yaml"), services(0, 5_000)).expect("writable");
    let mut over = "services:\n".to_owned();
    let mut extending = services(0, 1);
    for number in 0..5_000 {
        let line = format!("  service{number}: {{ environment: [LEVEL=debug] }}\n");
        over.push_str(&line);
        let line = format!("  other{number}: {{ extends: service0, environment: {{ A: '1' }} }}\n");
        extending.push_str(&line);
    }
    fs_err::write(directory.join("over.yaml"), over).expect("writable");
    fs_err::write(directory.join("extending.yaml"), extending).expect("writable");
    let flags = ["-f", "stack.yaml", "-f", "over.yaml", "config"];
    let took = median(rounds, directory, &flags);
    println!("5,000 services over 5,000: {took:?}");
    let took = median(rounds, directory, &["-f", "extending.yaml", "config"]);
    println!("5,000 services that extend one: {took:?}");
}

/// A file of services, numbered from `first` on.
fn services(first: u32, count: u32) -> String {
    let mut text = "services:\n".to_owned();
    for number in first..first + count {
        write!(
            text,
            "  service{number}:
    command: [python3, -m, http.server, $<PORT:auto>]
    environment:
      LOG_LEVEL: ${{LOG_LEVEL:-info}}
      DATABASE_URL: postgres://127.0.0.1:5432/database{number}
      ANOTHER_VARIABLE: some text that is neither short nor long, as texts are
      YET_ANOTHER_ONE: some text that is neither short nor long, as texts are
    healthcheck: {{ http: /health, interval: 5s, retries: 5 }}
    restart: on-failure
"
        )
        .expect("a string takes everything");
    }
    text
}

fn median(rounds: usize, directory: &Path, arguments: &[&str]) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            let status = Command::new(env!("CARGO_BIN_EXE_stack"))
                .args(arguments)
                .current_dir(directory)
                .env("HOME", directory)
                .stdout(Stdio::null())
                .status()
                .expect("it can be executed");
            assert!(status.success(), "{arguments:?}");
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
