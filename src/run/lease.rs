//! Leases: which processes this instance has started, kept where the next `stack` finds them
//! should supervisor and guardian both be killed.
//!
//! A text file with one line of fixed length for each unit that there is. Each child writes its own
//! pid into its line between fork and exec, so there is no moment in which a process exists that no
//! lease names. Beside the pid stand two clock readings, from before and after the fork: a process
//! is the one that was meant only if it started between them, in the boot and the pid namespace that
//! the first line names. Behind the unit stand its stop signal and its grace period in milliseconds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use nix::libc;

use super::presence::is_same;
use super::process::{LeaseLine, ProcessId, Slot, clock_ticks, now_ticks, pid_namespace};
use crate::plan::DEFAULT_GRACE;
use crate::support::fs::{name_file, open_private, read_private};
use crate::support::name::{ServiceName, UnitId};
use crate::support::proc::boot_id;

/// The length of a line, its end included: a pid, two clock readings, a name of 63 bytes, a
/// replica's number, a signal and a grace period fit.
const LINE: usize = 128;

/// How many lines the file grows by, so that a disk that fills up later finds the room taken.
const CHUNK: usize = 64;

/// How long a child may take from the first clock reading to its own line, in seconds. It writes
/// within the fork itself; a minute covers a machine that stalls.
const WRITE_LIMIT: u64 = 60;

/// The lease file of a running supervisor.
#[derive(Debug)]
pub struct LeaseFile {
    path: PathBuf,
    file: File,
    /// Whose each slot is.
    units: Vec<Option<UnitId>>,
    /// The slots that were given back.
    free: Vec<Slot>,
    /// How many lines the file has room for.
    lines: usize,
    line: [u8; LINE],
}

/// A process that a lease names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Its pid.
    pub(crate) pid: i32,
    /// The unit it was started for.
    pub(crate) unit: UnitId,
    /// When it was started at the earliest and at the latest, in clock ticks since boot.
    window: (u64, u64),
    /// How it is asked to end, and how long it may take.
    pub(crate) manner: Manner,
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// By which signal.
    pub(crate) signal: i32,
    /// How long it may take until it is killed.
    pub(crate) grace: Duration,
}

impl Manner {
    /// The grace period as a line has it.
    fn millis(self) -> u128 {
        self.grace.as_millis().min(MAX_GRACE)
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            signal: libc::SIGTERM,
            grace: DEFAULT_GRACE,
        }
    }
}

/// The longest grace period that a line has room for, in milliseconds: a day.
const MAX_GRACE: u128 = 86_400_000;

impl LeaseFile {
    /// Starts a new file, with no process in it. One that is there is written over in place, so
    /// that what was begun on a full disk can be begun again.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = open_private(path, options.read(true).write(true).create(true))?;
        let text = [padded(&heading()).as_slice(), &padded("-").repeat(CHUNK)].concat();
        file.write_all_at(&text, 0)
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|error| name_file(&error, path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            units: Vec::new(),
            free: Vec::new(),
            lines: CHUNK,
            line: [b' '; LINE],
        })
    }

    /// Writes the file anew at `path`, where it was removed or another one is there now. Leases that are
    /// there stay.
    pub(crate) fn put_back(&mut self, path: &Path) -> io::Result<()> {
        let (there, own) = (path.symlink_metadata(), self.file.metadata()?);
        if there.is_ok_and(|there| is_same(&there, &own)) {
            return Ok(());
        }
        let mut text = Vec::new();
        let mut old = &self.file;
        old.seek(SeekFrom::Start(0))?;
        old.read_to_end(&mut text)?;
        let mut options = OpenOptions::new();
        let file = open_private(path, options.read(true).write(true).create(true))?;
        file.write_all_at(&text, 0)
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|error| name_file(&error, path))?;
        (self.file, self.path) = (file, path.to_path_buf());
        Ok(())
    }

    /// A slot for a unit, its own until it is [released](Self::release). The error is that there is
    /// no room for so many units.
    pub(crate) fn take(&mut self, unit: UnitId) -> io::Result<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot::at(self.units.len()).ok_or_else(|| {
                io::Error::other(format!("a stack has room for {} units", self.units.len()))
            })?,
        };
        if slot.number() >= self.lines {
            // Should the disk be full already, the children's own writes fail likewise, and a
            // service starts all the same: its mark still names it.
            let empty = padded("-").repeat(CHUNK);
            drop(self.file.write_all_at(&empty, offset(slot)));
            self.lines += CHUNK;
        }
        if slot.number() == self.units.len() {
            self.units.push(None);
        }
        self.units[slot.number()] = Some(unit);
        Ok(slot)
    }

    /// Takes the slot of a unit of which nothing is left, for another one.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.clear(slot);
        if self.units[slot.number()].take().is_some() {
            self.free.push(slot);
        }
    }

    /// The line into which a child writes itself.
    pub(crate) fn line(&mut self, slot: Slot, manner: Manner) -> Option<LeaseLine<'_>> {
        let name = shown(self.units[slot.number()].as_ref()?);
        let earliest = now_ticks().saturating_sub(1);
        let latest = earliest + WRITE_LIMIT * clock_ticks();
        let millis = manner.millis();
        self.line = padded(&format!(
            "{:>10} {earliest:>14} {latest:>14} {name} {} {millis}",
            "", manner.signal
        ));
        Some(LeaseLine {
            file: self.file.as_fd(),
            offset: i64::try_from(offset(slot)).ok()?,
            text: &self.line,
        })
    }

    /// Notes that the child of a slot has been started: whatever gets its pid from now on is
    /// another process.
    pub(crate) fn note_started(&self, slot: Slot) {
        let latest = format!("{:>14}", now_ticks());
        drop(self.file.write_at(latest.as_bytes(), offset(slot) + 26));
    }

    /// Names a process in a slot's line, as its child does.
    pub(crate) fn write(&self, slot: Slot, process: ProcessId, manner: Manner) {
        let Some(unit) = &self.units[slot.number()] else {
            return;
        };
        let ProcessId { pid, start_time } = process;
        let line = format!(
            "{pid:>10} {start_time:>14} {start_time:>14} {} {} {}",
            shown(unit),
            manner.signal,
            manner.millis()
        );
        drop(self.file.write_all_at(&padded(&line), offset(slot)));
    }

    /// Notes that nothing of a unit's attempt is left.
    pub(crate) fn clear(&self, slot: Slot) {
        // A lease too many is harmless: the next reader compares start times.
        let nobody = format!("{:>10}", "-");
        drop(self.file.write_at(nobody.as_bytes(), offset(slot)));
    }

    /// Removes the file: nothing that it could name is left.
    pub(crate) fn remove(&self) {
        // One too many costs the next start a search and nothing else.
        drop(fs::remove_file(&self.path));
    }
}

/// Where a slot's line begins, behind the heading.
fn offset(slot: Slot) -> u64 {
    ((slot.number() + 1) * LINE) as u64
}

/// The first line: where the pids of the others mean something.
fn heading() -> String {
    format!("boot {} pids {}", boot_id(), pid_namespace())
}

/// A unit in one word: `@` is in no service's name.
fn shown(unit: &UnitId) -> String {
    format!("{}@{}", unit.service, unit.replica)
}

fn padded(text: &str) -> [u8; LINE] {
    let mut line = [b' '; LINE];
    let length = text.len().min(LINE - 1);
    line[..length].copy_from_slice(&text.as_bytes()[..length]);
    line[LINE - 1] = b'\n';
    line
}

/// The leases that a dead supervisor left; empty when there is no file, or its pids mean nothing
/// here.
pub(crate) fn read(path: &Path) -> Vec<Lease> {
    let text = read_private(path).ok();
    let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else {
        return Vec::new();
    };
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(heading().as_str()) {
        return Vec::new();
    }
    lines.filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Lease> {
    let mut words = line.split_ascii_whitespace();
    let pid = words.next()?.parse().ok()?;
    let window: (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (service, replica) = words.next()?.split_once('@')?;
    let unit = UnitId {
        service: ServiceName::new(service).ok()?,
        replica: replica.parse().ok()?,
    };
    let manner = match (words.next(), words.next()) {
        (Some(signal), Some(millis)) => Manner {
            signal: signal.parse().ok().filter(|it| (1..=64).contains(it))?,
            grace: Duration::from_millis(millis.parse().ok()?),
        },
        _ => Manner::default(),
    };
    // Nobody who writes leases leaves more time than this.
    let is_narrow = window.1.saturating_sub(window.0) <= (WRITE_LIMIT + 1) * clock_ticks();
    is_narrow.then_some(Lease {
        pid,
        unit,
        window,
        manner,
    })
}

impl Lease {
    /// Whether this is the process that was meant.
    pub(crate) fn names(&self, process: ProcessId) -> bool {
        self.pid == process.pid && (self.window.0..=self.window.1).contains(&process.start_time)
    }

    /// The process of the lease, if that very process still runs.
    pub(crate) fn process(&self) -> Option<ProcessId> {
        ProcessId::of(self.pid).filter(|process| self.names(*process) && process.is_alive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitId {
        UnitId::first(ServiceName::new(name).unwrap())
    }

    /// A lease file in a directory of its own, with two units.
    fn leases() -> (tempfile::TempDir, LeaseFile, [Slot; 2]) {
        let directory = tempfile::tempdir().unwrap();
        let mut file = LeaseFile::create(&directory.path().join("leases")).unwrap();
        let slots = ["db", "api"].map(|name| file.take(unit(name)).unwrap());
        (directory, file, slots)
    }

    #[test]
    fn a_lease_names_the_process_that_was_started_and_no_other() {
        let (_directory, file, [_, api]) = leases();
        assert_eq!(read(&file.path), []);
        let own = ProcessId::of(nix::unistd::getpid().as_raw()).unwrap();
        file.write(api, own, Manner::default());
        let leases = read(&file.path);
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].unit, unit("api"));
        assert_eq!(leases[0].process(), Some(own));

        // The same pid, started at another time, is somebody else's.
        let start_time = own.start_time - 1;
        file.write(api, ProcessId { start_time, ..own }, Manner::default());
        assert_eq!(read(&file.path)[0].process(), None);
        file.clear(api);
        assert_eq!(read(&file.path), []);
    }

    #[test]
    fn a_pid_that_is_given_again_after_the_start_is_another_process() {
        let (_directory, mut file, [db, _]) = leases();
        let (text, place) = {
            let line = file.line(db, Manner::default()).unwrap();
            (line.text.to_vec(), u64::try_from(line.offset).unwrap())
        };
        let mut text = text;
        text[..10].copy_from_slice(format!("{:>10}", 4711).as_bytes());
        file.file.write_all_at(&text, place).unwrap();
        let window = || {
            let window = read(&file.path)[0].window;
            window.1 - window.0
        };
        assert!(window() >= WRITE_LIMIT * clock_ticks());
        file.note_started(db);
        assert!(window() <= clock_ticks());
    }

    #[test]
    fn slots_are_given_to_units_that_come_later() {
        let (_directory, mut file, [db, api]) = leases();
        file.write(
            db,
            ProcessId {
                pid: 41,
                start_time: 1,
            },
            Manner::default(),
        );
        file.write(
            api,
            ProcessId {
                pid: 42,
                start_time: 1,
            },
            Manner::default(),
        );
        file.release(db);
        let web = file.take(unit("web")).unwrap();
        assert_eq!(web, db);
        let more: Vec<Slot> = (0..200)
            .map(|number| file.take(unit(&format!("more{number}"))).unwrap())
            .collect();
        let last = *more.last().unwrap();
        file.write(
            last,
            ProcessId {
                pid: 43,
                start_time: 1,
            },
            Manner::default(),
        );
        let named = read(&file.path);
        let named: Vec<(i32, &str)> = named
            .iter()
            .map(|lease| (lease.pid, lease.unit.service.as_str()))
            .collect();
        assert_eq!(named, [(42, "api"), (43, "more199")]);
    }

    #[test]
    fn leases_that_nobody_here_has_written_name_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases");
        let own = ProcessId::of(nix::unistd::getpid().as_raw()).unwrap();
        let count = |heading: &str, window: (u64, u64)| {
            let (pid, (from, to)) = (own.pid, window);
            fs::write(
                &path,
                format!("{heading}\n{pid:>10} {from:>14} {to:>14} db@1\n"),
            )
            .unwrap();
            read(&path)
                .iter()
                .filter(|lease| lease.process().is_some())
                .count()
        };
        let exact = (own.start_time, own.start_time);
        assert_eq!(count(&heading(), exact), 1);
        // Another boot, another pid namespace, and a window as wide as time.
        assert_eq!(
            count(&format!("boot another pids {}", pid_namespace()), exact),
            0
        );
        assert_eq!(count(&format!("boot {} pids 1", boot_id()), exact), 0);
        assert_eq!(count(&heading(), (0, 10_000_000_000_000)), 0);
    }
}
