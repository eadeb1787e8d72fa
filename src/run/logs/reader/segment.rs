//! One segment of a unit's log with its index, as a row of pieces.
//!
//! A piece is a block, or a part of one that is too large to be held in memory (what was
//! recovered, or a log whose index is gone, is one block however long it is).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::buffer::spare_capacity;

use super::super::grep::Pattern;
use super::super::index::{Index, Record};
use super::super::segments::{finished_path, index_path, log_path, segments_of};
use crate::support::fs::open_private;
use crate::support::name::UnitId;

/// The longest piece. Blocks that the pump wrote are shorter, so each of them is one piece.
pub(super) const PIECE_LENGTH: u64 = 512 * 1024;

/// The place of a piece: the segment, the number of its record in there, and its own within that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) base: u64,
    pub(super) record: u64,
    pub(super) piece: u64,
}

impl Place {
    /// The first piece of a record.
    pub(super) fn record(base: u64, record: u64) -> Self {
        Self {
            base,
            record,
            piece: 0,
        }
    }
}

/// Where the records come from.
#[derive(Debug)]
enum Records {
    Index(Index),
    /// The index is missing: the log is one block.
    Alone(Record),
}

/// A segment that is open.
#[derive(Debug)]
pub(super) struct Segment {
    base: u64,
    log: File,
    records: Records,
    /// Where it was searched.
    window: Window,
}

/// The longest block that is not looked at by itself.
const SMALL: u64 = 8 * 1024;

/// How much is searched at once.
const WINDOW: usize = 256 * 1024;

/// A part of a log that was searched.
#[derive(Debug, Default)]
struct Window {
    /// Where it begins in the log.
    start: u64,
    bytes: Vec<u8>,
    /// Before this place of the log there is nothing that matches, from the block that was asked for last.
    clear: u64,
}

impl Segment {
    /// Opens a segment; `None` where there is none, or none yet. With `keeps`, its log is locked until
    /// it is closed, which says that it must stay.
    pub(super) fn open(
        dir: &Path,
        unit: &UnitId,
        base: u64,
        keeps: bool,
    ) -> io::Result<Option<Self>> {
        let index = open_if_exists(&index_path(dir, unit, base))?;
        let finished = finished_path(dir, unit, base);
        let (mut log, mut newest) = (open_if_exists(&finished)?, None);
        if log.is_none() {
            newest = open_if_exists(&log_path(dir, unit))?;
            // It may have been finished just now.
            log = open_if_exists(&finished)?;
        }
        let is_finished = log.is_some();
        let Some(log) = log.or(newest) else {
            return Ok(None);
        };
        if keeps {
            // Without locks, which some file systems do not have, it may go too early.
            let _ = log.try_lock_shared();
        }
        let records = match index {
            // The index goes first: while it is there, so is the log under one of its names.
            Some(index) if is_finished || index.metadata()?.nlink() > 0 => {
                Records::Index(Index::new(index)?)
            }
            None if is_finished || segments_of(dir, unit)?.newest == Some(base) => {
                match Record::found(&log.metadata()?) {
                    Record { length: 0, .. } => return Ok(None),
                    // It may have been begun just now: an index is there before the first byte.
                    whole => match open_if_exists(&index_path(dir, unit, base))? {
                        Some(index) => Records::Index(Index::new(index)?),
                        None => Records::Alone(whole),
                    },
                }
            }
            Some(_) | None => return Ok(None),
        };
        Ok(Some(Self {
            base,
            log,
            records,
            window: Window::default(),
        }))
    }

    /// How many bytes were logged before it.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Looks what has been added; whether more can be, as nobody has removed or emptied it.
    pub(super) fn refresh(&mut self, dir: &Path, unit: &UnitId) -> io::Result<bool> {
        self.window = Window::default();
        match &mut self.records {
            Records::Index(index) => Ok(index.refresh()? && self.log.metadata()?.nlink() > 0),
            // A supervisor makes an index, in which the whole log up to then is the first record.
            Records::Alone(_) => {
                if let Some(file) = open_if_exists(&index_path(dir, unit, self.base))? {
                    self.records = Records::Index(Index::new(file)?);
                }
                Ok(true)
            }
        }
    }

    /// How many records there are.
    pub(super) fn count(&self) -> u64 {
        match &self.records {
            Records::Index(index) => index.count(),
            Records::Alone(_) => 1,
        }
    }

    /// Where its last record ends.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        let last = self.get(self.count().saturating_sub(1))?;
        Ok(self.base.saturating_add(last.map_or(0, |last| last.end())))
    }

    /// The first record that is not before something, given that all that are come first. A log
    /// without an index is before nothing.
    pub(super) fn first_not(&mut self, is_before: impl Fn(&Record) -> bool) -> io::Result<u64> {
        match &mut self.records {
            Records::Index(index) => index.partition_point(is_before),
            Records::Alone(_) => Ok(0),
        }
    }

    /// A record as it stands in the index.
    pub(super) fn get(&mut self, number: u64) -> io::Result<Option<Record>> {
        match &mut self.records {
            Records::Index(index) => index.get(number),
            Records::Alone(record) => Ok((number == 0).then_some(*record)),
        }
    }

    /// The piece at `place`, as a record of its own, with its place in all that was logged; `None` past
    /// the end.
    pub(super) fn piece(&mut self, place: Place) -> io::Result<Option<Record>> {
        let Some(mut record) = self.get(place.record)? else {
            return Ok(None);
        };
        let skipped = place.piece * PIECE_LENGTH;
        let ahead = self.base.saturating_add(skipped);
        record.offset = record.offset.saturating_add(ahead);
        record.length = record.length.saturating_sub(skipped).min(PIECE_LENGTH);
        if place.piece > 0 {
            // Whether it really does is seen at the end of the piece before.
            record.continues = true;
            record.dropped = 0;
        }
        Ok(Some(record))
    }

    /// The first record from `number` on that is more than a few whole lines that do not match, and where
    /// the one before it ends in all that was logged. Output that is flushed line by line has a record for
    /// each line, and to look at them one by one would take longer than the search.
    pub(super) fn pass_over(
        &mut self,
        mut number: u64,
        pattern: &Pattern,
    ) -> io::Result<(u64, u64)> {
        let mut end = 0;
        let Records::Index(index) = &mut self.records else {
            return Ok((number, end));
        };
        while let Some(record) = index.get(number)? {
            let is_small = record.length <= SMALL && record.dropped == 0;
            if !is_small || record.is_partial || record.continues {
                break;
            }
            if record.end() > self.window.clear {
                self.window.search(&self.log, record.offset, pattern)?;
            }
            if record.end() > self.window.clear {
                break;
            }
            end = self.base.saturating_add(record.end());
            number += 1;
        }
        Ok((number, end))
    }

    /// How many pieces a record has, at least 1.
    pub(super) fn pieces(&mut self, number: u64) -> io::Result<u64> {
        let length = self.get(number)?.map_or(0, |record| record.length);
        Ok(length.div_ceil(PIECE_LENGTH).max(1))
    }

    /// The bytes of a piece from its byte `skip` on; fewer where the log has been cut since.
    pub(super) fn read(&self, piece: &Record, skip: usize) -> io::Result<Vec<u8>> {
        let length = usize::try_from(piece.length.min(PIECE_LENGTH)).unwrap_or(0);
        let start = piece.offset.saturating_sub(self.base);
        let mut bytes = Vec::with_capacity(length.saturating_sub(skip));
        while skip + bytes.len() < length {
            let offset = start + (skip + bytes.len()) as u64;
            // Not cleared first, as everything that is printed comes this way.
            match rustix::io::pread(&self.log, spare_capacity(&mut bytes), offset) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may have been room for more.
        bytes.truncate(length.saturating_sub(skip));
        Ok(bytes)
    }
}

impl Window {
    /// Makes `clear` the end of the whole lines from `from` on that do not match.
    fn search(&mut self, log: &File, from: u64, pattern: &Pattern) -> io::Result<()> {
        let end = self.start + self.bytes.len() as u64;
        if !(self.start..end).contains(&from) {
            self.bytes.clear();
            self.bytes.reserve(WINDOW);
            self.start = from;
            while self.bytes.len() < WINDOW {
                let offset = from + self.bytes.len() as u64;
                match rustix::io::pread(log, spare_capacity(&mut self.bytes), offset) {
                    Ok(0) => break,
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let ahead = usize::try_from(from - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(ahead..).unwrap_or_default();
        self.clear = from + pattern.clear(rest) as u64;
        Ok(())
    }
}

fn open_if_exists(path: &Path) -> io::Result<Option<File>> {
    match open_private(path, OpenOptions::new().read(true)) {
        Ok(file) => Ok(Some(file)),
        // A link, or what is no file, is not ours: nothing was written there, and nothing is shown of it.
        Err(error) if is_none_of_ours(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is no log of ours: nothing at all, or something else that has its name.
pub(super) fn is_none_of_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
    )
}
