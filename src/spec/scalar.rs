//! A scalar's text together with the place of each of its characters in the file.
//!
//! Escapes, quotes, folded lines and indentation make the text that a scalar means differ from the
//! bytes that spell it. [`Text`] maps the one to the other, so that a placeholder in the fifth line
//! of a folded block is reported there.

use std::ops::Range;
use std::sync::Arc;

use super::problem::{Source, Span};
use super::tree::{Kind, Node, Style};

/// The text of a scalar, or a part of one.
pub(super) struct Text<'a> {
    pub(super) source: &'a Arc<Source>,
    /// The meaning.
    pub(super) value: &'a str,
    /// The bytes that spell the whole scalar, quotes included.
    whole: Range<usize>,
    places: Places,
    /// How many bytes of the scalar's text come before this part.
    skipped: usize,
}

/// Where the bytes of a text stand.
enum Places {
    /// As written: byte `n` of the text is byte `start + n` of the file.
    Verbatim(usize),
    /// For every byte of the text, the bytes of the file that spell its character.
    Mapped(Vec<(u32, u32)>),
}

impl<'a> Text<'a> {
    /// The text of a node, if it is a scalar.
    pub(super) fn of(node: &'a Node<'_>) -> Option<Self> {
        let Kind::Scalar { text, style } = &node.kind else {
            return None;
        };
        let raw = &node.source.text[node.range.clone()];
        let quote = match style {
            Style::Plain | Style::Block => 0,
            Style::SingleQuoted | Style::DoubleQuoted => 1,
        };
        let inner = raw
            .get(quote..raw.len().saturating_sub(quote))
            .unwrap_or(raw);
        let start = node.range.start + quote;
        let places = if inner == text || !text.contains('$') {
            Places::Verbatim(start)
        } else {
            Places::Mapped(align(text, inner, start, *style))
        };
        Some(Self {
            source: node.source,
            value: text,
            whole: node.range.clone(),
            places,
            skipped: 0,
        })
    }

    /// The whole of a file.
    pub(super) fn whole(source: &'a Arc<Source>) -> Self {
        Self {
            source,
            value: &source.text,
            whole: 0..source.text.len(),
            places: Places::Verbatim(0),
            skipped: 0,
        }
    }

    /// The part of the text from a byte on; its span is that part's.
    pub(super) fn after(self, at: usize) -> Self {
        let start = self.place(at..self.value.len()).start;
        Self {
            value: &self.value[at..],
            whole: start..self.whole.end.max(start),
            skipped: self.skipped + at,
            ..self
        }
    }

    /// The span of the whole text.
    pub(super) fn span(&self) -> Span {
        Span::new(self.source, self.whole.clone())
    }

    /// The span of the bytes that spell a part of the text.
    pub(super) fn span_of(&self, part: Range<usize>) -> Span {
        Span::new(self.source, self.place(part))
    }

    fn place(&self, part: Range<usize>) -> Range<usize> {
        let (start, end) = (part.start + self.skipped, part.end + self.skipped);
        match &self.places {
            Places::Verbatim(base) => {
                let limit = self.whole.end;
                (base + start).min(limit)..(base + end).min(limit)
            }
            Places::Mapped(places) => {
                let first = places
                    .get(start)
                    .map_or(self.whole.end, |place| place.0 as usize);
                let last = end.checked_sub(1).and_then(|last| places.get(last));
                first..last.map_or(first, |place| place.1 as usize).max(first)
            }
        }
    }
}

/// Finds for every byte of `text` the bytes of `raw` that spell it.
///
/// Whatever YAML does to a scalar, it only adds, drops and changes white space; every other
/// character of the text is in the file, in the same order, as itself or as an escape. So those
/// are exact; white space gets the nearest place.
fn align(text: &str, raw: &str, base: usize, style: Style) -> Vec<(u32, u32)> {
    let mut places = Vec::with_capacity(text.len());
    let mut at = 0;
    for wanted in text.chars() {
        let (start, end) = if is_space(wanted) {
            match token(&raw[at..], style) {
                Some((Some(found), length)) if is_space(found) => (at, at + length),
                _ => (at, at),
            }
        } else {
            // White space, and breaks that were escaped away, lie between.
            while let Some((found, length)) = token(&raw[at..], style) {
                if found.is_some_and(|found| !is_space(found)) {
                    break;
                }
                at += length;
            }
            let length = token(&raw[at..], style).map_or(0, |(_, length)| length);
            (at, at + length)
        };
        at = end;
        let place = (to_u32(base + start), to_u32(base + end));
        places.extend(std::iter::repeat_n(place, wanted.len_utf8()));
    }
    places
}

/// The first character that `raw` spells, as far as it matters whether that is a space, and the bytes
/// it takes; no character for a line break that is escaped away.
fn token(raw: &str, style: Style) -> Option<(Option<char>, usize)> {
    let first = raw.chars().next()?;
    match (style, first) {
        (Style::SingleQuoted, '\'') if raw.starts_with("''") => Some((Some('\''), 2)),
        (Style::DoubleQuoted, '\\') => Some(escape(raw)),
        _ => Some((Some(first), first.len_utf8())),
    }
}

/// An escape of a double-quoted scalar, which the parser has checked already: a space, or any character
/// that stands for another one than a space.
fn escape(raw: &str) -> (Option<char>, usize) {
    let letter = raw[1..].chars().next();
    let digits = match letter {
        None => return (None, raw.len()),
        Some('\n' | '\r') => return (None, 2),
        Some('t' | 'n' | 'r') => return (Some(' '), 2),
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(other) => return (Some(other), 1 + other.len_utf8()),
    };
    let code = raw.get(2..2 + digits).unwrap_or_default();
    let found = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
    (found, (2 + digits).min(raw.len()))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Offsets fit: a file is at most 64 MiB.
fn to_u32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
