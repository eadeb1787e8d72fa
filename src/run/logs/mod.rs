//! What services print: captured byte for byte, kept in files, handed to whoever watches.
//!
//! The way of a byte: a service's pipe ([`pipe_pair`]) → the one [`Pump`] task, which reads every
//! pipe of the stack, cuts at line ends and appends to the unit's log and index → the
//! [`LogSink`], which is how the supervisor passes blocks on to the printer and to subscribers. The
//! way back out of the files is [`history`] and [`last_lines`]; following a log is the
//! control API's business, which joins both by [`LogBlock::offset`].
//!
//! `docs/design/logs.md` has the file format and the rules.

mod block;
mod handle;
mod index;
mod intake;
mod lines;
mod pipe;
mod pump;
mod reader;
mod sink;
#[cfg(test)]
mod testing;
mod writer;

use nix::sys::epoll;

pub use block::LogBlock;
pub use handle::{Drained, PumpHandle};
pub use lines::{last_lines, last_lines_of_attempt};
pub use pipe::pipe_pair;
pub use pump::Pump;
pub use reader::{History, HistoryBlock, Runs, history, logged_units};
pub use sink::{Flow, LogSink};
pub use writer::log_file_name;
