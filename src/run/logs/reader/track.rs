//! The way through one unit's output: its file, and at their places the blocks that no file took.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::super::grep::Pattern;
use super::super::index::Record;
use super::super::{LogBlock, Position};
use super::Followed;
use super::segment::Place;
use super::tail::{self, Scope, first_kept};
use super::unit_log::UnitLog;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// The way through one unit's output.
#[derive(Debug)]
pub(in super::super) struct Track {
    unit: UnitId,
    /// Whether its files must stay until they have been read.
    keeps: bool,
    /// `None` while the unit has no log.
    log: Option<UnitLog>,
    scope: Scope,
    /// What a block must match to be of interest.
    grep: Option<Pattern>,
    /// The streams whose last line has no end so far.
    unfinished: Vec<LogStream>,
    /// Only what was logged before this is returned, in bytes.
    limit: u64,
    /// Blocks to begin with, each from a byte on: where a tail starts within a line's parts.
    heads: VecDeque<(Place, usize)>,
    /// From here on everything in scope.
    next: Place,
    /// The next block of the file and its first byte, once looked up.
    record: Option<(Record, usize)>,
    /// Where the last block of the file ended.
    reached: u64,
    /// What no file took.
    unwritten: VecDeque<(Position, Followed)>,
    /// How much of that has been returned since the last block of the file, in bytes.
    covered: u64,
    /// How far the supervisor has told everything.
    told: u64,
    /// Blocks of one unit keep their order even if the clock was set back between them.
    time: u64,
    /// Whether it is in the reader's queue.
    pub(super) is_queued: bool,
}

impl Track {
    /// The track of a unit, as if it had no log.
    pub(in super::super) fn new(unit: UnitId, scope: Scope, keeps: bool) -> Self {
        Self {
            unit,
            keeps,
            log: None,
            scope,
            grep: None,
            unfinished: Vec::new(),
            limit: u64::MAX,
            heads: VecDeque::new(),
            next: Place::default(),
            record: None,
            reached: 0,
            unwritten: VecDeque::new(),
            covered: 0,
            told: 0,
            time: 0,
            is_queued: false,
        }
    }

    /// The same without blocks that do not match.
    #[must_use]
    pub(super) fn leaving_out(self, grep: Option<Pattern>) -> Self {
        Self { grep, ..self }
    }

    /// Begins with the first block in scope, or with `tail` with the last lines. Called once.
    pub(in super::super) fn begin(
        &mut self,
        dir: &Path,
        bases: Vec<u64>,
        mut tail: Option<usize>,
    ) -> io::Result<()> {
        let mut log = UnitLog::new(dir, &self.unit, bases, self.keeps);
        if let Some(missing) = &mut tail {
            self.cut_unwritten(log.end()?.1, missing);
        }
        let start = self.scope.start(&mut log)?;
        (self.heads, self.next) = match tail {
            None => (VecDeque::new(), start),
            Some(lines) => tail::select(&mut log, start, self.scope, lines)?,
        };
        // The search for the last lines has seen more than what is to be shown from here on.
        log.begin_at(self.next)?;
        self.log = Some(log);
        Ok(())
    }

    /// The same without a log.
    pub(super) fn begin_without(&mut self, mut tail: Option<usize>) {
        if let Some(missing) = &mut tail {
            self.cut_unwritten(0, missing);
        }
    }

    /// Whose it is.
    pub(super) fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// Ends with what has been told so far, if anything has.
    pub(super) fn end_here(&mut self) {
        if self.told > 0 {
            self.limit = self.told;
        }
    }

    /// Leaves of what no file took the last lines behind the `end` of the file, and takes their
    /// number off `missing`.
    fn cut_unwritten(&mut self, end: u64, missing: &mut usize) {
        for (position, piece) in std::mem::take(&mut self.unwritten).into_iter().rev() {
            match piece {
                Followed::Block(mut block) => {
                    let first = if position.absolute() < end {
                        block.bytes.len()
                    } else {
                        first_kept(&block.bytes, false, missing)
                    };
                    self.covered += first as u64;
                    block.bytes = block.bytes.slice(first..);
                    if !block.bytes.is_empty() {
                        self.unwritten
                            .push_front((position, Followed::Block(block)));
                    }
                }
                Followed::Lost { bytes, .. } => self.covered += bytes,
            }
        }
    }

    /// Looks what the file has by now; `is_there` is `false` where it is known that there is none.
    pub(super) fn refresh(&mut self, dir: &Path, is_there: bool) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            return log.refresh();
        }
        if !is_there {
            return Ok(());
        }
        self.log = UnitLog::find(dir, &self.unit, self.keeps)?;
        if let Some(log) = &self.log
            && !self.keeps
        {
            // Who shows a whole run has had the beginning to show.
            self.next = log.start();
        }
        Ok(())
    }

    /// Adds output that no file took.
    pub(super) fn add_unwritten(&mut self, position: Position, piece: Followed) {
        let is_wanted = match &piece {
            Followed::Block(block) => self.scope.stream.is_none_or(|it| it == block.stream),
            Followed::Lost { .. } => true,
        };
        if is_wanted {
            self.unwritten.push_back((position, piece));
        }
    }

    /// Everything before this place has been told.
    pub(super) fn told_until(&mut self, position: Position) {
        self.told = position.absolute();
    }

    /// When what comes next was printed; `None` when there is nothing. Of a running stack (`is_live`)
    /// a gap in the file is passed only when it has been told what was in it.
    pub(in super::super) fn next_time(&mut self, is_live: bool) -> io::Result<Option<u64>> {
        let record = self.look_up()?;
        let time = match self.first_unwritten() {
            Some(Followed::Block(block)) => block.time,
            Some(Followed::Lost { .. }) => self.time,
            None => match record {
                Some(gap) if is_live && gap.dropped > self.covered && gap.offset >= self.told => {
                    return Ok(None);
                }
                Some(record) => record.time,
                None => return Ok(None),
            },
        };
        self.time = self.time.max(time);
        Ok(Some(self.time))
    }

    /// Returns what [`next_time`](Self::next_time) found, piece by piece.
    pub(in super::super) fn take(&mut self, ready: &mut VecDeque<Followed>) -> io::Result<()> {
        if self.first_unwritten().is_some() {
            if let Some((_, piece)) = self.unwritten.pop_front() {
                self.covered += match &piece {
                    Followed::Block(block) => block.bytes.len() as u64,
                    Followed::Lost { bytes, .. } => *bytes,
                };
                ready.push_back(piece);
            }
            return Ok(());
        }
        let (Some((record, skip)), Some(log)) = (self.record.take(), &self.log) else {
            return Ok(());
        };
        if record.dropped > self.covered {
            ready.push_back(Followed::Lost {
                unit: self.unit.clone(),
                bytes: record.dropped - self.covered,
            });
        }
        self.covered = 0;
        self.reached = record.end();
        self.unfinished.retain(|stream| *stream != record.stream);
        if record.is_partial {
            self.unfinished.push(record.stream);
        }
        let bytes = log.read(&record, skip)?;
        // Nothing is left of it where somebody has just emptied the log.
        if !bytes.is_empty() {
            ready.push_back(Followed::Block(LogBlock {
                unit: self.unit.clone(),
                stream: record.stream,
                time: record.time,
                attempt: record.attempt,
                bytes: bytes.into(),
                continues: record.continues,
            }));
        }
        Ok(())
    }

    /// The next block of the file.
    fn look_up(&mut self) -> io::Result<Option<Record>> {
        let Some(log) = &mut self.log else {
            return Ok(None);
        };
        while self.record.is_none() {
            if let Some((place, skip)) = self.heads.pop_front() {
                self.record = log.piece(place)?.map(|record| (record, skip));
                continue;
            }
            // Who joins lines wants to see where one goes on, or ends as nothing more comes of it.
            if let Some(pattern) = self.grep.as_ref().filter(|_| self.unfinished.is_empty())
                && let Some(place) = log.settle(self.next)?
            {
                self.next = log.pass_over(place, pattern)?;
            }
            let Some(place) = log.settle(self.next)? else {
                return Ok(None);
            };
            let piece = log.piece(place)?;
            if let Some(first) = piece.filter(|it| it.offset >= self.limit) {
                // What was gone before the limit is told all the same, once.
                let beyond = first.offset - self.limit;
                if let bytes @ 1.. = log.take_lost().saturating_sub(beyond) {
                    let unit = self.unit.clone();
                    let piece = Followed::Lost { unit, bytes };
                    self.unwritten.push_back((Position::default(), piece));
                }
                return Ok(None);
            }
            if piece.is_some_and(|it| self.scope.is_behind(&it)) {
                return Ok(None);
            }
            self.next = log.after(place)?;
            if let Some(mut record) = piece.filter(|record| self.scope.contains(record)) {
                record.dropped += log.take_lost();
                self.record = Some((record, 0));
            }
        }
        Ok(self.record.map(|(record, _)| record))
    }

    /// What no file took, if it comes before the next block of the file.
    fn first_unwritten(&self) -> Option<&Followed> {
        let (position, piece) = self.unwritten.front()?;
        let is_first = self
            .record
            .is_none_or(|(record, _)| position.absolute() <= record.offset);
        is_first.then_some(piece)
    }
}
