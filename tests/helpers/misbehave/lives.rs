//! How long it lives, and what it makes of signals.
//!
//! ```text
//! sleep                           lives until a signal ends it
//! one-shot EXIT [MS]              exits with EXIT after MS
//! crash N FILE -- MODE…           exits 1 the first N times (counted in FILE), then is MODE
//! slow-start MS -- MODE…          is MODE after MS
//! wait-file FILE [-- MODE…]       exits 0, or is MODE, as soon as FILE exists
//! flap FILE                       exits 0, 1, 0, 1, … (counted in FILE): a health check to despair of
//! ignore-term                     deaf to SIGTERM, SIGINT and SIGHUP
//! record SIGNALS FILE [--stay] [--takes MS]
//!                                 appends the name of each of SIGNALS (`TERM,INT`) to FILE;
//!                                 exits 0 after the first, MS later, unless told to stay
//! trace FILE NAME [--takes MS] [--port PORT]
//!                                 appends `+NAME`; on SIGTERM appends `-NAME`, MS later exits 0
//! alone -- MODE…                  is MODE; a second copy of its service's replica beside it notes that in the
//!                                 file `twice` and fails
//! stop-self                       stops itself as Ctrl-Z would
//! stdin-eof                       reads its input to the end and says so
//! ```

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};

use crate::prints::say;
use crate::reports::{append_line, count_up};
use crate::words::Words;
use crate::{Failure, Outcome, ports, run as run_mode};

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "sleep" => live(),
        "one-shot" => one_shot(words),
        "crash" => crash(words),
        "slow-start" => slow_start(words),
        "wait-file" => wait_file(words),
        "flap" => flap(words),
        "ignore-term" => ignore_term(),
        "record" => record(words),
        "trace" => trace(words),
        "alone" => alone(words),
        "stop-self" => stop_self(),
        "stdin-eof" => stdin_eof(),
        _ => return None,
    })
}

/// Lives until a signal or the alarm ends it.
pub(crate) fn live() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// Passes some time on purpose: it is what a slow service is made of.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn one_shot(words: &mut Words) -> Outcome {
    let code: u8 = words.value("EXIT")?;
    pass(words.millis_or_none()?);
    Ok(ExitCode::from(code))
}

fn crash(words: &mut Words) -> Outcome {
    let times: u64 = words.value("N")?;
    let count = count_up(&words.text("FILE")?)?;
    if count <= times {
        say(&format!("crash {count} of {times}"));
        return Ok(ExitCode::FAILURE);
    }
    run_mode(words.then()?)
}

fn slow_start(words: &mut Words) -> Outcome {
    pass(Duration::from_millis(words.value("MS")?));
    run_mode(words.then()?)
}

fn wait_file(words: &mut Words) -> Outcome {
    let file = words.text("FILE")?;
    while !std::path::Path::new(&file).exists() {
        pass(Duration::from_millis(5));
    }
    match words.then() {
        Ok(next) => run_mode(next),
        Err(_) => Ok(ExitCode::SUCCESS),
    }
}

fn flap(words: &mut Words) -> Outcome {
    let count = count_up(&words.text("FILE")?)?;
    Ok(ExitCode::from(u8::from(count % 2 == 0)))
}

fn ignore_term() -> Outcome {
    let deaf = blocked(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    say("deaf");
    loop {
        say(&format!("heard {} and went on", deaf.wait()?));
    }
}

fn record(words: &mut Words) -> Outcome {
    let stay = words.flag("--stay");
    let takes = words.option("--takes")?.unwrap_or(0);
    let names = words.text("SIGNALS")?;
    let file = words.text("FILE")?;
    let signals = names
        .split(',')
        .map(|name| format!("SIG{name}").parse())
        .collect::<Result<Vec<Signal>, _>>()?;
    let awaited = blocked(&signals)?;
    say("recording");
    loop {
        append_line(&file, awaited.wait()?.as_str())?;
        if !stay {
            pass(Duration::from_millis(takes));
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn alone(words: &mut Words) -> Outcome {
    let variable = |key| std::env::var(key).unwrap_or_default();
    let name = format!(
        "{}-{}",
        variable("STACK_SERVICE"),
        variable("STACK_REPLICA")
    );
    let lock = File::create(format!("{name}.lock"))?;
    if lock.try_lock().is_err() {
        append_line("twice", &name)?;
        return Err(format!("{name} runs already").into());
    }
    // The lock is held until the process ends.
    std::mem::forget(lock);
    run_mode(words.then()?)
}

fn trace(words: &mut Words) -> Outcome {
    let takes = words.option("--takes")?.unwrap_or(0);
    let port = words.option("--port")?;
    let file = words.text("FILE")?;
    let name = words.text("NAME")?;
    let awaited = blocked(&[Signal::SIGTERM])?;
    append_line(&file, &format!("+{name}"))?;
    if let Some(port) = port {
        ports::serve_in_background(port)?;
    }
    awaited.wait()?;
    pass(Duration::from_millis(takes));
    append_line(&file, &format!("-{name}"))?;
    Ok(ExitCode::SUCCESS)
}

fn stop_self() -> Outcome {
    say("stopping myself");
    raise(Signal::SIGSTOP)?;
    say("going on");
    live()
}

fn stdin_eof() -> Outcome {
    let bytes = std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    say(&format!("end of input after {bytes} bytes"));
    Ok(ExitCode::SUCCESS)
}

/// Blocks signals in every thread to come, so that only a `wait` for them sees them.
pub(crate) fn blocked(signals: &[Signal]) -> Result<SigSet, Failure> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    Ok(set)
}
