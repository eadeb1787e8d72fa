//! Rounds of random stacks of services that misbehave, under random commands and random kills.
//!
//! ```text
//! cargo build --bins --examples
//! target/debug/examples/chaos [--rounds N] [--jobs N] [--seed N]
//! ```
//!
//! A round is a project of its own: some services, some clients that call `stack` at the same time, and
//! somebody who kills services, supervisors, guardians and clients, and fills the disk (as root). At its
//! end comes `stack down`, and then nothing may be wrong (see `round`). Meanwhile the whole machine is
//! looked at: no two supervisors' services may ever run in one project. A failure names its seed;
//! `--seed N --rounds 1` runs that round again, as far as times allow.

mod machine;
mod project;
mod random;
mod round;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;

use machine::Watcher;
use random::Random;

#[derive(Parser)]
struct Arguments {
    /// How many rounds there are
    #[arg(long, default_value_t = 20)]
    rounds: u64,

    /// How many run at the same time
    #[arg(long, default_value_t = 4)]
    jobs: usize,

    /// The seed of the first round; the others count on from it [default: random]
    #[arg(long)]
    seed: Option<u64>,
}

#[expect(
    clippy::print_stdout,
    reason = "a program of its own, which reports to a terminal"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or_else(Random::seed);
    println!("seeds {first} to {}", first + arguments.rounds - 1);
    // Before there is a second thread.
    let own_mounts = machine::own_mounts();
    let watcher = Watcher::start();
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let tally = Mutex::new(round::Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= arguments.rounds {
                        return;
                    }
                    let seed = first + number;
                    let (counted, outcome) = round::run(seed, &watcher, own_mounts);
                    if let Ok(mut tally) = tally.lock() {
                        tally.add(&counted);
                    }
                    if let Err(what) = outcome
                        && let Ok(mut failures) = failures.lock()
                    {
                        println!("seed {seed}: {what}");
                        failures.push(seed);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    println!("{}", tally.into_inner().unwrap_or_default());
    println!(
        "{} of {} rounds failed {failures:?}",
        failures.len(),
        arguments.rounds
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
