//! The few lines of a text that a drawing shows, cut out and made harmless.

use std::ops::Range;

use crate::spec::Span;

/// Lines longer than this many bytes are cut around the label.
const MAX_LINE: usize = 400;

/// How many bytes of a long line are kept before and after the label's start.
const KEPT: usize = 80;

/// Windows nearer than this many lines become one.
const NEAR: usize = 8;

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct LineIndex {
    starts: Vec<usize>,
    length: usize,
}

impl LineIndex {
    pub(super) fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        Self {
            starts: std::iter::once(0)
                .chain(breaks.map(|(at, _)| at + 1))
                .collect(),
            length: text.len(),
        }
    }

    /// The line of a byte, counted from 0.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at) - 1
    }

    /// The bytes of a line, its break included.
    fn range(&self, line: usize) -> Range<usize> {
        self.starts[line]..self.starts.get(line + 1).copied().unwrap_or(self.length)
    }

    /// The part of a span in its first line: a whole block underlined says nothing.
    pub(super) fn first_line_of(&self, span: &Span) -> Range<usize> {
        let start = span.start.min(self.length);
        let line = self.range(self.line(start));
        let text = &span.source.text[start..line.end];
        let limit = start + text.trim_end_matches(['\n', '\r']).len();
        start..span.end.min(limit).max(start)
    }
}

/// A part of a text.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// The first byte.
    pub(super) start: usize,
    /// The line of the first byte, counted from 0.
    pub(super) line: usize,
    /// How many characters of that line come before it.
    pub(super) column: usize,
    /// The part itself, every harmful character replaced by one of the same length.
    pub(super) text: String,
    /// The last line.
    last_line: usize,
    /// Whether it holds whole lines.
    is_whole: bool,
}

impl Excerpt {
    /// The line of `range` with its neighbours, or a part of it where it is long.
    pub(super) fn around(text: &str, index: &LineIndex, range: Range<usize>) -> Self {
        let line = index.line(range.start);
        let whole = index.range(line);
        if whole.len() > MAX_LINE {
            let start = floor(text, range.start.saturating_sub(KEPT).max(whole.start));
            let end = floor(
                text,
                (range.start + 2 * KEPT)
                    .max(range.end.min(range.start + MAX_LINE))
                    .min(whole.end),
            );
            return Self {
                start,
                line,
                column: text[whole.start..start].chars().count(),
                text: harmless(&text[start..end]),
                last_line: line,
                is_whole: false,
            };
        }
        let is_short = |other: &usize| index.range(*other).len() <= MAX_LINE;
        let first = line.checked_sub(1).filter(is_short).unwrap_or(line);
        let last = Some(line + 1)
            .filter(|next| *next < index.starts.len())
            .filter(is_short)
            .unwrap_or(line);
        Self::lines(text, index, first, last)
    }

    fn lines(text: &str, index: &LineIndex, first: usize, last: usize) -> Self {
        let start = index.range(first).start;
        Self {
            start,
            line: first,
            column: 0,
            text: harmless(&text[start..index.range(last).end]),
            last_line: last,
            is_whole: true,
        }
    }

    pub(super) fn holds(&self, start: usize, end: usize) -> bool {
        self.start <= start && end <= self.start + self.text.len()
    }

    /// The windows in order, near ones joined.
    pub(super) fn joined(mut windows: Vec<Self>, text: &str) -> Vec<Self> {
        windows.sort_by_key(|window| window.start);
        let mut joined: Vec<Self> = Vec::new();
        for window in windows {
            match joined.last_mut() {
                Some(last)
                    if last.is_whole && window.is_whole && window.line <= last.last_line + NEAR =>
                {
                    let end = (window.start + window.text.len()).max(last.start + last.text.len());
                    last.text = harmless(&text[last.start..end]);
                    last.last_line = last.last_line.max(window.last_line);
                }
                Some(_) | None => joined.push(window),
            }
        }
        joined
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

/// The last boundary of a character at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}
