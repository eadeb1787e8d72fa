//! WHAT WILL HAPPEN: the graph, placeholders resolved, environments layered; immutable.

pub mod model;

pub use model::{Plan, UnitPlan};
