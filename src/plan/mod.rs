//! WHAT WILL HAPPEN: commands, graph, placeholders resolved, environment layers; immutable.
//!
//! [`Draft::new`] takes a spec and the caller's environment and finds every mistake that needs no
//! port; [`Draft::requests`] is what the allocator is asked for; [`Draft::finish`] makes the
//! [`Plan`]. Deterministic: the same spec, environment and ports give the same plan.

pub mod command;
mod draft;
mod graph;
mod health;
mod identity;
pub mod model;
mod show;
mod unit;
mod variables;

pub use draft::{Assignment, Draft, Inputs};
pub use identity::instance_id;
pub use model::{Plan, UnitPlan};
pub use show::Shown;
pub use variables::Caller;

use crate::spec::model::{ServiceSpec, StackSpec};
use model::DependencyPlan;

/// The edges of one service, by index. What leads nowhere has been reported by the graph.
fn dependencies(spec: &StackSpec, service: &ServiceSpec) -> Vec<DependencyPlan> {
    service
        .depends_on
        .iter()
        .filter_map(|(name, dependency)| {
            Some(DependencyPlan {
                unit: spec.services.get_index_of(name)?,
                condition: dependency.condition,
                is_required: dependency.is_required,
                restart: dependency.restart,
            })
        })
        .collect()
}
