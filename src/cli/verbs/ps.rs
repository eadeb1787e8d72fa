//! `stack ps`: every service with its state, those that have ended too.

use super::Context;
use super::ground::Seen;
use crate::cli::args::{ListFormat, PsArgs};
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::StackSnapshot;

/// Carries out `stack ps`. `table` draws the state for people.
pub async fn run(
    context: &mut Context<'_>,
    arguments: &PsArgs,
    table: impl FnOnce(&StackSnapshot) -> String,
) -> Result<ExitCode, Stop> {
    let seen = context.look().await?;
    if let Seen::Running(stack) = &seen {
        context.tell_of_changes(stack);
    }
    if seen.snapshot().services.is_empty() && matches!(arguments.format, ListFormat::Table) {
        context
            .output
            .message("no service of this stack has a replica");
        return Ok(ExitCode::Done);
    }
    if seen.snapshot().is_suspended {
        context
            .output
            .message("warning: the stack is suspended; `fg` in its terminal continues it");
    }
    let text = match arguments.format {
        ListFormat::Json => serde_json::to_string_pretty(&seen.snapshot().services)?,
        ListFormat::Table => table(seen.snapshot()),
    };
    context.output.data(text.trim_end());
    Ok(ExitCode::Done)
}
