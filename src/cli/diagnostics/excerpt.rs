//! The few lines of a text that a drawing shows, made harmless.
//!
//! `miette` reads a text from its beginning for each label and knows no limit for a line; a file may
//! have 64 MiB. Here the lines around a label are found from where it stands.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};
use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::spec::{Source, Span};

/// Lines longer than this many bytes are cut around the label.
const MAX_LINE: usize = 400;

/// How many bytes of a long line are kept before the label's start; behind it twice as many.
const KEPT: usize = 80;

/// A text as it is shown, every harmful character replaced by one of the same length.
#[derive(Debug)]
pub(super) struct Text {
    /// The text that it stands for.
    pub(super) source: Arc<Source>,
    name: String,
    shown: String,
}

impl Text {
    pub(super) fn new(source: &Arc<Source>, name: String) -> Self {
        Self {
            source: Arc::clone(source),
            name,
            shown: harmless(&source.text),
        }
    }

    /// The part of a span in its first line: a whole block underlined says nothing.
    pub(super) fn first_line_of(&self, span: &Span) -> Range<usize> {
        let start = span.start.min(self.shown.len());
        let line = &self.shown[start..self.line_at(start).end];
        let length = line.trim_end_matches(['\n', '\r']).len();
        let end = span.end.min(start + length).max(start);
        start..self.floor(end.min(start + MAX_LINE))
    }

    /// The lines of a span and one more on each side, but not more of a long line than one reads.
    fn around(&self, span: Range<usize>) -> Range<usize> {
        let is_long = |line: &Range<usize>| line.len() > MAX_LINE;
        let (first, last) = (self.line_at(span.start), self.line_at(span.end));
        let start = if is_long(&first) {
            self.floor(span.start.saturating_sub(KEPT).max(first.start))
        } else {
            let before = self.line_at(first.start.saturating_sub(1));
            if is_long(&before) {
                first.start
            } else {
                before.start
            }
        };
        let end = if is_long(&last) {
            self.floor(span.end.max(span.start + 2 * KEPT).min(last.end))
        } else {
            let after = self.line_at(last.end);
            if is_long(&after) { last.end } else { after.end }
        };
        start..end
    }

    /// The line in which a byte stands, its end included.
    fn line_at(&self, at: usize) -> Range<usize> {
        let bytes = self.shown.as_bytes();
        let start = memrchr(b'\n', &bytes[..at]).map_or(0, |end| end + 1);
        start..memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end + 1)
    }

    /// The last boundary of a character at or before a byte.
    fn floor(&self, at: usize) -> usize {
        (0..=at)
            .rev()
            .find(|&at| self.shown.is_char_boundary(at))
            .unwrap_or(0)
    }
}

impl SourceCode for Text {
    /// A span as it is, or its lines with their neighbours, or a part of them where they are long.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let span = span.offset()..span.offset() + span.len();
        let range = match lines_before {
            0 => span,
            _ => self.around(span),
        };
        let bytes = self.shown.as_bytes();
        let (before, shown) = (&bytes[..range.start], &bytes[range.clone()]);
        let line_start = self.line_at(range.start).start;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            shown,
            range.clone().into(),
            memchr_iter(b'\n', before).count(),
            self.shown[line_start..range.start].chars().count(),
            memchr_iter(b'\n', shown).count(),
        )))
    }
}

/// Whether a terminal could obey a character instead of showing it, or show the line in another
/// order.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Replaces harmful characters without moving a byte. Tabs stay, since they are drawn as spaces.
fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let width = c.len_utf8();
            let (shown, times) = match width {
                _ if c == '\n' || c == '\t' || !is_harmful(c) => (c, 1),
                3 => ('\u{fffd}', 1),
                _ if c == '\r' => (' ', 1),
                _ => ('?', width),
            };
            std::iter::repeat_n(shown, times)
        })
        .collect()
}
