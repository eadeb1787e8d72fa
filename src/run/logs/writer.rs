//! Appends blocks to the logs and their indexes.
//!
//! The pump is the only caller. Writes are plain blocking writes of large blocks, without `fsync`: a
//! page cache takes them at memory speed, and what a power cut costs here is lines of a log.
//! Nothing that a disk does may stop a service, so an error costs bytes of the log, which are
//! counted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memchr::memrchr;

use super::index::{self, RECORD_LENGTH, Record};
use crate::run::snapshot::{LogStream, Notice, NoticeLevel};
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

/// The unit whose log has this file name; `None` for a file that is no log.
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

/// The outcome of an append. It never fails: what the disk does not take is lost, and said.
#[derive(Debug)]
pub(super) struct Appended {
    /// Where the block begins in the log, or would have begun.
    pub(super) offset: u64,
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
        if !self.logs.contains_key(unit) {
            let log = Log::new(&self.dir, unit);
            self.logs.insert(unit.clone(), log);
        }
        let mut offset = 0;
        if let Some(log) = self.logs.get_mut(unit) {
            if let Err(loss) = log.append(&self.dir, self.run, info, bytes) {
                self.losses.note(unit, &loss);
            }
            offset = log.offset;
        }
        Appended {
            offset,
            notice: self.losses.due(info.time),
        }
    }

    /// Closes the files of a unit until it prints again.
    pub(super) fn close(&mut self, unit: &UnitId) {
        self.logs.remove(unit);
    }
}

/// Bytes that the disk did not take.
#[derive(Debug)]
struct Loss {
    bytes: u64,
    error: io::Error,
}

/// The log of one unit.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    index_path: PathBuf,
    /// Closed before the first block, and after an error: opening anew mends what it left.
    files: Option<OpenLog>,
    /// Where the last block begins, or would begin had it not been lost.
    offset: u64,
    /// When the open files were last compared with the directory.
    checked_at: u64,
    /// What was lost since the last record.
    dropped: u64,
}

impl Log {
    fn new(dir: &Path, unit: &UnitId) -> Self {
        Self {
            path: log_path(dir, unit),
            index_path: index_path(dir, unit),
            files: None,
            offset: 0,
            checked_at: 0,
            dropped: 0,
        }
    }

    /// Appends the block.
    fn append(&mut self, dir: &Path, run: u64, info: BlockInfo, bytes: &[u8]) -> Result<(), Loss> {
        let length = bytes.len() as u64;
        let result = self.open(dir, info.time).and_then(|(files, dropped)| {
            let record = Record {
                time: info.time,
                offset: files.end,
                length,
                run,
                dropped,
                attempt: info.attempt,
                stream: info.stream,
                is_partial: info.is_partial,
                continues: info.continues,
                is_recovered: false,
            };
            files.append(record, bytes)
        });
        match result {
            Ok(written) => {
                self.offset = written.offset;
                if written.length > 0 {
                    self.dropped = 0;
                }
                match written.error {
                    None => Ok(()),
                    Some(error) => Err(self.lose(length - written.length, error)),
                }
            }
            Err(error) => Err(self.lose(length, error)),
        }
    }

    fn lose(&mut self, bytes: u64, error: io::Error) -> Loss {
        if let Some(files) = self.files.take() {
            self.offset = files.end;
        }
        self.dropped = self.dropped.saturating_add(bytes);
        Loss { bytes, error }
    }

    /// The open files, and what was lost since the last record.
    fn open(&mut self, dir: &Path, now: u64) -> io::Result<(&mut OpenLog, u64)> {
        // A clock that was set back looks like a long time.
        if now.wrapping_sub(self.checked_at) >= CHECK_INTERVAL {
            self.checked_at = now;
            if self.files.as_ref().is_some_and(OpenLog::is_stale) {
                self.files = None;
            }
        }
        let files = match self.files.take() {
            Some(files) => files,
            None => OpenLog::open(dir, &self.path, &self.index_path)?,
        };
        Ok((self.files.insert(files), self.dropped))
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

/// How much of a block the disk took.
struct Written {
    offset: u64,
    length: u64,
    error: Option<io::Error>,
}

impl OpenLog {
    fn open(dir: &Path, log_path: &Path, index_path: &Path) -> io::Result<Self> {
        create_private_dir(dir)?;
        let log = open_private_append(log_path)?;
        let mut options = File::options();
        let mut index = open_private(index_path, options.read(true).append(true).create(true))?;
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

    /// Writes the bytes, then the record: a reader that sees the record finds its bytes. On an
    /// error whole lines that were written stay, and the rest is taken back, so that the files
    /// agree again.
    fn append(&mut self, mut record: Record, bytes: &[u8]) -> io::Result<Written> {
        let offset = self.end;
        let (written, error) = write_as_much_as_possible(&mut self.log, bytes);
        let mut kept = written;
        if let Some(error) = &error {
            kept = memrchr(b'\n', &bytes[..written]).map_or(0, |at| at + 1);
            record.is_partial = false;
            if kept < written && self.log.set_len(offset + kept as u64).is_err() {
                // What could not be taken back is recovered when the log is opened anew.
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
        }
        if kept > 0 {
            record.length = kept as u64;
            let (length, failure) = write_as_much_as_possible(&mut self.index, &record.encode());
            if let Some(failure) = failure {
                // Here too: opening anew mends what these do not.
                if length > 0 {
                    let _ = self.index.set_len(self.index_end);
                }
                let _ = self.log.set_len(offset);
                return Err(failure);
            }
            self.index_end += RECORD_LENGTH as u64;
        }
        self.end = offset + kept as u64;
        Ok(Written {
            offset,
            length: kept as u64,
            error,
        })
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
    fn note(&mut self, unit: &UnitId, loss: &Loss) {
        self.unit = match self.unit.take() {
            None if self.bytes == 0 => Some(unit.clone()),
            Some(same) if same == *unit => Some(same),
            None | Some(_) => None,
        };
        self.bytes = self.bytes.saturating_add(loss.bytes);
        self.error = loss.error.to_string();
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
            format!("{bytes} bytes of output were not logged: {}", self.error),
        ))
    }
}

#[cfg(test)]
mod tests;
