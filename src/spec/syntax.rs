//! The parser's complaints in words that help.

use std::sync::Arc;

use super::code;
use super::load::word_length;
use super::problem::{Problem, Source, Span};

/// What the parser says (a part of it), what we say, and the way out.
const PHRASES: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "a `:` where a key cannot stand",
        "quote a value that holds `: `, or check the indentation of this line",
    ),
    (
        "found unknown anchor",
        "an alias of an anchor that does not exist",
        "define it above with `&name`, or quote a text that starts with `*`",
    ),
    (
        "unexpected end of stream",
        "a quoted text that never ends",
        "close the quote",
    ),
    (
        "unexpected document indicator",
        "a quoted text that never ends",
        "close the quote",
    ),
    (
        "unexpected character",
        "a text that starts with a character that YAML reserves",
        "put the text in quotes",
    ),
    (
        "block sequence entries are not allowed",
        "a list item where one cannot stand",
        "put the list on its own lines below the key",
    ),
    (
        "did not find expected key",
        "a line that fits neither the level above nor its own",
        "indent it like its neighbours; quote a value that is followed by more text",
    ),
    (
        "did not find expected '-'",
        "a line that does not belong to the list above it",
        "start it with `- `, or indent it like the list's key",
    ),
    (
        "expected ',' or ']'",
        "a list in brackets that goes on without a comma",
        "separate the items with `,` and close the list with `]`",
    ),
    (
        "expected ',' or '}'",
        "a map in braces that goes on without a comma",
        "separate the entries with `,` and close the map with `}`",
    ),
    (
        "simple key",
        "a line that is neither `key: value` nor part of the value above",
        "add the `:`, or indent it below its key",
    ),
    (
        "invalid indentation",
        "a line with an indentation that matches nothing above",
        "indent it like its neighbours",
    ),
    (
        "unknown escape character",
        "an unknown escape in double quotes",
        "double the backslash, or use single quotes",
    ),
    (
        "comment intercepting",
        "a comment in the middle of a text of several lines",
        "move the comment away, or put the text in quotes",
    ),
    (
        "invalid trailing content",
        "something after the closing quote",
        "put the whole value in quotes, or a comment after ` #`",
    ),
    (
        "handle wasn't declared",
        "a tag with an unknown prefix",
        "remove it; a text that starts with `!` needs quotes",
    ),
];

/// The problem for a complaint of the parser at a byte of the text.
pub(super) fn problem(source: &Arc<Source>, info: &str, at: usize) -> Problem {
    let line_start = source.text[..at]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let indentation = source.text[line_start..]
        .find(|c| c != ' ' && c != '\t')
        .map_or("", |length| &source.text[line_start..line_start + length]);
    // A tab in the indentation is nearly always the cause, whatever the parser calls it.
    if let Some(tab) = indentation.find('\t') {
        let span = Span::new(source, line_start + tab..line_start + tab + 1);
        return Problem::error(code::SYNTAX, "a tab cannot indent", &span)
            .label("this is a tab")
            .hint("YAML indents with spaces; replace the tab by spaces");
    }
    let near_tab = source.text[..at].ends_with('\t') || source.text[at..].starts_with('\t');
    if info.contains("tab") || (near_tab && info.contains("valid YAML whitespace")) {
        // The parser may mean one that is further on.
        let range = match source.text[at..].chars().next() {
            _ if source.text[..at].ends_with('\t') => at - 1..at,
            Some(first) => at..at + first.len_utf8(),
            None => at..at,
        };
        let span = Span::new(source, range);
        return Problem::error(code::SYNTAX, "a tab where YAML allows only spaces", &span)
            .hint("replace the tab by a space");
    }
    let rest = &source.text[at..];
    let width = match rest.chars().next() {
        // An alias is shown whole.
        Some('*') => word_length(rest),
        Some(first) => first.len_utf8(),
        None => 0,
    };
    let span = Span::new(source, at..at + width);
    for (theirs, ours, hint) in PHRASES {
        if info.contains(theirs) {
            return Problem::error(code::SYNTAX, *ours, &span).hint(*hint);
        }
    }
    Problem::error(
        code::SYNTAX,
        format!("this is not valid YAML: {info}"),
        &span,
    )
    .hint("check the quotes, brackets and indentation around this place")
}
