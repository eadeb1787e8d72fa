//! Words for what the supervisor tells as data. No other room makes sentences of reasons.
//!
//! Names of programs, paths, what checks and servers print: much in them is not ours. No sentence that
//! leaves this room has an escape sequence in it, not even a colour.

mod change;
mod news;
mod reason;
mod secret;
mod time;

use std::fmt::Display;

pub(crate) use change::{changes, file_changes};
pub(crate) use reason::{exit, signal_name, waiting_for};
pub(crate) use time::to_come;

use crate::run::news::News;
use crate::run::reason::{Blocker, PortTrouble, Reason, RightsError, StartError};
use crate::run::secrets::SecretError;
use crate::support::escape::plain_line;

/// What the supervisor has to say beside what snapshots show: a lowercase fragment on one line, which
/// fits behind the name of the unit that it is about.
pub(crate) fn news(news: &News) -> String {
    plain_line(news::news(news))
}

/// `exited with code 1: port 8003 was taken by …`.
pub(crate) fn reason(reason: &Reason) -> String {
    plain_line(reason::reason(reason))
}

/// `migrate exited with code 1`, one link of a chain with all that it hangs on.
pub(crate) fn blocker(blocker: &Blocker) -> String {
    plain_line(reason::blocker(blocker))
}

/// Why a generated secret cannot be kept, and the way out.
pub(crate) fn secret_error(error: &SecretError) -> (String, Option<&'static str>) {
    let (message, hint) = secret::secret_error(error);
    (plain_line(message), hint)
}

/// What is wrong with a port: `it listens on 5173 instead of 8003`.
pub(crate) fn port_trouble(trouble: &PortTrouble) -> String {
    plain_line(reason::port_trouble(trouble))
}

/// Why something cannot be executed.
pub(crate) fn start_error(error: &StartError) -> String {
    plain_line(reason::start_error(error))
}

/// Why a process cannot be given what its service asks for: `` `user: web` needs root … ``.
pub(crate) fn rights_error(error: &RightsError) -> String {
    plain_line(reason::rights_error(error))
}

/// `lead` and what stands behind it; nothing where nothing does.
pub(crate) fn behind(lead: &str, what: Option<impl Display>) -> String {
    what.map_or_else(String::new, |what| format!("{lead}{what}"))
}

/// ` (pid 412)`, or nothing.
pub(crate) fn pid(pid: Option<i32>) -> String {
    behind(" (pid ", pid.map(|pid| format!("{pid})")))
}
