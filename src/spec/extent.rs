//! Where a scalar's text really stands.
//!
//! The parser's span of a scalar is wider than the text: it begins at an anchor or a tag, and that
//! of a quoted scalar runs on over blanks and a comment. Messages and placeholders need the text.

use std::ops::Range;

use super::tree::Style;

/// The part of `raw` (the bytes of the parser's span) that is the scalar itself, quotes included.
pub(super) fn of_scalar(raw: &str, style: Style, has_properties: bool) -> Range<usize> {
    let mut start = if has_properties {
        skip_properties(raw)
    } else {
        0
    };
    match style {
        Style::Plain => start..raw.len(),
        Style::SingleQuoted => start..start + quoted(&raw[start..], b'\''),
        Style::DoubleQuoted => start..start + quoted(&raw[start..], b'"'),
        Style::Block => {
            // With an anchor or a tag the span also holds the header line.
            if has_properties && raw[start..].starts_with(['|', '>']) {
                start += raw[start..]
                    .find('\n')
                    .map_or(raw.len() - start, |at| at + 1);
            }
            let text = raw[start..].trim_end_matches([' ', '\t', '\r', '\n']);
            start..start + text.len()
        }
    }
}

/// The length of `&anchor`, `!tag` and the blanks and comments after them.
fn skip_properties(raw: &str) -> usize {
    let mut rest = raw;
    while rest.starts_with(['&', '!']) {
        let end = rest
            .find([' ', '\t', '\r', '\n', ',', ']', '}'])
            .unwrap_or(rest.len());
        rest = rest[end..].trim_start_matches([' ', '\t', '\r', '\n']);
        while rest.starts_with('#') {
            let end = rest.find('\n').unwrap_or(rest.len());
            rest = rest[end..].trim_start_matches([' ', '\t', '\r', '\n']);
        }
    }
    raw.len() - rest.len()
}

/// The length up to and including the closing quote.
fn quoted(raw: &str, quote: u8) -> usize {
    let bytes = raw.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) if quote == b'"' => at += 2,
            (b'\'', Some(b'\'')) if quote == b'\'' => at += 2,
            (byte, _) if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    raw.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_blanks_and_comments_are_left_out() {
        for (raw, style, text) in [
            ("&a !!str x y", Style::Plain, "x y"),
            ("&a # why\n  'it''s' # so", Style::SingleQuoted, "'it''s'"),
            (r#"!!str "a\"b" # "c""#, Style::DoubleQuoted, r#""a\"b""#),
            ("&a |-\n  one\n  two\n\n", Style::Block, "  one\n  two"),
        ] {
            assert_eq!(&raw[of_scalar(raw, style, true)], text);
        }
        assert_eq!(of_scalar("&x", Style::Plain, false), 0..2);
        assert_eq!(of_scalar("| x\n", Style::Block, false), 0..3);
    }
}
