//! `stack ports free`: free ports for scripts and other launchers.

use super::warn_of;
use crate::cli::args::{ListFormat, PortsFreeArgs};
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer;
use crate::ports::grant;
use crate::support::text;

/// Prints free ports, one a line. The ledger keeps them from other stacks for two minutes.
pub(super) fn free(
    invocation: &Invocation,
    args: &PortsFreeArgs,
    format: ListFormat,
) -> Result<ExitCode, Stop> {
    let granted = grant(usize::from(args.count), &[args.range], &invocation.ledger())?;
    warn_of(&granted.warnings, &[]);
    let text = match format {
        ListFormat::Json => serde_json::to_string(&granted.ports)?,
        ListFormat::Table => text::list(&granted.ports).replace(", ", "\n"),
    };
    printer::say_out(&text)?;
    Ok(ExitCode::Done)
}
