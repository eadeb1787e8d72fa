//! Log blocks to bytes: each line whole, the name of its unit before it.
//!
//! This is the hot path, through which everything goes that services print: it works on bytes,
//! finds line ends with `memchr`, and appends to one buffer that [`super::outlet`] writes. Pure
//! but for that buffer.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::cli::printer::escape::{Filter, Piece, is_plain};
use crate::cli::printer::roster::Roster;
use crate::cli::style::{Palette, pad};
use crate::run::logs::LogBlock;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// How log lines look.
#[derive(Debug, Clone)]
pub(super) struct LogStyle {
    /// Whether each line begins with its unit's name.
    pub(super) has_prefix: bool,
    /// Whether each line begins with the time at which it was read.
    pub(super) has_timestamps: bool,
    /// Whether a terminal must be kept from what services print.
    pub(super) is_terminal: bool,
    /// The colours of the names.
    pub(super) palette: Palette,
}

/// A line that is on the screen without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OpenLine {
    unit: UnitId,
    stream: LogStream,
    attempt: u32,
}

impl OpenLine {
    fn of(block: &LogBlock) -> Self {
        Self {
            unit: block.unit.clone(),
            stream: block.stream,
            attempt: block.attempt,
        }
    }

    fn is_continued_by(&self, block: &LogBlock) -> bool {
        self.unit == block.unit && self.stream == block.stream && self.attempt == block.attempt
    }
}

/// Renders log blocks.
pub(super) struct Painter {
    style: LogStyle,
    /// What stands before each line of a unit, as long as no name changes.
    prefixes: HashMap<UnitId, Bytes>,
    filters: HashMap<(UnitId, LogStream), Filter>,
    open: Option<OpenLine>,
    /// Prefix and time of the block at hand; kept for its capacity.
    head: Vec<u8>,
}

impl Painter {
    pub(super) fn new(style: LogStyle) -> Self {
        Self {
            style,
            prefixes: HashMap::new(),
            filters: HashMap::new(),
            open: None,
            head: Vec::new(),
        }
    }

    /// Names have changed: what stands before lines is made anew.
    pub(super) fn forget_prefixes(&mut self) {
        self.prefixes.clear();
    }

    /// What stands before each line of a unit. One that was not announced gets the next colour.
    fn prefix(&mut self, unit: &UnitId, roster: &mut Roster) -> Bytes {
        if let Some(prefix) = self.prefixes.get(unit) {
            return prefix.clone();
        }
        if roster.add(unit) {
            self.forget_prefixes();
        }
        let text = format!("{} |", pad(&roster.label(unit), roster.cells()));
        let position = roster.position(unit);
        let prefix = self.style.palette.paint_service(position, &text) + " ";
        let prefix = Bytes::from(prefix);
        self.prefixes.insert(unit.clone(), prefix.clone());
        prefix
    }

    /// Appends a block.
    pub(super) fn paint(&mut self, block: &LogBlock, roster: &mut Roster, out: &mut Vec<u8>) {
        if block.bytes.is_empty() {
            return;
        }
        let is_continued = self
            .open
            .as_ref()
            .is_some_and(|open| open.is_continued_by(block));
        if !is_continued {
            self.close_line(out);
        }
        self.set_head(block, roster);
        if self.style.is_terminal {
            self.paint_for_terminal(block, is_continued, out);
        } else {
            self.paint_as_it_is(&block.bytes, is_continued, out);
        }
        let is_whole = block.bytes.last() == Some(&b'\n');
        self.open = (!is_whole).then(|| OpenLine::of(block));
    }

    /// Ends a line that is open, so that something else can be printed.
    pub(super) fn close_line(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        if self.style.is_terminal
            && let Some(filter) = self.filters.get_mut(&(open.unit, open.stream))
        {
            filter.end_line(out);
        }
        out.push(b'\n');
    }

    /// Whether what is printed is exactly what the services printed.
    pub(super) fn is_raw(&self) -> bool {
        !self.style.has_prefix && !self.style.has_timestamps && !self.style.is_terminal
    }

    fn set_head(&mut self, block: &LogBlock, roster: &mut Roster) {
        self.head.clear();
        if self.style.has_prefix {
            let prefix = self.prefix(&block.unit, roster);
            self.head.extend_from_slice(&prefix);
        }
        if self.style.has_timestamps {
            self.head
                .extend_from_slice(timestamp(block.time / 1_000_000).as_bytes());
            self.head.push(b' ');
        }
    }

    fn paint_as_it_is(&self, bytes: &[u8], is_continued: bool, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            out.extend_from_slice(bytes);
            return;
        }
        let mut start = 0;
        if is_continued {
            start = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            out.extend_from_slice(&bytes[..start]);
        }
        let rest = &bytes[start..];
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(&rest[start..=end]);
            start = end + 1;
        }
        if start < rest.len() {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(&rest[start..]);
        }
    }

    fn paint_for_terminal(&mut self, block: &LogBlock, is_continued: bool, out: &mut Vec<u8>) {
        let filter = self
            .filters
            .entry((block.unit.clone(), block.stream))
            .or_default();
        let mut is_continued = is_continued;
        if !is_continued {
            // The rest of a line that was cut off belongs to nothing any more.
            *filter = Filter::default();
        }
        let mut rest: &[u8] = &block.bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if !is_continued {
                out.extend_from_slice(&self.head);
            }
            if filter.is_at_rest() && is_plain(line) {
                out.extend_from_slice(line);
            } else {
                let piece = Piece {
                    is_continued,
                    head: &self.head,
                };
                filter.push(line, &piece, out);
            }
            let Some(end) = end else { break };
            filter.end_line(out);
            out.push(b'\n');
            is_continued = false;
            rest = &rest[end + 1..];
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn timestamp(unix_millis: u64) -> String {
    i64::try_from(unix_millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map_or_else(String::new, |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests;
