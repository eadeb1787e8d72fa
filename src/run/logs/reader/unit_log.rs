//! One unit's log with its index, as a row of pieces.
//!
//! A piece is a block, or a part of one that is too large to be held in memory (what was
//! recovered, or a log whose index is gone, is one block however long it is).

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::buffer::spare_capacity;

use super::super::index::{Index, Record};
use super::super::writer::{index_path, log_path};
use crate::support::name::UnitId;

/// The longest piece. Blocks that the pump wrote are shorter, so each of them is one piece.
pub(super) const PIECE_LENGTH: u64 = 512 * 1024;

/// The place of a piece: the number of its record, and its own within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    record: u64,
    piece: u64,
}

impl Place {
    /// The first piece of a record.
    pub(super) fn record(record: u64) -> Self {
        Self { record, piece: 0 }
    }

    /// Whether it lies in one of the first `count` records.
    pub(super) fn is_before(self, count: u64) -> bool {
        self.record < count
    }
}

/// Where the records come from.
#[derive(Debug)]
enum Records {
    Index(Index),
    /// The index is missing: the log is one block.
    Alone(Record),
}

/// One unit's log.
#[derive(Debug)]
pub(super) struct UnitLog {
    log: File,
    records: Records,
}

impl UnitLog {
    /// Opens a log; `None` where there is none, or none yet. With `keeps`, it is locked until it is
    /// closed, which says that it must stay.
    pub(super) fn open(dir: &Path, unit: &UnitId, keeps: bool) -> io::Result<Option<Self>> {
        let Some(log) = open_if_exists(&log_path(dir, unit))? else {
            return Ok(None);
        };
        if keeps {
            // Without locks, which some file systems do not have, it may go too early.
            let _ = log.try_lock_shared();
        }
        let records = match open_if_exists(&index_path(dir, unit))? {
            Some(file) => Records::Index(Index::new(file)?),
            None => match Record::found(&log.metadata()?) {
                Record { length: 0, .. } => return Ok(None),
                whole => Records::Alone(whole),
            },
        };
        Ok(Some(Self { log, records }))
    }

    /// Looks what has been added. `false` where somebody emptied or removed the log meanwhile.
    pub(super) fn refresh(&mut self, dir: &Path, unit: &UnitId) -> io::Result<bool> {
        match &mut self.records {
            Records::Index(index) => {
                let before = index.count();
                index.refresh()?;
                Ok(index.count() >= before && self.log.metadata()?.nlink() > 0)
            }
            // A supervisor makes an index, in which the whole log up to then is the first record.
            Records::Alone(_) => {
                if let Some(file) = open_if_exists(&index_path(dir, unit))? {
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

    /// The first of the last records that are of `run`; all records where runs are not known.
    pub(super) fn start_of_run(&mut self, run: u64) -> io::Result<u64> {
        match &mut self.records {
            Records::Index(index) => index.partition_point(|record| record.run != run),
            Records::Alone(_) => Ok(0),
        }
    }

    /// The last record.
    pub(super) fn last(&mut self) -> io::Result<Option<Record>> {
        match &mut self.records {
            Records::Index(index) => index.last(),
            Records::Alone(record) => Ok(Some(*record)),
        }
    }

    fn get(&mut self, number: u64) -> io::Result<Option<Record>> {
        match &mut self.records {
            Records::Index(index) => index.get(number),
            Records::Alone(record) => Ok((number == 0).then_some(*record)),
        }
    }

    /// The piece at `place`, as a record of its own; `None` past the end.
    pub(super) fn piece(&mut self, place: Place) -> io::Result<Option<Record>> {
        let Some(mut record) = self.get(place.record)? else {
            return Ok(None);
        };
        let skipped = place.piece * PIECE_LENGTH;
        record.offset = record.offset.saturating_add(skipped);
        record.length = record.length.saturating_sub(skipped).min(PIECE_LENGTH);
        if place.piece > 0 {
            // Whether it really does is seen at the end of the piece before.
            record.continues = true;
            record.dropped = 0;
        }
        Ok(Some(record))
    }

    /// The piece after this one; past the end after the last.
    pub(super) fn after(&mut self, place: Place) -> io::Result<Place> {
        let pieces = self.pieces(place.record)?;
        Ok(if place.piece + 1 < pieces {
            Place {
                record: place.record,
                piece: place.piece + 1,
            }
        } else {
            Place::record(place.record + 1)
        })
    }

    /// The piece before this one; `None` at the record `start`.
    pub(super) fn before(&mut self, place: Place, start: u64) -> io::Result<Option<Place>> {
        if let Some(piece) = place.piece.checked_sub(1) {
            return Ok(Some(Place { piece, ..place }));
        }
        if place.record <= start {
            return Ok(None);
        }
        let record = place.record - 1;
        let piece = self.pieces(record)? - 1;
        Ok(Some(Place { record, piece }))
    }

    /// How many pieces a record has, at least 1.
    fn pieces(&mut self, number: u64) -> io::Result<u64> {
        let length = self.get(number)?.map_or(0, |record| record.length);
        Ok(length.div_ceil(PIECE_LENGTH).max(1))
    }

    /// The bytes of a piece from its byte `skip` on; fewer where the log has been cut since.
    pub(super) fn read(&self, piece: &Record, skip: usize) -> io::Result<Vec<u8>> {
        let length = usize::try_from(piece.length.min(PIECE_LENGTH)).unwrap_or(0);
        let mut bytes = Vec::with_capacity(length.saturating_sub(skip));
        while skip + bytes.len() < length {
            let offset = piece.offset + (skip + bytes.len()) as u64;
            // Not cleared first, as everything that is printed comes this way.
            match rustix::io::pread(&self.log, spare_capacity(&mut bytes), offset) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }
}

fn open_if_exists(path: &Path) -> io::Result<Option<File>> {
    match fs_err::File::open(path) {
        Ok(file) => Ok(Some(file.into_parts().0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
