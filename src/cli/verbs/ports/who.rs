//! `stack ports who N`: everything about one number.

use super::gather::{Gathered, gather, keepers};
use super::row::{Explanation, RowState};
use super::warn_of;
use super::words::{self, Place};
use crate::cli::args::ListFormat;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::cli::verbs::runtime;
use crate::ports::PortTraits;
use crate::ports::who::sockets_on;

/// Says who has a port. That nobody has it is an answer, too: exit code 0.
pub(super) fn who(
    invocation: &Invocation,
    port: u16,
    format: ListFormat,
) -> Result<ExitCode, Stop> {
    let ledger = invocation.ledger().overview();
    let state_dir = invocation.state_dir.clone();
    let gathering = gather(&ledger, Some(port), &state_dir);
    let Gathered { mut rows, notes } = runtime()?.block_on(gathering);
    rows.sort_by_key(|row| row.state == RowState::Remembered);
    let explanation = Explanation {
        port,
        stacks: rows,
        sockets: sockets_on(port, &keepers(&ledger, &state_dir))?,
        is_granted: ledger.granted.contains(&port),
        traits: PortTraits::of(port),
    };

    warn_of(&ledger.warnings, &notes);
    let text = match format {
        ListFormat::Json => serde_json::to_string_pretty(&explanation)?,
        ListFormat::Table => {
            let place = Place::of(invocation);
            words::explain(&explanation, &place)
        }
    };
    printer::say_out(&text)?;
    Ok(ExitCode::Done)
}
