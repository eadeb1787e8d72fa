//! Where and when: boot, network namespace, clocks, and which processes live.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::clock_gettime;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::ports::system::{BOOT_CLOCK, boot_id, network_namespace, start_of};
use crate::support::clock;

use super::book::Care;

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot (`proc_pid_stat(5)`, field 22).
    pub(crate) start: u64,
}

/// Everything that the rules of the ledger ask about the world, taken once for each transaction.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    pub(crate) boot: String,
    pub(crate) netns: u64,
    /// This process.
    pub(crate) process: Process,
    /// Milliseconds since boot, sleep included.
    pub(crate) boottime_millis: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_millis: u64,
    /// Asks whether a process lives; a function, so that tests can say so.
    pub(crate) alive: fn(Process, Care) -> bool,
    /// Asks whether a path exists.
    pub(crate) present: fn(&Path) -> bool,
}

impl Here {
    /// The world as it is.
    pub(crate) fn now() -> Self {
        // What cannot be read becomes a value that matches nothing but itself. The ledger is
        // then only as good as without the stamp, and correctness does not depend on it.
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        Self {
            boot: boot_id(),
            netns: network_namespace(),
            process: Process {
                pid,
                start: start_of(pid).unwrap_or(0),
            },
            boottime_millis: boottime_millis(),
            unix_millis: clock::unix_millis(),
            alive: |process, care| match care {
                Care::Quick => exists(process.pid),
                Care::Thorough => start_of(process.pid) == Some(process.start),
            },
            // Only what is certainly gone counts as gone, not what cannot be looked at.
            present: |path| path.try_exists().unwrap_or(true),
        }
    }

    /// The same place, later. Who waited for the lock would otherwise take what was written
    /// meanwhile for something of the future.
    #[must_use]
    pub(crate) fn later(self) -> Self {
        Self {
            boottime_millis: boottime_millis(),
            unix_millis: clock::unix_millis(),
            ..self
        }
    }

    pub(crate) fn lives(&self, process: Process, care: Care) -> bool {
        process == self.process || (self.alive)(process, care)
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        (self.present)(path)
    }
}

fn boottime_millis() -> u64 {
    clock_gettime(BOOT_CLOCK).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}

/// Whether there is a process of that number, of whatever kind.
fn exists(pid: i32) -> bool {
    // 0 and less would ask for groups of processes.
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}
