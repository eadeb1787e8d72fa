//! What a unit's process is given before its program runs: whose it is, and what it may take.

use serde::Serialize;

use super::resolver::Resolver;
use crate::spec::code as spec_code;
use crate::spec::model::{LIMITS, ServiceSpec, UlimitSpec, word_of};
use crate::spec::problem::Report;

/// What a process is given; nothing is what it inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProcessPlan {
    /// Whose it is, as it is written; the names mean something only on the machine where it runs.
    pub user: Option<String>,
    /// Further groups, as they are written.
    pub group_add: Vec<String>,
    /// Its umask.
    pub umask: Option<u32>,
    /// Its nice value.
    pub nice: Option<i32>,
    /// Its `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub stdin_open: bool,
    /// Its limits.
    pub ulimits: Vec<UlimitPlan>,
}

/// One limit (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UlimitPlan {
    /// The resource.
    pub resource: u32,
    /// What counts; the largest number stands for no limit.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

impl UlimitPlan {
    /// The limit's name.
    pub fn name(&self) -> &'static str {
        word_of(&LIMITS, &self.resource)
    }
}

/// What a service says of its process.
pub(super) fn process_plan(service: &ServiceSpec, resolver: &Resolver<'_>) -> ProcessPlan {
    let spec = &service.process;
    let ulimits = spec.ulimits.iter();
    ProcessPlan {
        user: spec.user.as_ref().map(|user| resolver.text(user)),
        group_add: resolver.words(&spec.group_add),
        umask: resolver.setting(spec.umask.as_ref()),
        nice: resolver.setting(spec.nice.as_ref()),
        oom_score_adj: resolver.setting(spec.oom_score_adj.as_ref()),
        tty: spec.tty,
        stdin_open: spec.stdin_open,
        ulimits: ulimits
            .filter_map(|(&resource, limit)| ulimit(resource, limit, resolver))
            .collect(),
    }
}

fn ulimit(resource: u32, spec: &UlimitSpec, resolver: &Resolver<'_>) -> Option<UlimitPlan> {
    let limit = UlimitPlan {
        resource,
        soft: resolver.setting(Some(&spec.soft))?,
        hard: resolver.setting(Some(&spec.hard))?,
    };
    if limit.soft > limit.hard {
        let message = format!(
            "the soft limit of `{}` is above its hard limit",
            limit.name()
        );
        let hint = "make `hard` at least as large as `soft`";
        let mut told = resolver.told();
        told.error(spec_code::BAD_VALUE, spec.soft.span(), message, hint);
    }
    Some(limit)
}
