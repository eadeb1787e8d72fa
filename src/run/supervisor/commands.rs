//! What users want: start, stop, restart, down, and the state of everything.

use std::time::Duration;

use tokio::time::Instant;

use super::{Drain, RestartOperation, Supervisor};
use crate::run::control::{Command, CommandError, CommandReply, Request};
use crate::run::outlet::Finding;
use crate::run::snapshot::Phase;
use crate::run::state::Occurrence;
use crate::run::unit::StopWish;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text::nearest;

/// What a wish to start is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanting {
    /// What does not run; what has completed is left.
    Everything,
    /// What does not run; those that were named also when they have completed.
    NamedAgain,
}

impl Supervisor {
    pub(super) fn requested(&mut self, request: Request) {
        match request {
            Request::Snapshot(reply_tx) => {
                self.observe_everything(Instant::now());
                drop(reply_tx.send(self.snapshot()));
            }
            Request::Command(command, reply_tx) => {
                let reply = self.command(&command);
                // The reply is on its way before anything ends.
                drop(reply_tx.send(reply));
            }
        }
    }

    fn command(&mut self, command: &Command) -> Result<CommandReply, CommandError> {
        match command {
            Command::Down { grace } => {
                self.begin_drain(grace.or(self.options.grace));
                return Ok(CommandReply {
                    affected: self.names(0..self.units.len()),
                    units: self.unit_names(0..self.units.len()),
                });
            }
            Command::Kill => {
                self.kill_everything();
                return Ok(CommandReply {
                    affected: self.names(0..self.units.len()),
                    units: self.unit_names(0..self.units.len()),
                });
            }
            Command::Up { .. }
            | Command::Start { .. }
            | Command::Stop { .. }
            | Command::Restart { .. } => {}
        }
        if self.drain.is_some() {
            return Err(CommandError::Draining);
        }
        let affected = match command {
            Command::Up { services, no_deps } => {
                self.check_names(services)?;
                self.want(services, *no_deps, Wanting::Everything)
            }
            Command::Start { services } => {
                self.check_names(services)?;
                self.want(services, false, Wanting::NamedAgain)
            }
            Command::Stop { services, grace } => {
                let named = self.check_names(services)?;
                self.stop(named, *grace)
            }
            Command::Restart { services, grace } => {
                let named = self.check_names(services)?;
                self.restart(named, *grace)
            }
            Command::Down { .. } | Command::Kill => Vec::new(),
        };
        Ok(CommandReply {
            affected: self.names(affected.iter().copied()),
            units: self.unit_names(affected),
        })
    }

    /// The services of units, in the order of the file, each once.
    fn names(&self, units: impl IntoIterator<Item = usize>) -> Vec<ServiceName> {
        let mut names: Vec<ServiceName> = units
            .into_iter()
            .map(|index| self.units[index].plan.service.clone())
            .collect();
        // The replicas of a service stand together.
        names.dedup();
        names
    }

    fn unit_names(&self, units: impl IntoIterator<Item = usize>) -> Vec<UnitId> {
        units
            .into_iter()
            .map(|index| self.units[index].plan.name())
            .collect()
    }

    pub(super) fn index_of(&self, name: &UnitId) -> Option<usize> {
        self.units
            .iter()
            .position(|unit| unit.plan.service == name.service && unit.plan.replica == name.replica)
    }

    /// The units of the services of these names, all replicas; all of them for none.
    fn check_names(&self, services: &[ServiceName]) -> Result<Vec<usize>, CommandError> {
        if services.is_empty() {
            return Ok((0..self.units.len()).collect());
        }
        let mut units = Vec::new();
        for name in services {
            let replicas: Vec<usize> = (0..self.units.len())
                .filter(|&index| self.units[index].plan.service == *name)
                .collect();
            if replicas.is_empty() {
                let names = self.units.iter().map(|unit| unit.plan.service.as_str());
                let suggestion =
                    nearest(name.as_str(), names).and_then(|name| ServiceName::new(name).ok());
                return Err(CommandError::UnknownService {
                    name: name.to_string(),
                    suggestion,
                });
            }
            units.extend(replicas);
        }
        units.sort_unstable();
        units.dedup();
        Ok(units)
    }

    /// Wants services to run, with what they depend on. Returns those that are started.
    pub(super) fn want(
        &mut self,
        services: &[ServiceName],
        no_deps: bool,
        wanting: Wanting,
    ) -> Vec<usize> {
        let named = self.check_names(services).unwrap_or_default();
        let mut wanted = named.clone();
        let mut next = 0;
        while let Some(&index) = wanted.get(next) {
            next += 1;
            if no_deps {
                continue;
            }
            for dependency in &self.units[index].plan.depends_on {
                if !wanted.contains(&dependency.unit) {
                    wanted.push(dependency.unit);
                }
            }
        }
        wanted.sort_unstable();
        // What a restart has taken down comes up with the rest of its set, in order.
        wanted.retain(|&index| !self.is_restarting(index));
        wanted.retain(|&index| match self.units[index].phase() {
            Phase::Pending | Phase::Failed | Phase::Stopped => true,
            Phase::Completed => {
                wanting == Wanting::NamedAgain && !services.is_empty() && named.contains(&index)
            }
            // What is being stopped comes up again afterwards.
            Phase::Stopping => true,
            Phase::Waiting
            | Phase::Starting
            | Phase::Running
            | Phase::Healthy
            | Phase::Unhealthy
            | Phase::Backoff => false,
        });
        for &index in &wanted {
            self.units[index].ignores_dependencies = no_deps;
            self.start(index);
        }
        wanted
    }

    pub(super) fn start(&mut self, index: usize) {
        self.units[index].first_executed = None;
        self.units[index].stop_wanted = None;
        self.happen(index, Occurrence::Start);
    }

    /// Wants services stopped, dependents first.
    fn stop(&mut self, named: Vec<usize>, grace: Option<Duration>) -> Vec<usize> {
        let affected: Vec<usize> = named
            .into_iter()
            .filter(|&index| !self.units[index].phase().is_at_rest())
            .collect();
        for &index in &affected {
            self.units[index].stop_wanted = Some(StopWish { grace });
            // A restart that was under way is off: a stop always wins.
            for operation in &mut self.restarts {
                operation.units.retain(|&unit| unit != index);
            }
            self.units[index].is_dirty = true;
        }
        affected
    }

    /// Takes services down and up again, with those that want to follow them.
    fn restart(&mut self, named: Vec<usize>, grace: Option<Duration>) -> Vec<usize> {
        let mut units = named;
        let mut next = 0;
        while let Some(&index) = units.get(next) {
            next += 1;
            for &dependent in &self.dependents[index] {
                let follows = self.units[dependent]
                    .plan
                    .depends_on
                    .iter()
                    .any(|dependency| dependency.unit == index && dependency.restart);
                if follows
                    && self.units[dependent].phase().is_alive()
                    && !units.contains(&dependent)
                {
                    units.push(dependent);
                }
            }
        }
        units.sort_unstable();
        self.stop(units.clone(), grace);
        for &index in &units {
            self.units[index].is_dirty = true;
        }
        self.restarts.push(RestartOperation {
            units: units.clone(),
        });
        units
    }

    /// What a restart has taken down stays down.
    fn give_up_restarts(&mut self) {
        for operation in std::mem::take(&mut self.restarts) {
            for index in operation.units {
                self.units[index].is_dirty = true;
            }
        }
    }

    /// Begins to stop everything, dependents first.
    pub(super) fn begin_drain(&mut self, grace: Option<Duration>) {
        if self.drain.is_none() {
            self.drain = Some(Drain {
                grace,
                is_killed: false,
            });
        }
        let grace = grace.or(self.drain.and_then(|drain| drain.grace));
        self.give_up_restarts();
        for unit in &mut self.units {
            if !unit.phase().is_at_rest() {
                unit.stop_wanted = Some(StopWish { grace });
            }
        }
    }

    /// Kills everything now.
    pub(super) fn kill_everything(&mut self) {
        self.drain = Some(Drain {
            grace: None,
            is_killed: true,
        });
        self.give_up_restarts();
        for index in 0..self.units.len() {
            self.units[index].stop_wanted = None;
            self.happen(index, Occurrence::Kill);
        }
    }

    /// Something was found in the output of a unit.
    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Url { unit, port, url } => {
                if let Some(index) = self.index_of(&unit) {
                    self.units[index].urls.insert(port, url);
                    self.units[index].is_dirty = true;
                }
            }
            Finding::Complaint {
                unit,
                attempt,
                line,
            } => self.complained(&unit, attempt, &line),
        }
    }
}
