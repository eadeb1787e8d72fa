//! Who runs an instance: what a lock file says, and who it is that has it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::run::presence;
use crate::run::process::{ProcessId, is_suspended, signal_process};
use crate::support::fs::open_private;
use crate::support::name::ProjectName;
use crate::support::proc::boot_id;

/// What the lock file says of whoever holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The project's name.
    pub project: ProjectName,
    /// The file that it was started from; relative to the project directory where it lies in there.
    pub file: PathBuf,
    /// Whether its name was given by the caller, not by the file or its directory.
    pub is_named: bool,
    /// Where its files are; relative to the project directory where they lie in there.
    pub dir: PathBuf,
    /// The guardian.
    pub guardian_pid: i32,
    /// When the guardian started, in clock ticks since boot.
    pub guardian_start: u64,
    /// The supervisor.
    pub supervisor_pid: i32,
    /// When the supervisor started, likewise.
    pub supervisor_start: u64,
    /// The boot in which these pids mean something.
    pub boot_id: String,
    /// The control socket as it was called at the start. Where one lies beside the lock, that is it.
    pub socket: PathBuf,
    /// The instance's id.
    pub instance: String,
    /// The random id of this supervisor.
    pub run: String,
}

/// When a process started, in clock ticks since boot; 0 for one that has ended.
pub(super) fn start_of(pid: i32) -> u64 {
    ProcessId::of(pid).map_or(0, |process| process.start_time)
}

pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    open_private(path, OpenOptions::new().read(true))
}

/// What the lock file at `path` says.
pub(super) fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    open_to_read(path).ok()?.read_to_string(&mut text).ok()?;
    let mut holder: Holder = serde_json::from_str(&text).ok()?;
    // The directory may have been renamed, and another stack be at its old path.
    let beside = path.with_file_name(holder.socket.file_name().unwrap_or_default());
    if beside.exists() {
        holder.socket = beside;
    }
    Some(holder)
}

/// Who runs stacks in a directory, under whatever names and wherever their files are now.
pub fn holders_in(directory: &Path) -> Vec<Holder> {
    if presence::is_announced(directory) {
        living(&presence::open_locks(Some(directory)))
    } else {
        Vec::new()
    }
}

/// Who runs any stack of this user on this machine.
pub fn all_holders() -> Vec<Holder> {
    let own = nix::unistd::geteuid().as_raw();
    let is_own = |holder: &Holder| {
        let process = holder.supervisor().or_else(|| holder.guardian());
        let process = process.and_then(|it| fs_err::metadata(format!("/proc/{}", it.pid)).ok());
        process.is_some_and(|process| process.uid() == own)
    };
    let mut holders = living(&presence::open_locks(None));
    holders.retain(is_own);
    holders
}

/// Those that still run, each once although several processes have its lock.
fn living(texts: &[String]) -> Vec<Holder> {
    let mut holders: Vec<Holder> = Vec::new();
    for holder in texts
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
    {
        let holder: Holder = holder;
        if holder.is_alive() && holders.iter().all(|known| known.run != holder.run) {
            holders.push(holder);
        }
    }
    holders
}

impl Holder {
    fn guardian(&self) -> Option<ProcessId> {
        self.process(self.guardian_pid, self.guardian_start)
    }

    pub(super) fn supervisor(&self) -> Option<ProcessId> {
        self.process(self.supervisor_pid, self.supervisor_start)
    }

    /// A process that is named here, if it still runs.
    fn process(&self, pid: i32, start_time: u64) -> Option<ProcessId> {
        let process = ProcessId { pid, start_time };
        (self.boot_id == boot_id() && process.is_alive()).then_some(process)
    }

    /// Whether guardian or supervisor still runs.
    pub fn is_alive(&self) -> bool {
        self.guardian().or_else(|| self.supervisor()).is_some()
    }

    /// Whether the supervisor has gone while its guardian goes on: it is stopping everything.
    pub fn is_being_cleaned_up(&self) -> bool {
        self.supervisor().is_none() && self.guardian().is_some()
    }

    /// Asks for everything to be stopped by a signal, as `kill` would.
    pub fn ask_to_stop(&self) {
        if let Some(process) = self.guardian().or_else(|| self.supervisor()) {
            self.send(process, libc::SIGTERM);
        }
    }

    /// Sends a signal to a process that is named here and has this very lock open. What a lock file says
    /// is another user's word where root reads it, and may name any process.
    pub(super) fn send(&self, process: ProcessId, signal: i32) {
        let locks = presence::open_locks_of(process.pid).into_iter();
        let mut holders = locks.filter_map(|text| serde_json::from_str::<Self>(&text).ok());
        if holders.any(|holder| holder.run == self.run) {
            signal_process(process.pid, signal);
        }
    }

    /// Whether the guardian is suspended, so that it does nothing until somebody continues it.
    pub fn is_guardian_suspended(&self) -> bool {
        is_suspended(self.guardian_pid)
    }

    /// Whether the supervisor is suspended, so that nothing is started, stopped or answered.
    pub fn is_supervisor_suspended(&self) -> bool {
        is_suspended(self.supervisor_pid)
    }

    /// Whether the directory was removed in which it goes on.
    pub(in crate::run) fn is_homeless(&self) -> bool {
        let process = self.supervisor().or_else(|| self.guardian());
        let directory = process.map(|it| fs_err::metadata(format!("/proc/{}/cwd", it.pid)));
        matches!(directory, Some(Ok(directory)) if directory.nlink() == 0)
    }

    /// The project directory, wherever it is now. `None` if that cannot be told, as both processes have
    /// ended.
    pub(super) fn project_dir(&self) -> Option<PathBuf> {
        let process = self.supervisor().or_else(|| self.guardian())?;
        // Both work in there.
        std::fs::read_link(format!("/proc/{}/cwd", process.pid)).ok()
    }
}
