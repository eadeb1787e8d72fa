//! The processes that it starts and does not look after.
//!
//! ```text
//! double-fork [--stay] [--deaf]   leaves a daemon in a session of its own; exits 0 unless told to stay
//! gc-same-group FILE              a child in its group that records TERM in FILE; does not forward
//! gc-setsid [--deaf]              a child in a session of its own
//! hold-pipe SECONDS [EXIT]        exits with EXIT (1) while a child keeps its output open
//! fork-tree N [--refork]          N children, which start another each when they are told to end
//! ```
//!
//! Children are this program again, so that the alarm holds for them too and nothing needs `fork`.

use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::Signal;

use crate::lives::{blocked, live, pass};
use crate::prints::say;
use crate::words::Words;
use crate::{Failure, Outcome};

/// How many times a leaf of a reforking tree starts another before it gives up.
const GENERATIONS: u32 = 5;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "double-fork" => double_fork(words),
        "gc-same-group" => same_group(words),
        "gc-setsid" => own_session(words),
        "hold-pipe" => hold_pipe(words),
        "fork-tree" => fork_tree(words),
        // The rest is what the above start.
        "in-session" => in_session(words),
        "detach" => detach(words),
        "linger" => linger(words),
        "leaf" => leaf(words),
        _ => return None,
    })
}

/// Starts this program in another mode, and leaves it to itself.
fn start(arguments: &[&str]) -> Result<std::process::Child, Failure> {
    Ok(Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()?)
}

/// The mode of a lone process: one that hears a polite request, or one that does not.
fn lone(words: &mut Words) -> &'static str {
    if words.flag("--deaf") {
        "ignore-term"
    } else {
        "sleep"
    }
}

fn double_fork(words: &mut Words) -> Outcome {
    let stays = words.flag("--stay");
    // The process in the middle ends at once, so that the daemon becomes an orphan.
    start(&["detach", lone(words)])?.wait()?;
    say("left a daemon");
    if stays { live() } else { Ok(ExitCode::SUCCESS) }
}

fn detach(words: &mut Words) -> Outcome {
    nix::unistd::setsid()?;
    let daemon = start(&[&words.text("MODE")?])?;
    say(&format!("daemon {}", daemon.id()));
    Ok(ExitCode::SUCCESS)
}

fn same_group(words: &mut Words) -> Outcome {
    start(&["record", "TERM", &words.text("FILE")?])?;
    live()
}

fn own_session(words: &mut Words) -> Outcome {
    let child = start(&["in-session", "--", lone(words)])?;
    say(&format!("child {}", child.id()));
    live()
}

fn in_session(words: &mut Words) -> Outcome {
    nix::unistd::setsid()?;
    crate::run(words.then()?)
}

fn hold_pipe(words: &mut Words) -> Outcome {
    let seconds = words.text("SECONDS")?;
    let code: u8 = words.value("EXIT").unwrap_or(1);
    start(&["in-session", "--", "linger", &seconds])?;
    say("the pipe is in other hands");
    Ok(ExitCode::from(code))
}

fn linger(words: &mut Words) -> Outcome {
    blocked(&[Signal::SIGTERM, Signal::SIGHUP])?;
    pass(std::time::Duration::from_secs(words.value("SECONDS")?));
    Ok(ExitCode::SUCCESS)
}

fn fork_tree(words: &mut Words) -> Outcome {
    let generations = if words.flag("--refork") {
        GENERATIONS
    } else {
        0
    };
    for _ in 0..words.value::<u32>("N")? {
        start(&["leaf", &generations.to_string()])?;
    }
    say("the tree stands");
    live()
}

fn leaf(words: &mut Words) -> Outcome {
    let generations: u32 = words.value("GENERATIONS")?;
    let awaited = blocked(&[Signal::SIGTERM])?;
    awaited.wait()?;
    if generations > 0 {
        start(&["leaf", &(generations - 1).to_string()])?;
    }
    Ok(ExitCode::SUCCESS)
}
