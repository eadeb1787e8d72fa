//! WHAT WILL HAPPEN: commands, graph, placeholders resolved, environment layers; immutable.

pub mod command;
pub mod model;

pub use model::{Plan, UnitPlan};
