//! Several clients that command one stack at once, some of them killed at any moment. The exact
//! comparison, over a runner under which nothing really runs, is in `src/run/supervisor/tests/model.rs`.
//!
//! The seed is printed, and `STACK_TEST_SEED` repeats the commands, though not how they meet.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::harness::{TestStack, Up, wait_until};

const STACK: &str = r"
services:
  db: { command: MISBEHAVE record TERM heard --takes 100 }
  api:
    command: MISBEHAVE sleep
    depends_on: { db: { condition: service_started, restart: true } }
  web: { command: MISBEHAVE record TERM heard --takes 300, depends_on: [api] }
  deaf: { command: MISBEHAVE ignore-term, stop_grace_period: 200ms }
  fickle: { command: MISBEHAVE crash 3 crashes -- sleep, restart: on-failure }
  job: { command: MISBEHAVE one-shot 0 50 }
";

const NAMES: [&str; 6] = ["db", "api", "web", "deaf", "fickle", "job"];

/// How many commands are sent, and how many clients are there at a time.
const COMMANDS: usize = 60;
const CLIENTS: usize = 5;

/// How long those clients live at most that are killed, in microseconds.
const SHORT_LIFE: u64 = 30_000;

#[expect(clippy::print_stdout, reason = "the seed of a failure must be known")]
fn random() -> TestRng {
    let given = std::env::var("STACK_TEST_SEED").ok();
    let seed: u64 = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.subsec_nanos().into())
    });
    println!("STACK_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// What a client asks for.
fn arguments(random: &mut TestRng) -> Vec<&'static str> {
    let mut pick = |count: usize| {
        let count = u64::try_from(count).expect("a few");
        usize::try_from(random.next_u64() % count).expect("a few")
    };
    let name = NAMES[pick(NAMES.len())];
    match pick(20) {
        0 => vec!["down"],
        1..=4 => vec!["up", "-d"],
        5 => vec!["up", "-d", "--no-deps", name],
        6..=9 => vec!["start", name],
        10..=13 => vec!["stop", name],
        14..=17 => vec!["restart", name],
        18 => vec!["restart"],
        _ => vec!["stop", "-t", "0s", name],
    }
}

/// The process of each service.
#[track_caller]
fn running(stack: &TestStack) -> BTreeMap<String, i32> {
    let mut running = BTreeMap::new();
    for process in stack.service_processes() {
        // It may have ended meanwhile.
        if let Some(name) = process.variable("STACK_SERVICE") {
            let other = running.insert(name.clone(), process.pid);
            assert_eq!(other, None, "`{name}` runs twice: {}", process.pid);
        }
    }
    running
}

/// Waits until one of the clients has ended, and looks at how.
#[track_caller]
fn end_one(stack: &TestStack, clients: &mut Vec<(Up, bool)>) {
    let place = wait_until("the end of a client", || {
        running(stack);
        clients
            .iter_mut()
            .position(|(client, _)| client.has_ended())
    });
    let (client, was_killed) = clients.remove(place);
    let output = client.wait();
    // Done; a service failed; another command came in between; nothing runs.
    let is_told = [0, 1, 3, 4].contains(&output.code);
    assert!(is_told || was_killed && output.code == 137, "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
}

#[test]
fn clients_that_command_at_once_and_die_leave_one_copy_of_each_service() {
    let mut random = random();
    let stack = TestStack::new(STACK);
    let mut clients = Vec::new();
    let mut is_down_lost = false;
    for _ in 0..COMMANDS {
        if clients.len() == CLIENTS {
            end_one(&stack, &mut clients);
        }
        let arguments = arguments(&mut random);
        let client = stack.start(&arguments);
        let is_killed = random.next_u64().is_multiple_of(4);
        if is_killed {
            sleep(Duration::from_micros(random.next_u64() % SHORT_LIFE));
            client.signal(Signal::SIGKILL);
            is_down_lost |= arguments == ["down"];
        }
        clients.push((client, is_killed));
    }
    while !clients.is_empty() {
        end_one(&stack, &mut clients);
    }

    // A `down` whose client was killed may still be under way, and nobody has waited for its end.
    if is_down_lost {
        stack.run(&["down"]).ok();
    }
    // Nobody commands any more: what is wanted is so, and `ps` says what is.
    stack.run(&["up", "-d"]).ok();
    wait_until("everything to run, as `ps` says", || {
        let rows = stack.ps();
        let with_pid = rows
            .iter()
            .filter_map(|row| Some((row.name().to_owned(), row.pid()?)));
        let told: BTreeMap<String, i32> = with_pid.collect();
        let is_up = |name: &&str| *name == "job" || told.contains_key(*name);
        (told == running(&stack) && NAMES.iter().all(is_up)).then_some(())
    });
    stack.run(&["down"]).ok();
    assert_eq!(running(&stack), BTreeMap::new());
}
