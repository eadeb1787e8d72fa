//! THE .env FILE: quote, fence, read, write.
//!
//! Everything here is about one file format that two dozen programs read in two dozen ways.
//! [`quote`](mod@quote) writes a value so that as many of them as possible read it back, and says
//! which ones will not; [`read`](mod@read) reads such files by Compose's rules; [`fence`] keeps the
//! generated lines apart from the user's; [`write`](mod@write) puts the result on disk, whole or
//! not at all; [`format`](mod@format) prints the same values for `stack env`. Only `write` and
//! [`git`] touch the outside world.
//!
//! Which values there are is decided in `plan`; they are written by `up`, before it forks.
//! The rules and their reasons: `docs/design/dotenv.md`.

pub mod fence;
pub mod format;
pub mod git;
mod interpolate;
mod problem;
pub mod quote;
mod raw;
pub mod read;
pub mod write;

#[cfg(test)]
mod tests;

pub use fence::user_part;
pub use format::Format;
pub use git::would_git_track;
pub use quote::EntryError;
pub use raw::read_raw;
pub use read::{Contents, read};
pub use write::{DotenvError, Written, write};
