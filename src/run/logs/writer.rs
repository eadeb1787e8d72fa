//! Appends blocks to the logs and their indexes.
//!
//! The pump is the only caller. Writes are plain blocking writes of large blocks, without `fsync`: a
//! page cache takes them at memory speed, and what a power cut costs here is lines of a log.
//! Nothing that a disk does may stop a service, so an error costs bytes of the log, which are
//! counted, and which the caller keeps for viewers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Position;
use super::index::Record;
use super::losses::Losses;
use super::open_log::OpenLog;
use super::segments::{self, Segments, finished_path, log_path};
use nix::libc;
use std::os::unix::fs::OpenOptionsExt;

use crate::plan::model::LoggingPlan;
use crate::run::news::Notice;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// How often it is looked whether somebody emptied or removed an open log, in nanoseconds.
const CHECK_INTERVAL: u64 = 1_000_000_000;

/// How much longer a segment may become so that it ends with a line, in bytes.
const LINE_ROOM: u64 = 1024 * 1024;

/// How much of a unit is kept beyond its limit for whoever has yet to read it, in bytes.
const KEPT_FOR_READERS: u64 = if cfg!(test) { 1024 } else { 256 * 1024 * 1024 };

/// The same in segments, as each is looked at whenever one is finished.
const MOST_KEPT_FOR_READERS: u64 = if cfg!(test) { 64 } else { 1024 };

/// What the pump knows of a block besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockInfo {
    /// The stream it came from.
    pub(super) stream: LogStream,
    /// The attempt that printed it.
    pub(super) attempt: u32,
    /// When it was read, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    /// Whether its last line has no end.
    pub(super) is_partial: bool,
    /// Whether it goes on with the line of the last block of its stream.
    pub(super) continues: bool,
}

/// The outcome of an append. It never fails: what the disk does not take is said.
#[derive(Debug)]
pub(super) struct Appended {
    /// Where the log ends now.
    pub(super) end: Position,
    /// How many of the bytes the disk took.
    pub(super) kept: usize,
    /// A warning that is due.
    pub(super) notice: Option<Notice>,
}

/// The logs of all units of one run.
#[derive(Debug)]
pub(super) struct LogFiles {
    shelf: Shelf,
    logs: HashMap<UnitId, Log>,
    losses: Losses,
}

/// What the logs of all units share.
#[derive(Debug)]
struct Shelf {
    dir: PathBuf,
    run: u64,
    /// What earlier runs have left, of units that have printed nothing yet; once looked up.
    found: Option<BTreeMap<UnitId, Segments>>,
}

impl Shelf {
    /// What earlier runs have left of a unit. One look serves all units.
    fn take(&mut self, unit: &UnitId) -> io::Result<Segments> {
        let found = match self.found.take() {
            Some(found) => found,
            None => segments::scan(&self.dir)?,
        };
        Ok(self.found.insert(found).remove(unit).unwrap_or_default())
    }
}

impl LogFiles {
    /// The logs in `dir`, which is created with the first block, marked with `run`.
    pub(super) fn new(dir: PathBuf, run: u64) -> Self {
        Self {
            shelf: Shelf {
                dir,
                run,
                found: None,
            },
            logs: HashMap::new(),
            losses: Losses::default(),
        }
    }

    /// Says how much of a unit is kept from now on.
    pub(super) fn limit(&mut self, unit: &UnitId, limits: LoggingPlan) {
        self.logs.entry(unit.clone()).or_default().limits = limits;
    }

    /// Appends one block.
    pub(super) fn append(&mut self, unit: &UnitId, info: BlockInfo, bytes: &[u8]) -> Appended {
        let log = self.logs.entry(unit.clone()).or_default();
        let (kept, error) = log.append(&mut self.shelf, unit, info, bytes);
        if let Some(error) = error {
            self.losses.note(unit, (bytes.len() - kept) as u64, &error);
        }
        Appended {
            end: Position {
                segment: log.base,
                offset: log.end,
            },
            kept,
            notice: self.losses.due(info.time),
        }
    }

    /// Removes what these units have logged, of all of them where none is named. What they print from
    /// now on has greater positions all the same.
    pub(super) fn clear(&mut self, units: &[UnitId]) -> io::Result<()> {
        for unit in segments::scan(&self.shelf.dir)?.into_keys() {
            if units.is_empty() || units.contains(&unit) {
                let log = self.logs.entry(unit.clone()).or_default();
                log.clear(&mut self.shelf, &unit)?;
            }
        }
        Ok(())
    }

    /// Closes the files of a unit until it prints again.
    pub(super) fn close(&mut self, unit: &UnitId) {
        if let Some(log) = self.logs.get_mut(unit) {
            log.files = None;
        }
    }
}

/// Removes what these units have logged in `dir`, of all of them where none is named. Nobody may write
/// there meanwhile.
pub fn clear_logs(dir: &Path, units: &[UnitId]) -> io::Result<()> {
    LogFiles::new(dir.to_path_buf(), 0).clear(units)
}

/// The log of one unit.
#[derive(Debug, Default)]
struct Log {
    limits: LoggingPlan,
    /// Whether it is known what earlier runs have left.
    is_known: bool,
    /// Where the finished segments begin.
    finished: BTreeSet<u64>,
    /// Where the newest segment begins.
    base: u64,
    /// Closed before the first block, and after an error: opening anew mends what it left.
    files: Option<OpenLog>,
    /// The length of the newest segment when it was last written.
    end: u64,
    /// When the open files were last looked at, in nanoseconds since the Unix epoch.
    checked_at: u64,
    /// How many bytes were lost since the last record.
    dropped: u64,
    /// Whether the last line of stdout, and that of stderr, has no end yet.
    is_within_line: [bool; 2],
    /// Whose output came last.
    attempt: u32,
}

impl Log {
    /// Appends a block. Returns how much of it was kept, and why not all of it.
    fn append(
        &mut self,
        shelf: &mut Shelf,
        unit: &UnitId,
        info: BlockInfo,
        bytes: &[u8],
    ) -> (usize, Option<io::Error>) {
        if std::mem::replace(&mut self.attempt, info.attempt) != info.attempt {
            // What the one before it has left without an end gets none any more.
            self.is_within_line = [false; 2];
        }
        let (kept, error) = match self.open(shelf, unit, info.time, bytes.len() as u64) {
            Ok(mut files) => {
                let record = Record {
                    time: info.time,
                    offset: files.end,
                    length: bytes.len() as u64,
                    run: shelf.run,
                    dropped: self.dropped,
                    attempt: info.attempt,
                    stream: info.stream,
                    is_partial: info.is_partial,
                    continues: info.continues,
                    is_recovered: false,
                };
                let (kept, error) = files.append(record, bytes);
                self.end = files.end;
                self.files = error.is_none().then_some(files);
                (kept, error)
            }
            Err(error) => (0, Some(error)),
        };
        if kept > 0 {
            self.dropped = 0;
        }
        self.dropped += (bytes.len() - kept) as u64;
        self.is_within_line[info.stream.number()] = info.is_partial && error.is_none();
        (kept, error)
    }

    /// Takes the open files, in which there is room for `length` bytes; opens them first where they are
    /// not, or not those on disk any more.
    fn open(
        &mut self,
        shelf: &mut Shelf,
        unit: &UnitId,
        now: u64,
        length: u64,
    ) -> io::Result<OpenLog> {
        // A clock that was set back looks like a long time.
        let is_due = now.wrapping_sub(self.checked_at) >= CHECK_INTERVAL;
        if is_due {
            self.checked_at = now;
        }
        let files = match self.files.take() {
            Some(files) if !(is_due && files.is_stale(&shelf.dir, unit)) => files,
            Some(_) | None => self.reopen(shelf, unit)?,
        };
        if self.is_full(files.end, length) {
            let finished = finished_path(&shelf.dir, unit, self.base);
            // Where that fails, the segment grows until it does not.
            if fs_err::rename(log_path(&shelf.dir, unit), finished).is_ok() {
                self.finished.insert(self.base);
                self.begin_at(self.base + files.end);
                self.trim(&shelf.dir, unit);
                return self.reopen(shelf, unit);
            }
        }
        Ok(files)
    }

    fn reopen(&mut self, shelf: &mut Shelf, unit: &UnitId) -> io::Result<OpenLog> {
        self.look_up(shelf, unit)?;
        let log = log_path(&shelf.dir, unit).symlink_metadata();
        if log.map_or(0, |log| log.len()) < self.end {
            // Somebody emptied, removed or moved it. What stands there now is the next segment: no
            // position means two things, and who has the old one open reads it to its end.
            segments::remove(&shelf.dir, unit, self.base)?;
            self.begin_at(self.base + self.end);
        }
        OpenLog::open(&shelf.dir, unit, self.base)
    }

    /// Looks once what earlier runs have left.
    fn look_up(&mut self, shelf: &mut Shelf, unit: &UnitId) -> io::Result<()> {
        if self.is_known {
            return Ok(());
        }
        let found = shelf.take(unit)?;
        self.base = match found.newest {
            Some(base) => base,
            None => found.end(&shelf.dir, unit)?,
        };
        self.finished = found.finished;
        self.is_known = true;
        self.trim(&shelf.dir, unit);
        Ok(())
    }

    /// Removes all segments, whoever reads them: that is what was asked for.
    fn clear(&mut self, shelf: &mut Shelf, unit: &UnitId) -> io::Result<()> {
        self.look_up(shelf, unit)?;
        let dir = &shelf.dir;
        while let Some(&oldest) = self.finished.first() {
            segments::remove(dir, unit, oldest)?;
            self.finished.pop_first();
        }
        self.files = None;
        let length = log_path(dir, unit).symlink_metadata();
        let end = self.end.max(length.map_or(0, |log| log.len()));
        segments::remove_newest(dir, unit, self.base)?;
        self.begin_at(self.base + end);
        Ok(())
    }

    fn begin_at(&mut self, base: u64) {
        self.base = base;
        self.end = 0;
    }

    /// Whether a segment of `end` bytes is to be finished before another `length` come.
    fn is_full(&self, end: u64, length: u64) -> bool {
        let size = self.limits.max_size;
        let more = match self.is_within_line {
            [false, false] => 0,
            [true, _] | [_, true] => size.min(LINE_ROOM),
        };
        end > 0 && end + length > size.saturating_add(more)
    }

    /// Removes the oldest segments until there are no more than there may be, but for those that
    /// somebody has yet to read.
    fn trim(&mut self, dir: &Path, unit: &UnitId) {
        let before = u64::from(self.limits.max_file.get()) - 1;
        while self.finished.len() as u64 > before
            && let Some(&oldest) = self.finished.first()
        {
            let usual = self.limits.max_size.saturating_mul(before);
            let is_too_much = self.base - oldest > usual.saturating_add(KEPT_FOR_READERS)
                || self.finished.len() as u64 > before + MOST_KEPT_FOR_READERS;
            if !is_too_much && self.is_needed(dir, unit, oldest) {
                break;
            }
            // What cannot be removed now is tried again in the next run.
            let _ = segments::remove(dir, unit, oldest);
            self.finished.pop_first();
        }
    }

    /// Whether somebody who shows the whole run has the oldest segment still to read: that one is
    /// locked, or none is.
    fn is_needed(&self, dir: &Path, unit: &UnitId, oldest: u64) -> bool {
        let is_read = |base: &u64| is_locked(&finished_path(dir, unit, *base));
        let has_begun = || is_locked(&log_path(dir, unit)) || self.finished.iter().any(is_read);
        is_read(&oldest) || (is_locked(dir) && !has_begun())
    }
}

/// Whether somebody holds a lock which says that something must stay.
fn is_locked(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    // What is no file is not waited for.
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.is_ok_and(|log| matches!(log.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests;
