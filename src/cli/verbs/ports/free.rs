//! `stack ports free`: free ports for scripts and other launchers.

use crate::cli::args::PortsFreeArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::verbs::up::warn;
use crate::ports::grant;
use crate::support::text;

/// Prints free ports, one a line. The ledger keeps them from other stacks for two minutes.
pub(super) fn free(invocation: &Invocation, args: &PortsFreeArgs) -> Result<ExitCode, Stop> {
    let granted = grant(usize::from(args.count), &[args.range], &invocation.ledger())
        .map_err(|error| Stop::new(ExitCode::Failed, text::chain(&error), Some(&error.hint())))?;
    let printer = invocation.printer(&[])?;
    for warning in &granted.warnings {
        printer.line_err(warn(&warning.to_string(), Some(warning.hint())));
    }
    for port in &granted.ports {
        printer.line_out(port.to_string());
    }
    printer.finish();
    Ok(ExitCode::Done)
}
