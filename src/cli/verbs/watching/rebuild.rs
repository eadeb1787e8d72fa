//! The command of `action: rebuild`, in the environment of its service.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::Builder;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;

use crate::cli::verbs::run::place;
use crate::plan::model::{Execution, UnitPlan};

/// What a command does, with the number of whoever has begun it.
#[derive(Debug)]
pub(super) enum Progress {
    /// It has printed a line.
    Line(usize, String),
    /// It has ended.
    Ended(usize, io::Result<ExitStatus>),
}

/// A command that runs. Dropping it kills it with all in its group.
#[derive(Debug)]
pub(super) struct Rebuild {
    group: Option<Pid>,
}

impl Rebuild {
    /// Begins a command.
    pub(super) fn begin(
        unit: &UnitPlan,
        execution: &Execution,
        (number, progress_tx): (usize, UnboundedSender<Progress>),
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let mut words = execution.argv.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words);
        place(&mut command, unit, &unit.environment.entries());
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        let mut child = command.spawn()?;
        // The ends that are for the child.
        drop(command);
        let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
        Builder::new().spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                drop(progress_tx.send(Progress::Line(number, line)));
            }
            drop(progress_tx.send(Progress::Ended(number, child.wait())));
        })?;
        Ok(Self { group })
    }

    /// It has ended by itself, and its number may be another's by now.
    pub(super) fn ended(mut self) {
        self.group = None;
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // One that has just ended is not there any more.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
