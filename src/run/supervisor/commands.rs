//! What users want. A command moves what is desired of units, and nothing else: what follows from it is
//! the business of `settle`, so that commands compose in any order.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use crate::run::control::{
    Command, CommandError, CommandReply, Request, StackSnapshot, UnitTarget,
};
use crate::run::home::{Change, Written};
use crate::run::news::{News, NoticeLevel};
use crate::run::outlet::Finding;
use crate::run::snapshot::{Cause, Phase, Wanted};
use crate::run::unit::Unit;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text::nearest;

/// What a command has done.
pub(super) struct Moves {
    /// The units of which something else is wanted now.
    moved: Vec<UnitId>,
    /// Those for which the client may wait.
    targets: Vec<UnitId>,
}

impl Moves {
    /// Adds some that were moved, and that the client may wait for.
    pub(super) fn add(&mut self, moved: &[UnitId]) {
        let add = |known: &mut Vec<UnitId>| {
            let there: HashSet<UnitId> = known.iter().cloned().collect();
            known.extend(moved.iter().filter(|id| !there.contains(*id)).cloned());
        };
        add(&mut self.moved);
        add(&mut self.targets);
    }
}

impl From<Vec<UnitId>> for Moves {
    fn from(moved: Vec<UnitId>) -> Self {
        let targets = moved.clone();
        Self { moved, targets }
    }
}

impl Supervisor {
    pub(super) fn requested(&mut self, request: Request) {
        match request {
            Request::Snapshot(reply_tx) => {
                self.observe_everything(Instant::now());
                // Only where somebody asks: these are files to be read.
                let usage = self.runner.usage();
                drop(reply_tx.send(StackSnapshot {
                    usage,
                    ..self.snapshot()
                }));
            }
            Request::Command(Command::ClearLogs { units }, reply_tx) => {
                let cleared = self.runner.clear_logs(units);
                tokio::task::spawn_local(async move {
                    let cleared = cleared.await.map(|()| CommandReply::default());
                    drop(
                        reply_tx.send(cleared.map_err(|error| CommandError::LogsNotCleared {
                            reason: error.to_string(),
                        })),
                    );
                });
            }
            Request::Propose(asking, reply_tx) => self.propose(*asking, reply_tx),
            Request::Command(Command::Apply { proposal }, reply_tx) => {
                self.apply(proposal, reply_tx);
            }
            Request::Command(command, reply_tx) => {
                let reply = self.command(&command);
                let wanted = matches!(command, Command::Up { .. }).then(|| self.want_files());
                let Some(done_rx) = wanted.flatten() else {
                    // The reply is on its way before anything ends.
                    drop(reply_tx.send(reply));
                    return;
                };
                // Whoever calls `up` finds what it would have written.
                tokio::task::spawn_local(async move {
                    drop(done_rx.await);
                    drop(reply_tx.send(reply));
                });
            }
            Request::PutBack(leases, done_tx) => {
                self.runner.put_back(&leases);
                self.leave_word();
                let _ = done_tx.send(());
            }
            Request::Home(news) => {
                self.is_homeless |= news == News::DirectoryGone;
                self.notice(None, NoticeLevel::Warning, news);
                if self.is_homeless {
                    self.end_everything(Cause::Down, self.options.grace);
                }
            }
        }
    }

    /// Wants the stack's files to be put back where they were removed; done once that was tried.
    pub(super) fn want_files(&self) -> Option<oneshot::Receiver<Written>> {
        self.change_files(Change::None)
    }

    /// Wants the stack's files to be there, and to be others.
    pub(super) fn change_files(&self, change: Change) -> Option<oneshot::Receiver<Written>> {
        let (done_tx, done_rx) = oneshot::channel();
        let wanted = crate::run::home::Wanted { change, done_tx };
        self.wanted_tx.as_ref()?.send(wanted).ok()?;
        Some(done_rx)
    }

    pub(super) fn command(&mut self, command: &Command) -> Result<CommandReply, CommandError> {
        let moves = match command {
            Command::Down { grace } => {
                self.end_everything(Cause::Down, grace.or(self.options.grace));
                self.units.keys().cloned().collect::<Vec<_>>().into()
            }
            Command::Kill {} => {
                self.end_everything(Cause::Kill, None);
                self.units.keys().cloned().collect::<Vec<_>>().into()
            }
            Command::Input { unit, bytes, size } => {
                self.named(std::slice::from_ref(&unit.service))?;
                let Some(known) = self.units.get(unit) else {
                    return Err(CommandError::UnknownService {
                        name: unit.label(2),
                        suggestion: None,
                    });
                };
                let (is_up, label) = (known.pid.is_some(), known.unit_ref());
                return match self.runner.put(unit, bytes, *size) {
                    None if is_up => Err(CommandError::NoInput { unit: label }),
                    None => Err(CommandError::NotUp { unit: label }),
                    input => Ok(CommandReply {
                        input,
                        ..CommandReply::default()
                    }),
                };
            }
            Command::Resize { size, except } => {
                let is_meant = |unit: &UnitId| !except.contains(&unit.service);
                self.runner.resize(*size, &is_meant);
                Vec::new().into()
            }
            // It is about files, and moves nothing; the other one takes time.
            Command::ClearLogs { .. } | Command::Apply { .. } => Vec::new().into(),
            Command::Up { .. }
            | Command::Start { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::Signal { .. }
                if self.ending.is_some() =>
            {
                return Err(CommandError::Draining);
            }
            Command::Up { .. }
            | Command::Start { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::Signal { .. }
                if self.frozen_at.is_some() =>
            {
                return Err(CommandError::Suspended);
            }
            Command::Signal { units, signal } => {
                let services: Vec<_> = units.iter().map(|id| id.service.clone()).collect();
                self.named(&services)?;
                for id in units {
                    if self.units.get(id).is_some_and(|unit| unit.pid.is_some()) {
                        self.runner.signal(id, *signal);
                    }
                }
                Vec::new().into()
            }
            Command::Up { services, no_deps } => {
                self.named(services)?;
                self.want(services, *no_deps, Cause::Up)
            }
            Command::Start { services } => {
                self.named(services)?;
                self.want(services, false, Cause::Start)
            }
            Command::Stop { services, grace } => {
                let named = self.named(services)?;
                self.stop(named, *grace).into()
            }
            Command::Restart { services, grace } => {
                let named = self.named(services)?;
                let is_meant = !services.is_empty();
                self.restart(&named, *grace, is_meant).into()
            }
        };
        Ok(self.reply(&moves))
    }

    pub(super) fn reply(&self, moves: &Moves) -> CommandReply {
        let mut affected: Vec<ServiceName> =
            moves.moved.iter().map(|id| id.service.clone()).collect();
        // The replicas of a service stand together.
        affected.dedup();
        let target = |id: &UnitId| {
            let desired = self.units[id].desired;
            UnitTarget {
                service: id.service.clone(),
                replica: id.replica,
                generation: desired.generation,
                stops: matches!(desired.wanted, Wanted::Stopped | Wanted::Killed),
            }
        };
        CommandReply {
            affected,
            units: moves.targets.iter().map(target).collect(),
            ..CommandReply::default()
        }
    }

    /// The units of the services of these names, all replicas, in the order of the file; all of them
    /// for none.
    fn named(&self, services: &[ServiceName]) -> Result<Vec<UnitId>, CommandError> {
        let staying = self.staying();
        let known: HashSet<&ServiceName> = staying.iter().map(|id| &id.service).collect();
        if let Some(name) = services.iter().find(|name| !known.contains(name)) {
            let names = known.iter().map(|name| name.as_str());
            let suggestion =
                nearest(name.as_str(), names).and_then(|name| ServiceName::new(name).ok());
            return Err(CommandError::UnknownService {
                name: name.to_string(),
                suggestion,
            });
        }
        let wanted: HashSet<&ServiceName> = services.iter().collect();
        let is_named = |id: &&UnitId| services.is_empty() || wanted.contains(&id.service);
        Ok(staying.iter().filter(is_named).cloned().collect())
    }

    /// The units of the files: what is gone from them is nobody's any more, though it may take time to end.
    pub(super) fn staying(&self) -> Vec<UnitId> {
        let staying = self.units.iter().filter(|(_, unit)| !unit.is_leaving());
        staying.map(|(id, _)| id.clone()).collect()
    }

    /// The units that can be reached from some by steps, with them, in the order of the file.
    fn closure(&self, from: &[UnitId], step: impl Fn(&UnitId) -> Vec<UnitId>) -> Vec<UnitId> {
        let mut reached: HashSet<UnitId> = from.iter().cloned().collect();
        let mut next: Vec<UnitId> = from.to_vec();
        while let Some(id) = next.pop() {
            for further in step(&id) {
                let is_there = self.units.get(&further).is_some_and(|it| !it.is_leaving());
                if is_there && reached.insert(further.clone()) {
                    next.push(further);
                }
            }
        }
        let all = self.units.keys();
        all.filter(|id| reached.contains(*id)).cloned().collect()
    }

    /// Wants services to run, with what they depend on. What is on its way already is waited for as well.
    ///
    /// What has completed is left alone, unless somebody names it to `start` it.
    pub(super) fn want(&mut self, services: &[ServiceName], no_deps: bool, cause: Cause) -> Moves {
        let named = self.named(services).unwrap_or_default();
        let wanted = if no_deps {
            named.clone()
        } else {
            self.closure(&named, |id| {
                let edges = self.units[id].dependencies().iter();
                edges.map(|edge| edge.unit.clone()).collect()
            })
        };
        let is_named = |id: &UnitId| !services.is_empty() && named.contains(id);
        let moved: Vec<UnitId> = wanted
            .iter()
            .filter(|&id| {
                let unit = &self.units[id];
                if unit.seen().is_old() {
                    return false;
                }
                match unit.phase() {
                    Phase::Pending | Phase::Failed | Phase::Stopped => true,
                    Phase::Completed | Phase::Scheduled => cause == Cause::Start && is_named(id),
                    // What is being stopped comes up again afterwards.
                    Phase::Waiting
                    | Phase::Starting
                    | Phase::Running
                    | Phase::Healthy
                    | Phase::Unhealthy
                    | Phase::Stopping
                    | Phase::Backoff => unit.desired.wanted != Wanted::Running,
                }
            })
            .cloned()
            .collect();
        for id in &moved {
            let desired = &mut self.units[id].desired;
            desired.change(Wanted::Running, cause, None);
            desired.ignores_dependencies = no_deps;
            desired.runs_now = cause == Cause::Start && is_named(id);
            self.touch(id);
        }
        let mut targets = wanted;
        targets.retain(|id| {
            let seen = self.units[id].seen();
            seen.is_old() || !seen.observed.is_executed && !seen.is_settled()
        });
        Moves { moved, targets }
    }

    /// Wants units stopped. Returns those that were not down.
    fn stop(&mut self, named: Vec<UnitId>, grace: Option<Duration>) -> Vec<UnitId> {
        let is_up = |id: &UnitId| !self.units[id].seen().is_down_for_good();
        let moved: Vec<UnitId> = named.into_iter().filter(is_up).collect();
        self.move_all(&moved, Wanted::Stopped, Cause::Stop, grace);
        moved
    }

    /// Wants units to run anew, with those that follow them. Those that have a schedule do at once if
    /// they are meant, and not only among all.
    pub(super) fn restart(
        &mut self,
        named: &[UnitId],
        grace: Option<Duration>,
        are_meant: bool,
    ) -> Vec<UnitId> {
        let follows = |dependent: &&UnitId, id: &UnitId| {
            let dependent = &self.units[*dependent];
            let mut edges = dependent.dependencies().iter();
            // What somebody is stopping stays down, however long it takes.
            let is_up = dependent.desired.wanted == Wanted::Running && dependent.phase().is_alive();
            is_up && edges.any(|edge| edge.unit == *id && edge.restart)
        };
        let moved = self.closure(named, |id| {
            let dependents = self.dependents.get(id).into_iter().flatten();
            dependents
                .filter(|dependent| follows(dependent, id))
                .cloned()
                .collect()
        });
        for id in &moved {
            let unit = &mut self.units[id];
            let is_alive = unit.phase().is_alive();
            let desired = &mut unit.desired;
            let ignores_dependencies = desired.ignores_dependencies;
            desired.change(Wanted::Running, Cause::Restart, grace);
            desired.ignores_dependencies = ignores_dependencies;
            desired.runs_now = are_meant || is_alive;
            self.touch(id);
        }
        moved
    }

    fn move_all(&mut self, ids: &[UnitId], wanted: Wanted, cause: Cause, grace: Option<Duration>) {
        for id in ids {
            self.units[id].desired.change(wanted, cause, grace);
            self.touch(id);
        }
    }

    /// Wants everything down, dependents first, or with [`Cause::Kill`] killed now. Nothing is started
    /// any more.
    pub(super) fn end_everything(&mut self, cause: Cause, grace: Option<Duration>) {
        self.ending = Some(cause);
        self.thaw();
        let wanted = match cause {
            Cause::Kill => Wanted::Killed,
            Cause::Up | Cause::Start | Cause::Stop | Cause::Restart | Cause::Down => {
                Wanted::Stopped
            }
        };
        // What is being killed stays so.
        let is_moved = |(_, unit): &(&UnitId, &Unit)| {
            !unit.seen().is_down_for_good()
                && (unit.desired.wanted != Wanted::Killed || wanted == Wanted::Killed)
        };
        let rest = self.units.iter().filter(is_moved);
        let rest: Vec<UnitId> = rest.map(|(id, _)| id.clone()).collect();
        self.move_all(&rest, wanted, cause, grace);
    }

    /// Something was found in the output of a unit.
    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Url {
                unit: id,
                port,
                url,
            } => {
                if let Some(unit) = self.units.get_mut(&id) {
                    unit.urls.insert(port, url);
                    self.mark(&id);
                }
            }
            Finding::Printed { unit: id, attempt } => self.printed(&id, attempt),
            Finding::Complaint {
                unit,
                attempt,
                named,
            } => self.complained(&unit, attempt, &named),
        }
    }
}
