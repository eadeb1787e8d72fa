//! The file of rows: a [line](super::row) for each stack, those that run and those that have ended.
//!
//! The first byte of a line says what it is: `+` of a stack that runs, as far as is known, `-` of one
//! that has ended, `#` superseded. Lines are only added, and of the others only that byte is changed, so
//! a writer that is killed costs at most its own line, and who reads without the lock never sees half of
//! anything. Now and then it is written anew.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::memmem;
use nix::fcntl::OFlag;

use super::LedgerWarning;
use super::row::Line;

/// No file of thousands of stacks is nearly as large.
const MAX_SIZE: u64 = 16 << 20;

/// How large the file may be before it is looked through for what nobody needs.
const SMALL: usize = 64 << 10;

/// How long that is good for, in milliseconds.
const DAY_MILLIS: u64 = 24 * 3_600_000;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Ended,
    Superseded,
}

/// Where a line begins in the file.
pub(super) type Place = usize;

/// The file, as it was read.
#[derive(Debug)]
pub(super) struct RowsFile {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
}

impl RowsFile {
    pub(super) fn read(path: PathBuf) -> Result<Self, LedgerWarning> {
        let bytes = read(&path)?;
        Ok(Self { path, bytes })
    }

    /// One that says nothing.
    pub(super) fn empty(path: PathBuf) -> Self {
        Self {
            path,
            bytes: Vec::new(),
        }
    }

    /// Its lines, each with its place; those that are superseded are left out. What is damaged is given
    /// back as its place alone.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Place, Option<Line<'_>>)> {
        let ends = memchr::memchr_iter(b'\n', &self.bytes).map(|end| end + 1);
        let last = self.is_unfinished().then_some(self.bytes.len());
        let mut start = 0;
        let placed = ends.chain(last).map(move |end| {
            let place = start;
            start = end;
            (place, &self.bytes[place..end])
        });
        let current = placed.filter(|(_, line)| !matches!(line, [b'#', ..] | [b'\n']));
        current.map(|(place, line)| (place, line.strip_suffix(b"\n").and_then(Line::parse)))
    }

    /// The places of the lines of stacks that run, as far as is known.
    pub(super) fn running(&self) -> impl Iterator<Item = Place> {
        let first = self.bytes.starts_with(b"+").then_some(0);
        let others = memmem::find_iter(&self.bytes, b"\n+").map(|at| at + 1);
        first.into_iter().chain(others)
    }

    /// The line at a place.
    pub(super) fn at(&self, place: Place) -> Option<Line<'_>> {
        let rest = &self.bytes[place..];
        Line::parse(&rest[..memchr::memchr(b'\n', rest)?])
    }

    /// Where the line of a stack is.
    pub(super) fn of(&self, instance: &str) -> Option<Place> {
        let needle = format!("\"instance\":{}", serde_json::to_string(instance).ok()?);
        let found = memmem::find_iter(&self.bytes, needle.as_bytes());
        let begin = |at| memchr::memrchr(b'\n', &self.bytes[..at]).map_or(0, |end| end + 1);
        let is_current = |place: &Place| self.bytes[*place] != b'#' && self.at(*place).is_some();
        found.map(begin).filter(is_current).last()
    }

    /// Whether the last line has no end: its writer was stopped, or it is not our file.
    pub(super) fn is_unfinished(&self) -> bool {
        self.bytes.last().is_some_and(|&last| last != b'\n')
    }

    /// Changes the marks of lines and adds `lines`. A part of these that was written is taken back.
    pub(super) fn write(&self, marks: &[(Place, Mark)], lines: &str) -> io::Result<()> {
        if marks.is_empty() && lines.is_empty() {
            return Ok(());
        }
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        let offset = |place| u64::try_from(place).unwrap_or(u64::MAX);
        let gap = if self.is_unfinished() { "\n" } else { "" };
        let end = offset(self.bytes.len());
        if file.metadata()?.len() > end {
            // It was too large to be read.
            file.set_len(end)?;
        }
        if let Err(error) = file.write_all_at(format!("{gap}{lines}").as_bytes(), end) {
            drop(file.set_len(end));
            return Err(error);
        }
        for &(place, mark) in marks {
            let mark = match mark {
                Mark::Ended => b"-",
                Mark::Superseded => b"#",
            };
            file.write_all_at(mark, offset(place))?;
        }
        Ok(())
    }

    /// Whether it is time to look through all of it: it is large, and half of it is of no use, or nobody
    /// has done so for a day.
    pub(super) fn is_due(&self, unix_millis: u64) -> bool {
        if self.bytes.len() <= SMALL {
            return false;
        }
        let end_of = |start: usize| {
            let end = memchr::memchr(b'\n', &self.bytes[start..]);
            end.map_or(self.bytes.len(), |length| start + length)
        };
        let first = std::str::from_utf8(&self.bytes[..end_of(0)]).ok();
        let checked = first.and_then(|first| first.strip_prefix("# checked ")?.parse().ok());
        let age = unix_millis.saturating_sub(checked.unwrap_or(0));
        let superseded = memmem::find_iter(&self.bytes, b"\n#");
        let useless: usize = superseded.map(|at| end_of(at + 1) - at).sum();
        age > DAY_MILLIS || useless > self.bytes.len() / 2
    }

    /// Puts these lines in the place of all that it has.
    pub(super) fn replace(&self, lines: &str, unix_millis: u64) -> io::Result<()> {
        let text = format!("# checked {unix_millis}\n{lines}");
        crate::support::fs::write_atomically_unsynced(&self.path, text.as_bytes(), 0o600)
    }
}

/// All of a file; nothing where there is none.
fn read(path: &Path) -> Result<Vec<u8>, LedgerWarning> {
    let unreadable = |error: io::Error| LedgerWarning::Unreadable {
        reason: format!("failed to read `{}`: {error}", path.display()),
    };
    let opened = File::options()
        .read(true)
        // Opening a pipe would wait for ever.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(LedgerWarning::Unreadable {
            reason: format!("`{}` is not a file", path.display()),
        });
    }
    if about.len() > MAX_SIZE {
        return Err(LedgerWarning::Damaged {
            path: path.to_path_buf(),
            reason: "it is too large".to_owned(),
        });
    }
    // To the end, wherever that is by then: a line is superseded after its successor was added.
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 4096);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
