//! Start and stop of many services, against the physical limit: the same processes started by a
//! bare loop that captures their output and does nothing else.
//!
//! `cargo bench --bench lifecycle [-- ROUNDS]` prints medians and their ratios, measured in turn in
//! one run; absolute times mean little on a shared machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What each service does: it says that it runs, then waits to be ended.
const SCRIPT: &str = "echo up; exec sleep 1000";

/// The numbers of services that are started.
const SIZES: [usize; 3] = [1, 10, 100];

/// How many rounds are made when nothing else is said.
const ROUNDS: usize = 5;

/// One round: until every service has said that it runs, and from the stop to the end of all.
#[derive(Debug, Clone, Copy)]
struct Round {
    start: Duration,
    stop: Duration,
}

fn main() {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(ROUNDS);
    println!(
        "{:>8} {:>6}  {:>10} {:>10} {:>6}",
        "services", "", "loop", "stack", "ratio"
    );
    for size in SIZES {
        let directory = project(size);
        let mut bare = Vec::new();
        let mut ours = Vec::new();
        for _ in 0..rounds {
            bare.push(by_loop(size));
            ours.push(by_stack(directory.path(), size));
        }
        row(size, "start", &bare, &ours, |round| round.start);
        row(size, "stop", &bare, &ours, |round| round.stop);
    }
}

fn row(size: usize, what: &str, bare: &[Round], ours: &[Round], of: impl Fn(&Round) -> Duration) {
    let median = |rounds: &[Round]| {
        let mut times: Vec<Duration> = rounds.iter().map(&of).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let (bare, ours) = (median(bare), median(ours));
    println!(
        "{size:>8} {what:>6}  {bare:>7.2} ms {ours:>7.2} ms {:>6.2}",
        ours / bare
    );
}

/// A project of so many services.
fn project(size: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut text = String::from("services:\n");
    for index in 0..size {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  s{index}: {{ command: [/bin/sh, -c, \"{SCRIPT}\"] }}"
        );
    }
    fs_err::write(directory.path().join("stack.yaml"), text).expect("room for a small file");
    directory
}

/// The limit: start them, read a line from each, end them, wait for all.
fn by_loop(size: usize) -> Round {
    let begun = Instant::now();
    let mut children: Vec<Child> = (0..size)
        .map(|_| {
            Command::new("/bin/sh")
                .args(["-c", SCRIPT])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("a process")
        })
        .collect();
    for child in &mut children {
        let mut line = [0; 3];
        child
            .stdout
            .as_mut()
            .expect("a pipe")
            .read_exact(&mut line)
            .expect("a line");
    }
    let start = begun.elapsed();
    let begun = Instant::now();
    for child in &mut children {
        child.kill().expect("it runs");
    }
    for child in &mut children {
        child.wait().expect("a child of ours");
    }
    Round {
        start,
        stop: begun.elapsed(),
    }
}

/// The same by `stack up` and its stop signal.
fn by_stack(directory: &std::path::Path, size: usize) -> Round {
    let begun = Instant::now();
    let mut stack = Command::new(env!("CARGO_BIN_EXE_stack"))
        .args(["--progress", "quiet", "up"])
        .current_dir(directory)
        .env("XDG_STATE_HOME", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut lines = BufReader::new(stack.stdout.take().expect("a pipe")).lines();
    for _ in 0..size {
        lines
            .next()
            .expect("every service says that it runs")
            .expect("a line");
    }
    let start = begun.elapsed();
    let begun = Instant::now();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(stack.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    stack.wait().expect("a child of ours");
    Round {
        start,
        stop: begun.elapsed(),
    }
}
