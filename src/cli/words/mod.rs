//! Words for what the supervisor tells as data. No other room makes sentences of reasons.

mod news;
mod reason;

pub(crate) use news::news;
pub(crate) use reason::{blocker, exit, port_trouble, reason, signal_name, waiting_for};
