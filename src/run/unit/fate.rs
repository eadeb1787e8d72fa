//! What becomes of a unit by what the files say now: it stays, becomes another, or leaves
//! (`docs/design/reconcile.md`).

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Unit;
use crate::plan::Requested;
use crate::plan::model::{DependencyPlan, UnitPlan};
use crate::ports::Hold;
use crate::ports::request::PortKey;
use crate::run::reason::Blocker;
use crate::run::snapshot::Wanted;
use crate::run::state::Settings;
use crate::support::protocol::Protocol;

/// What a unit becomes once what runs of it has ended.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) plan: UnitPlan,
    /// How its ports were asked for.
    pub(crate) requested: Arc<Requested>,
    /// The holds of those ports that it does not have yet.
    pub(crate) holds: IndexMap<PortKey, Hold>,
    /// Ports whose servers need their hold to be released.
    pub(crate) released: HashSet<PortKey>,
}

/// What becomes of a unit by what the files say now.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is what they want it to be.
    Stays,
    /// It becomes another once it begins anew.
    Becomes(Box<Next>),
    /// It is gone from them, and goes once nothing of it runs.
    Leaves,
}

/// Why a unit was left as it is though the files have changed.
#[derive(Debug)]
pub(crate) struct Spared {
    /// What it waited for in vain.
    pub(crate) because: Blocker,
    /// Whether it is still to be planned what others become that refer to it.
    pub(crate) is_open: bool,
}

impl Unit {
    /// What it becomes once it begins anew, if that is another.
    pub(crate) fn next(&self) -> Option<&Next> {
        match &self.fate {
            Fate::Becomes(next) => Some(next),
            Fate::Stays | Fate::Leaves => None,
        }
    }

    /// Whether it is gone from the files.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.fate, Fate::Leaves)
    }

    /// What it is, or becomes once it begins anew.
    pub(crate) fn wanted_plan(&self) -> &UnitPlan {
        self.next().map_or(&self.plan, |next| &next.plan)
    }

    /// Whether it has a port that it will not have any more.
    pub(crate) fn gives_up(&self, protocol: Protocol, number: u16) -> bool {
        let has = self.ports.iter();
        let mut has = has.map(|port| (port.protocol, port.number));
        let keeps = self.wanted_plan().ports.iter();
        let mut keeps = keeps.map(|port| (port.protocol, port.port));
        let is_it = |(its, port): (Protocol, u16)| port == number && its.overlaps(protocol);
        has.any(is_it) && (self.is_leaving() || !keeps.any(is_it))
    }

    /// What it depends on, or will once it begins anew.
    pub(crate) fn dependencies(&self) -> &[DependencyPlan] {
        &self.wanted_plan().depends_on
    }

    /// What it depends on, both as it runs and as it is to become.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &DependencyPlan> {
        let next = self.next().map(|next| &next.plan);
        let plans = next.into_iter().chain([&self.plan]);
        plans.flat_map(|plan| &plan.depends_on)
    }

    /// It becomes this once it begins anew. Holds that it was to get already stay its own.
    pub(crate) fn become_later(&mut self, mut next: Next) {
        if let Fate::Becomes(earlier) = std::mem::replace(&mut self.fate, Fate::Stays) {
            for (key, hold) in earlier.holds {
                next.holds.entry(key).or_insert(hold);
            }
        }
        self.fate = Fate::Becomes(Box::new(next));
    }

    /// It becomes what it was to become already; what differs is taken over live.
    pub(crate) fn go_on(&mut self, mut plan: UnitPlan, requested: Arc<Requested>) {
        if let Fate::Becomes(next) = &mut self.fate {
            if self.desired.wanted == Wanted::Running {
                // It has the environment of whoever started it.
                plan.environment.base = next.plan.environment.base.clone();
            }
            next.plan = plan;
            next.requested = requested;
        }
    }

    /// Its plan is another one from now on, which what runs of it takes over as it is.
    pub(crate) fn adopt(&mut self, plan: UnitPlan) {
        self.machine.adopt(settings(&plan));
        self.plan = plan;
    }

    /// Becomes what comes next, as nothing of it runs. Whether there was anything to become.
    pub(crate) fn become_next(&mut self) -> bool {
        let Next {
            plan,
            requested,
            mut holds,
            released,
        } = match std::mem::replace(&mut self.fate, Fate::Stays) {
            Fate::Becomes(next) => *next,
            fate @ (Fate::Stays | Fate::Leaves) => {
                self.fate = fate;
                return false;
            }
        };
        self.requested = requested;
        self.ports
            .become_those_of(&plan, |key| holds.shift_remove(key), &released);
        let ports = self.plan.ports.iter().map(|port| port.port);
        let gone: Vec<u16> = ports
            .filter(|number| plan.ports.iter().all(|port| port.port != *number))
            .collect();
        self.urls.retain(|port, _| !gone.contains(port));
        self.adopt(plan);
        true
    }
}

/// What a machine needs to know of a plan.
pub(super) fn settings(plan: &UnitPlan) -> Settings {
    Settings {
        policy: plan.restart,
        success_exit_codes: plan.success_exit_codes.clone(),
        grace: plan.grace,
        has_readiness: plan.has_readiness(),
        restarts_unhealthy: plan.health.as_ref().is_some_and(|health| health.restarts),
        is_shell_line: plan.execution.is_shell_line,
        hooks: plan.hooks.iter().map(|hook| hook.time).collect(),
        is_scheduled: plan.schedule.is_some(),
    }
}
