//! Where and when: boot, network namespace, clocks, and which processes live.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use procfs::FromRead;
use serde::{Deserialize, Serialize};

use crate::ports::processes::exists;
use crate::support::clock;
use crate::support::fs::read_small;

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
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}

/// The random id of this boot of the machine; empty if it cannot be read.
fn boot_id() -> String {
    let bytes = read_small("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// The inode of this thread's network namespace; 0 if it cannot be read.
fn network_namespace() -> u64 {
    // A thread may have a namespace of its own.
    fs_err::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino())
}

/// The start time of a living process, in clock ticks since boot; `None` for a zombie, which holds
/// no socket any more.
fn start_of(pid: i32) -> Option<u64> {
    let bytes = read_small(&format!("/proc/{pid}/stat")).ok()?;
    let stat = procfs::process::Stat::from_read(bytes.as_slice()).ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}
