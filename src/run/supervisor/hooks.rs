//! Hooks: commands that run at a time of a unit's life, one after the other.
//!
//! When they begin and what their end means is decided in `run::state`; here each is begun, timed and
//! taken in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::plan::model::HookPlan;
use crate::run::news::{News, NoticeLevel};
use crate::run::reason::{HookEnd, HookFailure, StartError};
use crate::run::runner::{CommandId, Start};
use crate::run::snapshot::Exit;
use crate::run::state::{Occurrence, State};
use crate::run::unit::RunningHook;
use crate::spec::model::HookTime;
use crate::support::name::UnitId;

/// Where the numbers of hooks begin: below it are those of checks.
const FIRST: u64 = 1 << 63;

/// A hook has ended, and its output is in the files.
#[derive(Debug)]
pub(super) struct HookEnded {
    pub(super) command: CommandId,
    /// Nothing where it was killed, having taken too long.
    pub(super) exit: Option<Exit>,
}

impl Supervisor {
    pub(super) fn begin_hooks(&mut self, id: &UnitId, time: HookTime) {
        let hooks = self.units[id].plan.hooks(time).cloned().collect();
        self.next_hook(id, time, hooks);
    }

    fn next_hook(&mut self, id: &UnitId, time: HookTime, mut rest: VecDeque<HookPlan>) {
        let unit = &mut self.units[id];
        let Some(hook) = rest.pop_front() else {
            return self.hooks_done(id, time);
        };
        unit.last_hook += 1;
        let number = FIRST + unit.last_hook;
        let is_first = time == HookTime::PreStart;
        let attempt = unit.machine.attempt() + u32::from(is_first);
        let command = CommandId {
            unit: id.clone(),
            number,
        };
        let mut plan = unit.plan.clone();
        plan.environment.changes.extend(hook.environment.clone());
        if let Some(directory) = &hook.directory {
            plan.directory.clone_from(directory);
        }
        plan.execution.clone_from(&hook.execution);
        if hook.user.is_some() {
            plan.process.user.clone_from(&hook.user);
        }
        match self.runner.begin_hook(command, &plan, (attempt, is_first)) {
            Start::Executed | Start::Underway => {
                let unit = &mut self.units[id];
                unit.hook = Some(RunningHook {
                    number,
                    until: Some(Instant::now() + hook.timeout),
                    plan: hook,
                    rest,
                    attempt,
                });
                self.mark(id);
            }
            Start::Failed {
                error,
                is_temporary,
            } => self.hook_not_executed(id, &hook, error, is_temporary),
        }
    }

    fn hook_not_executed(
        &mut self,
        id: &UnitId,
        hook: &HookPlan,
        error: StartError,
        is_temporary: bool,
    ) {
        match hook.time {
            HookTime::PreStart => {
                let error = StartError::Hook {
                    time: hook.time,
                    error: Box::new(error),
                };
                self.happen(
                    id,
                    Occurrence::NotExecuted {
                        error,
                        is_temporary,
                    },
                );
            }
            HookTime::PostStart | HookTime::PreStop => {
                self.hook_failed(id, hook, HookEnd::NotExecuted { error });
            }
        }
    }

    fn hooks_done(&mut self, id: &UnitId, time: HookTime) {
        match time {
            HookTime::PreStart => self.happen(id, Occurrence::Prepared),
            HookTime::PostStart => {}
            HookTime::PreStop => self.happen(id, Occurrence::HooksDone),
        }
    }

    fn hook_failed(&mut self, id: &UnitId, hook: &HookPlan, end: HookEnd) {
        let failure = HookFailure {
            time: hook.time,
            command: hook.execution.shown(),
            end,
        };
        if hook.time == HookTime::PreStart {
            // Who waits for its health waits from here at the latest.
            let unit = &mut self.units[id];
            unit.first_executed.get_or_insert_with(Instant::now);
            return self.happen(id, Occurrence::HookFailed(failure));
        }
        self.notice(Some(id), NoticeLevel::Warning, News::HookFailed(failure));
        self.hooks_done(id, hook.time);
    }

    /// A hook's process has ended: its end is told once its output is in the files.
    pub(super) fn hook_exited(&mut self, command: CommandId, exit: Option<Exit>) {
        let Some(hook) = self.hook_of(&command) else {
            return;
        };
        // It has ended in time.
        hook.until = None;
        let attempt = hook.attempt;
        let drained = self.runner.drained(&command.unit, attempt);
        let hook_tx = self.hook_tx.clone();
        tokio::task::spawn_local(async move {
            drained.await;
            // Without a supervisor nobody wants to know.
            drop(hook_tx.send(HookEnded { command, exit }));
        });
    }

    fn hook_of(&mut self, command: &CommandId) -> Option<&mut RunningHook> {
        let hook = self.units.get_mut(&command.unit)?.hook.as_mut()?;
        (hook.number == command.number).then_some(hook)
    }

    /// Takes in what came of a hook.
    pub(super) fn hook_ended(&mut self, ended: HookEnded) {
        let HookEnded { command, exit } = ended;
        if self.hook_of(&command).is_none() {
            return;
        }
        let id = command.unit;
        // What has not run yet is not executed only to wait for the end of its dependents.
        let unit = &self.units[&id];
        let is_preparing = matches!(unit.machine.state(), State::Executing { .. });
        if is_preparing && unit.seen().is_to_come_down() {
            let grace = Some(Duration::ZERO);
            self.happen(&id, Occurrence::Stop { grace });
        }
        let Some(hook) = self.units[&id].hook.take() else {
            return;
        };
        self.mark(&id);
        // What was ended as nobody wants the service any more has not failed.
        if let State::Executing { stop: Some(_), .. } = self.units[&id].machine.state() {
            return self.hooks_done(&id, hook.plan.time);
        }
        match exit {
            Some(Exit::Code(0)) => self.next_hook(&id, hook.plan.time, hook.rest),
            Some(exit) => self.hook_failed(&id, &hook.plan, HookEnd::Exited { exit }),
            None => {
                let limit_millis = hook.plan.timeout.as_millis().try_into().unwrap_or(u64::MAX);
                self.hook_failed(&id, &hook.plan, HookEnd::TimedOut { limit_millis });
            }
        }
    }

    /// Kills a unit's hook whose time is over by `now`.
    pub(super) fn hook_due(&mut self, id: &UnitId, now: Instant) {
        let Some(hook) = &self.units[id].hook else {
            return;
        };
        if hook.until.is_some_and(|until| until <= now) {
            let command = CommandId {
                unit: id.clone(),
                number: hook.number,
            };
            self.runner.kill_command(&command);
            self.hook_exited(command, None);
        }
    }

    /// Asks what prepares a unit to end within the grace period. Whether anything does.
    pub(super) fn ask_hook(&mut self, id: &UnitId) -> bool {
        let unit = &mut self.units[id];
        let State::Executing {
            stop: Some(grace), ..
        } = *unit.machine.state()
        else {
            return false;
        };
        let Some(hook) = &mut unit.hook else {
            return false;
        };
        let end = Instant::now() + grace;
        hook.until = hook.until.map(|until| until.min(end));
        let command = CommandId {
            unit: id.clone(),
            number: hook.number,
        };
        if grace > Duration::ZERO {
            self.runner.ask_command(&command);
        }
        self.mark(id);
        true
    }

    /// Kills a unit's hook, of which nobody wants to know any more.
    pub(super) fn end_hook(&mut self, id: &UnitId) {
        if let Some(hook) = self.units[id].hook.take() {
            self.runner.kill_command(&CommandId {
                unit: id.clone(),
                number: hook.number,
            });
        }
    }
}
