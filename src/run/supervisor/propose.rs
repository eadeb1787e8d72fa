//! Planning anew for a stack that runs: what an `up` would change.
//!
//! It happens on a thread of its own, as the ledger's lock may have to be waited for, and is told to
//! the loop when it is done. Nothing but the new ports is held for it. Clients take turns: nobody plans
//! for a stack that another one is about to change, nor against ports that are held for it.

pub(super) mod planning;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::oneshot;

use planning::{Units, plan};

use super::Supervisor;
use super::messages::Prepared;
use crate::plan::{Held, Plan, Requested, Sources, UnitPlan};
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Hold, Ledger};
use crate::run::control::CommandError;
use crate::run::proposal::{Asking, Extent, Proposal, Recreate, What};
use crate::run::unit::Unit;
use crate::support::name::{ServiceName, UnitId};

/// How long a client may take from its proposal to its command: it only shows it. Who has been killed
/// meanwhile keeps others waiting no longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A proposal with all that it takes to carry it out.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) proposal: Proposal,
    /// What it was made of, to plan around what cannot become what it was to.
    pub(super) sources: Option<Arc<Sources>>,
    pub(super) plan: Plan,
    pub(super) requested: Arc<Requested>,
    /// The ports that are new.
    pub(super) holds: IndexMap<PortKey, Hold>,
    pub(super) released: HashSet<PortKey>,
    pub(super) extent: Extent,
    /// The units that become already what the plan has them be.
    pub(super) ongoing: HashSet<UnitId>,
    /// The services that run although their profiles are not active: they are left alone.
    pub(super) lingering: HashSet<ServiceName>,
    /// What the units were when it was made, by [`Negotiation::edition`].
    pub(super) edition: u64,
}

pub(super) type ReplyTx<T> = oneshot::Sender<Result<T, CommandError>>;

/// What came of planning; whether it can be carried out.
pub(super) type Plannings = Result<(Box<Planned>, bool), CommandError>;

/// Who is to be told what would change: a client, or nobody, where it is carried out at once.
pub(super) type Asker = Option<ReplyTx<Proposal>>;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    /// Who waits for it.
    waiting: VecDeque<(Asking, Asker)>,
    /// Whether it is to be planned once more around what was spared.
    pub(super) is_around_due: bool,
    /// Whether a plan is being made, or the files for one are being written.
    pub(super) is_busy: bool,
    /// What was proposed and may be carried out.
    proposal: Option<Box<Planned>>,
    last_id: u64,
    /// Raised whenever units become others than those that a plan was made for.
    pub(super) edition: u64,
}

impl Negotiation {
    /// Takes what was proposed under this id, if it is still about the units that there are.
    pub(super) fn take(&mut self, id: u64) -> Option<Box<Planned>> {
        let edition = self.edition;
        self.proposal
            .take_if(|it| it.proposal.id == id && it.edition == edition)
    }
}

/// What there is to know of the running stack.
struct Ground {
    units: Units,
    held: HashMap<PortKey, Vec<Held>>,
    /// Where ports are noted, and for whom.
    memory: Option<(Ledger, Owner)>,
    edition: u64,
}

impl Supervisor {
    /// Plans what a client asks for, once it is its turn.
    pub(super) fn propose(&mut self, asking: Asking, reply_tx: ReplyTx<Proposal>) {
        self.negotiation.waiting.push_back((asking, Some(reply_tx)));
        self.plan_next();
    }

    /// Plans once more, before anybody else: some services could not become what they were to. However many
    /// they are by then, one plan is about all of them.
    pub(super) fn plan_around(&mut self) {
        if self.replan.is_some() {
            self.negotiation.proposal = None;
            self.negotiation.is_around_due = true;
            self.plan_next();
        }
    }

    /// What is to be planned around those that were spared so far, if that is due.
    fn around(&mut self) -> Option<(Asking, Asker)> {
        let is_due = std::mem::take(&mut self.negotiation.is_around_due);
        let (sources, mut extent) = self.replan.clone().filter(|_| is_due)?;
        let spared = self.units.values().filter(|unit| unit.spared.is_some());
        extent.spared = spared.map(|unit| unit.plan.service.clone()).collect();
        if extent.recreate == Recreate::All {
            extent.recreate = Recreate::Changed;
        }
        let asking = Asking {
            sources,
            extent,
            strict_ports: false,
            fresh_ports: false,
            dry_run: false,
        };
        Some((asking, None))
    }

    /// Makes the next plan, if it is anybody's turn.
    pub(super) fn plan_next(&mut self) {
        if self.ending.is_some() || self.frozen_at.is_some() {
            let refusal = if self.ending.is_some() {
                CommandError::Draining
            } else {
                CommandError::Suspended
            };
            for (_, asker) in self.negotiation.waiting.drain(..) {
                asker.map(|reply_tx| reply_tx.send(Err(refusal.clone())));
            }
            return;
        }
        if self.negotiation.is_busy || self.negotiation.proposal.is_some() {
            return;
        }
        let next = self.around();
        let next = next.or_else(|| self.negotiation.waiting.pop_front());
        let Some((asking, asker)) = next else {
            return;
        };
        self.negotiation.is_busy = true;
        let ground = self.ground();
        let prepared_tx = self.prepared_tx.clone();
        // It is done once, wherever it is done.
        let job = Mutex::new(Some((asking, ground, asker)));
        self.beside.run(move || {
            let job = job.lock().ok().and_then(|mut job| job.take());
            if let Some((asking, ground, asker)) = job {
                let planned = plan(asking, &ground);
                // A supervisor that has gone has no use for it.
                drop(prepared_tx.send(Prepared::Planned(planned, asker)));
            }
        });
    }

    fn ground(&self) -> Ground {
        let mut held: HashMap<PortKey, Vec<Held>> = HashMap::new();
        for unit in self.units.values() {
            let next = unit.next().map(|next| (&next.plan, &next.requested));
            let plans = next.into_iter().chain([(&unit.plan, &unit.requested)]);
            for (plan, asked) in plans {
                for port in &plan.ports {
                    let key = PortKey::new(&plan.service, plan.replica, &port.name);
                    held.entry(key).or_default().push(Held {
                        port: port.port,
                        asked: Arc::clone(asked),
                    });
                }
            }
        }
        Ground {
            held,
            memory: self.memory.clone(),
            edition: self.negotiation.edition,
            units: self.known_units(),
        }
    }

    /// What the units are and will be.
    pub(super) fn known_units(&self) -> Units {
        let next = self.units.values().filter_map(Unit::next);
        Units {
            are: self.plan_of(self.plans()),
            will_be: self.plan_of(next.map(|next| next.plan.clone()).collect()),
        }
    }

    /// What every unit is that is not about to leave.
    pub(super) fn plans(&self) -> Vec<UnitPlan> {
        let units = self.units.values().filter(|unit| !unit.is_leaving());
        units.map(|unit| unit.plan.clone()).collect()
    }

    /// The plan that has these units.
    pub(super) fn plan_of(&self, units: Vec<UnitPlan>) -> Plan {
        let about = &self.about;
        Plan {
            project: about.project.clone(),
            instance: about.instance.clone(),
            project_dir: about.project_dir.clone(),
            file: about.file.clone(),
            files: self.files.clone(),
            dotenv: None,
            values: about.values.clone(),
            owners: HashMap::new(),
            units,
            arguments: about.arguments.clone(),
            fingerprint: about.fingerprint.clone(),
            contents: about.contents.clone(),
        }
    }

    /// A plan is there: keeps it until somebody wants it carried out, and says what it would change.
    pub(super) fn planned(&mut self, planned: Plannings, asker: Asker) {
        self.negotiation.is_busy = false;
        let Some(reply_tx) = asker else {
            return self.planned_around(planned);
        };
        let reply = planned.and_then(|(mut planned, is_kept)| {
            self.refuse_to_orphan(&planned)?;
            if is_kept {
                self.negotiation.last_id += 1;
                planned.proposal.id = self.negotiation.last_id;
                self.expire_later(planned.proposal.id);
            }
            let proposal = planned.proposal.clone();
            self.negotiation.proposal = is_kept.then_some(planned);
            Ok(proposal)
        });
        drop(reply_tx.send(reply));
        self.plan_next();
    }

    fn planned_around(&mut self, planned: Plannings) {
        match planned {
            Ok((planned, true)) if planned.edition == self.negotiation.edition => {
                self.write_files(planned, None);
            }
            // Another one is due, or none can be made: what waits goes on.
            Ok(_) | Err(_) => {
                self.release_spared();
                self.plan_next();
            }
        }
    }

    /// Forgets a proposal that nobody has wanted carried out.
    pub(super) fn expired(&mut self, id: u64) {
        self.negotiation.proposal.take_if(|it| it.proposal.id == id);
        self.plan_next();
    }

    fn expire_later(&self, id: u64) {
        let prepared_tx = self.prepared_tx.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(PATIENCE).await;
            drop(prepared_tx.send(Prepared::Expired(id)));
        });
    }

    /// Whoever comes with other files, or fewer, does not mean to stop what these do not know.
    fn refuse_to_orphan(&self, planned: &Planned) -> Result<(), CommandError> {
        let changes = planned.proposal.changes.iter();
        let gone = changes.filter(|change| change.what == What::Stops);
        let mut services: Vec<ServiceName> = gone.map(|change| change.service.clone()).collect();
        services.dedup();
        let now = &planned.plan.files;
        let missing = self.files.iter().filter(|file| !now.contains(file));
        let files: Vec<String> = missing
            .map(|file| self.about.project_dir.join(file).display().to_string())
            .collect();
        if services.is_empty() || files.is_empty() || planned.extent.remove_orphans {
            return Ok(());
        }
        Err(CommandError::WouldOrphan { files, services })
    }
}
