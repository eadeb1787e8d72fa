//! The command of `action: rebuild`, in the environment of its service and with its rights.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::spawn;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;

use crate::plan::model::{Execution, UnitPlan};
use crate::run::begin_apart;
use crate::run::reason::StartError;
use crate::spec::model::MARKS;

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
    ) -> Result<Self, StartError> {
        let (pid, reader) = begin_apart(unit, execution, &MARKS)?;
        let pid = Pid::from_raw(pid);
        spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                drop(progress_tx.send(Progress::Line(number, line)));
            }
            drop(progress_tx.send(Progress::Ended(number, end_of(pid))));
        });
        Ok(Self { group: Some(pid) })
    }

    /// It has ended by itself, and its number may be another's by now.
    pub(super) fn ended(mut self) {
        self.group = None;
    }
}

/// Waits for the end of a child.
fn end_of(pid: Pid) -> io::Result<ExitStatus> {
    loop {
        let raw = match waitpid(pid, None)? {
            WaitStatus::Exited(_, code) => code << 8,
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            _ => continue,
        };
        return Ok(ExitStatus::from_raw(raw));
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
