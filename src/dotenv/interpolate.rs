//! `$NAME`, `${NAME:-default}` and escapes inside one value of a .env file, by Compose's rules.
//!
//! [`read`](mod@super::read) finds where a value begins and ends; this turns its text into what it
//! means, in one pass, so that what a variable held is never scanned again.

use super::problem::{ReadError, ReadErrorKind, UnsetVariable};
use crate::support::text::name_length;

/// How deep `${A:-${B:-…}}` may go; nobody writes more than two.
const MAX_DEPTH: usize = 64;
/// The longest value. The kernel takes less than 128 KiB; the rest is room for values that are
/// only a part of something. Without a bound, forty lines of `B=$A$A` would fill the memory.
pub(super) const MAX_VALUE: usize = 1024 * 1024;

/// What the pieces of a value are resolved with.
pub(super) struct Expander<'a> {
    /// The value of a variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `\n` and its like are escapes: only in double quotes.
    pub(super) has_escapes: bool,
    /// Variables that had no value and no default.
    pub(super) unset: &'a mut Vec<UnsetVariable>,
}

impl Expander<'_> {
    /// What `raw`, whose first byte is byte `base` of the file, means.
    pub(super) fn expand(&mut self, raw: &str, base: usize) -> Result<String, ReadError> {
        let mut out = String::with_capacity(raw.len());
        self.expand_into(&mut out, raw, base, 0)?;
        Ok(out)
    }

    fn expand_into(
        &mut self,
        out: &mut String,
        raw: &str,
        base: usize,
        depth: usize,
    ) -> Result<(), ReadError> {
        let mut at = 0;
        while let Some(found) = raw[at..].find(|c| c == '$' || (self.has_escapes && c == '\\')) {
            out.push_str(&raw[at..at + found]);
            at += found;
            let (start, after) = (base + at, &raw[at + 1..]);
            at += 1 + if raw.as_bytes()[at] == b'\\' {
                unescape(out, after)
            } else {
                self.dollar(out, after, start, depth)?
            };
            if out.len() > MAX_VALUE {
                return Err(ReadErrorKind::TooLong.at(start));
            }
        }
        out.push_str(&raw[at..]);
        Ok(())
    }

    /// Resolves what follows a `$` at byte `start`; returns how many bytes of `after` it took.
    fn dollar(
        &mut self,
        out: &mut String,
        after: &str,
        start: usize,
        depth: usize,
    ) -> Result<usize, ReadError> {
        if after.starts_with('$') {
            out.push('$');
            return Ok(1);
        }
        if let Some(inner) = after.strip_prefix('{') {
            let length = closing_brace(inner).ok_or(ReadErrorKind::BadVariable.at(start))?;
            if depth == MAX_DEPTH {
                return Err(ReadErrorKind::TooDeep.at(start));
            }
            self.braced(out, &inner[..length], start, depth)?;
            return Ok(length + 2);
        }
        let name = &after[..name_length(after)];
        if name.is_empty() {
            out.push('$');
        } else {
            self.plain(out, name, start);
        }
        Ok(name.len())
    }

    fn plain(&mut self, out: &mut String, name: &str, start: usize) {
        match (self.variable)(name) {
            Some(value) => out.push_str(&value),
            None => self.unset.push(UnsetVariable {
                at: start,
                name: name.to_owned(),
            }),
        }
    }

    /// Resolves `${inner}` whose `$` is byte `start`.
    fn braced(
        &mut self,
        out: &mut String,
        inner: &str,
        start: usize,
        depth: usize,
    ) -> Result<(), ReadError> {
        let name = &inner[..name_length(inner)];
        let operator = &inner[name.len()..];
        if !name.is_empty() && operator.is_empty() {
            self.plain(out, name, start);
            return Ok(());
        }
        let value = (self.variable)(name);
        let (sign, value) = match operator.strip_prefix(':') {
            // With a colon, an empty value counts as none.
            Some(sign) => (sign, value.filter(|v| !v.is_empty())),
            None => (operator, value),
        };
        let mut sign_and_text = sign.chars();
        let sign = sign_and_text.next().filter(|_| !name.is_empty());
        let text = sign_and_text.as_str();
        // Two bytes for `${`, then everything of `inner` up to the text.
        let base = start + 2 + inner.len() - text.len();
        match (sign, value) {
            (Some('-' | '?'), Some(value)) => out.push_str(&value),
            (Some('-'), None) | (Some('+'), Some(_)) => {
                self.expand_into(out, text, base, depth + 1)?;
            }
            (Some('+'), None) => {}
            (Some('?'), None) => {
                let mut message = String::new();
                self.expand_into(&mut message, text, base, depth + 1)?;
                let name = name.to_owned();
                return Err(ReadErrorKind::Required { name, message }.at(start));
            }
            _ => {
                return Err(ReadErrorKind::BadVariable.at(start));
            }
        }
        Ok(())
    }
}

/// The byte of the brace that closes a `${` before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Writes what a backslash before `after` means; returns how many bytes of `after` it took. A
/// backslash that begins no escape stands for itself.
fn unescape(out: &mut String, after: &str) -> usize {
    let character = match after.bytes().next() {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'a') => '\u{7}',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'v') => '\u{b}',
        Some(escaped @ (b'\\' | b'"' | b'$')) => char::from(escaped),
        Some(b'0') => {
            if let Some(octal) = after.get(1..4)
                && octal.bytes().all(|b| (b'0'..=b'7').contains(&b))
                && let Ok(code) = u8::from_str_radix(octal, 8)
            {
                out.push(char::from(code));
                return 4;
            }
            out.push('\\');
            return 0;
        }
        _ => {
            out.push('\\');
            return 0;
        }
    };
    out.push(character);
    1
}
