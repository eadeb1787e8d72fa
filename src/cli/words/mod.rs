//! Words for what the supervisor tells as data. No other room makes sentences of reasons.

mod news;
mod reason;

use std::fmt::Display;

pub(crate) use news::news;
pub(crate) use reason::{blocker, exit, port_trouble, reason, signal_name, waiting_for};

/// `lead` and what stands behind it; nothing where nothing does.
pub(crate) fn behind(lead: &str, what: Option<impl Display>) -> String {
    what.map_or_else(String::new, |what| format!("{lead}{what}"))
}

/// ` (pid 412)`, or nothing.
pub(crate) fn pid(pid: Option<i32>) -> String {
    behind(" (pid ", pid.map(|pid| format!("{pid})")))
}
