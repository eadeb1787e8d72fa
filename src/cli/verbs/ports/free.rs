//! `stack ports free`: free ports for scripts and other launchers.

use crate::cli::args::PortsFreeArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer;
use crate::cli::verbs::up::warn;
use crate::ports::grant;

/// Prints free ports, one a line. The ledger keeps them from other stacks for two minutes.
pub(super) fn free(invocation: &Invocation, args: &PortsFreeArgs) -> Result<ExitCode, Stop> {
    let granted = grant(usize::from(args.count), &[args.range], &invocation.ledger())?;
    for warning in &granted.warnings {
        printer::say(&warn(&warning.to_string(), Some(warning.hint())));
    }
    let numbers: Vec<String> = granted.ports.iter().map(ToString::to_string).collect();
    printer::say_out(&numbers.join("\n"))?;
    Ok(ExitCode::Done)
}
