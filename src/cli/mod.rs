//! THE TERMINAL: arguments, one file a verb, diagnostics, exit codes, and the one place that
//! prints.
//!
//! [`main`] is the whole program: it reads the command line, gathers the [`Invocation`] and hands
//! over to a verb. Nothing but the [`printer`] writes to stdout or stderr.

pub mod args;
pub mod diagnostics;
pub mod exit;
pub mod invocation;
mod logging;
pub mod printer;
pub mod style;
pub mod table;
pub mod verbs;
mod words;

use std::ffi::OsString;

use args::{NotRun, Verb};
use exit::ExitCode;
use invocation::{Invocation, Stop};

/// Runs `stack` with the words of its command line, the program's own name first.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match args::parse(words) {
        Ok(arguments) => Invocation::new(arguments.global)
            .and_then(|invocation| dispatch(&invocation, arguments.verb.as_ref())),
        Err(NotRun::Show(text)) => printer::say_out(&text)
            .map(|()| ExitCode::Done)
            .map_err(Stop::from),
        Err(NotRun::Wrong(text)) => {
            printer::say(&text);
            Ok(ExitCode::Usage)
        }
    };
    outcome.unwrap_or_else(|stop| {
        printer::say(&stop.message);
        stop.code
    })
}

fn dispatch(invocation: &Invocation, verb: Option<&Verb>) -> Result<ExitCode, Stop> {
    match verb {
        None => verbs::overview::overview(invocation),
        Some(Verb::Up(args)) => verbs::up::up(invocation, args),
        Some(verb @ Verb::Watch(args)) => {
            verbs::watching::check(invocation, &args.services)?;
            if !args.no_up {
                verbs::up::up_in_background(invocation, &args.services)?;
            }
            verbs::client::client(invocation, verb)
        }
        Some(Verb::Config(args)) => verbs::config::config(invocation, args),
        Some(Verb::Run(args)) => verbs::run::run(invocation, args),
        Some(Verb::Doctor(args)) => verbs::doctor::doctor(invocation, args),
        Some(Verb::Ports(args)) => verbs::ports::ports(invocation, args),
        Some(
            verb @ (Verb::Down(_)
            | Verb::Start(_)
            | Verb::Stop(_)
            | Verb::Restart(_)
            | Verb::Ps(_)
            | Verb::Logs(_)
            | Verb::Attach(_)
            | Verb::Port(_)
            | Verb::Env(_)),
        ) => verbs::client::client(invocation, verb),
    }
}
