//! Commands beside a unit that print to its log.

use std::os::fd::AsFd;

use super::super::CommandId;
use super::super::refusals::{find, prepare, refused, spawn_error};
use super::{Child, Processes};
use crate::plan::model::UnitPlan;
use crate::run::logs::pipe_pair;
use crate::run::process::Stdio;
use crate::run::reason::{StartError, StartStep};
use crate::run::rights::Granted;
use crate::run::snapshot::LogStream;

impl Processes {
    /// Begins one; why not, and whether trying again may help.
    pub(super) fn try_hook(
        &mut self,
        command: CommandId,
        plan: &UnitPlan,
        (attempt, is_first): (u32, bool),
    ) -> Result<(), (StartError, bool)> {
        let prepared = if is_first {
            prepare(plan, &self.project_dir)
        } else {
            find(plan, &plan.execution, &self.project_dir)
                .and_then(|program| Ok((program, Granted::to(plan)?)))
        };
        let (program, granted) = prepared.map_err(|error| (error, false))?;
        let no_pipe = |error: std::io::Error| (refused(StartStep::Pipe, &program, &error), true);
        let (stdout_reader, stdout) = pipe_pair(usize::MAX).map_err(no_pipe)?;
        let (stderr_reader, stderr) = pipe_pair(usize::MAX).map_err(no_pipe)?;
        granted.give_pipes([stdout.as_fd(), stderr.as_fd()]);
        let stdio = Stdio::output(stdout.as_fd(), stderr.as_fd());
        let what = (&plan.execution, Some(&command));
        let pid = self
            .spawn((plan, &granted), what, &program, stdio, None)
            .map_err(|error| {
                let is_temporary = error.is_temporary();
                (spawn_error(&error, plan, &program), is_temporary)
            })?;
        for (reader, stream) in [
            (stdout_reader, LogStream::Stdout),
            (stderr_reader, LogStream::Stderr),
        ] {
            let unit = command.unit.clone();
            self.pump
                .register_beside(reader, unit, stream, attempt, plan.logging);
        }
        self.children.insert(pid, Child::Command(command.clone()));
        self.commands.insert(command, pid);
        Ok(())
    }
}
