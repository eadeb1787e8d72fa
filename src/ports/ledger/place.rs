//! Where and when: boot, network namespace, clocks, and which directories there are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};

use crate::support::clock;
use crate::support::fs::read_small;

/// Everything that the rules of the ledger ask about the world, taken once for each transaction.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The random id of this boot of the machine.
    pub(crate) boot: String,
    /// The inode of this thread's network namespace.
    pub(crate) netns: u64,
    /// Milliseconds since boot, sleep included.
    pub(crate) boottime_millis: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_millis: u64,
    /// Asks whether a path exists; a function, so that tests can say so.
    pub(crate) present: fn(&Path) -> bool,
}

impl Here {
    /// The world as it is.
    pub(crate) fn now() -> Self {
        // What cannot be read becomes a value that matches nothing but itself. The ledger is
        // then only as good as without the stamp, and correctness does not depend on it.
        let boot = read_small("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // A thread may have a namespace of its own.
        let netns = fs_err::metadata("/proc/thread-self/ns/net");
        Self {
            boot: String::from_utf8_lossy(boot.trim_ascii()).into_owned(),
            netns: netns.map_or(0, |file| file.ino()),
            boottime_millis: boottime_millis(),
            unix_millis: clock::unix_millis(),
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
}

fn boottime_millis() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}
