//! What services print: captured byte for byte, kept in files, handed to whoever watches.
//!
//! The way of a byte: a service's pipe ([`pipe_pair`]) → the one [`Pump`] task, which reads every
//! pipe of the stack, cuts at line ends, appends to the unit's log and index, and moves the
//! unit's position in the [`LogFeed`]. The way back out of the files is [`LogReader`], which viewers
//! keep going with what the feed says, and [`last_lines_of_attempt`].
//!
//! `docs/design/logs.md` has the file format and the rules.

mod block;
mod feed;
mod grep;
mod handle;
mod index;
mod intake;
mod lines;
mod losses;
mod open_log;
mod pipe;
mod pump;
mod reader;
mod segments;
mod sink;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod writer;

use nix::sys::epoll;

pub(crate) use block::one_character_a_byte;
pub use block::{LogBlock, Position};
#[cfg(test)]
pub(crate) use feed::Announcer;
pub use feed::{LogFeed, LogNews, Viewer};
pub use grep::{Grep, LastLines, Pattern};
pub use handle::{Drained, PumpHandle};
pub use lines::last_lines_of_attempt;
pub use pipe::{lasting_pipe_pair, pipe_pair};
pub use pump::Pump;
pub use reader::{Followed, LogReader, Start, Wanted, announce_reader, logged_units};
pub use segments::log_file_name;
pub use sink::{Expected, LogSink};
pub use writer::clear_logs;
