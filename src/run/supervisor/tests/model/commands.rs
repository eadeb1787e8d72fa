//! What a command does to what is wanted: the first table of `docs/design/desired-state.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::ideal::{Ideal, Life};
use crate::run::control::{Command, CommandError, CommandReply, UnitTarget};
use crate::run::snapshot::{Cause, DesiredSnapshot, Phase, Wanted};
use crate::support::name::ServiceName;

/// Units by their place in the file.
type Places = BTreeSet<usize>;

impl Ideal {
    /// Carries out a command. The reply is the one that its client has to get.
    pub(super) fn command(
        &mut self,
        command: &Command,
        now: Instant,
    ) -> Result<CommandReply, CommandError> {
        let reply = self.carry_out(command)?;
        for life in &mut self.lives {
            // A shorter grace period counts for what is being stopped already.
            if std::mem::take(&mut life.is_moved)
                && let (Some(grace), Some(process)) = (life.grace, &mut life.process)
            {
                process.told = process.told.map(|until| until.min(now + grace));
            }
        }
        Ok(reply)
    }

    fn carry_out(&mut self, command: &Command) -> Result<CommandReply, CommandError> {
        match command {
            Command::Down { grace } => Ok(self.end(Wanted::Stopped, Cause::Down, *grace)),
            Command::Kill {} => Ok(self.end(Wanted::Killed, Cause::Kill, None)),
            Command::ClearLogs { .. }
            | Command::Apply { .. }
            | Command::Signal { .. }
            | Command::Input { .. }
            | Command::Resize { .. } => Ok(CommandReply::default()),
            Command::Up { services, no_deps } => {
                let named = self.named(services)?;
                Ok(self.want(&named, &Places::new(), Cause::Up, *no_deps))
            }
            Command::Start { services } => {
                let named = self.named(services)?;
                let by_name = if services.is_empty() {
                    Places::new()
                } else {
                    named.clone()
                };
                Ok(self.want(&named, &by_name, Cause::Start, false))
            }
            Command::Stop { services, grace } => {
                let named = self.named(services)?;
                let moved = self.those(named, |life| !life.is_down_for_good());
                self.change_all(&moved, Wanted::Stopped, Cause::Stop, *grace);
                Ok(self.reply(&moved, &moved))
            }
            Command::Restart { services, grace } => {
                let named = self.named(services)?;
                let moved = self.with_followers(named);
                let alive = self.those(moved.clone(), |life| life.phase().is_alive());
                self.change_all(&moved, Wanted::Running, Cause::Restart, *grace);
                for &place in &moved {
                    self.lives[place].runs_now = !services.is_empty() || alive.contains(&place);
                }
                Ok(self.reply(&moved, &moved))
            }
        }
    }

    /// The units of some services, of all for none. Nobody gets any once everything ends.
    fn named(&self, services: &[ServiceName]) -> Result<Places, CommandError> {
        if self.ending.is_some() {
            return Err(CommandError::Draining);
        }
        let all = || self.lives.iter().map(|life| &life.plan.service);
        if let Some(stranger) = services.iter().find(|name| !all().any(|it| it == *name)) {
            return Err(CommandError::UnknownService {
                name: stranger.to_string(),
                suggestion: None,
            });
        }
        let is_named = |name| services.is_empty() || services.contains(name);
        Ok((0..)
            .zip(all())
            .filter(|(_, name)| is_named(name))
            .map(|(place, _)| place)
            .collect())
    }

    fn those(&self, places: Places, is_one: impl Fn(&Life) -> bool) -> Places {
        places
            .into_iter()
            .filter(|&place| is_one(&self.lives[place]))
            .collect()
    }

    fn want(
        &mut self,
        named: &Places,
        by_name: &Places,
        cause: Cause,
        is_alone: bool,
    ) -> CommandReply {
        let mut wanted = named.clone();
        let mut next: Vec<usize> = named.iter().copied().collect();
        while let Some(place) = next.pop().filter(|_| !is_alone) {
            let dependencies = self.lives[place].plan.depends_on.iter();
            let dependencies = dependencies.map(|edge| self.places[&edge.unit]);
            next.extend(dependencies.filter(|&place| wanted.insert(place)));
        }
        let is_moved = |&place: &usize| {
            let life = &self.lives[place];
            let is_done = matches!(life.phase(), Phase::Completed | Phase::Scheduled);
            let is_down =
                (life.phase().is_at_rest() && !is_done) || (is_done && by_name.contains(&place));
            let is_going_down =
                !life.phase().is_at_rest() && life.desired.wanted != Wanted::Running;
            !life.is_old() && (is_down || is_going_down)
        };
        let moved: Places = wanted.iter().copied().filter(is_moved).collect();
        for &place in &moved {
            let life = &mut self.lives[place];
            change(life, Wanted::Running, cause, None);
            life.is_alone = is_alone;
            life.runs_now = by_name.contains(&place);
        }
        // What is on its way already is waited for as well.
        let targets = self.those(wanted, |life| {
            life.is_old() || !life.is_executed && !life.is_settled()
        });
        self.reply(&moved, &targets)
    }

    /// Those who are restarted with some: who follows one of them, and is to run.
    fn with_followers(&self, mut moved: Places) -> Places {
        loop {
            let follows = |life: &Life| {
                let mut edges = life.plan.depends_on.iter();
                life.phase().is_alive()
                    && life.desired.wanted == Wanted::Running
                    && edges.any(|edge| edge.restart && moved.contains(&self.places[&edge.unit]))
            };
            let more = self.those((0..self.lives.len()).collect(), follows);
            if more.is_subset(&moved) {
                return moved;
            }
            moved.extend(more);
        }
    }

    fn end(&mut self, wanted: Wanted, cause: Cause, grace: Option<Duration>) -> CommandReply {
        self.ending = Some(cause);
        let all: Places = (0..self.lives.len()).collect();
        // What is being killed stays so.
        let moved = self.those(all.clone(), |life| {
            !life.is_down_for_good()
                && (life.desired.wanted != Wanted::Killed || wanted == Wanted::Killed)
        });
        self.change_all(&moved, wanted, cause, grace);
        self.reply(&all, &all)
    }

    fn change_all(
        &mut self,
        moved: &Places,
        wanted: Wanted,
        cause: Cause,
        grace: Option<Duration>,
    ) {
        for &place in moved {
            change(&mut self.lives[place], wanted, cause, grace);
        }
    }

    fn reply(&self, moved: &Places, targets: &Places) -> CommandReply {
        let names = moved
            .iter()
            .map(|&place| self.lives[place].plan.service.clone());
        let mut affected: Vec<ServiceName> = names.collect();
        affected.dedup();
        let target = |&place: &usize| UnitTarget {
            service: self.lives[place].plan.service.clone(),
            replica: self.lives[place].plan.replica,
            generation: self.lives[place].desired.generation,
            stops: match self.lives[place].desired.wanted {
                Wanted::Nothing | Wanted::Running => false,
                Wanted::Stopped | Wanted::Killed => true,
            },
        };
        CommandReply {
            warnings: Vec::new(),
            input: None,
            affected,
            units: targets.iter().map(target).collect(),
        }
    }
}

/// Each change has the next number. Whoever was started without its dependencies is restarted so.
fn change(life: &mut Life, wanted: Wanted, cause: Cause, grace: Option<Duration>) {
    life.desired = DesiredSnapshot {
        wanted,
        generation: life.desired.generation + 1,
        cause,
    };
    life.grace = grace;
    life.is_alone &= cause == Cause::Restart;
    life.runs_now = false;
    life.is_moved = true;
}
