//! `stack ports`: the ports of every stack of this user on this machine.
//!
//! The list is in `list`, the explanation of one number in `who` (its words in `words`), free
//! numbers in `free`. What the first two know comes from `gather`: each stack's own supervisor is
//! asked, since only it knows whose a listener is; where it does not answer, the ledger and the
//! kernel's tables stand in. None of them needs a `stack.yaml`.

mod free;
mod gather;
mod list;
mod row;
mod who;
mod words;

use crate::cli::args::{PortsArgs, PortsVerb};
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer;
use crate::cli::verbs::up::warn;
use crate::ports::LedgerWarning;

/// Carries out `stack ports` and what is below it.
pub fn ports(invocation: &Invocation, args: &PortsArgs) -> Result<ExitCode, Stop> {
    match &args.verb {
        None => list::list(invocation, args),
        Some(_) if args.all => Err(Stop::usage(
            "`--all` belongs to the list of ports",
            "`stack ports --all` lists the ports of all your stacks",
        )),
        Some(PortsVerb::Who(who)) => who::who(invocation, who.port, args.format),
        Some(PortsVerb::Free(free)) => free::free(invocation, free, args.format),
    }
}

/// Says what is wrong with the ledger, and what is known from elsewhere than usual.
fn warn_of(ledger: &[LedgerWarning], notes: &[String]) {
    for warning in ledger {
        printer::say(&warn(&warning.to_string(), Some(warning.hint())));
    }
    for note in notes {
        printer::say(&warn(note, None));
    }
}
