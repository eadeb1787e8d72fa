//! Reads a .env file by the rules of Compose's own reader, with the place of everything.
//!
//! One statement after the other; what is wrong is collected, and reading goes on at the next
//! line, so that one pass finds every mistake and a lenient caller still gets the good lines.
//! Deliberately stricter than Compose in three places, where that reader would silently make
//! something of a mistake: an empty key, text right behind a closing quote, invalid UTF-8.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use super::interpolate::{Expander, MAX_VALUE};
pub use super::problem::{ReadError, ReadErrorKind, UnsetVariable};

/// All values together: as much as a stack file may have.
const MAX_TOTAL: usize = 64 * MAX_VALUE;

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Every entry in order; of equal keys, the last one counts.
    pub entries: Vec<Entry>,
    /// Everything that is wrong; the entries concerned are missing.
    pub errors: Vec<ReadError>,
    /// Variables that were expanded to nothing because they are not set: a warning each.
    pub unset: Vec<UnsetVariable>,
}

/// One `KEY=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value with everything resolved; `None` for a key alone, whose value is the
    /// environment's, or nothing if that has none.
    pub value: Option<String>,
    /// The line of the key, from 1.
    pub line: usize,
}

/// Reads a whole file. `lookup` is asked first for every variable, then the file's earlier keys:
/// the caller's environment wins inside `${A}`.
pub fn read(bytes: &[u8], lookup: impl Fn(&str) -> Option<String>) -> Contents {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (text, invalid) = decode(bytes);
    let mut reader = Reader {
        text: &text,
        at: 0,
        line_starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
        invalid,
        lookup: &lookup,
        earlier: HashMap::new(),
        total: 0,
        contents: Contents::default(),
    };
    while reader.skip_to_statement() {
        if let Err(error) = reader.statement() {
            reader.contents.errors.push(error);
            reader.skip_line();
        }
    }
    reader.contents
}

/// The text, and at which of its bytes a replacement character stands for something else.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Vec<usize>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Cow::Borrowed(text), Vec::new());
    }
    let (mut text, mut invalid) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            invalid.push(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (Cow::Owned(text), invalid)
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte to read.
    at: usize,
    line_starts: Vec<usize>,
    /// See [`decode`]; ascending.
    invalid: Vec<usize>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    earlier: HashMap<String, String>,
    /// The length of all values so far.
    total: usize,
    contents: Contents,
}

impl<'a> Reader<'a> {
    /// Moves over blank lines and comments; false at the end of the file.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return !trimmed.is_empty();
            }
            self.skip_line();
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    /// Moves over spaces within the line.
    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn statement(&mut self) -> Result<(), ReadError> {
        let line = self.line_starts.partition_point(|&start| start <= self.at);
        let key = self.key()?;
        let mut value = None;
        if self.text[self.at..].starts_with(['=', ':']) {
            self.at += 1;
            self.skip_spaces();
            let text = self.value()?;
            self.total += text.len();
            if self.total > MAX_TOTAL {
                return Err(ReadErrorKind::TooLong.at(self.at));
            }
            self.earlier.insert(key.to_owned(), text.clone());
            value = Some(text);
        }
        let key = key.to_owned();
        self.contents.entries.push(Entry { key, value, line });
        Ok(())
    }

    /// Reads a key and stops at its `=`, `:` or line end.
    fn key(&mut self) -> Result<&'a str, ReadError> {
        self.skip_export();
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let key = rest[..end].trim_end();
        self.check_utf8(start, start + key.len())?;
        for (offset, c) in key.char_indices() {
            let kind = if is_space(c) {
                ReadErrorKind::KeySpace
            } else if c.is_alphanumeric() || "_.-[]".contains(c) {
                continue;
            } else {
                ReadErrorKind::KeyCharacter(c)
            };
            return Err(kind.at(start + offset));
        }
        if key.is_empty() {
            return Err(ReadErrorKind::KeyMissing.at(start));
        }
        self.at = start + end;
        Ok(key)
    }

    /// Moves over the `export` of `export KEY=value`, but not of `export=value`.
    fn skip_export(&mut self) {
        if let Some(rest) = self.text[self.at..].strip_prefix("export") {
            let key = rest.trim_start_matches(is_space);
            if key.len() < rest.len() && !key.is_empty() && !key.starts_with(['=', ':', '\n']) {
                self.at = self.text.len() - key.len();
            }
        }
    }

    /// Reads a value and stops behind it, also when something inside it is wrong.
    fn value(&mut self) -> Result<String, ReadError> {
        let start = self.at;
        let rest = &self.text[start..];
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (raw_start, raw) = if let Some(quote) = quote {
            let length = closing_quote(&rest[1..], quote)
                .ok_or(ReadErrorKind::Unterminated(quote).at(start))?;
            self.at = start + length + 2;
            (start + 1, &rest[1..=length])
        } else {
            let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
            self.at = start + line.len();
            let value = line.split(" #").next().unwrap_or(line);
            (start, value.trim_end())
        };
        self.check_utf8(raw_start, raw_start + raw.len())?;
        let value = match quote {
            Some('\'') => raw.replace("\\'", "'"),
            Some(_) => self.expand(raw, raw_start, true)?,
            None => self.expand(raw, raw_start, false)?,
        };
        if value.contains('\0') {
            return Err(ReadErrorKind::Nul.at(start));
        }
        let after = &self.text[self.at..];
        if after.is_empty() || after.starts_with(|c: char| c == '#' || c.is_whitespace()) {
            return Ok(value);
        }
        Err(ReadErrorKind::TextAfterQuote.at(self.at))
    }

    fn expand(&mut self, raw: &str, base: usize, has_escapes: bool) -> Result<String, ReadError> {
        let (lookup, earlier) = (self.lookup, &self.earlier);
        let variable = |name: &str| lookup(name).or_else(|| earlier.get(name).cloned());
        let mut expander = Expander {
            variable: &variable,
            has_escapes,
            unset: &mut self.contents.unset,
        };
        expander.expand(raw, base)
    }

    fn check_utf8(&self, start: usize, end: usize) -> Result<(), ReadError> {
        let first = self.invalid.partition_point(|&at| at < start);
        match self.invalid.get(first) {
            Some(&at) if at < end => Err(ReadErrorKind::NotUtf8.at(at)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Space within a line, as Compose has it.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

/// The byte of `text` at which a quote that was opened before it is closed.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_closing = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_closing.then_some(at)
    })
}
