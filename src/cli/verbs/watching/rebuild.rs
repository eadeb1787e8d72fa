//! The command of `action: rebuild`, in the environment of its service and with its rights.

use std::io::{self, BufRead, BufReader, PipeReader};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;

use crate::plan::model::{Execution, UnitPlan};
use crate::run::begin_apart;
use crate::run::reason::{StartError, StartStep};
use crate::spec::model::MARKS;

/// How long after the end of a command its output is still waited for, while somebody has its pipe.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

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

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

impl Rebuild {
    /// Begins a command.
    pub(super) fn begin(
        unit: &UnitPlan,
        execution: &Execution,
        told: (usize, UnboundedSender<Progress>),
    ) -> Result<Self, StartError> {
        let (pid, reader) = begin_apart(unit, execution, &MARKS)?;
        let begin_thread = |work: Work| {
            let begun = Builder::new().name("rebuild".to_owned()).spawn(work);
            begun.map(drop)
        };
        Self::follow((pid, reader), told, &begin_thread).map_err(|error| StartError::Refused {
            step: StartStep::Process,
            path: execution.argv.first().cloned().unwrap_or_default(),
            error: error.to_string(),
        })
    }

    /// Follows what a command prints, and its end; it is killed where that cannot be done.
    ///
    /// It is over when its process has ended: who was left behind may have its pipe for ever.
    fn follow(
        (pid, reader): (i32, PipeReader),
        (number, progress_tx): (usize, UnboundedSender<Progress>),
        begin_thread: &dyn Fn(Work) -> io::Result<()>,
    ) -> io::Result<Self> {
        let pid = Pid::from_raw(pid);
        let is_over = Arc::new(AtomicBool::new(false));
        let (read_tx, read_rx) = channel::<()>();
        let (line_tx, was_over) = (progress_tx.clone(), Arc::clone(&is_over));
        let read = move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                if was_over.load(Ordering::Relaxed) {
                    break;
                }
                let line = String::from_utf8_lossy(&line).into_owned();
                drop(line_tx.send(Progress::Line(number, line)));
            }
            drop(read_tx);
        };
        let wait = move || {
            // It keeps its number until nothing more is done by that.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(pid), flags).is_err_and(|error| error == nix::Error::EINTR) {}
            let _ = read_rx.recv_timeout(DRAIN_LIMIT);
            is_over.store(true, Ordering::Relaxed);
            kill_group(pid);
            drop(progress_tx.send(Progress::Ended(number, end_of(pid))));
        };
        let begun = begin_thread(Box::new(read)).and_then(|()| begin_thread(Box::new(wait)));
        begun.inspect_err(|_| {
            kill_group(pid);
            let _ = end_of(pid);
        })?;
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

fn kill_group(group: Pid) {
    // One that has just ended is not there any more.
    let _ = killpg(group, Signal::SIGKILL);
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            kill_group(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::pipe;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// A shell that leads its group, and what it prints.
    #[expect(
        clippy::zombie_processes,
        reason = "whoever follows it waits for it, by its pid"
    )]
    fn shell(line: &str) -> (i32, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).stdout(writer).process_group(0);
        let child = command.spawn().unwrap();
        (child.id().try_into().unwrap(), reader)
    }

    fn thread(work: Work) -> io::Result<()> {
        Builder::new().spawn(work).map(drop)
    }

    #[tokio::test]
    async fn a_command_ends_with_its_process_and_takes_what_it_left_behind_with_it() {
        let (progress_tx, mut progress_rx) = unbounded_channel();
        let begun = shell("echo begun; sleep 1000 & echo $!; exit 3");
        let rebuild = Rebuild::follow(begun, (7, progress_tx), &thread).unwrap();
        let mut lines = Vec::new();
        let status = loop {
            match progress_rx.recv().await.unwrap() {
                Progress::Line(7, line) => lines.push(line),
                Progress::Ended(7, status) => break status.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        rebuild.ended();
        assert_eq!((status.code(), lines[0].as_str()), (Some(3), "begun"));
        // Whoever is killed may be there for a moment.
        let left = format!("/proc/{}/stat", lines[1]);
        let is_alive = || fs_err::read_to_string(&left).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_command_that_cannot_be_followed_is_killed() {
        for threads in [0, 1] {
            let (progress_tx, _progress_rx) = unbounded_channel();
            let begun = Cell::new(0);
            let some_threads = |work: Work| {
                if begun.replace(begun.get() + 1) == threads {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                thread(work)
            };
            let (pid, reader) = shell("sleep 1000");
            Rebuild::follow((pid, reader), (0, progress_tx), &some_threads).unwrap_err();
            assert_eq!(waitpid(Pid::from_raw(pid), None), Err(nix::Error::ECHILD));
        }
    }
}
