//! Planning anew for a stack that runs: what an `up` would change.
//!
//! It happens on a thread of its own, as the ledger's lock may have to be waited for, and is told to
//! the loop when it is done. Nothing but the new ports is held for it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use indexmap::IndexMap;
use tokio::sync::oneshot;

use super::Supervisor;
use super::messages::Prepared;
use crate::plan::{Assignment, Change, Difference, Draft, Plan, Requested, UnitPlan, diff};
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Batch, Hold, Ledger, allocate};
use crate::run::control::CommandError;
use crate::run::proposal::{
    Advice, Asking, ChangedField, Extent, Proposal, Recreate, UnitChange, What,
};
use crate::support::name::{ServiceName, UnitId};

/// A proposal with all that it takes to carry it out.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) proposal: Proposal,
    pub(super) plan: Plan,
    pub(super) requested: Requested,
    /// The ports that are new.
    pub(super) holds: IndexMap<PortKey, Hold>,
    pub(super) released: HashSet<PortKey>,
    pub(super) extent: Extent,
    /// How often plans had been carried out when this one was made.
    pub(super) edition: u64,
}

pub(super) type ReplyTx<T> = oneshot::Sender<Result<T, CommandError>>;

/// What there is to know of the running stack.
struct Ground {
    old: Plan,
    requested: Requested,
    held: Assignment,
    /// Where ports are noted, and for whom.
    memory: Option<(Ledger, Owner)>,
    edition: u64,
}

impl Supervisor {
    /// Plans what a client asks for.
    pub(super) fn propose(&mut self, asking: Asking, reply_tx: ReplyTx<Proposal>) {
        if self.ending.is_some() {
            return drop(reply_tx.send(Err(CommandError::Draining)));
        }
        if self.frozen_at.is_some() {
            return drop(reply_tx.send(Err(CommandError::Suspended)));
        }
        let units = self.wanted_plans();
        let held = units.iter().flat_map(|unit| {
            unit.ports.iter().map(|port| {
                let key = PortKey::new(&unit.service, unit.replica, &port.name);
                (key, port.port)
            })
        });
        let ground = Ground {
            held: held.collect(),
            requested: self.requested.clone(),
            memory: self.memory.clone(),
            edition: self.edition,
            old: self.plan_of(units),
        };
        let prepared_tx = self.prepared_tx.clone();
        // It is done once, wherever it is done.
        let job = Mutex::new(Some((asking, ground, reply_tx)));
        self.beside.run(move || {
            let job = job.lock().ok().and_then(|mut job| job.take());
            if let Some((asking, ground, reply_tx)) = job {
                let planned = plan(asking, &ground);
                // A supervisor that has gone has no use for it.
                drop(prepared_tx.send(Prepared::Planned(planned, reply_tx)));
            }
        });
    }

    /// What every unit is, or becomes once it begins anew.
    pub(super) fn wanted_plans(&self) -> Vec<UnitPlan> {
        let units = self.units.values().filter(|unit| !unit.is_leaving());
        units.map(|unit| unit.wanted_plan().clone()).collect()
    }

    /// The plan that has these units.
    pub(super) fn plan_of(&self, units: Vec<UnitPlan>) -> Plan {
        let about = &self.about;
        Plan {
            project: about.project.clone(),
            instance: about.instance.clone(),
            project_dir: about.project_dir.clone(),
            file: about.file.clone(),
            dotenv: None,
            values: about.values.clone(),
            units,
            arguments: about.arguments.clone(),
            fingerprint: about.fingerprint.clone(),
        }
    }

    /// A plan is there: keeps it until somebody wants it carried out, and says what it would change.
    pub(super) fn planned(
        &mut self,
        planned: Result<(Box<Planned>, bool), CommandError>,
        reply_tx: ReplyTx<Proposal>,
    ) {
        let reply = planned.map(|(mut planned, is_kept)| {
            if is_kept {
                self.last_proposal += 1;
                planned.proposal.id = self.last_proposal;
            }
            let proposal = planned.proposal.clone();
            self.proposal = is_kept.then_some(planned);
            proposal
        });
        drop(reply_tx.send(reply));
    }
}

/// Makes the plan; also whether it can be carried out.
fn plan(asking: Asking, ground: &Ground) -> Result<(Box<Planned>, bool), CommandError> {
    let units = ground.old.units.iter();
    let running = units.map(|unit| unit.service.clone()).collect();
    let sources = asking.sources.beside(running);
    let (draft, mut problems) = Draft::new(sources);
    let draft = draft.filter(|_| !problems.iter().any(crate::spec::Problem::is_error));
    let draft = draft.ok_or(CommandError::Mistakes)?;
    let extent = asking.extent;
    let named = reached(&draft.preview(), &extent);
    let is_left = |service: &ServiceName| {
        extent.recreate == Recreate::Nobody
            // One of an inactive profile goes on as it is.
            || draft.spec().lingering.contains(service)
            || named.as_ref().is_some_and(|named| !named.contains(service))
    };
    let kept = draft.requests_beside(
        &ground.requested,
        &ground.held,
        |key| is_left(&key.service),
        &mut problems,
    );
    let mut assignment = kept.kept;
    let mut warnings = Vec::new();
    let (mut holds, mut released) = (IndexMap::new(), HashSet::new());
    if let Some((ledger, owner)) = &ground.memory {
        let batch = Batch {
            requests: &kept.wanted,
            pool: draft.pool(),
            owner,
            strict: asking.strict_ports,
            fresh: asking.fresh_ports,
            is_noted_later: true,
        };
        let allocation = allocate(&batch, ledger).map_err(|error| CommandError::NoPorts {
            message: crate::support::text::chain(&error),
            hint: error.hint(),
        })?;
        warnings.extend(allocation.warnings.iter().map(|warning| Advice {
            message: warning.to_string(),
            hint: warning.hint().to_owned(),
        }));
        assignment.extend(
            allocation
                .holds
                .iter()
                .map(|(key, hold)| (key.clone(), hold.port())),
        );
        (holds, released) = (allocation.holds, allocation.released);
    }
    let mut late = Vec::new();
    let plan = draft.finish(&assignment, &mut late);
    let is_flawed = late.iter().any(crate::spec::Problem::is_error);
    let changes = changes(&ground.old, &plan, &extent, |id| is_left(&id.service));
    let mut ports: Vec<_> = assignment.into_iter().collect();
    ports.sort();
    let planned = Box::new(Planned {
        proposal: Proposal {
            id: 0,
            changes,
            ports,
            warnings,
        },
        requested: draft.requested(),
        plan,
        holds,
        released,
        extent,
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

/// What becomes of every unit that does not stay as it is.
pub(super) fn changes(
    old: &Plan,
    new: &Plan,
    extent: &Extent,
    is_left: impl Fn(&UnitId) -> bool,
) -> Vec<UnitChange> {
    // Whoever names services means these alone, and not what they depend on.
    let is_named = |unit: &UnitId| {
        extent.recreate == Recreate::All
            && (extent.services.is_empty() || extent.services.contains(&unit.service))
    };
    let differences = diff(old, new).into_iter();
    let changes = differences.filter_map(|(unit, difference)| {
        let restarts = difference.restarts();
        let what = match difference {
            Difference::Added => What::Starts,
            Difference::Removed if is_left(&unit) && !extent.services.is_empty() => return None,
            Difference::Removed => What::Stops,
            Difference::Same | Difference::Changed(_) if is_left(&unit) => {
                let fields = fields(difference);
                (!fields.is_empty()).then_some(What::Stays { fields })?
            }
            Difference::Same | Difference::Changed(_) if is_named(&unit) => What::Restarts {
                fields: fields(difference),
            },
            Difference::Same => return None,
            Difference::Changed(_) if restarts => What::Restarts {
                fields: fields(difference),
            },
            Difference::Changed(_) => What::TakesOver {
                fields: fields(difference),
            },
        };
        Some(UnitChange {
            service: unit.service,
            replica: unit.replica,
            what,
        })
    });
    changes.collect()
}

fn fields(difference: Difference) -> Vec<ChangedField> {
    let changes = match difference {
        Difference::Changed(changes) => changes,
        Difference::Same | Difference::Added | Difference::Removed => Vec::new(),
    };
    let field = |change: Change| ChangedField {
        field: change.field.to_owned(),
        variable: change.variable,
    };
    changes.into_iter().map(field).collect()
}
