//! Log blocks to bytes: each line whole, the name of its unit before it.
//!
//! This is the hot path, through which everything goes that services print: it works on bytes,
//! finds line ends with `memchr`, and appends to one buffer that [`super::outlet`] writes. Pure
//! but for that buffer.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::cli::printer::escape::{Filter, is_plain};
use crate::cli::printer::options::PrinterOptions;
use crate::cli::printer::roster::Roster;
use crate::cli::style::{Tone, pad};
use crate::run::logs::LogBlock;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// Whose a line is: of which unit and stream, and of which attempt.
type Origin = (UnitId, LogStream, u32);

/// Renders log blocks.
#[derive(Default)]
pub(super) struct Painter {
    options: PrinterOptions,
    /// What stands before each line of a unit, as long as no name changes.
    prefixes: HashMap<UnitId, Bytes>,
    filters: HashMap<(UnitId, LogStream), Filter>,
    /// Whose the line is that is on the screen without its end.
    open: Option<Origin>,
    /// Prefix and time of the block at hand; kept for its capacity.
    head: Vec<u8>,
}

impl Painter {
    pub(super) fn new(options: &PrinterOptions) -> Self {
        Self {
            options: options.clone(),
            ..Self::default()
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
        let prefix = self
            .options
            .stdout_palette()
            .paint(Tone::Service(position), &text)
            + " ";
        let prefix = Bytes::from(prefix);
        self.prefixes.insert(unit.clone(), prefix.clone());
        prefix
    }

    /// Appends a block.
    pub(super) fn paint(&mut self, block: &LogBlock, roster: &mut Roster, out: &mut Vec<u8>) {
        if block.bytes.is_empty() {
            return;
        }
        let origin = (block.unit.clone(), block.stream, block.attempt);
        let is_continued = block.continues && self.open.as_ref() == Some(&origin);
        if !is_continued {
            self.close_line(out);
        }
        self.set_head(block, roster);
        self.paint_lines(block, is_continued, out);
        let is_whole = block.bytes.last() == Some(&b'\n');
        self.open = (!is_whole).then_some(origin);
    }

    /// Ends a line that is open, so that something else can be printed.
    pub(super) fn close_line(&mut self, out: &mut Vec<u8>) {
        let Some((unit, stream, _)) = self.open.take() else {
            return;
        };
        if let Some(filter) = self.filters.get_mut(&(unit, stream)) {
            filter.end_line(out);
        }
        out.push(b'\n');
    }

    /// Whether what is printed is exactly what the services printed.
    pub(super) fn is_raw(&self) -> bool {
        !self.options.log_prefix && !self.options.timestamps && !self.options.terminals.stdout
    }

    fn set_head(&mut self, block: &LogBlock, roster: &mut Roster) {
        self.head.clear();
        if self.options.log_prefix {
            let prefix = self.prefix(&block.unit, roster);
            self.head.extend_from_slice(&prefix);
        }
        if self.options.timestamps {
            self.head
                .extend_from_slice(timestamp(block.time / 1_000_000).as_bytes());
            self.head.push(b' ');
        }
    }

    fn paint_lines(&mut self, block: &LogBlock, is_continued: bool, out: &mut Vec<u8>) {
        let mut rest: &[u8] = &block.bytes;
        let mut filter = None;
        if self.options.terminals.stdout {
            let origin = (block.unit.clone(), block.stream);
            let known = self.filters.entry(origin).or_default();
            if !is_continued {
                // The rest of a line that was cut off belongs to nothing any more.
                *known = Filter::default();
            }
            filter = Some(known);
        } else if self.head.is_empty() {
            out.extend_from_slice(rest);
            return;
        }
        let mut is_continued = is_continued;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if !is_continued {
                out.extend_from_slice(&self.head);
            }
            match &mut filter {
                Some(filter) if !filter.is_at_rest() || !is_plain(line) => {
                    let head = is_continued.then_some(&*self.head);
                    filter.push(line, head, out);
                }
                Some(_) | None => out.extend_from_slice(line),
            }
            let Some(end) = end else { break };
            if let Some(filter) = &mut filter {
                filter.end_line(out);
            }
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
