//! The verbs that speak to a running supervisor, or read what one has left: one file each.
//!
//! A verb gets a [`Context`] and its arguments, and returns the exit code or a
//! [`Stop`](crate::cli::exit::Stop) for the caller to print. It says what it has to say through
//! [`Output`]; nothing here prints. What several of them need is in `ground` (is there a supervisor, and
//! what is known without one) and `watch` (follow events until a goal is reached).

pub mod attach;
pub mod client;
pub mod config;
pub mod doctor;
pub mod down;
pub mod down_all;
pub mod env;
mod ground;
pub mod logs;
pub mod overview;
pub mod port;
pub mod ports;
pub mod ps;
mod readiness;
pub mod restart;
pub mod run;
mod running_plan;
pub mod start;
pub mod stop;
pub mod up;
mod watch;
pub mod watching;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use indexmap::IndexMap;

use crate::api::messages::Update;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
pub(crate) use crate::run::launch::runtime;
use crate::run::logs::LogBlock;
use crate::support::name::{ServiceName, UnitId};

/// The services of a file; of one that takes no part, the profile that would turn it on.
pub type InFile = IndexMap<ServiceName, Option<String>>;

/// What a verb works with.
pub struct Context<'a> {
    /// The copy of the project that it is about.
    pub instance: &'a Instance,
    /// The services of the file, of which a stack that runs may have no replica.
    pub in_file: &'a InFile,
    /// Whether the file says something else now than what a stack runs.
    pub has_changed: &'a dyn Fn(&StackSnapshot) -> bool,
    /// Where it says what it has to say.
    pub output: &'a mut dyn Output,
}

/// How a verb speaks. The printer is behind it; tests collect.
pub trait Output {
    /// Data, for stdout: one line without its end, or several.
    fn data(&mut self, text: &str);

    /// A message, for stderr, likewise.
    fn message(&mut self, text: &str);

    /// Something that happened in the stack, as progress.
    fn update(&mut self, update: &Update);

    /// Whose output may come: of a service of which there are several, each is numbered.
    fn introduce(&mut self, units: &[UnitId]);

    /// Output of a unit. Returns when it has been taken: history may be larger than memory.
    fn block(&mut self, block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}
