//! Carrying out what was proposed: a running stack takes over a changed file.
//!
//! Only what is desired moves here, and what units are: who has changed keeps running until its
//! dependencies are there for what it becomes, and becomes it once it has ended
//! (`docs/design/reconcile.md`).

use std::collections::HashMap;

use super::Supervisor;
use super::commands::Moves;
use super::messages::Prepared;
use super::propose::{Planned, ReplyTx};
use crate::plan::{Plan, UnitPlan};
use crate::ports::Hold;
use crate::ports::request::PortKey;
use crate::run::control::{CommandError, CommandReply};
use crate::run::home::{Change, Written};
use crate::run::news::{News, NoticeLevel};
use crate::run::proposal::What;
use crate::run::snapshot::{Cause, Phase, Wanted};
use crate::run::unit::{Fate, Next, Unit};
use crate::run::unit_ports::UnitPorts;
use crate::support::name::UnitId;

impl Supervisor {
    /// Begins to carry out a proposal: the `.env` is written before anything is stopped.
    pub(super) fn apply(&mut self, proposal: u64, reply_tx: ReplyTx<CommandReply>) {
        if self.ending.is_some() {
            return drop(reply_tx.send(Err(CommandError::Draining)));
        }
        if self.frozen_at.is_some() {
            return drop(reply_tx.send(Err(CommandError::Suspended)));
        }
        let is_current =
            |it: &mut Box<Planned>| it.proposal.id == proposal && it.edition == self.edition;
        let Some(planned) = self.proposal.take_if(is_current) else {
            return drop(reply_tx.send(Err(CommandError::Overtaken)));
        };
        // From now on every other proposal is about a stack that was.
        self.edition += 1;
        let dotenv = planned.plan.dotenv.clone();
        let prepared_tx = self.prepared_tx.clone();
        let written = self.change_files(Change::Dotenv(dotenv));
        tokio::task::spawn_local(async move {
            let written = match written {
                Some(written) => written.await.unwrap_or_default(),
                None => Written::default(),
            };
            // A supervisor that has gone has no use for it.
            drop(prepared_tx.send(Prepared::Written(planned, written, reply_tx)));
        });
    }

    /// The `.env` is written, or cannot be.
    pub(super) fn written(
        &mut self,
        planned: Box<Planned>,
        written: Written,
        reply_tx: ReplyTx<CommandReply>,
    ) {
        let reply = if self.ending.is_some() {
            Err(CommandError::Draining)
        } else if let Some(advice) = written.failure {
            Err(CommandError::NotWritten {
                message: advice.message,
                hint: advice.hint,
            })
        } else {
            let moves = self.commit(*planned);
            Ok(CommandReply {
                warnings: written.warnings,
                ..self.reply(&moves)
            })
        };
        drop(reply_tx.send(reply));
    }

    pub(super) fn commit(&mut self, planned: Planned) -> Moves {
        let Planned {
            proposal,
            plan,
            requested,
            mut holds,
            released,
            extent,
            edition: _,
        } = planned;
        let mut whats: HashMap<UnitId, What> = HashMap::new();
        for change in proposal.changes {
            whats.insert(change.unit(), change.what);
        }
        let mut moved: Vec<UnitId> = Vec::new();
        let mut order: HashMap<UnitId, usize> = HashMap::new();
        let is_whole = whats
            .values()
            .all(|what| !matches!(what, What::Stays { .. }));
        self.note_plan(&plan, is_whole.then(|| plan.fingerprint.clone()));
        self.requested = requested;
        for (place, mut new) in plan.units.into_iter().enumerate() {
            let id = new.id();
            order.insert(id.clone(), place);
            self.mark_as_ours(&mut new);
            let what = whats.remove(&id);
            let Some(unit) = self.units.get_mut(&id) else {
                let ports = UnitPorts::new(&new, |key| holds.shift_remove(key), &released);
                self.runner.adopt(&new);
                self.add(Unit::new(new, ports));
                continue;
            };
            let is_new_process = unit.is_leaving() || matches!(what, Some(What::Restarts { .. }));
            match what {
                Some(What::Stays { .. }) => {}
                _ if is_new_process => {
                    let is_own = |key: &PortKey, _: &mut Hold| {
                        key.service == id.service && key.replica == id.replica
                    };
                    unit.become_later(Next {
                        plan: new,
                        holds: holds.extract_if(.., is_own).collect(),
                        released: released.clone(),
                    });
                    moved.push(id);
                }
                Some(
                    What::Starts | What::Stops | What::TakesOver { .. } | What::Restarts { .. },
                )
                | None => self.take_over(&id, new),
            }
        }
        for id in &moved {
            self.begin_anew(id, extent.no_deps, extent.no_start);
        }
        let gone = whats.into_iter().filter(|(_, what)| *what == What::Stops);
        let dismissed: Vec<UnitId> = gone.map(|(id, _)| id).collect();
        for id in &dismissed {
            self.dismiss(id);
        }
        self.arrange(&order);
        let mut moves = if extent.no_start {
            Vec::new().into()
        } else {
            self.want(&extent.services, extent.no_deps, Cause::Up)
        };
        moves.add(&moved, !extent.no_start);
        moves.add(&dismissed, false);
        self.note_ports();
        let all: Vec<UnitId> = self.units.keys().cloned().collect();
        for id in all {
            self.touch(&id);
        }
        self.leave_word();
        moves
    }

    /// What is told of the whole stack is that of another plan.
    fn note_plan(&mut self, plan: &Plan, fingerprint: Option<String>) {
        self.about.values.clone_from(&plan.values);
        self.about.dotenv = plan.written_dotenv();
        self.about.arguments.clone_from(&plan.arguments);
        // A part of it is as another file had it, so that the next `up` looks again.
        self.about.fingerprint = fingerprint.unwrap_or_default();
    }

    /// Marks what a plan starts as this run's, whatever the directory and the file are called by now.
    fn mark_as_ours(&self, plan: &mut UnitPlan) {
        let about = &self.about;
        let marks = [
            ("STACK_RUN", about.run.clone()),
            ("STACK_INSTANCE", about.instance.clone()),
            ("STACK_PROJECT", about.project.to_string()),
        ];
        for (key, value) in marks {
            let changes = &mut plan.environment.changes;
            changes.insert(key.to_owned(), Some(value));
        }
    }

    /// A unit takes its new plan over as it runs.
    fn take_over(&mut self, id: &UnitId, mut new: UnitPlan) {
        let unit = &mut self.units[id];
        if let Fate::Becomes(next) = &mut unit.fate {
            next.plan = new;
            return;
        }
        let is_up = unit.machine.is_up();
        if unit.desired.wanted == Wanted::Running && !unit.phase().is_at_rest() {
            // It and its restarts have the environment of whoever started it.
            new.environment.base = unit.plan.environment.base.clone();
        }
        let is_other_check = unit.plan.health != new.health;
        self.runner.adopt(&new);
        unit.adopt(new);
        if is_up && is_other_check {
            self.end_checks(id);
            self.begin_checks(id);
        }
    }

    /// A unit is to be what the files want it to be, once its dependencies are there for that.
    fn begin_anew(&mut self, id: &UnitId, ignores_dependencies: bool, stays_down: bool) {
        let unit = &mut self.units[id];
        let is_alive = unit.phase().is_alive();
        unit.spared = None;
        if stays_down {
            if is_alive {
                unit.desired.change(Wanted::Stopped, Cause::Up, None);
            }
            return;
        }
        unit.desired
            .change(Wanted::Running, Cause::Up, self.options.grace);
        unit.desired.ignores_dependencies = ignores_dependencies;
        unit.desired.is_rolling = is_alive && unit.phase() != Phase::Stopping;
    }

    /// A unit is gone from the files.
    fn dismiss(&mut self, id: &UnitId) {
        let unit = &mut self.units[id];
        unit.fate = Fate::Leaves;
        let grace = self.options.grace;
        unit.desired.change(Wanted::Stopped, Cause::Up, grace);
    }

    /// Puts the units in the order of the file, those that are not in it last.
    fn arrange(&mut self, order: &HashMap<UnitId, usize>) {
        let place = |id: &UnitId| order.get(id).copied().unwrap_or(usize::MAX);
        self.units
            .sort_by(|one, _, other, _| place(one).cmp(&place(other)));
        self.find_dependents();
    }

    /// Finds anew who depends on whom.
    fn find_dependents(&mut self) {
        self.dependents.clear();
        for (id, unit) in &self.units {
            for edge in unit.dependencies() {
                let dependents = self.dependents.entry(edge.unit.clone()).or_default();
                dependents.push(id.clone());
            }
        }
    }

    /// Nothing of a unit runs, and it begins anew: as what the files want it to be.
    pub(super) fn become_next(&mut self, id: &UnitId) {
        let numbers: Vec<u16> = self.units[id]
            .ports
            .iter()
            .map(|port| port.number)
            .collect();
        if !self.units[id].become_next() {
            return;
        }
        for number in numbers {
            let owner = self.port_owners.get(&number);
            if owner.is_some_and(|(owner, _)| owner == id) {
                self.port_owners.remove(&number);
            }
        }
        self.own_ports(id);
        self.runner.adopt(&self.units[id].plan);
    }

    /// What runs of a unit stays as it is, since what it was to become cannot be.
    pub(super) fn spare(&mut self, id: &UnitId, because: &UnitId) {
        let because = self.units[because].blocker();
        let unit = &mut self.units[id];
        unit.fate = Fate::Stays;
        unit.begun = unit.desired.generation;
        unit.spared = Some(because);
        self.find_dependents();
        // The next `up` tries again.
        self.about.fingerprint.clear();
        self.touch(id);
    }

    /// Lets go of the units that are gone from the files and of which nothing is left.
    pub(super) fn let_go(&mut self, ids: Vec<UnitId>) {
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let Some(unit) = self.units.shift_remove(&id) else {
                continue;
            };
            if let Some(due) = unit.scheduled {
                self.deadlines.remove(&(due, id.clone()));
            }
            self.port_owners.retain(|_, (owner, _)| *owner != id);
            for dependents in self.dependents.values_mut() {
                dependents.retain(|dependent| *dependent != id);
            }
            self.busy.remove(&id);
            self.runner.forget(&id);
            self.notice(Some(&id), NoticeLevel::Info, News::Removed);
        }
        self.note_ports();
    }

    /// Notes in the ledger which ports the stack has now.
    fn note_ports(&mut self) {
        let Some((ledger, owner)) = self.memory.clone() else {
            return;
        };
        let ports: Vec<_> = self
            .units
            .values()
            .map(Unit::wanted_plan)
            .flat_map(|plan| {
                plan.ports.iter().map(|port| {
                    let key = PortKey::new(&plan.service, plan.replica, &port.name);
                    (key, port.protocol, port.port)
                })
            })
            .collect();
        let prepared_tx = self.prepared_tx.clone();
        self.beside.run(move || match ledger.note(&owner, &ports) {
            Ok(noted) => drop(prepared_tx.send(Prepared::Noted(noted))),
            Err(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
            }
        });
    }
}
