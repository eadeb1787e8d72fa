//! Doing what a unit's machine asks for.

use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;
use tokio::time::Instant;

use super::{Child, Supervisor};
use crate::plan::command::find_program;
use crate::plan::model::{Execution, UnitPlan};
use crate::run::logs::pipe_pair;
use crate::run::process::{
    ProcessId, Row, SpawnError, SpawnStep, Stdio, Target, UnitKey, descendants, group_of,
    now_ticks, own_children, session_of, signal_group, signal_process, unit_mark,
};
use crate::run::snapshot::{Exit, LogStream, NoticeLevel, Phase};
use crate::run::state::{Action, Occurrence, State};
use crate::run::unit::{Unit, delay_words};

impl Supervisor {
    pub(super) fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Execute => {
                self.units[index].executed_ticks = now_ticks();
                let occurrence = match self.execute(index) {
                    Ok(()) => Occurrence::Executed,
                    Err((message, is_temporary)) => {
                        // A child that failed to execute has noted its pid, which is free again.
                        self.leases.clear(self.units[index].slot);
                        Occurrence::NotExecuted {
                            message,
                            is_temporary,
                        }
                    }
                };
                self.happen(index, occurrence);
            }
            Action::BeginChecks => self.begin_checks(index),
            Action::EndChecks => self.end_checks(index),
            Action::HardenPorts => self.units[index].ports.keep(),
            Action::SignalStop => {
                // One that was reaped while its last output is written has no group to be named
                // by: what it left is asked one by one as soon as that is done.
                let Some(pid) = self.living_main(index) else {
                    return;
                };
                let unit = &mut self.units[index];
                unit.is_group_asked = true;
                // A server that closes its listener first and ends later leaves the port to nobody.
                unit.ports.shut();
                signal_group(pid, unit.plan.stop_signal);
                // A stopped process acts on nothing before it is continued.
                signal_group(pid, libc::SIGCONT);
            }
            Action::SignalRest => {
                let rest = self.rest_of(index);
                let count = crate::support::text::count_of(rest.len(), "process", "processes");
                self.notice(
                    Some(index),
                    NoticeLevel::Warning,
                    format!("it ended and left {count} behind; ending them"),
                );
                self.ask(index, rest);
            }
            Action::SignalStrays => {
                let unit = &self.units[index];
                let asked_group = unit.is_group_asked.then_some(unit.session).flatten();
                let mut rest = self.rest_of(index);
                rest.retain(|&pid| asked_group.is_none() || group_of(pid) != asked_group);
                self.ask(index, rest);
            }
            Action::KillTree => self.kill_tree(index),
            Action::CheckTree => self.check_tree(index),
        }
    }

    /// Executes a unit's program. The error is the message, and whether trying again may help.
    fn execute(&mut self, index: usize) -> Result<(), (String, bool)> {
        if let Some(theft) = self.look_before_start(index) {
            return Err((theft, true));
        }
        let count = self.units.len();
        let unit = &mut self.units[index];
        let slot = unit.slot;
        let program = find(&unit.plan, &unit.plan.execution).map_err(|message| (message, false))?;
        let no_pipe = |error: std::io::Error| (format!("no pipe for its output: {error}"), true);
        let (stdout_reader, stdout) = pipe_pair(count).map_err(no_pipe)?;
        let (stderr_reader, stderr) = pipe_pair(count).map_err(no_pipe)?;
        // The one window in which somebody else could take a port opens here.
        unit.ports
            .open()
            .map_err(|why| (why.message, why.is_temporary))?;
        let passed = unit.ports.passed();
        let environment = unit.plan.environment.entries();
        let stdio = Stdio {
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            passed: &passed,
        };
        let mut target = Target {
            program: &program,
            argv: &unit.plan.execution.argv,
            environment: &environment,
            directory: &unit.plan.directory,
        };
        let mut spawned = self.spawner.spawn(&target, stdio, self.leases.line(slot));
        let script_argv;
        if matches!(&spawned, Err(error) if error.errno == Errno::ENOEXEC) {
            // A script without its first line: what execvp(3) and every shell do.
            script_argv = script(&program, &unit.plan.execution.argv);
            let shell = PathBuf::from("/bin/sh");
            target.program = &shell;
            target.argv = &script_argv;
            spawned = self.spawner.spawn(&target, stdio, self.leases.line(slot));
        }
        let pid = spawned.map_err(|error| {
            let is_temporary = error.is_temporary();
            (
                spawn_words(&error, &self.units[index].plan, &program),
                is_temporary,
            )
        })?;
        tracing::debug!(
            pid,
            program = %program.display(),
            words = ?self.units[index].plan.execution.argv,
            "executed"
        );
        let unit = &mut self.units[index];
        unit.note_executed(pid, Instant::now());
        self.leases.note_started(slot);
        self.seat.table.set(
            slot,
            Row {
                pid,
                stop_signal: unit.plan.stop_signal,
                // Should the guardian have to stop everything, it does as the supervisor would.
                grace: self.options.grace.unwrap_or(unit.plan.grace),
                unit: UnitKey::of(&self.about.instance, &unit.plan.name()),
            },
        );
        self.children.insert(pid, Child::Main { unit: index });
        let (name, attempt) = (unit.plan.name(), unit.machine.attempt() + 1);
        self.pump
            .register(stdout_reader, name.clone(), LogStream::Stdout, attempt);
        self.pump
            .register(stderr_reader, name, LogStream::Stderr, attempt);
        Ok(())
    }

    /// What is left of a unit whose main process has ended, or is to be killed: its group and
    /// session as far as they hang below us, and what carries its mark.
    fn rest_of(&self, index: usize) -> Vec<i32> {
        let mut rest: Vec<i32> = Vec::new();
        let main = self.living_main(index);
        for &root in main.iter().chain(&self.units[index].strays) {
            rest.extend(descendants(root));
        }
        rest
    }

    /// The main process of a unit, unless it has been reaped: its number may be a stranger's then.
    pub(super) fn living_main(&self, index: usize) -> Option<i32> {
        let pid = self.units[index].pid?;
        self.children.contains_key(&pid).then_some(pid)
    }

    /// Asks processes of a unit to end, each of them once.
    fn ask(&mut self, index: usize, processes: Vec<i32>) {
        for pid in processes {
            if self.units[index].asked.insert(pid) {
                signal_process(pid, libc::SIGTERM);
                signal_process(pid, libc::SIGCONT);
            }
        }
    }

    /// Finds the processes that hang below us without being known, and which unit each is of: by
    /// the mark in its environment, else by its session. One that has neither (some servers write
    /// their title over their environment) is taken to be of `ended`, whose end made it an orphan,
    /// unless it is older than that: then it is of another service, whose end will find it.
    pub(super) fn find_strays(&mut self, ended: Option<usize>) {
        let unknown: Vec<i32> = own_children()
            .into_iter()
            .filter(|pid| !self.children.contains_key(pid))
            .filter(|pid| !self.units.iter().any(|unit| unit.strays.contains(pid)))
            .collect();
        for pid in unknown {
            let marked = unit_mark(pid, &self.about.instance).and_then(|name| self.index_of(&name));
            let by_session = || {
                let session = session_of(pid)?;
                self.units
                    .iter()
                    .position(|unit| unit.session == Some(session))
            };
            let by_end = || {
                let since = self.units[ended?].executed_ticks;
                let is_younger = ProcessId::of(pid).is_none_or(|it| it.start_time + 1 >= since);
                ended.filter(|_| is_younger)
            };
            if let Some(index) = marked.or_else(by_session).or_else(by_end) {
                self.units[index].strays.push(pid);
            }
        }
    }

    /// Tells a unit whose main process has ended whether anything of it is left.
    fn check_tree(&mut self, index: usize) {
        let occurrence = if self.units[index].strays.is_empty() {
            Occurrence::TreeEmpty
        } else {
            Occurrence::TreeLeft
        };
        if occurrence == Occurrence::TreeEmpty && self.units[index].pid.is_none() {
            self.seat.table.clear(self.units[index].slot);
            self.leases.clear(self.units[index].slot);
        }
        self.happen(index, occurrence);
    }

    /// Orphans have ended, known ones or not; their own children have become ours. Looks again at
    /// every unit of which something was left.
    pub(super) fn strays_ended(&mut self, ended: &[i32]) {
        for unit in &mut self.units {
            unit.strays.retain(|stray| !ended.contains(stray));
        }
        let waiting: Vec<usize> = (0..self.units.len())
            .filter(|&index| {
                matches!(
                    self.units[index].machine.state(),
                    State::Stopping { exit: Some(_), .. }
                )
            })
            .collect();
        if let Some(&first) = waiting.first() {
            self.find_strays(Some(first));
        }
        for index in waiting {
            self.check_tree(index);
        }
    }

    /// Kills everything that descends from a unit, also what left its group and session.
    fn kill_tree(&mut self, index: usize) {
        self.find_strays(None);
        if let Some(pid) = self.living_main(index) {
            signal_group(pid, libc::SIGKILL);
        }
        for pid in self.rest_of(index) {
            signal_process(pid, libc::SIGKILL);
        }
    }

    /// What follows from a unit's new state for itself and for the stack.
    pub(super) fn after_change(&mut self, index: usize) {
        let unit = &self.units[index];
        match unit.machine.state() {
            State::Backoff { until } => {
                let delay = until.saturating_duration_since(Instant::now());
                let message = format!(
                    "{}; restarting {} (failure {} in a row)",
                    unit.last_end_words().unwrap_or_default(),
                    delay_words(delay),
                    unit.machine.failures(),
                );
                tracing::debug!(service = %unit.plan.service, "{message}");
            }
            State::Failed(_) => {
                self.blame_ports(index);
                if self.options.abort_on_failure && self.drain.is_none() {
                    let name = self.units[index].label();
                    self.notice(
                        None,
                        NoticeLevel::Error,
                        format!("stopping everything, as {name} failed"),
                    );
                    self.begin_drain(self.options.grace);
                }
                self.note_stop_with(index);
            }
            State::Completed | State::Stopped => self.note_stop_with(index),
            State::Pending
            | State::Waiting
            | State::Starting { .. }
            | State::Running { .. }
            | State::Healthy { .. }
            | State::Unhealthy { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// The service of `--exit-code-from` has ended: so does everything.
    fn note_stop_with(&mut self, index: usize) {
        let unit = &self.units[index];
        if self.options.stop_with.as_ref() != Some(&unit.plan.service) || self.stop_exit.is_some() {
            return;
        }
        // It is on its way up again.
        if self.is_restarting(index) {
            return;
        }
        // What a signal to us ended has not ended by itself: the code tells of the signal.
        if self.signal.is_none() {
            self.stop_exit = unit.machine.last_exit().map(|exit| {
                // One that ended with 0 beside a thief has failed all the same.
                let is_failed_success =
                    unit.phase() == Phase::Failed && unit.machine.is_success(exit);
                if is_failed_success {
                    Exit::Code(1)
                } else {
                    exit
                }
            });
        }
        if self.drain.is_none() {
            self.begin_drain(self.options.grace);
        }
    }

    /// The processes of a unit's tree while it runs, for who listens where.
    pub(super) fn tree_of(&self, index: usize) -> Vec<i32> {
        let unit: &Unit = &self.units[index];
        if unit.phase() == Phase::Pending {
            return Vec::new();
        }
        self.rest_of(index)
    }
}

/// Finds the program of an execution in the service's own `PATH`.
pub(super) fn find(plan: &UnitPlan, execution: &Execution) -> Result<PathBuf, String> {
    if !plan.directory.is_dir() {
        return Err(format!(
            "its working directory `{}` does not exist",
            plan.directory.display()
        ));
    }
    let name = execution.argv.first().map_or("", String::as_str);
    find_program(name, plan.environment.get("PATH"), &plan.directory)
        .map_err(|error| error.to_string())
}

fn script(program: &std::path::Path, argv: &[String]) -> Vec<String> {
    let path = program.to_string_lossy().into_owned();
    ["/bin/sh".to_owned(), path]
        .into_iter()
        .chain(argv.iter().skip(1).cloned())
        .collect()
}

fn spawn_words(error: &SpawnError, plan: &UnitPlan, program: &std::path::Path) -> String {
    let reason = error.errno.desc().to_lowercase();
    match error.step {
        SpawnStep::Clone => format!("no process could be made: {reason}"),
        SpawnStep::Prepare => format!("its process could not be prepared: {reason}"),
        SpawnStep::Directory => {
            format!(
                "its working directory `{}` cannot be used: {reason}",
                plan.directory.display()
            )
        }
        SpawnStep::Exec if error.errno == Errno::ENOENT => format!(
            "`{}` cannot be executed: the interpreter in its first line does not exist",
            program.display()
        ),
        SpawnStep::Exec => format!("`{}` cannot be executed: {reason}", program.display()),
    }
}
