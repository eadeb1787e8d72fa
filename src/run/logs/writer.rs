//! Appends blocks to the logs and their indexes.
//!
//! The pump is the only caller. Writes are plain blocking writes of large blocks, without `fsync`: a
//! page cache takes them at memory speed, and what a power cut costs here is lines of a log.
//! Nothing that a disk does may stop a service, so an error costs bytes of the log, which are
//! counted, and which the caller keeps for viewers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memchr::memrchr;

use super::Position;
use super::index::{self, RECORD_LENGTH, Record};
use crate::run::news::News;
use crate::run::news::{Notice, NoticeLevel};
use crate::run::snapshot::LogStream;
use crate::support::fs::{create_private_dir, open_private, open_private_append};
use crate::support::name::{ServiceName, UnitId};

/// How often it is looked whether somebody emptied or removed an open log, in nanoseconds.
const CHECK_INTERVAL: u64 = 1_000_000_000;

/// The least time between two notices about lost bytes, in nanoseconds.
const NOTICE_INTERVAL: u64 = 60 * 1_000_000_000;

/// The log of `unit` in `dir`, whether it exists or not.
pub(super) fn log_path(dir: &Path, unit: &UnitId) -> PathBuf {
    dir.join(log_file_name(unit))
}

/// The index of `unit` in `dir`, whether it exists or not.
pub(super) fn index_path(dir: &Path, unit: &UnitId) -> PathBuf {
    dir.join(format!("{}.idx", stem(unit)))
}

/// How a unit's files begin: `web`, `web@2`. The first replica has the service's plain name, so
/// that a service keeps its log when it is scaled; an `@` cannot occur in a service's name.
fn stem(unit: &UnitId) -> String {
    match unit.replica {
        1 => unit.service.to_string(),
        replica => format!("{}@{replica}", unit.service),
    }
}

/// The name of a unit's log file within the directory of the logs: `web.log`, `web@2.log`.
pub fn log_file_name(unit: &UnitId) -> String {
    format!("{}.log", stem(unit))
}

/// The unit whose log has this file name; `None` for a file that is not a log.
pub(super) fn unit_of_log(file_name: &str) -> Option<UnitId> {
    let stem = file_name.strip_suffix(".log")?;
    let (service, replica) = match stem.split_once('@') {
        Some((service, number)) => (service, number.parse().ok()?),
        None => (stem, 1),
    };
    let unit = UnitId {
        service: ServiceName::new(service).ok()?,
        replica,
    };
    // `web@02` and `web@1` are nobody's.
    (self::stem(&unit) == stem).then_some(unit)
}

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
    dir: PathBuf,
    run: u64,
    logs: HashMap<UnitId, Log>,
    losses: Losses,
}

impl LogFiles {
    /// The logs in `dir`, which is created with the first block, marked with `run`.
    pub(super) fn new(dir: PathBuf, run: u64) -> Self {
        Self {
            dir,
            run,
            logs: HashMap::new(),
            losses: Losses::default(),
        }
    }

    /// Appends one block.
    pub(super) fn append(&mut self, unit: &UnitId, info: BlockInfo, bytes: &[u8]) -> Appended {
        let log = self.logs.entry(unit.clone()).or_default();
        let (kept, error) = log.append(&self.dir, unit, self.run, info, bytes);
        if let Some(error) = error {
            self.losses.note(unit, (bytes.len() - kept) as u64, &error);
        }
        Appended {
            end: Position::at(log.end),
            kept,
            notice: self.losses.due(info.time),
        }
    }

    /// Closes the files of a unit until it prints again.
    pub(super) fn close(&mut self, unit: &UnitId) {
        self.logs.remove(unit);
    }
}

/// The log of one unit.
#[derive(Debug, Default)]
struct Log {
    /// Closed before the first block, and after an error: opening anew mends what it left.
    files: Option<OpenLog>,
    /// Where the log ended when it was last written.
    end: u64,
    /// When the open files were last looked at, in nanoseconds since the Unix epoch.
    checked_at: u64,
    /// How many bytes were lost since the last record.
    dropped: u64,
}

impl Log {
    /// Appends a block. Returns how much of it was kept, and why not all of it.
    fn append(
        &mut self,
        dir: &Path,
        unit: &UnitId,
        run: u64,
        info: BlockInfo,
        bytes: &[u8],
    ) -> (usize, Option<io::Error>) {
        let (kept, error) = match self.open(dir, unit, info.time) {
            Ok(mut files) => {
                let record = Record {
                    time: info.time,
                    offset: files.end,
                    length: bytes.len() as u64,
                    run,
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
        (kept, error)
    }

    /// Takes the open files; opens them first where they are not, or not those on disk any more.
    fn open(&mut self, dir: &Path, unit: &UnitId, now: u64) -> io::Result<OpenLog> {
        // A clock that was set back looks like a long time.
        let is_due = now.wrapping_sub(self.checked_at) >= CHECK_INTERVAL;
        if is_due {
            self.checked_at = now;
        }
        match self.files.take() {
            Some(files) if !(is_due && files.is_stale()) => Ok(files),
            Some(_) | None => OpenLog::open(dir, unit),
        }
    }
}

/// A log and its index, which agree.
#[derive(Debug)]
struct OpenLog {
    log: File,
    index: File,
    /// The length of the log.
    end: u64,
    /// The length of the index.
    index_end: u64,
}

impl OpenLog {
    fn open(dir: &Path, unit: &UnitId) -> io::Result<Self> {
        create_private_dir(dir)?;
        let log = open_private_append(&log_path(dir, unit))?;
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut index = open_private(&index_path(dir, unit), &mut options)?;
        let end = index::recover(&log, &mut index)?;
        let index_end = index.metadata()?.len();
        Ok(Self {
            log,
            index,
            end,
            index_end,
        })
    }

    /// Whether somebody emptied, removed or wrote to one of the files.
    fn is_stale(&self) -> bool {
        let differs = |file: &File, length| match file.metadata() {
            Ok(metadata) => metadata.nlink() == 0 || metadata.len() != length,
            Err(_) => true,
        };
        differs(&self.log, self.end) || differs(&self.index, self.index_end)
    }

    /// Writes the bytes, then the record: a reader that sees the record finds its bytes. Returns
    /// how much was kept: on an error whole lines that were written stay, and the rest is taken
    /// back. What cannot be taken back is recovered when the log is opened anew.
    fn append(&mut self, mut record: Record, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let (mut kept, mut error) = write_as_much_as_possible(&mut self.log, bytes);
        if error.is_some() {
            kept = memrchr(b'\n', &bytes[..kept]).map_or(0, |at| at + 1);
            record.is_partial = false;
            let _ = self.log.set_len(self.end + kept as u64);
        }
        if kept > 0 {
            record.length = kept as u64;
            let (_, failure) = write_as_much_as_possible(&mut self.index, &record.encode());
            if failure.is_some() {
                let _ = self.index.set_len(self.index_end);
                let _ = self.log.set_len(self.end);
                (kept, error) = (0, failure);
            } else {
                self.index_end += RECORD_LENGTH as u64;
            }
        }
        self.end += kept as u64;
        (kept, error)
    }
}

/// Like `write_all`, but says how far it came.
fn write_as_much_as_possible(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// What was lost since the last notice.
#[derive(Debug, Default)]
struct Losses {
    bytes: u64,
    /// The unit, while it is only one.
    unit: Option<UnitId>,
    error: String,
    noticed_at: Option<u64>,
}

impl Losses {
    fn note(&mut self, unit: &UnitId, bytes: u64, error: &io::Error) {
        self.unit = match self.unit.take() {
            None if self.bytes == 0 => Some(unit.clone()),
            Some(same) if same == *unit => Some(same),
            None | Some(_) => None,
        };
        self.bytes += bytes;
        self.error = error.to_string();
    }

    fn due(&mut self, now: u64) -> Option<Notice> {
        let is_early = self
            .noticed_at
            // A clock that was set back looks like a long time.
            .is_some_and(|then| now.wrapping_sub(then) < NOTICE_INTERVAL);
        if self.bytes == 0 || is_early {
            return None;
        }
        self.noticed_at = Some(now);
        let bytes = std::mem::take(&mut self.bytes);
        Some(Notice::about(
            self.unit.take(),
            NoticeLevel::Warning,
            News::LogNotWritten {
                lost_bytes: bytes,
                error: self.error.clone(),
            },
        ))
    }
}

#[cfg(test)]
mod tests;
