//! WHAT WILL HAPPEN: commands, graph, placeholders resolved, environment layers; immutable.
//!
//! [`Sources`] are all that a plan is made of; [`Draft::new`] finds every mistake in them that needs
//! no port; [`Draft::requests`] is what the allocator is asked for; [`Draft::finish`] makes the
//! [`Plan`]. Deterministic: the same sources and ports give the same plan, anywhere.

mod assignment;
mod belongings;
pub(crate) mod code;
pub mod command;
mod contents;
mod diff;
mod draft;
mod env_file;
mod execution;
mod fingerprint;
mod fixed;
mod generated;
mod graph;
mod health;
mod home;
mod hook;
mod identity;
mod keep;
mod make;
pub mod model;
mod port_argument;
pub mod process;
mod profiles;
mod replicas;
mod resolver;
mod restart;
mod schedule;
mod show;
mod sources;
#[cfg(test)]
mod tests;
mod unit;
mod variables;
mod views;

pub use assignment::Assignment;
pub use contents::Contents;
pub use diff::{Change, Difference, Effect, diff};
pub use draft::Draft;
pub use env_file::of_dotenv;
pub use home::{Home, secret_names};
pub use identity::instance_id;
pub use keep::{Held, Kept, Requested};
pub use model::{Plan, UnitPlan};
pub use port_argument::PortArgument;
pub use resolver::SECRET_LENGTH;
pub use show::Shown;
pub use sources::{Arguments, Caller, Sources};
pub use unit::DEFAULT_GRACE;
pub use views::{UsedVariable, Variable, written};
