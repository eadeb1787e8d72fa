//! Bare `stack`: the state of this project's stack, and the five commands that a newcomer needs.

use super::client::{find, running, taking_part};
use super::ground::{hidden, left, unreachable};
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer;
use crate::cli::table::{services, state_of_stack};
use crate::spec::code;
use crate::spec::find::STARTER;
use crate::support::clock::unix_millis;
use crate::support::text;

/// The commands, each with what it is for.
const COMMANDS: [&str; 5] = [
    "  stack up        start everything and show the logs (Ctrl-C stops it)",
    "  stack up -d     start everything in the background",
    "  stack ps        list the services with state and address",
    "  stack logs -f   follow the logs",
    "  stack down      stop everything",
];

/// Shows where things stand. Exits 0 even if there is no file.
pub fn overview(invocation: &Invocation) -> Result<ExitCode, Stop> {
    let is_missing = invocation
        .find()
        .is_err_and(|problem| problem.code == code::NO_FILE);
    if is_missing && invocation.global.file.is_empty() {
        printer::say_out(&format!(
            "There is no stack.yaml here or in a directory above. Here is one to begin with:\n\n{}\n\
             Save it as stack.yaml, then run `stack up`.",
            indent(STARTER)
        ))?;
        return Ok(ExitCode::Done);
    }
    let (instance, names) = find(invocation)?;
    if let Some(stack) = running(&instance)? {
        let table = invocation.draw(&services(&stack.services, unix_millis()));
        printer::say_out(&format!(
            "{}\n\n{}",
            state_of_stack(&stack),
            table.trim_end()
        ))?;
    } else {
        let reason = hidden(&instance)
            .or_else(|| Some(unreachable(&instance.holder()?)))
            .or_else(|| left(invocation, &instance).map(|(_, it, hint)| format!("{it}; {hint}")));
        printer::say_out(&reason.unwrap_or_else(|| {
            let (project, services) = (&instance.project, text::list(taking_part(&names)));
            format!("{project} is not running. Its services: {services}")
        }))?;
    }
    printer::say_out(&format!(
        "\n{}\n\n`stack --help` lists all commands.",
        COMMANDS.join("\n")
    ))?;
    Ok(ExitCode::Done)
}

fn indent(text: &str) -> String {
    text.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}
