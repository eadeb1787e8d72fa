//! `stack ports who N`: everything about one number.

use serde::Serialize;

use super::gather::{Gathered, gather, keepers};
use super::row::{PortRow, RowState};
use super::warn_of;
use super::words::{self, Place};
use crate::cli::args::ListFormat;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::cli::verbs::runtime;
use crate::ports::PortTraits;
use crate::ports::who::{PortSocket, sockets_on};

/// Everything about one number. Its JSON form is documented in `docs/guide/ports.md` and stays as
/// it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Explanation {
    /// The number.
    pub(super) port: u16,
    /// The stacks to which it belongs, those that run first, as `stack ports` lists them.
    pub(super) stacks: Vec<PortRow>,
    /// The sockets on it, those that matter most first.
    pub(super) sockets: Vec<PortSocket>,
    /// Whether `stack ports free` gave it out within the last two minutes.
    pub(super) is_granted: bool,
    /// What is said of the number whoever has it.
    #[serde(flatten)]
    pub(super) traits: PortTraits,
}

/// Says who has a port. That nobody has it is an answer, too: exit code 0.
pub(super) fn who(
    invocation: &Invocation,
    port: u16,
    format: ListFormat,
) -> Result<ExitCode, Stop> {
    let ledger = invocation.ledger().overview();
    let state_dir = invocation.state_dir();
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
