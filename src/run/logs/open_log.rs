//! The newest segment of a unit, open to be written.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memchr::memrchr;

use super::index::{self, RECORD_LENGTH, Record};
use super::segments::{index_path, log_path};
use crate::support::fs::{create_private_dir, open_private, open_private_append};
use crate::support::name::UnitId;

/// A log and its index, which agree.
#[derive(Debug)]
pub(super) struct OpenLog {
    log: File,
    index: File,
    /// The length of the log.
    pub(super) end: u64,
    /// The length of the index.
    index_end: u64,
}

impl OpenLog {
    /// Opens the newest segment, of which it is known where it begins; makes what is not there.
    pub(super) fn open(dir: &Path, unit: &UnitId, base: u64) -> io::Result<Self> {
        create_private_dir(dir)?;
        // First, as whoever finds the index looks for it.
        let log = open_private_append(&log_path(dir, unit))?;
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut index = open_private(&index_path(dir, unit, base), &mut options)?;
        let end = index::recover(&log, &mut index)?;
        let index_end = index.metadata()?.len();
        Ok(Self {
            log,
            index,
            end,
            index_end,
        })
    }

    /// Whether somebody emptied, removed, moved or wrote to one of the files.
    pub(super) fn is_stale(&self, dir: &Path, unit: &UnitId) -> bool {
        let is_same = || {
            let (found, own) = (
                log_path(dir, unit).symlink_metadata()?,
                self.log.metadata()?,
            );
            let index = self.index.metadata()?;
            let is_there = (found.dev(), found.ino()) == (own.dev(), own.ino());
            let is_whole = (own.len(), index.len()) == (self.end, self.index_end);
            io::Result::Ok(is_there && is_whole && index.nlink() > 0)
        };
        !is_same().unwrap_or(false)
    }

    /// Writes the bytes, then the record: a reader that sees the record finds its bytes. Returns
    /// how much was kept: on an error whole lines that were written stay, and the rest is taken
    /// back. What cannot be taken back is recovered when the log is opened anew.
    pub(super) fn append(
        &mut self,
        mut record: Record,
        bytes: &[u8],
    ) -> (usize, Option<io::Error>) {
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
