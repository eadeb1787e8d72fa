//! Where the last lines of a log begin.
//!
//! Walks the index backwards and reads only the blocks that it needs. The two streams of a unit
//! interleave, and a line may have been captured in parts with blocks of the other stream between
//! them; so the last lines are not simply the end of the file.

use std::collections::VecDeque;
use std::io;

use memchr::memrchr;

use super::super::index::Record;
use super::unit_log::{Place, UnitLog};
use crate::run::snapshot::LogStream;

/// How far back an attempt's blocks are looked for. Only a unit that floods the log while an
/// older attempt's grandchild is asked about gets beyond it.
const ATTEMPT_SCAN: u64 = 65_536;

/// Which blocks of a unit are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Scope {
    /// All of them.
    All,
    /// Those of one run, and those of which the run is not known.
    Run(u64),
    /// Those of one attempt of one run.
    Attempt(u64, u32),
}

impl Scope {
    /// The first record that can be in it. Runs follow one another, attempts may overlap.
    pub(super) fn start(self, log: &mut UnitLog) -> io::Result<u64> {
        match self {
            Self::All => Ok(0),
            Self::Run(run) => log.start_of_run(run),
            Self::Attempt(run, _) => {
                let near = log.count().saturating_sub(ATTEMPT_SCAN);
                Ok(log.start_of_run(run)?.max(near))
            }
        }
    }

    /// Whether a block at or after the start is in scope.
    pub(super) fn contains(self, record: &Record) -> bool {
        match self {
            Self::All | Self::Run(_) => true,
            Self::Attempt(run, attempt) => record.run == run && record.attempt == attempt,
        }
    }
}

/// A stream of an attempt of a run: within it, lines go on from block to block.
type StreamKey = (u64, u32, LogStream);

/// Finds the last `lines` lines at or after the record `start`: single blocks, each from a byte on,
/// then the place from which everything belongs to them.
pub(super) fn select(
    log: &mut UnitLog,
    start: u64,
    scope: Scope,
    lines: usize,
) -> io::Result<(VecDeque<(Place, usize)>, Place)> {
    let mut heads = VecDeque::new();
    let mut from = Place::record(log.count());
    let mut at = from;
    let mut missing = lines;
    // The streams of which the first line found so far began in an earlier block.
    let mut open: Vec<StreamKey> = Vec::new();
    while missing > 0 || !open.is_empty() {
        let Some(before) = log.before(at, start)? else {
            break;
        };
        at = before;
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
