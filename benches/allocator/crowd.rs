//! Fifty stacks at one instant, in a range that they fill exactly.
//!
//! Each is a process of its own, ready up to the call, and all are let go by one end of a pipe. The
//! time runs from there until the last one has its ports. The limit is the same crowd of processes
//! that only bind: twenty sockets each, on numbers that nobody else wants.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use stack::ports::request::Owner;
use stack::ports::{Batch, Hold, Ledger, PortError, allocate};

use super::asked;

const STACKS: u16 = 50;
const EACH: u16 = 20;
const FIRST: u16 = 8000;
const ROUNDS: usize = 15;

const ROLE: &str = "STACK_BENCH_ROLE";
const INDEX: &str = "STACK_BENCH_INDEX";
const STATE: &str = "STACK_BENCH_STATE";

/// What a process of the crowd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The limit.
    Bind,
    /// What `stack up` does.
    Allocate,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Allocate => "allocate",
        }
    }
}

/// Whether this process is one of a crowd.
pub(crate) fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// One of the crowd: waits for the others, gets its ports, says which and when, and keeps them
/// until it is killed.
pub(crate) fn child() {
    let text = |name| std::env::var(name).unwrap_or_default();
    let index: u16 = text(INDEX).parse().expect("the number of this process");
    let state = PathBuf::from(text(STATE));
    let does_bind = text(ROLE) == Role::Bind.word();
    let requests = asked::requests(EACH.into());
    let pool = asked::pool(asked::range(FIRST, FIRST + STACKS * EACH - 1));
    let owner = owner(index, &state);
    let batch = Batch {
        requests: &requests,
        pool: &pool,
        owner: &owner,
        strict: false,
        fresh: false,
        is_noted_later: false,
        running: None,
    };
    let ledger = Ledger::at(&state);
    say("ready");
    // The end of the pipe is the barrier: it comes to all at once.
    drop(io::stdin().read_to_end(&mut Vec::new()));
    let (holds, warnings, _noted): (Vec<Hold>, usize, _) = if does_bind {
        let first = FIRST + index * EACH;
        let bound: Result<_, _> = (first..first + EACH).map(Hold::take).collect();
        (bound.expect("nobody else is here"), 0, None)
    } else {
        let allocation = allocate(&batch, &ledger).expect("there is room for all");
        let warnings = allocation.warnings.len();
        let holds = allocation.holds.into_values().collect();
        (holds, warnings, allocation.noted)
    };
    let end = now().as_nanos();
    let ports: Vec<String> = holds.iter().map(|hold| hold.port().to_string()).collect();
    say(&format!("{end} {warnings} {}", ports.join(" ")));
    loop {
        std::thread::park();
    }
}

/// A stack in a directory of its own, as copies of a project are.
fn owner(index: u16, state: &Path) -> Owner {
    let directory = state.join(format!("copy{index}"));
    fs_err::create_dir_all(&directory).expect("room for a directory");
    asked::owner(index.into(), &directory)
}

/// The clock that all processes of the machine share.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("every system has this clock")
        .into()
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// A crowd that has its ports.
struct Crowd {
    children: Vec<(Child, BufReader<ChildStdout>)>,
    wall: Duration,
    ports: Vec<u16>,
    warnings: usize,
}

impl Crowd {
    fn gather(role: Role, state: &Path) -> Self {
        let (barrier, release) = io::pipe().expect("a pipe");
        let program = std::env::current_exe().expect("this program");
        let mut children: Vec<_> = (0..STACKS)
            .map(|index| {
                let mut child = Command::new(&program)
                    .env(ROLE, role.word())
                    .env(INDEX, index.to_string())
                    .env(STATE, state)
                    .stdin(barrier.try_clone().expect("a descriptor"))
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("room for a process");
                let out = child.stdout.take().expect("it was asked for");
                (child, BufReader::new(out))
            })
            .collect();
        for (_, out) in &mut children {
            assert_eq!(hear(out), "ready");
        }
        let start = now();
        drop(release);
        let mut last = start;
        let (mut ports, mut warnings) = (Vec::new(), 0);
        for (_, out) in &mut children {
            let line = hear(out);
            let mut words = line.split(' ').map(|word| word.parse::<u64>().ok());
            let end = words.next().flatten().expect("the time");
            last = last.max(Duration::from_nanos(end));
            warnings += words.next().flatten().expect("the warnings");
            ports.extend(words.flatten().filter_map(|port| u16::try_from(port).ok()));
        }
        Self {
            children,
            wall: last.saturating_sub(start),
            ports,
            warnings: usize::try_from(warnings).unwrap_or(usize::MAX),
        }
    }

    /// How many numbers were given more than once.
    fn duplicates(&self) -> usize {
        let distinct: HashSet<u16> = self.ports.iter().copied().collect();
        self.ports.len() - distinct.len()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            drop(child.kill());
        }
        for (child, _) in &mut self.children {
            drop(child.wait());
        }
    }
}

fn hear(out: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    out.read_line(&mut line).expect("the child's words");
    line.trim_end().to_owned()
}

/// What one more stack hears.
struct Late {
    wall: Duration,
    holders: usize,
    named: usize,
}

fn one_more(state: &Path) -> Late {
    let requests = asked::requests(EACH.into());
    let pool = asked::pool(asked::range(FIRST, FIRST + STACKS * EACH - 1));
    let batch = Batch {
        requests: &requests,
        pool: &pool,
        owner: &owner(STACKS, state),
        strict: false,
        fresh: false,
        is_noted_later: false,
        running: None,
    };
    let ledger = Ledger::at(state);
    let start = Instant::now();
    let outcome = allocate(&batch, &ledger);
    let wall = start.elapsed();
    let Err(PortError::Exhausted { holders, .. }) = outcome else {
        panic!("the range is full");
    };
    Late {
        wall,
        holders: holders.len(),
        named: holders
            .iter()
            .filter(|holder| holder.stack.is_some())
            .count(),
    }
}

/// Runs the crowds in turn and prints what came out.
pub(crate) fn run(rounds: Option<usize>) {
    let rounds = rounds.unwrap_or(ROUNDS);
    let (mut binds, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut late = Vec::new();
    let (mut duplicates, mut given, mut warnings) = (0, 0, 0);
    let mut note = |crowd: &Crowd| {
        duplicates += crowd.duplicates();
        given += crowd.ports.len();
        warnings += crowd.warnings;
        crowd.wall
    };
    for _ in 0..rounds {
        let state = tempfile::tempdir().expect("a temporary directory");
        binds.push(Crowd::gather(Role::Bind, state.path()).wall);
        {
            let crowd = Crowd::gather(Role::Allocate, state.path());
            first.push(note(&crowd));
            late.push(one_more(state.path()));
        }
        // With the rows of those who were just killed, and everybody's ports remembered.
        again.push(note(&Crowd::gather(Role::Allocate, state.path())));
    }
    println!(
        "\n{STACKS} stacks of {EACH} ports at one instant, in a range of exactly as many, {rounds} rounds"
    );
    let bare = median(binds.clone());
    let row = |what: &str, times: Vec<Duration>| {
        let (fastest, slowest) = (times.iter().min().copied(), times.iter().max().copied());
        let median = median(times);
        println!(
            "{what:<34} {:>7.2} ms  {:>5.2} of the limit  ({:.2} to {:.2} ms)",
            millis(median),
            millis(median) / millis(bare),
            millis(fastest.unwrap_or_default()),
            millis(slowest.unwrap_or_default()),
        );
    };
    row("only binds (the limit)", binds);
    row("stacks, nothing remembered", first);
    row("stacks, all remembered", again);
    let expected = 2 * rounds * usize::from(STACKS * EACH);
    println!("{given} of {expected} ports given, {duplicates} of them twice, {warnings} warnings");
    let fewest = late.iter().map(|late| late.holders.min(late.named)).min();
    println!(
        "one more: fails after {:.2} ms, with a list of {} holders",
        millis(median(late.iter().map(|late| late.wall).collect())),
        fewest.unwrap_or_default(),
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
