//! A service that misbehaves on purpose, in a way that its arguments name.
//!
//! ```text
//! misbehave MODE [ARGUMENT…] [--option…] [-- MODE…]
//! ```
//!
//! The end-to-end tests run it as services, as squatters on ports and as probes. Each module lists its
//! modes. Nothing started here can leak for long: every process, whatever its mode and whoever its
//! parent, is ended by an alarm after [`LIFE_SECONDS`], but what it becomes by executing another
//! program.

mod adversary;
mod handoff;
mod http;
mod lives;
mod notify;
mod ports;
mod prints;
mod reports;
mod trees;
mod udp;
mod words;
mod wrappers;

use std::io::Write;
use std::process::ExitCode;

use words::Words;

/// How long any process of this program may live, in seconds.
const LIFE_SECONDS: u32 = 300;

/// Why a mode ended badly: shown on stderr, exit code 70.
type Failure = Box<dyn std::error::Error>;

/// How a mode ends: with the exit code of the process.
type Outcome = Result<ExitCode, Failure>;

fn main() -> ExitCode {
    nix::unistd::alarm::set(LIFE_SECONDS);
    run(Words::from_arguments()).unwrap_or_else(|problem| {
        // Nobody may be left to read it.
        drop(writeln!(std::io::stderr(), "misbehave: {problem}"));
        ExitCode::from(70)
    })
}

/// Runs the mode that the next word names.
fn run(mut words: Words) -> Outcome {
    let mode = words.text("MODE")?;
    let rooms = [
        adversary::run,
        handoff::run,
        http::run,
        lives::run,
        notify::run,
        ports::run,
        prints::run,
        reports::run,
        trees::run,
        udp::run,
        wrappers::run,
    ];
    for room in rooms {
        if let Some(outcome) = room(&mode, &mut words) {
            return outcome;
        }
    }
    Err(format!("there is no mode `{mode}`").into())
}
