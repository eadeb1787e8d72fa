//! History: what the logs hold, over all units in the order of time.
//!
//! Reads the files alone, so it works while a supervisor writes them and when none is left. Memory
//! is bounded by the number of units, not by the size of the logs: of each, one window of the
//! index is held, and one block at a time is read of all.

mod tail;
mod unit_log;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::path::Path;

use bytes::Bytes;

pub(super) use self::tail::Scope;
use self::unit_log::{Position, UnitLog};
use super::LogBlock;
use super::index::{Index, Record};
use super::writer::{index_path, unit_of_log};
use crate::support::name::UnitId;

/// Which runs of the stack are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// The last one that printed anything.
    Last,
    /// This one (`STACK_RUN` as a number).
    Of(u64),
    /// All that are in the files.
    All,
}

/// A block out of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryBlock {
    /// The block. The attempt is 0 where it is not known, because the index was lost.
    pub block: LogBlock,
    /// The run that wrote it; 0 where that is not known.
    pub run: u64,
    /// How many bytes of the unit were lost just before it, for want of space.
    pub dropped: u64,
}

/// The blocks of some units, oldest first; made by [`history`].
#[derive(Debug)]
pub struct History {
    tracks: Vec<Track>,
    /// The tracks that have more, by the time of their next block.
    queue: BinaryHeap<Reverse<(u64, usize)>>,
}

/// What `units` (an empty list: all that have a log) printed, as it stands now.
///
/// With `tail`, of each unit only the last so many lines: a line counts where it ends, and is
/// returned from its beginning, also where it was captured in parts. Units that printed nothing
/// have no file and are left out. What is written after the call is not returned; a follower
/// subscribes first, and then drops the blocks that begin before
/// [`end_offset`](History::end_offset).
pub fn history(
    dir: &Path,
    units: &[UnitId],
    tail: Option<usize>,
    runs: Runs,
) -> io::Result<History> {
    let logged;
    let units = if units.is_empty() {
        logged = logged_units(dir)?;
        &logged
    } else {
        units
    };
    let run = match runs {
        Runs::Last => last_run(dir)?,
        Runs::Of(run) => Some(run),
        Runs::All => None,
    };
    let mut tracks = Vec::new();
    for unit in units {
        let scope = run.map_or(Scope::All, Scope::Run);
        tracks.extend(Track::open(dir, unit, scope, tail)?);
    }
    History::new(tracks)
}

/// The units that have a log in `dir`, by service and number.
pub fn logged_units(dir: &Path) -> io::Result<Vec<UnitId>> {
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut units = Vec::new();
    for entry in entries {
        units.extend(entry?.file_name().to_str().and_then(unit_of_log));
    }
    units.sort();
    Ok(units)
}

/// The run of the latest block of any unit.
fn last_run(dir: &Path) -> io::Result<Option<u64>> {
    let mut last: Option<Record> = None;
    for unit in logged_units(dir)? {
        let file = match std::fs::File::open(index_path(dir, &unit)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let newest = Index::new(file)?.last()?;
        last = last
            .into_iter()
            .chain(newest)
            .max_by_key(|record| record.time);
    }
    Ok(last.map(|record| record.run))
}

impl History {
    pub(super) fn new(tracks: Vec<Track>) -> io::Result<Self> {
        let mut history = Self {
            tracks,
            queue: BinaryHeap::new(),
        };
        for number in 0..history.tracks.len() {
            history.enqueue(number)?;
        }
        Ok(history)
    }

    /// Where the log of `unit` ended when the history was opened; 0 where there was none.
    pub fn end_offset(&self, unit: &UnitId) -> u64 {
        self.tracks
            .iter()
            .find(|track| track.log.unit() == unit)
            .map_or(0, |track| track.log.end())
    }

    fn enqueue(&mut self, number: usize) -> io::Result<()> {
        if let Some(time) = self.tracks[number].next_time()? {
            self.queue.push(Reverse((time, number)));
        }
        Ok(())
    }
}

impl Iterator for History {
    type Item = io::Result<HistoryBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        // A block that is empty by now (somebody emptied the log) is passed over.
        while let Some(Reverse((_, number))) = self.queue.pop() {
            let block = match self.tracks[number].take() {
                Ok(block) => block,
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = self.enqueue(number) {
                return Some(Err(error));
            }
            if let Some(block) = block {
                return Some(Ok(block));
            }
        }
        None
    }
}

/// The way through one unit's log.
#[derive(Debug)]
pub(super) struct Track {
    log: UnitLog,
    scope: Scope,
    /// Blocks to begin with, each from a byte on: where a tail starts within a line's parts.
    heads: VecDeque<(Position, usize)>,
    /// From here on everything in scope.
    next: Position,
    /// The next block and its first byte, once looked up.
    ready: Option<(Record, usize)>,
    /// Blocks of one unit keep their order even if the clock was set back between them.
    time: u64,
}

impl Track {
    /// The track of a unit; `None` for one that has no log.
    pub(super) fn open(
        dir: &Path,
        unit: &UnitId,
        scope: Scope,
        tail: Option<usize>,
    ) -> io::Result<Option<Self>> {
        let Some(mut log) = UnitLog::open(dir, unit)? else {
            return Ok(None);
        };
        let (scope, start) = scope.resolve(&mut log)?;
        let (heads, next) = match tail {
            None => (VecDeque::new(), Position::record(start)),
            Some(lines) => tail::select(&mut log, start, scope, lines)?,
        };
        Ok(Some(Self {
            log,
            scope,
            heads,
            next,
            ready: None,
            time: 0,
        }))
    }

    /// When the next block was printed; `None` when there is none.
    fn next_time(&mut self) -> io::Result<Option<u64>> {
        while self.ready.is_none() {
            if let Some((position, skip)) = self.heads.pop_front() {
                self.ready = self.log.piece(position)?.map(|record| (record, skip));
            } else if self.next.is_before(self.log.count()) {
                let piece = self.log.piece(self.next)?;
                self.ready = piece
                    .filter(|record| self.scope.contains(record))
                    .map(|record| (record, 0));
                self.next = self.log.after(self.next)?;
            } else {
                return Ok(None);
            }
        }
        self.time = self
            .ready
            .map_or(self.time, |(record, _)| record.time.max(self.time));
        Ok(Some(self.time))
    }

    /// Reads the block that [`next_time`](Self::next_time) found.
    fn take(&mut self) -> io::Result<Option<HistoryBlock>> {
        let Some((record, skip)) = self.ready.take() else {
            return Ok(None);
        };
        let mut buffer = Vec::new();
        self.log.read(&record, &mut buffer)?;
        let skip = skip.min(buffer.len());
        let bytes = Bytes::from(buffer).slice(skip..);
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(HistoryBlock {
            block: LogBlock {
                unit: self.log.unit().clone(),
                stream: record.stream,
                time: record.time,
                attempt: record.attempt,
                offset: record.offset + skip as u64,
                is_partial: bytes.last() != Some(&b'\n'),
                bytes,
            },
            run: record.run,
            dropped: record.dropped,
        }))
    }
}

#[cfg(test)]
mod tests;
