//! What differs between two plans, unit by unit and field by field, and what a change takes.
//!
//! The fields of [`fields`] are the only ones that count: [`diff`] compares them, the fingerprint
//! hashes them. Words about a change are made in `cli`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::model::{
    Belongings, Changes, Environment, HookPlan, Plan, ProbePlan, ProcessPlan, UnitPlan,
};
use crate::spec::model::{FileKind, HookTime};
use crate::support::fs::below;
use crate::support::name::UnitId;

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Nothing that the files settle for it is another.
    Same,
    /// These fields are others.
    Changed(Vec<Change>),
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

/// A field of a unit that is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field, by its key in the file.
    pub field: &'static str,
    /// Of the environment the variable.
    pub variable: Option<String>,
    /// What the change takes.
    pub effect: Effect,
}

/// What a change of a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is taken over while the unit runs.
    Live,
    /// It needs a restart.
    Restarts,
}

impl Difference {
    /// Whether a unit that runs must be restarted for it.
    pub fn restarts(&self) -> bool {
        match self {
            Self::Same | Self::Added | Self::Removed => false,
            Self::Changed(changes) => changes
                .iter()
                .any(|change| change.effect == Effect::Restarts),
        }
    }
}

/// What differs between two plans: every unit of the new one in its order, then those that are gone.
///
/// Generated keys that a unit does not refer to are not a change, nor is what it inherits from the
/// caller; where it does refer to one, the text in which it does is another.
pub fn diff(old: &Plan, new: &Plan) -> Vec<(UnitId, Difference)> {
    let common = Common::of(new);
    let mut commons_before = Commons::default();
    let mut before: HashMap<UnitId, &UnitPlan> =
        old.units.iter().map(|unit| (unit.id(), unit)).collect();
    let mut differences = Vec::with_capacity(new.units.len());
    for unit in &new.units {
        let difference = match before.remove(&unit.id()) {
            None => Difference::Added,
            Some(earlier) => {
                let mut changes = changes((earlier, old), (unit, new));
                let (common_before, moved) = commons_before.of(earlier, &common);
                let own = [earlier, unit].map(|unit| unit.environment.changes.keys());
                let mut keys: BTreeSet<String> = own.into_iter().flatten().cloned().collect();
                keys.extend(moved.iter().cloned());
                keys.retain(|key| common_before.settled(earlier, key) != common.settled(unit, key));
                changes.extend(keys.into_iter().map(|key| Change {
                    field: "environment",
                    variable: Some(key),
                    effect: Effect::Restarts,
                }));
                if changes.is_empty() {
                    Difference::Same
                } else {
                    Difference::Changed(changes)
                }
            }
        };
        differences.push((unit.id(), difference));
    }
    let names = old.units.iter().map(UnitPlan::id);
    let gone = names.filter(|name| before.contains_key(name));
    differences.extend(gone.map(|name| (name, Difference::Removed)));
    differences
}

/// The changed fields of a unit, its environment aside.
fn changes(old: (&UnitPlan, &Plan), new: (&UnitPlan, &Plan)) -> Vec<Change> {
    let of = |(unit, plan): (&UnitPlan, &Plan)| fields(unit, &plan.project_dir);
    let pairs = of(old).into_iter().zip(of(new));
    let changes = pairs
        .filter(|(old, new)| old.value != new.value)
        .map(|(_, new)| Change {
            field: new.name,
            variable: None,
            effect: new.effect,
        });
    let mut changes: Vec<Change> = changes.collect();
    // Where one of two that belong to a key needs a restart, it stands first and says it all.
    changes.dedup_by_key(|change| change.field);
    changes
}

/// What the files settle of the environment that all units share: all of it but the generated keys.
/// A value of nothing removes the key.
#[derive(Serialize)]
pub(super) struct Common<'a>(BTreeMap<&'a str, Option<&'a str>>);

impl<'a> Common<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let first = plan.units.first().map(|unit| &unit.environment);
        first.map_or_else(|| Self(BTreeMap::new()), Self::of_unit)
    }

    fn of_unit(environment: &'a Environment) -> Self {
        let all = environment.common.iter();
        let settled = all.filter(|(key, _)| !environment.generated.contains(*key));
        Self(
            settled
                .map(|(key, value)| (key.as_str(), value.as_deref()))
                .collect(),
        )
    }

    /// The keys that have another value there.
    fn other_than(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys());
        keys.filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|&key| key.to_owned())
            .collect()
    }

    /// What is settled of a variable of a unit, if anything is.
    #[expect(
        clippy::option_option,
        reason = "left alone, removed and set are three things"
    )]
    fn settled<'b>(&'b self, unit: &'b UnitPlan, key: &str) -> Option<Option<&'b str>> {
        let own = unit.environment.changes.get(key).map(Option::as_deref);
        let own = own.filter(|value| !is_derived(unit, key, *value));
        own.or_else(|| self.0.get(key).copied())
    }
}

/// What the units of a plan have in common. That is one for all of them, except where some were left
/// as an earlier plan had them.
#[derive(Default)]
struct Commons<'a> {
    by_address: HashMap<*const Changes, (Common<'a>, Vec<String>)>,
}

impl<'a> Commons<'a> {
    /// What a unit has in common with others, and which keys of that differ from `other`.
    fn of(&mut self, unit: &'a UnitPlan, other: &Common<'_>) -> &(Common<'a>, Vec<String>) {
        let changes = &*unit.environment.common;
        let entry = self.by_address.entry(std::ptr::from_ref(changes));
        entry.or_insert_with(|| {
            let common = Common::of_unit(&unit.environment);
            let moved = common.other_than(other);
            (common, moved)
        })
    }
}

/// A field of a unit, its environment aside.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    pub(super) name: &'static str,
    #[serde(skip)]
    effect: Effect,
    value: Value,
}

/// The fields that the files settle for a unit, each with what a change of it takes. A further field
/// of a unit's plan must be named here. That the whole project has moved changes nothing.
pub(super) fn fields(unit: &UnitPlan, project_dir: &Path) -> [Field; 31] {
    let UnitPlan {
        // Who it is; how many of it there are is told by those that are added and removed.
        service: _,
        replica: _,
        replicas: _,
        // Compared variable by variable.
        environment: _,
        execution,
        directory,
        ports,
        handoff,
        stop_signal,
        grace,
        restart,
        schedule,
        success_exit_codes,
        health,
        depends_on,
        hooks: _,
        logging,
        process,
        belongings,
        watch,
        is_attached,
        labels,
        annotations,
    } = unit;
    let ProcessPlan {
        user,
        group_add,
        umask,
        nice,
        oom_score_adj,
        tty,
        stdin_open,
        ulimits,
    } = process;
    let Belongings {
        // Told by the texts in which they stand.
        dirs: _,
        sockets: _,
        files,
    } = belongings;
    let of_kind = |kind| -> Vec<_> { files.iter().filter(|file| file.kind == kind).collect() };
    let hooks = |time| {
        let hooks = unit.hooks(time).map(|hook| {
            let directory = hook.directory.as_ref();
            let directory = directory.map(|directory| below(directory, project_dir));
            let mut hook = hook.clone();
            // It says the same.
            hook.environment.shift_remove("PWD");
            HookPlan { directory, ..hook }
        });
        hooks.collect::<Vec<_>>()
    };
    [
        restarts("command", execution),
        restarts(
            "working_dir",
            &below(directory, project_dir).to_string_lossy(),
        ),
        restarts("ports", ports),
        restarts("handoff", handoff),
        restarts("configs", &of_kind(FileKind::Config)),
        restarts("secrets", &of_kind(FileKind::Secret)),
        restarts("user", user),
        restarts("group_add", group_add),
        restarts("umask", umask),
        restarts("nice", nice),
        restarts("oom_score_adj", oom_score_adj),
        restarts("tty", tty),
        restarts("stdin_open", stdin_open),
        restarts("ulimits", ulimits),
        live("stop_signal", stop_signal),
        live("stop_grace_period", grace),
        live("restart", restart),
        // Other times are for the runs to come; one that has none lives another life.
        restarts("schedule", &schedule.is_some()),
        live("schedule", schedule),
        live("success_exit_codes", success_exit_codes),
        live("healthcheck", health),
        // It is told to the service when it is executed.
        restarts(
            "healthcheck.notify",
            &matches!(unit.probe(), Some(ProbePlan::Notify { .. })),
        ),
        live("depends_on", depends_on),
        live("pre_start", &hooks(HookTime::PreStart)),
        live("post_start", &hooks(HookTime::PostStart)),
        live("pre_stop", &hooks(HookTime::PreStop)),
        live("logging", logging),
        live("watch", watch),
        live("attach", is_attached),
        live("labels", labels),
        live("annotations", annotations),
    ]
}

fn restarts(name: &'static str, value: &impl Serialize) -> Field {
    Field {
        name,
        effect: Effect::Restarts,
        // Plain data, which always has a form.
        value: serde_json::to_value(value).unwrap_or_default(),
    }
}

fn live(name: &'static str, value: &impl Serialize) -> Field {
    Field {
        effect: Effect::Live,
        ..restarts(name, value)
    }
}

/// Whether a variable only says what another field says, or which run this is, where and under which
/// name.
pub(super) fn is_derived(unit: &UnitPlan, key: &str, value: Option<&str>) -> bool {
    match key {
        "STACK_RUN" | "STACK_PROJECT" | "STACK_INSTANCE" => true,
        "PWD" => value.is_some_and(|value| *unit.directory == *value),
        "PORT" => unit.ports.iter().any(|port| {
            port.name.as_str() == "PORT" && value == Some(port.port.to_string().as_str())
        }),
        _ => false,
    }
}
