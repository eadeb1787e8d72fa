//! Carrying out what was proposed: a running stack takes over a changed file.
//!
//! Only what is desired moves here, and what units are: who has changed keeps running until its
//! dependencies are there for what it becomes, and becomes it once it has ended
//! (`docs/design/reconcile.md`).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

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
use crate::run::proposal::{Extent, Recreate, What};
use crate::run::snapshot::{Cause, Phase, Wanted};
use crate::run::unit::{Fate, Next, Unit};
use crate::run::unit_ports::UnitPorts;
use crate::support::name::{ServiceName, UnitId};

impl Supervisor {
    /// Begins to carry out a proposal: the `.env` is written before anything is stopped.
    pub(super) fn apply(&mut self, proposal: u64, reply_tx: ReplyTx<CommandReply>) {
        let refusal = if self.ending.is_some() {
            CommandError::Draining
        } else if self.frozen_at.is_some() {
            CommandError::Suspended
        } else if let Some(planned) = self.negotiation.take(proposal) {
            return self.write_files(planned, Some(reply_tx));
        } else {
            CommandError::Overtaken
        };
        drop(reply_tx.send(Err(refusal)));
    }

    /// Writes the files for a plan. Nobody else plans meanwhile.
    pub(super) fn write_files(
        &mut self,
        mut planned: Box<Planned>,
        reply_tx: Option<ReplyTx<CommandReply>>,
    ) {
        self.negotiation.is_busy = true;
        self.keep_values(&mut planned);
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

    /// What is generated for a service that is left as it is says what that has.
    fn keep_values(&self, planned: &mut Planned) {
        let changes = planned.proposal.changes.iter();
        let left = changes.filter(|change| change.what.is_left());
        let left: HashSet<&ServiceName> = left.map(|change| &change.service).collect();
        if left.is_empty() {
            return;
        }
        let plan = &mut planned.plan;
        let is_of_left = |owners: &HashMap<String, ServiceName>, key: &String| {
            owners.get(key).is_some_and(|owner| left.contains(owner))
        };
        // Its numbers are pinned; what counts is which keys it has.
        let had: HashSet<&String> = self.about.values.iter().map(|(key, _)| key).collect();
        plan.values
            .retain(|(key, _)| !is_of_left(&plan.owners, key) || had.contains(key));
        let there: HashSet<&String> = plan.values.iter().map(|(key, _)| key).collect();
        let kept = self.about.values.iter();
        let kept = kept.filter(|(key, _)| is_of_left(&self.owners, key) && !there.contains(key));
        let kept: Vec<_> = kept.cloned().collect();
        for (key, _) in &kept {
            let owner = self.owners.get(key).cloned();
            plan.owners.extend(owner.map(|owner| (key.clone(), owner)));
        }
        plan.values.splice(0..0, kept);
        plan.share_values();
        if let Some(dotenv) = &mut plan.dotenv {
            dotenv.entries.clone_from(&plan.values);
        }
    }

    /// The `.env` is written, or cannot be.
    pub(super) fn written(
        &mut self,
        planned: Box<Planned>,
        written: Written,
        reply_tx: Option<ReplyTx<CommandReply>>,
    ) {
        self.negotiation.is_busy = false;
        let reply = if self.ending.is_some() {
            Err(CommandError::Draining)
        } else if let Some(advice) = written.failure {
            Err(CommandError::NotWritten {
                message: advice.message,
                hint: advice.hint,
            })
        } else if planned.edition != self.negotiation.edition {
            Err(CommandError::Overtaken)
        } else {
            let mut changes = planned.proposal.changes.iter();
            let is_news = reply_tx.is_some() && changes.any(|it| !it.what.is_left());
            let moves = self.commit(*planned);
            if is_news {
                self.notice(None, NoticeLevel::Info, News::TookOver);
            }
            Ok(CommandReply {
                warnings: written.warnings,
                ..self.reply(&moves)
            })
        };
        match reply_tx {
            Some(reply_tx) => drop(reply_tx.send(reply)),
            None if reply.is_err() => self.release_spared(),
            None => {}
        }
        self.plan_next();
    }

    pub(super) fn commit(&mut self, planned: Planned) -> Moves {
        let Planned {
            proposal,
            sources,
            plan,
            requested,
            mut holds,
            released,
            extent,
            ongoing,
            lingering,
            edition: _,
        } = planned;
        self.negotiation.edition += 1;
        let mut whats: HashMap<UnitId, What> = HashMap::new();
        for change in proposal.changes {
            let unit = change.unit();
            // Whoever has wanted it knows; the others see what happens, and now why.
            if !change.what.is_left() {
                let change = change.clone();
                self.notice(Some(&unit), NoticeLevel::Info, News::Changing { change });
            }
            whats.insert(unit, change.what);
        }
        let is_whole = !whats.values().any(What::is_left);
        // What only an earlier file has is still that one's.
        if !whats.values().any(What::is_left_though_gone) {
            self.files.clear();
        }
        let known: HashSet<PathBuf> = self.files.iter().cloned().collect();
        let further = plan.files.iter().filter(|file| !known.contains(*file));
        self.files.extend(further.cloned());
        self.note_plan(&plan, is_whole);
        self.replan = sources.map(|sources| (sources, extent.clone()));
        let mut moved: Vec<UnitId> = Vec::new();
        let mut order: HashMap<UnitId, usize> = HashMap::new();
        for (place, mut new) in plan.units.into_iter().enumerate() {
            let id = new.id();
            order.insert(id.clone(), place);
            self.mark_as_ours(&mut new);
            let what = whats.remove(&id);
            let Some(unit) = self.units.get_mut(&id) else {
                let ports = UnitPorts::new(&new, |key| holds.shift_remove(key), &released);
                self.runner.adopt(&new);
                self.add(Unit::new(new, ports, Arc::clone(&requested)));
                continue;
            };
            if let Some(spared) = &mut unit.spared {
                spared.is_open = false;
            }
            match what {
                // It is back in the file before it has ended.
                Some(What::Appears) => unit.fate = Fate::Stays,
                Some(What::Stays { .. } | What::Kept { .. }) => {}
                Some(
                    What::Starts
                    | What::Restarts { .. }
                    | What::Follows { .. }
                    | What::GoesDown { .. },
                ) => {
                    let is_own = |key: &PortKey, _: &mut Hold| {
                        key.service == id.service && key.replica == id.replica
                    };
                    unit.become_later(Next {
                        plan: new,
                        requested: Arc::clone(&requested),
                        holds: holds.extract_if(.., is_own).collect(),
                        released: released.clone(),
                    });
                    moved.push(id);
                }
                Some(What::TakesOver { .. }) | None if ongoing.contains(&id) => {
                    unit.go_on(new, Arc::clone(&requested));
                }
                Some(What::Stops | What::TakesOver { .. }) | None => {
                    unit.requested = Arc::clone(&requested);
                    self.take_over(&id, new);
                }
            }
        }
        for id in &moved {
            self.begin_anew(id, &extent);
        }
        let gone = whats.iter().filter(|(_, what)| **what == What::Stops);
        let dismissed: Vec<UnitId> = gone.map(|(id, _)| id.clone()).collect();
        for id in &dismissed {
            self.dismiss(id, extent.grace);
        }
        self.make_way();
        let is_kept = |what: &What| matches!(what, What::Kept { .. });
        let kept = whats.iter().filter(|(_, what)| is_kept(what));
        let kept: HashSet<&ServiceName> = kept.map(|(id, _)| &id.service).collect();
        self.arrange(&order);
        let meant: Vec<ServiceName> = if extent.services.is_empty() {
            let staying = self.units.values().filter(|unit| !unit.is_leaving());
            let services = staying.map(|unit| &unit.plan.service);
            let meant =
                services.filter(|service| !lingering.contains(*service) && !kept.contains(service));
            meant.cloned().collect()
        } else {
            extent.services.clone()
        };
        // Around what was spared it is planned without anybody's wish: what has failed since stays down.
        let is_wish = extent.spared.is_empty();
        let mut moves = if extent.no_start || meant.is_empty() || !is_wish {
            Vec::new().into()
        } else {
            self.want(&meant, extent.no_deps, Cause::Up)
        };
        if extent.recreate == Recreate::Named && is_wish {
            let mut named = self.staying();
            named.retain(|id| extent.services.contains(&id.service));
            let restarted = self.restart(&named, extent.grace, true);
            moves.add(&restarted);
        }
        moves.add(&moved);
        moves.add(&dismissed);
        self.note_ports();
        let all: Vec<UnitId> = self.units.keys().cloned().collect();
        // Who goes down for good is told first: what it depends on waits for it.
        for id in dismissed.iter().chain(&all) {
            self.touch(id);
        }
        self.leave_word();
        moves
    }

    /// What is told of the whole stack is that of another plan.
    fn note_plan(&mut self, plan: &Plan, is_whole: bool) {
        let about = &mut self.about;
        about.values.clone_from(&plan.values);
        self.owners.clone_from(&plan.owners);
        about.dotenv = plan.written_dotenv();
        about.arguments.clone_from(&plan.arguments);
        if about.project_dir != plan.project_dir {
            // What is left as it is has moved with the rest.
            for unit in self.units.values_mut() {
                unit.plan.rebase(&about.project_dir, &plan.project_dir);
            }
            about.project_dir.clone_from(&plan.project_dir);
        }
        if is_whole {
            about.file.clone_from(&plan.file);
            about.fingerprint.clone_from(&plan.fingerprint);
            about.contents.clone_from(&plan.contents);
        } else {
            // A part of it is as another file had it, so that the next `up` looks again.
            about.fingerprint.clear();
        }
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
        let is_up = unit.machine.is_up();
        if matches!(unit.fate, Fate::Becomes(_)) && unit.desired.is_rolling && is_up {
            // It was to become another, and is what it is to be after all.
            unit.begun = unit.desired.generation;
        }
        unit.fate = Fate::Stays;
        unit.spared = None;
        if unit.desired.wanted == Wanted::Running && !unit.phase().is_at_rest() {
            // It and its restarts have the environment of whoever started it.
            new.environment.base = unit.plan.environment.base.clone();
        }
        let is_other_check = unit.plan.health != new.health;
        let is_other_schedule = unit.plan.schedule != new.schedule;
        self.runner.adopt(&new);
        unit.adopt(new);
        if is_other_schedule {
            self.reset_timer(id);
        }
        let unit = &mut self.units[id];
        if is_up && is_other_check {
            // What the old check said counts no more.
            unit.machine.doubt();
            unit.first_executed = Some(Instant::now());
            unit.last_answer = None;
            unit.note_phase();
            self.end_checks(id);
            self.look_back(id);
            self.begin_checks(id);
        }
    }

    /// A unit is to be what the files want it to be, once its dependencies are there for that.
    fn begin_anew(&mut self, id: &UnitId, extent: &Extent) {
        let unit = &mut self.units[id];
        let is_alive = unit.phase().is_alive();
        unit.spared = None;
        let grace = extent.grace.or(self.options.grace);
        if extent.no_start {
            if is_alive || unit.phase() == Phase::Scheduled {
                unit.desired.change(Wanted::Stopped, Cause::Up, grace);
            }
            return;
        }
        unit.desired.change(Wanted::Running, Cause::Up, grace);
        unit.desired.ignores_dependencies = extent.no_deps;
        unit.desired.is_rolling = is_alive && unit.phase() != Phase::Stopping;
        // A run that is ended for it takes place all the same.
        unit.desired.runs_now = is_alive && unit.timer.is_some();
    }

    /// A unit is gone from the files.
    fn dismiss(&mut self, id: &UnitId, grace: Option<Duration>) {
        let grace = grace.or(self.options.grace);
        if let Some(unit) = self.units.get_mut(id) {
            unit.fate = Fate::Leaves;
            unit.desired.change(Wanted::Stopped, Cause::Up, grace);
        }
    }

    /// Who is to get a port of another one is not there before that one has let go of it. Whoever would
    /// hold out until then, and keep that one up, goes down first.
    fn make_way(&mut self) {
        let reaches = |from: &UnitId, to: &UnitId, is_old: bool| {
            let mut seen: HashSet<&UnitId> = HashSet::new();
            let mut next = vec![from];
            while let Some((id, unit)) = next.pop().and_then(|id| self.units.get_key_value(id)) {
                if id == to {
                    return true;
                }
                if seen.insert(id) {
                    let plan = if is_old {
                        &unit.plan
                    } else {
                        unit.wanted_plan()
                    };
                    next.extend(plan.depends_on.iter().map(|edge| &edge.unit));
                }
            }
            false
        };
        let mut first: Vec<UnitId> = Vec::new();
        for (id, unit) in self.units.iter().filter(|(_, unit)| !unit.is_leaving()) {
            let now = unit.ports.numbers();
            let wanted = unit.wanted_plan().ports.iter();
            let wanted = wanted.map(|port| (port.protocol, port.port));
            for (protocol, number) in wanted.filter(|port| !now.contains(port)) {
                let mut others = self.units.iter().filter(|(other, _)| *other != id);
                let Some((holder, _)) = others.find(|(_, it)| it.gives_up(protocol, number)) else {
                    continue;
                };
                let rolling = self.units.iter().filter(|(_, it)| it.desired.is_rolling);
                let rolling = rolling.map(|(rolling, _)| rolling).filter(|rolling| {
                    *rolling != id && reaches(rolling, id, false) && reaches(rolling, holder, true)
                });
                first.extend(rolling.cloned());
            }
        }
        for id in first {
            self.units[&id].desired.is_rolling = false;
        }
    }

    /// Puts the units in the order of the file, those that are not in it last.
    fn arrange(&mut self, order: &HashMap<UnitId, usize>) {
        let place = |id: &UnitId| order.get(id).copied().unwrap_or(usize::MAX);
        self.units
            .sort_by(|one, _, other, _| place(one).cmp(&place(other)));
        self.find_dependents();
    }

    /// Finds anew who depends on whom.
    pub(super) fn find_dependents(&mut self) {
        self.dependents.clear();
        for (id, unit) in &self.units {
            for edge in unit.edges() {
                let dependents = self.dependents.entry(edge.unit.clone()).or_default();
                if dependents.last() != Some(id) {
                    dependents.push(id.clone());
                }
            }
        }
    }
}
