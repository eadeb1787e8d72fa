//! Other looks at the same files than the settled one: as they are written, and which variables there
//! are and are used. Secrets are masked as there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::draft::Draft;
use super::sources::Sources;
use super::variables::Variables;
use crate::spec::problem::Problem;
use crate::spec::{self, Written};
use crate::support::secret::{mask_default, mask_text, mask_value};

/// A variable that the files may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or the mask.
    pub value: String,
    /// Where the value is from.
    pub from: String,
}

/// A variable that the files ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsedVariable {
    /// Its name.
    pub name: String,
    /// Whether it must be set.
    pub required: bool,
    /// What stands for it where it is not set.
    pub default: Option<String>,
    /// What stands for it where it is set.
    pub alternate: Option<String>,
}

/// All files as one, as they were written; else what keeps them from being put together.
pub fn written(sources: Sources) -> (Option<Written>, Vec<Problem>) {
    let sources = Arc::new(sources);
    let mut problems = Vec::new();
    let mut variables = Variables::new(&sources, &mut problems);
    let texts = sources.bytes.iter().map(|bytes| bytes.0.clone()).collect();
    let (written, more) = spec::written(sources.file.clone(), texts, &mut variables);
    problems.extend(more);
    (written, problems)
}

impl Draft {
    /// Every variable that the files may ask for, by name.
    pub fn environment(&self) -> Vec<Variable> {
        let all = self.variables.all().into_iter();
        all.map(|(name, (value, from))| Variable {
            value: mask_value(&name, &value),
            name,
            from,
        })
        .collect()
    }

    /// Every variable that the files ask for, by name; of several defaults the first one.
    pub fn used_variables(&self) -> Vec<UsedVariable> {
        let mut all: BTreeMap<&str, UsedVariable> = BTreeMap::new();
        for used in &self.uses {
            let it = all.entry(&used.name).or_default();
            it.name.clone_from(&used.name);
            it.required |= used.is_required;
            let default = used.default.as_ref();
            let default = || default.map(|text| mask_default(&used.name, text));
            it.default = it.default.take().or_else(default);
            let alternate = || used.alternate.as_ref().map(|text| mask_text(text));
            it.alternate = it.alternate.take().or_else(alternate);
        }
        all.into_values().collect()
    }

    /// Every profile that a service has, sorted.
    pub fn profiles(&self) -> Vec<&str> {
        let services = self.spec().services.values();
        let all = services.chain(self.spec().inactive.values());
        let profiles = all.flat_map(|service| &service.profiles);
        let mut names: Vec<&str> = profiles.map(|profile| profile.value.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
