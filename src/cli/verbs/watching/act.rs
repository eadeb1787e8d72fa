//! What is done when it is time: signals, restarts, and the commands before them.

use tokio::time::Instant;

use super::Watching;
use super::rebuild::{Progress, Rebuild};
use crate::cli::words;
use crate::plan::model::Reaction;
use crate::run::control::{Command, CommandReply, UnitTarget};
use crate::run::snapshot::{ServiceSnapshot, Wanted};
use crate::support::escape::plain_line;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

impl Watching<'_> {
    /// Acts for every service that is due.
    pub(super) async fn act(&mut self, now: Instant) {
        let mut restarts = Vec::new();
        for at in 0..self.subjects.len() {
            if self.subjects[at].burst.due().is_none_or(|due| due > now) {
                continue;
            }
            let changes = std::mem::take(&mut self.subjects[at].changes);
            let subject = &mut self.subjects[at];
            subject.burst.act();
            let service = &subject.plan.service;
            let replicas = self.units.values().filter(|it| it.service == *service);
            let wanted: Vec<UnitId> = replicas
                .filter(|unit| unit.desired.wanted == Wanted::Running)
                .map(ServiceSnapshot::unit)
                .collect();
            // What somebody has stopped stays so, and what is not watched any more does.
            if wanted.is_empty() || changes.is_empty() {
                subject.burst.acted(now);
                continue;
            }
            let reactions = changes
                .keys()
                .map(|&item| (item, &subject.plan.watch[item].reaction));
            let is_rebuild = |reaction: &Reaction| matches!(reaction, Reaction::Rebuild(_));
            let rebuilds = reactions.clone().filter(|(_, it)| is_rebuild(it));
            subject.commands = rebuilds.map(|(item, _)| item).rev().collect();
            let signals: Vec<i32> = reactions
                .clone()
                .filter_map(|(_, reaction)| match reaction {
                    Reaction::Signal(signal) => Some(*signal),
                    Reaction::Restart | Reaction::Rebuild(_) => None,
                })
                .collect();
            let is_signal_alone = signals.len() == changes.len();
            let what = self.changed(&changes);
            if !self.subjects[at].commands.is_empty() {
                self.say(&what);
                self.next_command(at).await;
            } else if is_signal_alone && !self.subjects[at].is_given {
                self.signal(at, &what, wanted, signals).await;
            } else {
                let name = &self.subjects[at].plan.service;
                self.say(&format!("{what}; restarting {name}"));
                restarts.push(at);
            }
        }
        self.restart(&restarts).await;
    }

    async fn signal(&mut self, at: usize, what: &str, units: Vec<UnitId>, mut signals: Vec<i32>) {
        signals.dedup();
        for signal in signals {
            let service = &self.subjects[at].plan.service;
            let name = words::signal_name(signal);
            self.say(&format!("{what}; sending {name} to {service}"));
            let units = units.clone();
            if let Err(error) = self
                .client
                .command(&Command::Signal { units, signal })
                .await
            {
                self.say(&format!("error: {name} was not sent to {service}: {error}"));
            }
        }
        self.subjects[at].burst.acted(Instant::now());
    }

    /// Restarts some services, all at once but those that are given something else.
    async fn restart(&mut self, subjects: &[usize]) {
        let is_given = |at: &usize| std::mem::take(&mut self.subjects[*at].is_given);
        let (given, alike): (Vec<usize>, Vec<usize>) = subjects.iter().copied().partition(is_given);
        if !given.is_empty() {
            match self.renew(self.names(&given)).await {
                Ok(reply) => self.await_executed(&given, &reply),
                Err(stop) => {
                    self.say(&stop.message);
                    self.not_restarted(&given, "the changed file cannot be applied");
                }
            }
        }
        if !alike.is_empty() {
            let services = self.names(&alike);
            let command = Command::Restart {
                services,
                grace: None,
            };
            match self.client.command(&command).await {
                Ok(reply) => self.await_executed(&alike, &reply),
                Err(error) => self.not_restarted(&alike, &error.to_string()),
            }
        }
    }

    fn names(&self, subjects: &[usize]) -> Vec<ServiceName> {
        let names = subjects.iter().map(|&at| &self.subjects[at].plan.service);
        names.cloned().collect()
    }

    /// What has changed meanwhile waits until the services are executed again.
    fn await_executed(&mut self, subjects: &[usize], reply: &CommandReply) {
        for &at in subjects {
            let subject = &mut self.subjects[at];
            let own = |target: &&UnitTarget| target.service == subject.plan.service;
            subject.targets = reply.units.iter().filter(own).cloned().collect();
            if subject.targets.is_empty() {
                subject.burst.acted(Instant::now());
            }
        }
    }

    fn not_restarted(&mut self, subjects: &[usize], why: &str) {
        let names = text::list(self.names(subjects));
        let were = if subjects.len() == 1 { "was" } else { "were" };
        self.say(&format!("error: {names} {were} not restarted: {why}"));
        for &at in subjects {
            self.subjects[at].burst.acted(Instant::now());
        }
    }

    /// Begins the next command of a rebuild; after the last one the service is restarted.
    async fn next_command(&mut self, at: usize) {
        let subject = &mut self.subjects[at];
        let name = subject.plan.service.clone();
        let Some(item) = subject.commands.pop() else {
            self.say(&format!("restarting {name}"));
            return self.restart(&[at]).await;
        };
        let Reaction::Rebuild(execution) = &subject.plan.watch[item].reaction else {
            return;
        };
        let shown = shown_command(&execution.argv, execution.is_shell_line);
        let begun = Rebuild::begin(&subject.plan, execution, (at, self.progress_tx.clone()));
        match begun {
            Ok(rebuild) => {
                subject.rebuild = Some(rebuild);
                self.say(&format!("{name}: running `{shown}`"));
            }
            Err(error) => {
                let reason = words::start_error(&error);
                self.rebuild_failed(at, &format!("`{shown}` cannot be executed: {reason}"));
            }
        }
    }

    pub(super) async fn progressed(&mut self, progress: Progress) {
        match progress {
            Progress::Line(at, line) => {
                let name = &self.subjects[at].plan.service;
                self.say(&format!("{name} | {line}"));
            }
            Progress::Ended(at, status) => {
                let subject = &mut self.subjects[at];
                if let Some(rebuild) = subject.rebuild.take() {
                    rebuild.ended();
                }
                match status {
                    Ok(status) if status.success() => self.next_command(at).await,
                    Ok(status) => {
                        self.rebuild_failed(at, &format!("the command ended with {status}"));
                    }
                    Err(error) => self.rebuild_failed(at, &text::io_reason(&error)),
                }
            }
        }
    }

    fn rebuild_failed(&mut self, at: usize, why: &str) {
        let subject = &mut self.subjects[at];
        subject.commands.clear();
        subject.burst.acted(Instant::now());
        let name = &self.subjects[at].plan.service;
        self.say(&format!("error: {name}: {why}; it was not restarted"));
    }
}

/// A command as it is named in a message.
fn shown_command(argv: &[String], is_shell_line: bool) -> String {
    match argv.last().filter(|_| is_shell_line) {
        Some(line) => plain_line(line.clone()),
        None => plain_line(argv.join(" ")),
    }
}
