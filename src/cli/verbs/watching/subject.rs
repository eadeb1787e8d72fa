//! Whose files are watched, as a plan says it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::burst::Burst;
use super::rebuild::Rebuild;
use super::rules::{Rule, Rules};
use crate::plan::Plan;
use crate::plan::model::UnitPlan;
use crate::run::control::UnitTarget;
use crate::support::name::ServiceName;

/// A service whose files are watched.
pub(super) struct Subject {
    /// Of its first replica.
    pub(super) plan: UnitPlan,
    pub(super) burst: Burst,
    /// What has changed, by the item of its `watch`.
    pub(super) changes: BTreeMap<usize, BTreeSet<PathBuf>>,
    /// What is still to be done about them: the reactions of a rebuild, the last one first.
    pub(super) commands: Vec<usize>,
    pub(super) rebuild: Option<Rebuild>,
    /// What was restarted and is not executed again yet.
    pub(super) targets: Vec<UnitTarget>,
}

/// What a plan says is watched.
pub(super) struct Watched {
    pub(super) subjects: Vec<Subject>,
    pub(super) rules: Rules,
    /// For each rule the subject and the item of its `watch`.
    pub(super) owners: Vec<(usize, usize)>,
    /// Patterns that cannot be read.
    pub(super) problems: Vec<String>,
}

impl Watched {
    /// For these services, for all of them where none is named.
    pub(super) fn of(plan: &Plan, services: &[ServiceName]) -> Self {
        let (mut subjects, mut owners) = (Vec::<Subject>::new(), Vec::new());
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for unit in &plan.units {
            let is_meant = services.is_empty() || services.contains(&unit.service);
            let mut others = subjects.iter();
            let is_further = others.any(|other| other.plan.service == unit.service);
            if unit.watch.is_empty() || !is_meant || is_further {
                continue;
            }
            for (item, watch) in unit.watch.iter().enumerate() {
                let (rule, wrong) = Rule::new(watch, &plan.project_dir);
                rules.push(rule);
                owners.push((subjects.len(), item));
                problems.extend(wrong.iter().map(|it| format!("{}: {it}", unit.service)));
            }
            subjects.push(Subject {
                plan: unit.clone(),
                burst: Burst::default(),
                changes: BTreeMap::new(),
                commands: Vec::new(),
                rebuild: None,
                targets: Vec::new(),
            });
        }
        let dotenv = plan.dotenv.iter().map(|dotenv| dotenv.path.clone());
        Self {
            subjects,
            rules: Rules::new(rules, dotenv.collect()),
            owners,
            problems,
        }
    }
}
