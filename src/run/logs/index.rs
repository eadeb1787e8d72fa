//! The index beside a log: one record of fixed size a block.
//!
//! The log is written before its record, so a record never speaks of bytes that are not there, and
//! what a crash leaves is a log that is longer than its index says or half a record; [`recover`]
//! mends both. `writer` appends, `reader` reads.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use crate::run::snapshot::LogStream;

/// The size of a record on disk, in bytes.
pub(super) const RECORD_LENGTH: usize = 48;

/// How many records are read at once: 3 KiB, of which every unit's reader holds one buffer.
const WINDOW: u64 = 64;

/// Marks a record and the version of its layout; what is not a record (a hole, say) lacks it.
const MAGIC: u64 = 0x5301;

const PARTIAL: u64 = 1;
const CONTINUES: u64 = 2;
const RECOVERED: u64 = 4;

/// One block of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was read, in nanoseconds since the Unix epoch.
    pub(super) time: u64,
    /// Where it begins in the log.
    pub(super) offset: u64,
    /// How many bytes it has.
    pub(super) length: u64,
    /// The run (`STACK_RUN`) that wrote it; 0 where that is not known.
    pub(super) run: u64,
    /// How many bytes of the unit were lost just before it, for want of space.
    pub(super) dropped: u64,
    /// The attempt that printed it, from 1; 0 where that is not known.
    pub(super) attempt: u32,
    /// The stream; standard output where that is not known.
    pub(super) stream: LogStream,
    /// Whether its last line has no end.
    pub(super) is_partial: bool,
    /// Whether it goes on with the line of the last block of its stream.
    pub(super) continues: bool,
    /// Whether it was found in the log without a record.
    pub(super) is_recovered: bool,
}

impl Record {
    /// A whole log of which nothing else is known.
    pub(super) fn found(log: &Metadata) -> Self {
        let modified = log.modified().unwrap_or(UNIX_EPOCH);
        let time = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            offset: 0,
            length: log.len(),
            run: 0,
            dropped: 0,
            attempt: 0,
            stream: LogStream::Stdout,
            is_partial: false,
            continues: false,
            is_recovered: true,
        }
    }

    /// Where the next block begins.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The record as it stands in the file; every number is little-endian.
    pub(super) fn encode(&self) -> [u8; RECORD_LENGTH] {
        let stream = match self.stream {
            LogStream::Stdout => 0,
            LogStream::Stderr => 1,
        };
        let flags = u64::from(self.is_partial) * PARTIAL
            + u64::from(self.continues) * CONTINUES
            + u64::from(self.is_recovered) * RECOVERED;
        let last = u64::from(self.attempt) | stream << 32 | flags << 40 | MAGIC << 48;
        let numbers = [
            self.time,
            self.offset,
            self.length,
            self.run,
            self.dropped,
            last,
        ];
        let mut bytes = [0; RECORD_LENGTH];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads a record; `None` for bytes that are none.
    pub(super) fn decode(bytes: &[u8; RECORD_LENGTH]) -> Option<Self> {
        let mut numbers = [0; RECORD_LENGTH / 8];
        for (number, place) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(place.try_into().ok()?);
        }
        let [time, offset, length, run, dropped, last] = numbers;
        if last >> 48 != MAGIC {
            return None;
        }
        Some(Self {
            time,
            offset,
            length,
            run,
            dropped,
            attempt: u32::try_from(last & u64::from(u32::MAX)).ok()?,
            stream: match last >> 32 & 0xff {
                0 => LogStream::Stdout,
                1 => LogStream::Stderr,
                _ => return None,
            },
            is_partial: last >> 40 & PARTIAL != 0,
            continues: last >> 40 & CONTINUES != 0,
            is_recovered: last >> 40 & RECOVERED != 0,
        })
    }
}

/// Random access to the records of an index that may still be growing.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    count: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl Index {
    /// Reads the whole records that `file` has now; half a record at its end is not one yet.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut index = Self {
            file,
            count: 0,
            window: Vec::new(),
            window_start: 0,
        };
        index.refresh()?;
        Ok(index)
    }

    /// Looks how many records there are by now; whether there can be more, as nobody has removed or
    /// emptied it.
    pub(super) fn refresh(&mut self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let before = self.count;
        self.count = metadata.len() / RECORD_LENGTH as u64;
        // Its last part may have been written since.
        self.window.clear();
        Ok(metadata.nlink() > 0 && self.count >= before)
    }

    /// How many records there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The record with this number, from 0; `None` past the end and for bytes that are none.
    pub(super) fn get(&mut self, number: u64) -> io::Result<Option<Record>> {
        if number >= self.count {
            return Ok(None);
        }
        if let Some(record) = self.cached(number) {
            return Ok(Record::decode(&record));
        }
        // Aligned windows serve a walk in either direction.
        self.window_start = number - number % WINDOW;
        let wanted = (self.count - self.window_start).min(WINDOW);
        self.window.resize(records_to_bytes(wanted), 0);
        let start = self.window_start * RECORD_LENGTH as u64;
        self.file.read_exact_at(&mut self.window, start)?;
        Ok(self.cached(number).and_then(|r| Record::decode(&r)))
    }

    /// The last record.
    pub(super) fn last(&mut self) -> io::Result<Option<Record>> {
        match self.count.checked_sub(1) {
            Some(number) => self.get(number),
            None => Ok(None),
        }
    }

    fn cached(&self, number: u64) -> Option<[u8; RECORD_LENGTH]> {
        let ahead = number.checked_sub(self.window_start)?;
        let start = records_to_bytes(ahead.min(WINDOW));
        self.window
            .get(start..start + RECORD_LENGTH)?
            .try_into()
            .ok()
    }

    /// How many records there are before the first that does not `match`, given that all that do
    /// come first.
    pub(super) fn partition_point(&mut self, matches: impl Fn(&Record) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle)?.is_some_and(|record| matches(&record)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Only for a few records at a time.
fn records_to_bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX / RECORD_LENGTH) * RECORD_LENGTH
}

/// Makes `index` agree with `log` before the first append: returns the end of the log.
///
/// Records that are torn, are none, or speak of bytes that are gone (somebody emptied the log) are
/// cut off. Bytes that no record speaks of become one recovered block.
pub(super) fn recover(log: &File, index: &mut File) -> io::Result<u64> {
    let metadata = log.metadata()?;
    let log_length = metadata.len();
    let mut records = Index::new(index.try_clone()?)?;
    let good = records.partition_point(|record| record.end() <= log_length)?;
    let good_length = good * RECORD_LENGTH as u64;
    if index.metadata()?.len() != good_length {
        index.set_len(good_length)?;
    }
    let last = match good.checked_sub(1) {
        Some(number) => records.get(number)?,
        None => None,
    };
    let end = last.map_or(0, |record| record.end());
    if end < log_length {
        let mut gap = Record::found(&metadata);
        gap.offset = end;
        gap.length = log_length - end;
        if let Some(last) = last {
            gap.time = gap.time.max(last.time);
            gap.run = last.run;
            gap.attempt = last.attempt;
        }
        index.write_all(&gap.encode())?;
    }
    Ok(log_length)
}

#[cfg(test)]
mod tests;
