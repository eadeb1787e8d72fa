//! The plan that would be, and what it changes. Nothing here touches what runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::{Ground, Planned, Plannings};
use crate::plan::{Assignment, Change, Difference, Draft, Plan, UnitPlan, diff};
use crate::ports::{Batch, Running, allocate};
use crate::run::control::CommandError;
use crate::run::proposal::{
    Advice, Asking, ChangedField, Extent, Proposal, Recreate, UnitChange, What,
};
use crate::spec::Problem;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text::chain;

/// Makes the plan.
pub(super) fn plan(asking: Asking, ground: &Ground) -> Plannings {
    let sources = asking.sources;
    let units = ground.units.are.units.iter();
    let running = units.map(|unit| unit.service.clone()).collect();
    let (draft, mut problems) = Draft::new(sources.beside(running));
    let draft = draft.filter(|_| !problems.iter().any(Problem::is_error));
    let draft = draft.ok_or(CommandError::Mistakes)?;
    let extent = asking.extent;
    let named = reached(&draft.preview(), &extent);
    let is_left = |service: &ServiceName| {
        extent.recreate == Recreate::Nobody
            // One of an inactive profile goes on as it is.
            || draft.spec().lingering.contains(service)
            || extent.spared.contains(service)
            || named.as_ref().is_some_and(|named| !named.contains(service))
    };
    let kept = draft.requests_beside(&ground.held, |key| is_left(&key.service), &mut problems);
    let mut assignment: Assignment = kept.kept;
    let mut warnings = Vec::new();
    let (mut holds, mut released) = (IndexMap::new(), HashSet::new());
    if let Some((ledger, owner)) = &ground.memory {
        let staying = assignment.iter().map(|(key, port)| (*port, key.clone()));
        let running = Running {
            given_up: kept.given_up,
            staying: staying.collect(),
        };
        let batch = Batch {
            requests: &kept.wanted,
            pool: draft.pool(),
            owner,
            strict: asking.strict_ports,
            fresh: asking.fresh_ports,
            is_noted_later: true,
            running: Some(&running),
        };
        let allocation = allocate(&batch, ledger).map_err(|error| CommandError::NoPorts {
            message: chain(&error),
            hint: error.hint(),
        })?;
        warnings.extend(allocation.warnings.iter().map(|warning| Advice {
            message: warning.to_string(),
            hint: warning.hint().to_owned(),
        }));
        assignment.extend(allocation.ports);
        (holds, released) = (allocation.holds, allocation.released);
    }
    let mut late = Vec::new();
    let plan = draft.finish(&assignment, &mut late);
    let is_flawed = late.iter().any(Problem::is_error);
    let Outcome {
        mut changes,
        ongoing,
    } = changes(&ground.units, &plan, &extent, is_left);
    for key in kept.unlike {
        let is_known =
            |change: &UnitChange| (&change.service, change.replica) == (&key.service, key.replica);
        if !changes.iter().any(is_known) {
            changes.push(UnitChange {
                service: key.service,
                replica: key.replica,
                what: What::Stays {
                    fields: vec![ChangedField {
                        field: "ports".to_owned(),
                        variable: None,
                    }],
                },
            });
        }
    }
    let mut ports: Vec<_> = assignment.into_iter().collect();
    ports.sort();
    let planned = Box::new(Planned {
        proposal: Proposal {
            id: 0,
            changes,
            ports,
            warnings,
        },
        sources: Some(sources),
        requested: Arc::new(draft.requested()),
        plan,
        holds,
        released,
        extent,
        ongoing,
        lingering: draft.spec().lingering.iter().cloned().collect(),
        edition: ground.edition,
    });
    Ok((planned, !is_flawed && !asking.dry_run))
}

/// The services that are meant, with what they depend on; nothing where that is everything.
fn reached(plan: &Plan, extent: &Extent) -> Option<HashSet<ServiceName>> {
    if extent.services.is_empty() {
        return None;
    }
    let mut edges: HashMap<&ServiceName, Vec<&ServiceName>> = HashMap::new();
    for unit in &plan.units {
        let needs = unit.depends_on.iter().map(|edge| &edge.unit.service);
        edges.entry(&unit.service).or_default().extend(needs);
    }
    let mut reached = HashSet::new();
    let mut next: Vec<&ServiceName> = extent.services.iter().collect();
    while let Some(service) = next.pop() {
        if reached.insert(service.clone()) && !extent.no_deps {
            next.extend(edges.get(service).into_iter().flatten());
        }
    }
    Some(reached)
}

/// What the units of a running stack are and will be.
pub(in super::super) struct Units {
    /// All that are not about to leave, as they are.
    pub(in super::super) are: Plan,
    /// Those that become others, as these.
    pub(in super::super) will_be: Plan,
}

/// What becomes of the units.
pub(in super::super) struct Outcome {
    /// Of every one that does not stay as it is.
    pub(in super::super) changes: Vec<UnitChange>,
    /// Those that become already what they are to be, and go on with that.
    pub(in super::super) ongoing: HashSet<UnitId>,
}

/// What becomes of every unit. `is_left` says which services are to stay as they are.
///
/// One that is on its way to become another is compared with that: whoever wants the same once more
/// changes nothing. Only if the files want it as it still runs, it is what it is to be after all.
pub(in super::super) fn changes(
    units: &Units,
    new: &Plan,
    extent: &Extent,
    is_left: impl Fn(&ServiceName) -> bool,
) -> Outcome {
    let old = &units.are;
    let later = diff(&units.will_be, new).into_iter();
    let becomes: HashSet<UnitId> = units.will_be.units.iter().map(UnitPlan::id).collect();
    let mut later: HashMap<UnitId, Difference> =
        later.filter(|(unit, _)| becomes.contains(unit)).collect();
    let mut ongoing = HashSet::new();
    // Whoever names services means these alone, and not what they depend on.
    let is_named = |unit: &UnitId| {
        extent.recreate == Recreate::All
            && (extent.services.is_empty() || extent.services.contains(&unit.service))
    };
    let anew = |fields| {
        if extent.no_start {
            What::GoesDown { fields }
        } else {
            What::Restarts { fields }
        }
    };
    let mut whats: IndexMap<UnitId, Option<What>> = IndexMap::new();
    for (unit, mut difference) in diff(old, new) {
        let is_left = is_left(&unit.service);
        if let Some(later) = later.remove(&unit) {
            if is_left || !later.restarts() {
                ongoing.insert(unit.clone());
                difference = later;
            } else if difference.restarts() {
                difference = later;
            }
        }
        let restarts = difference.restarts();
        let what = match difference {
            Difference::Added if is_left || extent.no_start => Some(What::Appears),
            Difference::Added => Some(What::Starts),
            Difference::Removed if is_left && extent.recreate != Recreate::Nobody => {
                Some(What::Stays { fields: Vec::new() })
            }
            Difference::Removed => Some(What::Stops),
            Difference::Same if is_left => None,
            Difference::Changed(changes) if is_left => Some(What::Stays {
                fields: fields(changes),
            }),
            Difference::Same if is_named(&unit) => Some(anew(Vec::new())),
            Difference::Changed(changes) if restarts || is_named(&unit) => {
                Some(anew(fields(changes)))
            }
            Difference::Same => None,
            Difference::Changed(changes) => Some(What::TakesOver {
                fields: fields(changes),
            }),
        };
        whats.insert(unit, what);
    }
    keep_needed(old, new, &mut whats);
    follow(new, &mut whats, is_left);
    let changes = whats.into_iter().filter_map(|(unit, what)| {
        Some(UnitChange {
            service: unit.service,
            replica: unit.replica,
            what: what?,
        })
    });
    Outcome {
        changes: changes.collect(),
        ongoing,
    }
}

/// Who is left as it is keeps what it needs, also where the files do not have that any more.
fn keep_needed(old: &Plan, new: &Plan, whats: &mut IndexMap<UnitId, Option<What>>) {
    let known: HashSet<&ServiceName> = new.units.iter().map(|unit| &unit.service).collect();
    let is_left = |unit: &&UnitPlan| {
        let what = whats.get(&unit.id()).and_then(Option::as_ref);
        matches!(what, Some(What::Stays { .. }))
    };
    let mut next: Vec<&UnitPlan> = old.units.iter().filter(is_left).collect();
    let plans: HashMap<UnitId, &UnitPlan> =
        old.units.iter().map(|unit| (unit.id(), unit)).collect();
    while let Some(unit) = next.pop() {
        for edge in &unit.depends_on {
            // Of a service that has fewer replicas now the rest is enough.
            if whats.get(&edge.unit) == Some(&Some(What::Stops))
                && !known.contains(&edge.unit.service)
            {
                let service = unit.service.clone();
                whats.insert(edge.unit.clone(), Some(What::Kept { service }));
                next.extend(plans.get(&edge.unit));
            }
        }
    }
}

/// Who is to be restarted with what it depends on (`restart: true`) follows that.
fn follow(
    new: &Plan,
    whats: &mut IndexMap<UnitId, Option<What>>,
    is_left: impl Fn(&ServiceName) -> bool,
) {
    loop {
        let is_anew = |unit: &UnitId| {
            let what = whats.get(unit).and_then(Option::as_ref);
            matches!(what, Some(What::Restarts { .. } | What::Follows { .. }))
        };
        let followed: Vec<(UnitId, ServiceName)> = new
            .units
            .iter()
            .filter(|unit| {
                let what = whats.get(&unit.id());
                let stays = matches!(what, Some(None | Some(What::TakesOver { .. })));
                stays && !is_left(&unit.service)
            })
            .filter_map(|unit| {
                let mut edges = unit.depends_on.iter();
                let edge = edges.find(|edge| edge.restart && is_anew(&edge.unit))?;
                Some((unit.id(), edge.unit.service.clone()))
            })
            .collect();
        if followed.is_empty() {
            return;
        }
        for (unit, service) in followed {
            whats.insert(unit, Some(What::Follows { service }));
        }
    }
}

fn fields(changes: Vec<Change>) -> Vec<ChangedField> {
    let field = |change: Change| ChangedField {
        field: change.field.to_owned(),
        variable: change.variable,
    };
    changes.into_iter().map(field).collect()
}
