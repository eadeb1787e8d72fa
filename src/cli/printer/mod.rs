//! The one place that prints.
//!
//! A [`Printer`] is a handle on a thread of its own that owns stdout, stderr and the live region.
//! A terminal can stop taking text at any time (Ctrl-S, a closed lid, a slow pipe), and whoever
//! prints must still hear Ctrl-C: so nothing here makes the caller wait. Who has much to print asks
//! for room first, so that what waits for a slow reader stays small (`docs/design/output.md`).
//!
//! ```text
//! Printer ─► items ─► worker ─► painter, escape   log lines, to stdout
//!                           ├─► words, plain, json, summary   messages, to stderr
//!                           └─► board ─► frame ─► region   what is pending, to stderr
//! ```
//!
//! All but `handle`, `worker`, `sink` and `region` is pure: what there is to know and the time in,
//! text out.

mod board;
mod direct;
mod escape;
mod frame;
mod handle;
mod item;
mod json;
mod options;
mod painter;
mod plain;
mod region;
mod roster;
mod sink;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod words;
mod worker;

pub use direct::{say, say_out, stderr_columns, stdout_columns, stdout_is_closed};
pub use handle::Printer;
pub use item::Failure;
pub use options::{Color, PrinterOptions, Progress, Terminals};
pub(crate) use summary::relative;
