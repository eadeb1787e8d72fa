//! One unit's log with its index, as a row of pieces.
//!
//! A piece is a block, or a part of one that is too large to be held in memory (what was
//! recovered, or a log whose index is gone, is one block however long it is).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::super::index::{Index, Record};
use super::super::writer::{index_path, log_path};
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// The longest piece. Blocks that the pump wrote are shorter, so each of them is one piece.
pub(super) const PIECE_LENGTH: u64 = 128 * 1024;

/// The place of a piece: the number of its record, and its own within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    record: u64,
    piece: u64,
}

impl Position {
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
    unit: UnitId,
    log: File,
    records: Records,
    end: u64,
}

impl UnitLog {
    /// Opens a log; `None` where there is none.
    pub(super) fn open(dir: &Path, unit: &UnitId) -> io::Result<Option<Self>> {
        let Some(log) = open_if_exists(&log_path(dir, unit))? else {
            return Ok(None);
        };
        let records = match open_if_exists(&index_path(dir, unit))? {
            Some(file) => Records::Index(Index::new(file)?),
            None => Records::Alone(whole(&log)?),
        };
        let mut log = Self {
            unit: unit.clone(),
            log,
            records,
            end: 0,
        };
        log.end = match log.count().checked_sub(1) {
            Some(last) => log.get(last)?.map_or(0, |record| record.end()),
            None => 0,
        };
        Ok(Some(log))
    }

    /// Whose log it is.
    pub(super) fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// Where the last block ended when the log was opened.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many records there were when the log was opened.
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

    /// The piece at `position`, as a record of its own; `None` past the end.
    pub(super) fn piece(&mut self, position: Position) -> io::Result<Option<Record>> {
        let Some(mut record) = self.get(position.record)? else {
            return Ok(None);
        };
        let skipped = position.piece * PIECE_LENGTH;
        record.offset = record.offset.saturating_add(skipped);
        record.length = record.length.saturating_sub(skipped).min(PIECE_LENGTH);
        if position.piece > 0 {
            // Whether it really does is seen at the end of the piece before.
            record.continues = true;
            record.dropped = 0;
        }
        Ok(Some(record))
    }

    /// The piece after this one; past the end after the last.
    pub(super) fn after(&mut self, position: Position) -> io::Result<Position> {
        let pieces = self.pieces(position.record)?;
        Ok(if position.piece + 1 < pieces {
            Position {
                record: position.record,
                piece: position.piece + 1,
            }
        } else {
            Position::record(position.record + 1)
        })
    }

    /// The piece before this one; `None` at the record `start`.
    pub(super) fn before(
        &mut self,
        position: Position,
        start: u64,
    ) -> io::Result<Option<Position>> {
        if let Some(piece) = position.piece.checked_sub(1) {
            return Ok(Some(Position { piece, ..position }));
        }
        if position.record <= start {
            return Ok(None);
        }
        let record = position.record - 1;
        let piece = self.pieces(record)? - 1;
        Ok(Some(Position { record, piece }))
    }

    /// How many pieces a record has, at least 1.
    fn pieces(&mut self, number: u64) -> io::Result<u64> {
        let length = self.get(number)?.map_or(0, |record| record.length);
        Ok(length.div_ceil(PIECE_LENGTH).max(1))
    }

    /// Replaces `bytes` by those of a piece; fewer where the log has been cut since.
    pub(super) fn read(&self, piece: &Record, bytes: &mut Vec<u8>) -> io::Result<()> {
        let length = piece.length.min(PIECE_LENGTH);
        bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        let mut filled = 0;
        while filled < bytes.len() {
            let offset = piece.offset + filled as u64;
            match self.log.read_at(&mut bytes[filled..], offset) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(())
    }
}

fn open_if_exists(path: &Path) -> io::Result<Option<File>> {
    match fs_err::File::open(path) {
        Ok(file) => Ok(Some(file.into_parts().0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The record of a log that has no index.
fn whole(log: &File) -> io::Result<Record> {
    let metadata = log.metadata()?;
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    Ok(Record {
        time: seconds.saturating_mul(1_000_000_000),
        offset: 0,
        length: metadata.len(),
        run: 0,
        dropped: 0,
        attempt: 0,
        stream: LogStream::Stdout,
        is_partial: false,
        continues: false,
        is_recovered: true,
    })
}
