//! Cuts a file into what is the user's and what is ours; no byte is lost, none counted twice.

use std::borrow::Cow;

use super::{ADDED_LINE_END, BEGIN, END, HEADER, Seal};
use crate::dotenv::quote;

/// A part of a file. All parts, one after the other, are the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line outside of every block.
    User(&'a [u8]),
    /// The line end that we added before a block, since the user's last line had none.
    AddedLineEnd(&'a [u8]),
    /// A fence, a header line, or a line of a block that is as we wrote it.
    Ours(&'a [u8]),
    /// An assignment in a damaged block, in one line and exactly as we would write it.
    Assignment {
        /// Its key.
        key: &'a str,
        /// The line.
        bytes: &'a [u8],
    },
    /// Any other line of a damaged block.
    Stray(&'a [u8]),
}

/// A line that delimits a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Begin {
        /// `None` if the line is not as we write it.
        seal: Option<Seal>,
        has_added_line_end: bool,
    },
    End,
}

pub(super) fn cut(bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let line = take_line(&mut rest);
        match fence(line) {
            None => pieces.push(Piece::User(line)),
            Some(Fence::End) => pieces.push(Piece::Ours(line)),
            Some(Fence::Begin {
                seal,
                has_added_line_end,
            }) => {
                if has_added_line_end {
                    part_line_end(&mut pieces, line.ends_with(b"\r\n"));
                }
                pieces.push(Piece::Ours(line));
                if let Some(body) = seal.and_then(|seal| sealed_body(rest, seal)) {
                    pieces.push(Piece::Ours(body));
                    rest = &rest[body.len()..];
                } else {
                    cut_damaged(&mut pieces, &mut rest);
                }
            }
        }
    }
    pieces
}

/// Takes the next line with its line end off a text that is not empty.
fn take_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(rest.len(), |at| at + 1);
    let (line, after) = rest.split_at(length);
    *rest = after;
    line
}

/// A line without its line end, if it is text.
fn line_text(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok().map(str::trim_ascii_end)
}

fn fence(line: &[u8]) -> Option<Fence> {
    let text = line_text(line)?;
    if text == END {
        return Some(Fence::End);
    }
    let seal_text = text.strip_prefix(BEGIN)?;
    let plain = seal_text.strip_suffix(ADDED_LINE_END);
    Some(Fence::Begin {
        seal: parse_seal(plain.unwrap_or(seal_text)),
        has_added_line_end: plain.is_some(),
    })
}

/// Reads ` 5 lines, checksum 1a2b3c4d`.
fn parse_seal(text: &str) -> Option<Seal> {
    let (lines, checksum) = text.strip_prefix(' ')?.split_once(" lines, checksum ")?;
    Some(Seal {
        lines: lines.parse().ok()?,
        checksum: u32::from_str_radix(checksum, 16).ok()?,
    })
}

/// The lines for which a seal vouches, if they are still there.
fn sealed_body(rest: &[u8], seal: Seal) -> Option<&[u8]> {
    let mut after = rest;
    for _ in 0..seal.lines {
        if after.is_empty() {
            return None;
        }
        take_line(&mut after);
    }
    let body = &rest[..rest.len() - after.len()];
    (Seal::of(body) == seal).then_some(body)
}

/// Moves the line end of the last of the user's lines into a piece of its own.
fn part_line_end(pieces: &mut Vec<Piece<'_>>, is_crlf: bool) {
    let Some(Piece::User(line) | Piece::Stray(line)) = pieces.last().copied() else {
        return;
    };
    // We added a bare line feed; an editor that made the fence CRLF did the same to it.
    let length = if is_crlf && line.ends_with(b"\r\n") {
        2
    } else {
        1
    };
    let (text, line_end) = line.split_at(line.len() - length);
    pieces.pop();
    pieces.push(Piece::User(text));
    pieces.push(Piece::AddedLineEnd(line_end));
}

/// Cuts the lines behind a first line that does not vouch for them, up to the next fence.
fn cut_damaged<'a>(pieces: &mut Vec<Piece<'a>>, rest: &mut &'a [u8]) {
    while !rest.is_empty() {
        let mut after = *rest;
        let bytes = take_line(&mut after);
        if fence(bytes).is_some() {
            return;
        }
        *rest = after;
        pieces.push(match line_text(bytes) {
            Some(text) if HEADER.contains(&text) => Piece::Ours(bytes),
            Some(text) => match generated_key(text) {
                Some(key) => Piece::Assignment { key, bytes },
                None => Piece::Stray(bytes),
            },
            None => Piece::Stray(bytes),
        });
    }
}

/// The key of a line that is written exactly as we would write it.
///
/// A value of several lines is not recognised: its end cannot be told from a quote of the user's
/// behind a torn block, and a line too many that is kept does less harm than one that is lost.
fn generated_key(line: &str) -> Option<&str> {
    let (key, text) = line.split_once('=')?;
    let value = if let Some(inner) = strip_quotes(text, '\'') {
        Cow::Borrowed(inner)
    } else if let Some(inner) = strip_quotes(text, '"') {
        Cow::Owned(unescaped(inner))
    } else {
        Cow::Borrowed(text)
    };
    let written = quote::line(key, &value).ok()?;
    (written.text == line).then_some(key)
}

fn strip_quotes(text: &str, quote: char) -> Option<&str> {
    text.strip_prefix(quote)?.strip_suffix(quote)
}

/// Undoes what `quote` does in double quotes; anything else fails the comparison that follows.
fn unescaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        value.push(if c == '\\' {
            characters.next().unwrap_or(c)
        } else {
            c
        });
    }
    value
}
