//! How far each log has been shown.

use std::collections::HashMap;

use crate::run::logs::LogBlock;
use crate::support::name::UnitId;

/// Where a block of the stream stands to what has been shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has been shown, out of the files.
    Seen,
    /// It is the next one.
    Next,
    /// Something before it has not been shown.
    Ahead,
}

/// For each unit the first byte of its log that has not been shown.
#[derive(Debug, Default)]
pub(super) struct Cursor(HashMap<UnitId, Reached>);

#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    end: u64,
    /// Whether the stream has got there too. From then on a block that begins earlier is not an
    /// old one: somebody emptied the log, and it began anew.
    is_live: bool,
}

impl Cursor {
    /// What of a block out of the files has not been shown. A block that lost its index comes with
    /// everything around it.
    pub(super) fn unseen(&self, mut block: LogBlock) -> Option<LogBlock> {
        let seen = self.reached(&block.unit).end.saturating_sub(block.offset);
        let seen = usize::try_from(seen).unwrap_or(usize::MAX);
        if seen >= block.bytes.len() {
            return None;
        }
        block.offset += seen as u64;
        block.bytes = block.bytes.slice(seen..);
        Some(block)
    }

    /// The files of `unit` have been shown until `end`.
    pub(super) fn read_until(&mut self, unit: UnitId, end: u64) {
        let reached = self.0.entry(unit).or_default();
        // The stream may be behind the files now, so that old blocks come again.
        if end > reached.end {
            *reached = Reached {
                end,
                is_live: false,
            };
        }
    }

    /// Where a block of the stream stands.
    pub(super) fn place(&self, block: &LogBlock) -> Place {
        let reached = self.reached(&block.unit);
        match block.offset.cmp(&reached.end) {
            std::cmp::Ordering::Less if reached.is_live => Place::Next,
            std::cmp::Ordering::Less => Place::Seen,
            std::cmp::Ordering::Equal => Place::Next,
            std::cmp::Ordering::Greater => Place::Ahead,
        }
    }

    /// A block of the stream has been shown.
    pub(super) fn advance(&mut self, block: &LogBlock) {
        let end = block.offset + block.bytes.len() as u64;
        let reached = Reached { end, is_live: true };
        self.0.insert(block.unit.clone(), reached);
    }

    fn reached(&self, unit: &UnitId) -> Reached {
        self.0.get(unit).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::snapshot::LogStream;
    use crate::support::name::ServiceName;

    fn web() -> UnitId {
        UnitId::first(ServiceName::new("web").unwrap())
    }

    fn block(offset: u64, length: usize) -> LogBlock {
        LogBlock {
            unit: web(),
            stream: LogStream::Stdout,
            time: 1,
            attempt: 1,
            offset,
            bytes: vec![b'x'; length].into(),
            is_partial: false,
        }
    }

    #[test]
    fn files_and_stream_meet_without_a_seam() {
        let mut cursor = Cursor::default();
        cursor.read_until(web(), 30);
        assert_eq!(cursor.place(&block(10, 20)), Place::Seen);
        assert_eq!(cursor.place(&block(30, 5)), Place::Next);
        cursor.advance(&block(30, 5));
        assert_eq!(cursor.place(&block(35, 5)), Place::Next);
        assert_eq!(cursor.place(&block(40, 5)), Place::Ahead);
        assert_eq!(cursor.unseen(block(35, 5)), Some(block(35, 5)));
        assert_eq!(cursor.unseen(block(30, 5)), None);
        assert_eq!(cursor.unseen(block(30, 9)), Some(block(35, 4)));
        cursor.read_until(web(), 45);
        assert_eq!(cursor.place(&block(40, 5)), Place::Seen);
        assert_eq!(cursor.place(&block(45, 5)), Place::Next);
    }

    #[test]
    fn a_log_that_was_emptied_goes_on() {
        let mut cursor = Cursor::default();
        cursor.advance(&block(0, 1_000));
        assert_eq!(cursor.place(&block(0, 5)), Place::Next);
        cursor.advance(&block(0, 5));
        assert_eq!(cursor.place(&block(5, 5)), Place::Next);
    }
}
