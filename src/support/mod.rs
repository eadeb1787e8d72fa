//! Small things that every room may use: names, port ranges, durations, text, files.
//!
//! Nothing here knows about stacks or terminals. A thing belongs here when two rooms
//! that may not import each other both need it.

pub(crate) mod beside;
pub mod clock;
pub(crate) mod codes;
pub mod cron;
pub mod duration;
pub mod escape;
pub mod fs;
pub mod hash;
pub mod name;
pub mod port_range;
pub mod proc;
pub mod protocol;
pub mod secret;
pub mod size;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod yaml;
