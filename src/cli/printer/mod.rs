//! The one place that prints.
//!
//! A [`Printer`] is a handle on a thread of its own that owns stdout, stderr and the live region.
//! A terminal can stop taking text at any time (Ctrl-S, a closed lid, a slow pipe), and the
//! supervisor that feeds the printer has one thread for everything: so nothing here makes the
//! caller wait, and what a slow reader could not take is dropped by a policy, counted and said
//! (`docs/design/output.md`).
//!
//! ```text
//! Printer ─► queue (bounded in bytes) ─► worker ─► painter, escape   log lines, to stdout
//!                                              ├─► words, plain, json, summary   messages, to stderr
//!                                              └─► board ─► frame ─► region   what is pending, to stderr
//! ```
//!
//! All but `queue`, `worker`, `sink` and `region` is pure: what there is to know and the time in,
//! text out.

mod board;
mod direct;
mod escape;
mod frame;
mod handle;
mod json;
mod options;
mod painter;
mod plain;
mod queue;
mod region;
mod roster;
#[cfg(test)]
pub(crate) mod samples;
mod sink;
mod summary;
pub(crate) mod words;
mod worker;

pub use direct::{
    say, say_if_there_is_room, say_out, stderr_columns, stdout_columns, stdout_is_closed,
};
pub use handle::Printer;
pub use options::{Color, PrinterOptions, Progress, Terminals};
pub use queue::{Delivery, Failure};
pub(crate) use summary::relative;
