//! WHAT WILL HAPPEN: commands, graph, placeholders resolved, environment layers; immutable.
//!
//! [`Draft::new`] takes a spec and the caller's environment and finds every mistake that needs no
//! port; [`Draft::requests`] is what the allocator is asked for; [`Draft::finish`] makes the
//! [`Plan`]. Deterministic: the same spec, environment and ports give the same plan.

pub(crate) mod code;
pub mod command;
mod draft;
mod env_file;
mod fingerprint;
mod fixed;
mod generated;
mod graph;
mod health;
mod identity;
mod make;
pub mod model;
mod port_argument;
mod replicas;
mod resolver;
mod restart;
mod show;
#[cfg(test)]
mod tests;
mod unit;
mod variables;

pub use draft::{Draft, Inputs};
pub use identity::instance_id;
pub use model::{Plan, UnitPlan};
pub use port_argument::PortArgument;
pub use resolver::Assignment;
pub use show::Shown;
pub use variables::Caller;
