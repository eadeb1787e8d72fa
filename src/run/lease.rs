//! Leases: which processes this instance has started, kept where the next `stack` finds them
//! should supervisor and guardian both be killed.
//!
//! A text file with one line of fixed length for each unit. Each child writes its own pid into its
//! line between fork and exec, so there is no moment in which a process exists that no lease names.
//! Beside the pid stand two clock readings, from before and after the fork: a process is the one
//! that was meant only if it started between them, in the boot that the first line names.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::process::{LeaseSlot, ProcessId, boot_id, clock_ticks, now_ticks};
use crate::support::name::{ServiceName, UnitId};

/// The length of a line, its end included: a pid, two clock readings, a name of 63 bytes and a
/// replica's number fit.
const LINE: usize = 128;

/// The lease file of a running supervisor.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    path: PathBuf,
    file: File,
    names: Vec<UnitId>,
    ticks_per_second: u64,
    line: [u8; LINE],
}

/// A process that a lease names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Its pid.
    pub(crate) pid: i32,
    /// The unit it was started for.
    pub(crate) unit: String,
    /// When it was started at the earliest and at the latest, in clock ticks since boot.
    window: (u64, u64),
}

impl LeaseFile {
    /// Starts a new file, with no process in it.
    pub(crate) fn create(path: &Path, names: Vec<UnitId>) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut text = padded(&format!("boot {}", boot_id())).to_vec();
        for name in &names {
            let name = shown(name);
            text.extend(padded(&format!("{:>10} {:>14} {:>14} {name}", "-", 0, 0)));
        }
        file.write_all(&text)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            names,
            ticks_per_second: clock_ticks(),
            line: [b' '; LINE],
        })
    }

    /// The slot into which a child of `unit` writes itself.
    pub(crate) fn slot(&mut self, unit: usize) -> Option<LeaseSlot<'_>> {
        let name = shown(self.names.get(unit)?);
        let earliest = now_ticks().saturating_sub(1);
        // The child writes its line within the fork itself; a minute covers a machine that stalls.
        let latest = earliest + 60 * self.ticks_per_second;
        self.line = padded(&format!("{:>10} {earliest:>14} {latest:>14} {name}", ""));
        let offset = i64::try_from((unit + 1) * LINE).ok()?;
        Some(LeaseSlot {
            file: self.file.as_fd(),
            offset,
            text: &self.line,
        })
    }

    /// Removes the file: nothing that it could name is left.
    pub(crate) fn remove(&self) {
        // One too many costs the next start a search and nothing else.
        drop(fs::remove_file(&self.path));
    }

    /// Notes that nothing of a unit's attempt is left.
    pub(crate) fn clear(&self, unit: usize) {
        // A lease too many is harmless: the next reader compares start times.
        let _ = self.file.write_at(
            format!("{:>10}", "-").as_bytes(),
            ((unit + 1) * LINE) as u64,
        );
    }
}

/// A unit in one word: `@` is in no service's name.
fn shown(name: &UnitId) -> String {
    format!("{}@{}", name.service, name.replica)
}

fn padded(text: &str) -> [u8; LINE] {
    let mut line = [b' '; LINE];
    let length = text.len().min(LINE - 1);
    line[..length].copy_from_slice(&text.as_bytes()[..length]);
    line[LINE - 1] = b'\n';
    line
}

/// The leases that a dead supervisor left; empty when there is no file, or it is of another boot.
pub(crate) fn read(path: &Path) -> Vec<Lease> {
    let Ok(text) = fs::read_to_string(path) else {
        return Vec::new();
    };
    let mut lines = text.lines();
    let boot = lines
        .next()
        .and_then(|line| line.trim_end().strip_prefix("boot "));
    if boot != Some(boot_id().as_str()) {
        return Vec::new();
    }
    lines
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let pid = words.next()?.parse().ok()?;
            let window = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(Lease {
                pid,
                unit: words.next()?.to_owned(),
                window,
            })
        })
        .collect()
}

impl Lease {
    /// The unit, if that is what the file names.
    pub(crate) fn unit_name(&self) -> Option<UnitId> {
        let (service, replica) = self.unit.split_once('@')?;
        Some(UnitId {
            service: ServiceName::new(service).ok()?,
            replica: replica.parse().ok()?,
        })
    }

    /// The process of the lease, if that very process still runs.
    pub(crate) fn process(&self) -> Option<ProcessId> {
        let process = ProcessId::of(self.pid)?;
        let is_meant = (self.window.0..=self.window.1).contains(&process.start_time);
        (is_meant && process.is_alive()).then_some(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<UnitId> {
        ["db", "api"]
            .map(|name| UnitId::first(ServiceName::new(name).unwrap()))
            .to_vec()
    }

    #[test]
    fn a_lease_names_the_process_that_was_started_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases");
        let mut file = LeaseFile::create(&path, names()).unwrap();
        assert_eq!(read(&path), []);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let slot = file.slot(1).unwrap();
        let (offset, mut text) = (u64::try_from(slot.offset).unwrap(), slot.text.to_vec());
        text[..10].copy_from_slice(format!("{pid:>10}").as_bytes());
        file.file.write_at(&text, offset).unwrap();

        let leases = read(&path);
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].unit, "api@1");
        assert_eq!(leases[0].unit_name().as_ref(), Some(&names()[1]));
        assert_eq!(leases[0].process().map(|process| process.pid), Some(pid));

        // The same pid, started long ago, is somebody else's.
        let forged = Lease {
            window: (0, 1),
            ..leases[0].clone()
        };
        assert_eq!(forged.process(), None);
        file.clear(1);
        assert_eq!(read(&path), []);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn leases_of_another_boot_name_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases");
        fs::write(
            &path,
            "boot another\n         1              0 99999999999999 db\n",
        )
        .unwrap();
        assert_eq!(read(&path), []);
    }
}
