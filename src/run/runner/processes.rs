//! Units as processes of this machine.

mod hook;
mod leases;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use nix::libc;
use tokio::net::unix::pipe::Receiver;

use super::refusals::{find, prepare, refused, spawn_error, spawn_or_by_shell};
use super::rest::end_everything_below;
use super::trees::Trees;
use super::wires::{Input, Wires};
use super::{CommandId, Happened, Runner, Start, Whom};
use crate::plan::model::{Execution, UnitPlan};
use crate::run::control::{InputReply, TerminalSize};
use crate::run::lease::LeaseFile;
use crate::run::logs::{Expected, PumpHandle, pipe_pair};
use crate::run::process::{
    COMMAND_MARK, ProcessId, SharedTable, Slot, SpawnError, Spawner, Stdio, Target, ancestors,
    descendants, group_of, now_ticks, reap_all, signal_group, signal_process,
};
use crate::run::reason::{StartError, StartStep};
use crate::run::rights::Granted;
use crate::run::snapshot::Usage;
use crate::support::fs::below;
use crate::support::name::UnitId;

/// How long what is left after everything has ended may take to vanish.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// The same where it was killed before, with the unit it belongs to.
const SHORT_LIMIT: Duration = Duration::from_millis(200);

/// What a pid of a child means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Child {
    Main(UnitId),
    Command(CommandId),
}

/// Runs units as processes: starts them, knows their trees, reaps every child.
#[derive(Debug)]
pub(crate) struct Processes {
    spawner: Spawner,
    /// What the guardian needs to clean up.
    table: SharedTable,
    /// What the next `stack` needs to clean up.
    leases: LeaseFile,
    pump: PumpHandle,
    children: HashMap<i32, Child>,
    commands: HashMap<CommandId, i32>,
    /// What takes the input of the units' main processes, where anything does.
    inputs: HashMap<UnitId, Input>,
    /// The size of terminals that begin.
    size: TerminalSize,
    /// Each unit's place in the table and among the leases.
    slots: HashMap<UnitId, Slot>,
    trees: Trees,
    /// Overrides every grace period, should the guardian have to stop everything.
    grace: Option<Duration>,
    /// The working directory of this process as the plans call it. It may have another name by now.
    project_dir: PathBuf,
}

impl Processes {
    pub(crate) fn new(
        spawner: Spawner,
        table: SharedTable,
        leases: LeaseFile,
        pump: PumpHandle,
        (instance, project_dir): (String, PathBuf),
        (grace, size): (Option<Duration>, TerminalSize),
    ) -> Self {
        Self {
            spawner,
            table,
            leases,
            pump,
            children: HashMap::new(),
            commands: HashMap::new(),
            inputs: HashMap::new(),
            size,
            slots: HashMap::new(),
            trees: Trees::new(instance),
            grace,
            project_dir,
        }
    }

    fn try_execute(
        &mut self,
        plan: &UnitPlan,
        attempt: u32,
        passed: &[(BorrowedFd<'_>, &str)],
    ) -> Result<(), (StartError, bool)> {
        let id = plan.id();
        let (program, granted) =
            prepare(plan, &self.project_dir).map_err(|error| (error, false))?;
        let no_pipe = |error: std::io::Error| (refused(StartStep::Pipe, &program, &error), true);
        let wires = Wires::new(&plan.process, self.children.len(), self.size).map_err(no_pipe)?;
        granted.give_pipes(wires.own());
        let stdio = wires.stdio(passed);
        let slot = self.slot(&id);
        let executed_ticks = now_ticks();
        let what = (&plan.execution, None);
        let pid = self
            .spawn((plan, &granted), what, &program, stdio, slot)
            .map_err(|error| {
                let is_temporary = error.is_temporary();
                (spawn_error(&error, plan, &program), is_temporary)
            })?;
        tracing::debug!(pid, program = %program.display(), words = ?plan.execution.argv, "executed");
        if let Some(slot) = slot {
            self.leases.note_started(slot);
            self.table.set(slot, self.row(plan, pid));
        }
        self.trees.executed(&id, pid, executed_ticks);
        self.children.insert(pid, Child::Main(id.clone()));
        if let Some(input) = wires.input {
            self.inputs.insert(id.clone(), input);
        }
        for (reader, stream) in wires.readers {
            self.pump
                .register(reader, id.clone(), stream, attempt, plan.logging);
        }
        Ok(())
    }

    /// Starts a program in the environment of its unit.
    fn spawn(
        &mut self,
        (plan, granted): (&UnitPlan, &Granted),
        (execution, command): (&Execution, Option<&CommandId>),
        program: &Path,
        stdio: Stdio<'_>,
        slot: Option<Slot>,
    ) -> Result<i32, SpawnError> {
        let mut environment = plan.environment.entries();
        // It may be that of a check which has called us.
        environment.retain(|(key, _)| *key != COMMAND_MARK);
        granted.correct(&plan.environment, &mut environment);
        let number = command.map(|command| command.number.to_string());
        let mark = number
            .as_ref()
            .map(|number| (OsStr::new(COMMAND_MARK), OsStr::new(number)));
        environment.extend(mark);
        if stdio.has_terminal && !environment.iter().any(|(key, _)| *key == "TERM") {
            environment.push((OsStr::new("TERM"), OsStr::new("xterm-256color")));
        }
        let target = Target {
            program,
            argv: &execution.argv,
            environment: &environment,
            directory: &below(&plan.directory, &self.project_dir),
            rights: &granted.rights,
        };
        let manner = self.manner(plan);
        spawn_or_by_shell(target, |target| {
            let lease = slot.and_then(|slot| self.leases.line(slot, manner));
            self.spawner.spawn(target, stdio, lease)
        })
    }

    fn find_strays(&mut self, ended: Option<&UnitId>) {
        let (children, commands) = (&self.children, &self.commands);
        self.trees.find_strays(
            ended,
            |pid| children.contains_key(&pid),
            |command| commands.contains_key(command),
        );
    }
}

impl Runner for Processes {
    fn execute(
        &mut self,
        plan: &UnitPlan,
        attempt: u32,
        passed: &[(BorrowedFd<'_>, &str)],
    ) -> Start {
        match self.try_execute(plan, attempt, passed) {
            Ok(()) => Start::Executed,
            Err((error, is_temporary)) => {
                // A child that failed to execute has noted its pid, which is free again.
                self.clear_lease(&plan.id());
                Start::Failed {
                    error,
                    is_temporary,
                }
            }
        }
    }

    fn adopt(&mut self, plan: &UnitPlan) {
        let id = plan.id();
        self.pump
            .change(id.clone(), Expected::of(plan), plan.logging);
        let running = self.main_process(&id).and_then(ProcessId::of);
        if let (Some(process), Some(&slot)) = (running, self.slots.get(&id)) {
            self.table.set(slot, self.row(plan, process.pid));
            self.leases.write(slot, process, self.manner(plan));
        }
    }

    fn forget(&mut self, unit: &UnitId) {
        if let Some(slot) = self.slots.remove(unit) {
            self.table.clear(slot);
            self.leases.release(slot);
        }
        self.trees.forget(unit);
        self.pump.close(unit.clone());
    }

    fn note_signals(&mut self) {
        self.spawner.note_signals();
    }

    fn cancel(&mut self, _unit: &UnitId) {}

    fn signal(&mut self, unit: &UnitId, signal: i32) {
        self.trees.signal(unit, signal);
    }

    fn put(
        &mut self,
        unit: &UnitId,
        bytes: &[u8],
        size: Option<TerminalSize>,
    ) -> Option<InputReply> {
        let reply = self.inputs.get(unit)?.put(bytes, size);
        self.pump.hurry(unit.clone());
        Some(reply)
    }

    fn resize(&mut self, size: TerminalSize, is_meant: &dyn Fn(&UnitId) -> bool) {
        self.size = size;
        for (_, input) in self.inputs.iter().filter(|(unit, _)| is_meant(unit)) {
            input.put(&[], Some(size));
        }
    }

    fn ask_rest(&mut self, unit: &UnitId, whom: Whom) {
        self.trees.ask(unit, whom == Whom::OutsideGroup);
    }

    fn kill(&mut self, units: &[UnitId]) {
        self.find_strays(None);
        for unit in units {
            self.trees.kill(unit);
        }
    }

    fn is_empty(&mut self, unit: &UnitId) -> bool {
        let is_empty = self.trees.is_empty(unit);
        if is_empty {
            self.clear_lease(unit);
        }
        is_empty
    }

    fn put_back(&mut self, leases: &Path) {
        // Whoever needs them finds what runs by its marks as well.
        if let Err(error) = self.leases.put_back(leases) {
            tracing::warn!(%error, "the leases were not put back");
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.spawner.group()?.usage()
    }

    fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen {
            libc::SIGSTOP
        } else {
            libc::SIGCONT
        };
        let groups = self.trees.groups().chain(self.commands.values().copied());
        let groups: HashSet<i32> = groups.collect();
        for &group in &groups {
            signal_group(group, signal);
        }
        // What has left its group, or its service's tree, is below us all the same.
        let own = std::process::id().cast_signed();
        for pid in descendants(own).into_iter().filter(|&pid| pid != own) {
            if group_of(pid).is_none_or(|group| !groups.contains(&group)) {
                signal_process(pid, signal);
            }
        }
    }

    fn main_process(&self, unit: &UnitId) -> Option<i32> {
        self.trees.get(unit)?.main
    }

    fn processes(&mut self, unit: &UnitId) -> Vec<i32> {
        // Who left its tree by a double fork is known to be of it by its mark.
        self.find_strays(None);
        self.trees.processes(unit)
    }

    /// A daemon that has wiped its environment and leads a session of its own is of the unit on whose
    /// port it listens.
    fn is_of_no_other(&self, pid: i32, unit: &UnitId) -> bool {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        ancestors(pid)
            .find_map(|pid| match self.children.get(&pid) {
                Some(Child::Main(other)) => Some(other == unit),
                Some(Child::Command(_)) => Some(false),
                None => (pid == own).then_some(true),
            })
            .unwrap_or(false)
    }

    fn begin_command(
        &mut self,
        command: CommandId,
        plan: &UnitPlan,
        execution: &Execution,
    ) -> Result<Receiver, StartError> {
        let program = find(plan, execution, &self.project_dir)?;
        let granted = Granted::to(plan)?;
        let no_pipe = |error: std::io::Error| refused(StartStep::Pipe, &program, &error);
        let (reader, writer) = pipe_pair(usize::MAX).map_err(no_pipe)?;
        let reader = Receiver::from_owned_fd(reader).map_err(no_pipe)?;
        granted.give_pipes([writer.as_fd()]);
        let stdio = Stdio::output(writer.as_fd(), writer.as_fd());
        let what = (execution, Some(&command));
        let pid = self
            .spawn((plan, &granted), what, &program, stdio, None)
            .map_err(|error| spawn_error(&error, plan, &program))?;
        self.children.insert(pid, Child::Command(command.clone()));
        self.commands.insert(command, pid);
        Ok(reader)
    }

    fn begin_hook(
        &mut self,
        command: CommandId,
        plan: &UnitPlan,
        (attempt, is_first): (u32, bool),
    ) -> Start {
        match self.try_hook(command, plan, (attempt, is_first)) {
            Ok(()) => Start::Executed,
            Err((error, is_temporary)) => Start::Failed {
                error,
                is_temporary,
            },
        }
    }

    fn ask_command(&mut self, command: &CommandId) {
        if let Some(&pid) = self.commands.get(command) {
            signal_group(pid, libc::SIGTERM);
            signal_group(pid, libc::SIGCONT);
        }
    }

    fn kill_command(&mut self, command: &CommandId) {
        // Its pid stays among the children until it is reaped: it is not a stray.
        if let Some(pid) = self.commands.remove(command) {
            signal_group(pid, libc::SIGKILL);
        }
    }

    fn take_news(&mut self) -> Vec<Happened> {
        let mut news = Vec::new();
        let mut first_ended = None;
        let mut are_orphans_possible = false;
        for reaped in reap_all() {
            match self.children.remove(&reaped.pid) {
                Some(Child::Main(unit)) => {
                    self.trees.main_ended(&unit);
                    self.inputs.remove(&unit);
                    first_ended.get_or_insert_with(|| unit.clone());
                    news.push(Happened::MainEnded {
                        unit,
                        pid: reaped.pid,
                        exit: reaped.exit,
                    });
                }
                Some(Child::Command(command)) => {
                    // Whatever it left in its group is of no use to anybody, and what left its group is
                    // looked for below.
                    signal_group(reaped.pid, libc::SIGKILL);
                    are_orphans_possible = true;
                    if self.commands.remove(&command).is_some() {
                        news.push(Happened::CommandEnded {
                            command,
                            exit: reaped.exit,
                        });
                    }
                }
                None => {
                    are_orphans_possible = true;
                    if let Some(unit) = self.trees.stray_ended(reaped.pid) {
                        first_ended.get_or_insert_with(|| unit.clone());
                        news.push(Happened::TreeChanged { unit });
                    }
                }
            }
        }
        // One look for all of them: whom they left behind has been ours since they died.
        if first_ended.is_some() || are_orphans_possible {
            self.find_strays(first_ended.as_ref());
        }
        news
    }

    fn drained(&self, unit: &UnitId, attempt: u32) -> Pin<Box<dyn Future<Output = ()>>> {
        let drained = self.pump.drain(unit.clone(), attempt);
        Box::pin(async move {
            drained.await;
        })
    }

    fn clear_logs(&self, units: Vec<UnitId>) -> Pin<Box<dyn Future<Output = io::Result<()>>>> {
        Box::pin(self.pump.clear(units))
    }

    fn finish(&mut self) -> Pin<Box<dyn Future<Output = bool> + '_>> {
        Box::pin(async {
            let mut units = self.slots.keys();
            // What is left of a unit was killed and waited for already.
            let was_waited_for = units.any(|unit| !self.trees.is_empty(unit));
            let limit = if was_waited_for {
                SHORT_LIMIT
            } else {
                LAST_LIMIT
            };
            let left = end_everything_below(limit, self.spawner.group()).await;
            if left.is_empty() {
                self.leases.remove();
                self.spawner.group().inspect(|group| group.remove());
            } else {
                self.leave_leases(&left);
            }
            !left.is_empty()
        })
    }
}
