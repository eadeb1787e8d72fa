//! The one place that prints.
//!
//! A verb says what there is to say on the [`Page`] of its [`Printer`], and the printer runs beside
//! the verb: one loop writes, draws the live region, and waits for the verb's other business. A
//! terminal can stop taking text at any time (Ctrl-S, a closed lid, a slow pipe), and whoever prints
//! must still hear Ctrl-C: so no write waits. Who has much to print looks for room first, so that what
//! waits for a slow reader stays small (`docs/design/output.md`).
//!
//! ```text
//! Printer ─► page ─► painter, escape   log lines ──────────────────────┐
//!                ├─► words, plain, json, summary   messages ───────────┼─► outlet ─► stdout, stderr
//!                └─► board ─► frame ─► region   what is pending ───────┘
//! ```
//!
//! All but `handle`, `outlet` and `region` is pure: what there is to know and the time in, text out.

mod board;
mod direct;
mod escape;
mod frame;
mod handle;
mod json;
mod options;
mod outlet;
mod page;
mod painter;
mod plain;
mod region;
mod roster;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod words;

pub use direct::{
    raw_out, replay_out, say, say_out, stderr_columns, stdout_columns, terminal_size,
};
pub use handle::{PATIENCE, Printer};
pub use options::{Color, PrinterOptions, Progress, Terminals};
pub use page::Page;
pub(crate) use plain::notice;
pub(crate) use roster::Roster;
pub use summary::Failure;
pub(crate) use summary::relative;
