//! `stack ps`: every service with its state, those that have ended too.

use super::{Context, VerbError};
use crate::cli::args::{ListFormat, PsArgs};
use crate::cli::exit::ExitCode;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::ServiceSnapshot;

/// Carries out `stack ps`. `table` draws the state for people.
pub async fn run(
    context: &mut Context<'_>,
    arguments: &PsArgs,
    table: impl FnOnce(&StackSnapshot) -> String,
) -> Result<ExitCode, VerbError> {
    let seen = context.look().await?;
    if seen.snapshot().services.is_empty() && matches!(arguments.format, ListFormat::Table) {
        context
            .output
            .message("no service of this stack has a replica");
        return Ok(ExitCode::Done);
    }
    let text = match arguments.format {
        ListFormat::Json => json(&seen.snapshot().services)?,
        ListFormat::Table => table(seen.snapshot()),
    };
    context.output.data(text.trim_end());
    Ok(ExitCode::Done)
}

fn json(services: &[ServiceSnapshot]) -> Result<String, VerbError> {
    serde_json::to_string_pretty(services).map_err(VerbError::Json)
}

/// A table without colours, as wide as it has to be.
pub fn plain_table(stack: &StackSnapshot) -> String {
    let mut rows = vec![["SERVICE", "STATE", "PID", "ADDRESS"].map(str::to_owned)];
    rows.extend(stack.services.iter().map(|service| {
        let addresses: Vec<_> = service.ports.iter().map(|p| p.address.as_str()).collect();
        [
            service.label(),
            service.phase.word().to_owned(),
            service.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            addresses.join(" "),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let lines = rows.iter().map(|[service, state, pid, address]| {
        let [first, second, third] = widths;
        let line = format!("{service:first$}  {state:second$}  {pid:third$}  {address}");
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
