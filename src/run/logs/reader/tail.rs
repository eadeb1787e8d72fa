//! Where the last lines of a log begin.
//!
//! Walks the index backwards and reads only the blocks that it needs. The two streams of a unit
//! interleave, and a line may have been captured in parts with blocks of the other stream between
//! them; so the last lines are not simply the end of the file.

use std::collections::VecDeque;
use std::io;

use memchr::memrchr;

use super::super::index::Record;
use super::segment::Place;
use super::unit_log::UnitLog;
use crate::run::snapshot::LogStream;

/// How far back an attempt's blocks are looked for. Only a unit that floods the log while an
/// older attempt's grandchild is asked about gets beyond it.
const ATTEMPT_SCAN: u64 = 65_536;

/// Which blocks of a unit are meant; without any limit all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Scope {
    /// Those of this run and later ones, and those of which the run is not known.
    pub(in super::super) run: Option<u64>,
    /// Those of this attempt of exactly that run.
    pub(in super::super) attempt: Option<u32>,
    /// Those of this stream.
    pub(in super::super) stream: Option<LogStream>,
    /// Those from this time on, in nanoseconds since the Unix epoch.
    pub(in super::super) since: Option<u64>,
    /// Those up to this time.
    pub(in super::super) until: Option<u64>,
}

impl Scope {
    /// The first record that can be in it. Runs and times follow one another, attempts may overlap.
    pub(super) fn start(self, log: &mut UnitLog) -> io::Result<Place> {
        let mut start = log.start();
        if let Some(run) = self.run {
            start = start.max(log.first_not(|record| record.run != run)?);
        }
        if let Some(since) = self.since {
            start = start.max(log.first_not(|record| record.time < since)?);
        }
        Ok(start)
    }

    /// The place behind the last record that can be in it.
    fn end(self, log: &mut UnitLog) -> io::Result<Place> {
        match self.until {
            Some(until) => log.first_not(|record| record.time <= until),
            None => Ok(log.end()?.0),
        }
    }

    /// Whether a block between these two is in scope.
    pub(super) fn contains(self, record: &Record) -> bool {
        let is_attempt = self
            .attempt
            .is_none_or(|it| it == record.attempt && self.run == Some(record.run));
        is_attempt && self.stream.is_none_or(|it| it == record.stream)
    }

    /// Whether a block, and with it all later ones, comes too late to be in scope.
    pub(super) fn is_behind(self, record: &Record) -> bool {
        self.until.is_some_and(|until| record.time > until)
    }
}

/// A stream of an attempt of a run: within it, lines go on from block to block.
type StreamKey = (u64, u32, LogStream);

/// Finds the last `lines` lines at or after the record `start`: single blocks, each from a byte on,
/// then the place from which everything belongs to them.
pub(super) fn select(
    log: &mut UnitLog,
    start: Place,
    scope: Scope,
    lines: usize,
) -> io::Result<(VecDeque<(Place, usize)>, Place)> {
    let mut heads = VecDeque::new();
    let mut from = scope.end(log)?;
    let mut at = from;
    let mut scanned = 0;
    let mut missing = lines;
    // The streams of which the first line found so far began in an earlier block.
    let mut open: Vec<StreamKey> = Vec::new();
    while missing > 0 || !open.is_empty() {
        let Some(before) = log.before(at, start)? else {
            break;
        };
        at = before;
        scanned += 1;
        if scope.attempt.is_some() && scanned > ATTEMPT_SCAN {
            break;
        }
        let Some(record) = log.piece(at)?.filter(|record| scope.contains(record)) else {
            continue;
        };
        let key = (record.run, record.attempt, record.stream);
        let was_open = open.contains(&key);
        let was_missing = missing > 0;
        if was_open || was_missing {
            let bytes = log.read(&record, 0)?;
            let first = first_kept(&bytes, was_open, &mut missing);
            open.retain(|other| *other != key);
            if first == 0 && record.continues {
                open.push(key);
            }
            if first == 0 && was_missing {
                from = at;
            } else if first < bytes.len() {
                heads.push_front((at, first));
            }
        }
        if record.dropped > 0 {
            // What came before it is lost, so no line goes back beyond it.
            open.clear();
        }
    }
    Ok((heads, from))
}

/// The first byte of a block that belongs to the last lines, of which `missing` are still to be
/// found. `goes_on` says that the block's last, unfinished line has been found already by its later
/// parts.
pub(super) fn first_kept(bytes: &[u8], goes_on: bool, missing: &mut usize) -> usize {
    let line_start = |end: usize| memrchr(b'\n', &bytes[..end]).map_or(0, |at| at + 1);
    let mut first = bytes.len();
    if bytes.last().is_some_and(|last| *last != b'\n') {
        if !goes_on {
            if *missing == 0 {
                return first;
            }
            *missing -= 1;
        }
        first = line_start(first);
    }
    while first > 0 && *missing > 0 {
        first = line_start(first - 1);
        *missing -= 1;
    }
    first
}
