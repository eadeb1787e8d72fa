//! Lines that match a pattern, out of the blocks of all units.
//!
//! The pattern is looked for in a whole block at once, and only what it finds is looked at line by
//! line: output without a match costs one search.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::LogBlock;
use crate::run::snapshot::LogStream;
use crate::support::escape::plain;
use crate::support::name::UnitId;

/// How much of a line is put together before it is looked at, in bytes.
const LINE_LIMIT: usize = 1024 * 1024;

/// What a line must match: a regular expression over its bytes.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// Whether it speaks of where a text begins or ends.
    is_about_ends: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads a regular expression; the error is the library's, with the place of the mistake.
    pub fn new(text: &str) -> Result<Self, String> {
        // Lines of a terminal end in `\r\n`.
        let regex = RegexBuilder::new(text).multi_line(true).crlf(true).build();
        let regex = regex.map_err(|error| error.to_string())?;
        let parsed = ParserBuilder::new()
            .multi_line(true)
            .crlf(true)
            .utf8(false)
            .build()
            .parse(text);
        // What is not known is taken for the worse.
        let is_about_ends = parsed.map_or(true, |parsed| {
            parsed.properties().look_set().contains_anchor_haystack()
        });
        Ok(Self {
            regex,
            is_about_ends,
        })
    }

    /// How much of `text` is whole lines that do not match, as far as the first that may. Nothing where
    /// the pattern speaks of where a text begins or ends, as that is another one here.
    pub(super) fn clear(&self, text: &[u8]) -> usize {
        if self.is_about_ends {
            return 0;
        }
        let before = self.regex.find(text).map_or(text.len(), |hit| hit.start());
        // A line with colours may match without them.
        let before = memchr(ESCAPE, &text[..before]).unwrap_or(before);
        memrchr(b'\n', &text[..before]).map_or(0, |at| at + 1)
    }

    /// The lines of `text` that match, with their ends.
    fn lines_of(&self, text: &[u8]) -> Vec<u8> {
        if self.is_about_ends || memchr(ESCAPE, text).is_some() {
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            return lines
                .filter(|line| self.is_in(line))
                .flatten()
                .copied()
                .collect();
        }
        let mut found = Vec::new();
        let mut next = 0;
        while next < text.len()
            && let Some(hit) = self.regex.find_at(text, next)
            && hit.start() < text.len()
        {
            let start = memrchr(b'\n', &text[next..hit.start()]).map_or(next, |at| next + at + 1);
            let end = memchr(b'\n', &text[hit.start()..]).map_or(text.len(), |at| hit.start() + at);
            let line = &text[start..end];
            // A match that goes on in the next line is none, unless there is another one.
            let is_within = hit.end() <= end || self.regex.is_match(line);
            next = (end + 1).min(text.len());
            if is_within {
                found.extend_from_slice(&text[start..next]);
            }
        }
        found
    }

    /// Whether a line matches, as it is or as people see it.
    fn is_in(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.regex.is_match(line) || self.regex.is_match(plain(line).as_bytes())
    }
}

/// What colours and other sequences for a terminal begin with.
const ESCAPE: u8 = 0x1b;

/// Leaves the lines that match of what units print.
#[derive(Debug)]
pub struct Grep {
    pattern: Pattern,
    /// Of each stream the line without an end so far, as the block that it will be.
    unfinished: HashMap<(UnitId, LogStream), (LogBlock, Vec<u8>)>,
}

impl Grep {
    /// A filter for lines that match `pattern`.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            unfinished: HashMap::new(),
        }
    }

    /// What matches of a block, and of the line with which the one before it ended. A line that has no
    /// end yet waits for it, up to 1 MiB and as long as its attempt prints.
    pub fn take(&mut self, mut block: LogBlock) -> Vec<LogBlock> {
        let is_whole = block.bytes.last() == Some(&b'\n');
        let mut text = block.bytes.clone();
        let mut found = Vec::new();
        if !is_whole || !self.unfinished.is_empty() {
            let origin = (block.unit.clone(), block.stream);
            let mut joined = Vec::new();
            match self.unfinished.remove(&origin) {
                Some((before, text)) if block.continues && before.attempt == block.attempt => {
                    joined = text;
                    block.continues = false;
                }
                Some((before, text)) => found.extend(self.matching(before, &text)),
                None => {}
            }
            joined.extend_from_slice(&text);
            let whole = memrchr(b'\n', &joined).map_or(0, |at| at + 1);
            if joined.len() - whole < LINE_LIMIT {
                let rest = joined.split_off(whole);
                if !rest.is_empty() {
                    block.bytes = Bytes::new();
                    self.unfinished.insert(origin, (block.clone(), rest));
                }
            }
            text = joined.into();
        }
        found.extend(self.matching(block, &text));
        found
    }

    /// The lines of a text that match, as the block.
    fn matching(&self, mut block: LogBlock, text: &[u8]) -> Option<LogBlock> {
        block.bytes = self.pattern.lines_of(text).into();
        (!block.bytes.is_empty()).then_some(block)
    }

    /// What matches of the lines that have no end, now that nothing more comes.
    pub fn finish(&mut self) -> Vec<LogBlock> {
        let unfinished = std::mem::take(&mut self.unfinished).into_values();
        let matching = unfinished.filter_map(|(block, text)| self.matching(block, &text));
        let mut blocks: Vec<_> = matching.collect();
        blocks.sort_by_key(|block| block.time);
        blocks
    }
}

/// The last lines of each unit, while it is not known yet which they are.
#[derive(Debug)]
pub struct LastLines {
    count: usize,
    taken: usize,
    /// Of each unit its last blocks with the order in which they came, and how many lines they have.
    units: HashMap<UnitId, (VecDeque<(usize, LogBlock)>, usize)>,
}

impl LastLines {
    /// Keeps `count` lines of each unit.
    pub fn new(count: usize) -> Self {
        Self {
            count,
            taken: 0,
            units: HashMap::new(),
        }
    }

    /// Takes a block of whole lines.
    pub fn take(&mut self, block: LogBlock) {
        self.taken += 1;
        let (blocks, lines) = self.units.entry(block.unit.clone()).or_default();
        *lines += count_lines(&block.bytes);
        blocks.push_back((self.taken, block));
        while let Some((_, oldest)) = blocks.front_mut()
            && *lines > self.count
        {
            let surplus = *lines - self.count;
            let there = count_lines(&oldest.bytes);
            *lines -= there.min(surplus);
            if there <= surplus {
                blocks.pop_front();
            } else {
                let end = memchr_iter(b'\n', &oldest.bytes).nth(surplus - 1);
                // Copied, so that what is left out is not kept in memory.
                let rest = &oldest.bytes[end.map_or(0, |end| end + 1)..];
                oldest.bytes = Bytes::copy_from_slice(rest);
            }
        }
    }

    /// What there is now, in the order in which it came.
    pub fn finish(self) -> Vec<LogBlock> {
        let mut blocks: Vec<_> = self.units.into_values().flat_map(|unit| unit.0).collect();
        blocks.sort_by_key(|(number, _)| *number);
        blocks.into_iter().map(|(_, block)| block).collect()
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    let unfinished = bytes.last().is_some_and(|last| *last != b'\n');
    memchr_iter(b'\n', bytes).count() + usize::from(unfinished)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::logs::testing::unit;
    use proptest::prelude::*;

    fn block(stream: LogStream, text: &str) -> LogBlock {
        LogBlock {
            unit: unit("web"),
            stream,
            time: 1,
            attempt: 1,
            bytes: text.to_owned().into(),
            continues: true,
        }
    }

    fn text(blocks: impl IntoIterator<Item = LogBlock>) -> String {
        let text = |block: LogBlock| String::from_utf8(block.bytes.to_vec()).unwrap();
        blocks.into_iter().map(text).collect()
    }

    /// What is left of some blocks of stdout.
    fn left(pattern: &str, blocks: &[&str]) -> String {
        let mut grep = Grep::new(Pattern::new(pattern).unwrap());
        let mut found: Vec<_> = blocks
            .iter()
            .flat_map(|text| grep.take(block(LogStream::Stdout, text)))
            .collect();
        found.extend(grep.finish());
        text(found)
    }

    #[test]
    fn lines_are_matched_whole_however_they_came() {
        let blocks = ["one\ntwo er", "ror three\nfour\nerr", "or at the end"];
        assert_eq!(left("error", &blocks), "two error three\nerror at the end");
        assert_eq!(left("^f.*r$", &blocks), "four\n");
        assert_eq!(left("(?i)ONE|FOUR", &blocks), "one\nfour\n");
        assert_eq!(left("nothing", &blocks), "");
    }

    #[test]
    fn colours_and_the_line_ends_of_a_terminal_are_no_part_of_a_line() {
        let coloured = "\u{1b}[31mred\u{1b}[0m\r\n";
        let blocks = [
            "blue\n",
            coloured,
            "plain red\r\n",
            "red and \u{1b}[1mmore\u{1b}[m\n",
        ];
        assert_eq!(left("^red$", &blocks), coloured);
        assert_eq!(left("red$", &blocks), format!("{coloured}plain red\r\n"));
        assert_eq!(left("and more$", &blocks), blocks[3]);
        // Who knows how it was printed finds that, too.
        assert_eq!(left(r"\x1b\[31mred", &blocks), coloured);
        let pattern = Pattern::new("^red$").unwrap();
        assert_eq!(pattern.clear(format!("blue\n{coloured}").as_bytes()), 5);
    }

    #[test]
    fn the_parts_of_two_streams_are_not_mixed() {
        let mut grep = Grep::new(Pattern::new("ab").unwrap());
        assert_eq!(grep.take(block(LogStream::Stdout, "a")), []);
        assert_eq!(grep.take(block(LogStream::Stderr, "b\n")), []);
        assert_eq!(text(grep.take(block(LogStream::Stdout, "b\n"))), "ab\n");
    }

    #[test]
    fn the_last_word_of_an_attempt_waits_for_nothing_but_the_next_one() {
        let mut grep = Grep::new(Pattern::new("a").unwrap());
        assert_eq!(grep.take(block(LogStream::Stdout, "panic: a")), []);
        let mut next = block(LogStream::Stdout, "b\n");
        next.attempt = 2;
        assert_eq!(text(grep.take(next)), "panic: a");
        assert_eq!(grep.take(block(LogStream::Stdout, "a")), []);
        // The first attempt of the next run.
        let mut next = block(LogStream::Stdout, "b\n");
        next.continues = false;
        assert_eq!(text(grep.take(next)), "a");
        assert_eq!(grep.unfinished.len(), 0);
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let mut grep = Grep::new(Pattern::new("x").unwrap());
        let part = "y".repeat(100_000);
        for _ in 0..50 {
            assert_eq!(grep.take(block(LogStream::Stdout, &part)), []);
            let kept = grep.unfinished.values().map(|it| it.1.len()).sum::<usize>();
            assert!(kept < LINE_LIMIT);
        }
    }

    #[test]
    fn the_last_lines_are_kept_in_order() {
        let mut last = LastLines::new(3);
        for text in ["1\n2\n", "3\n", "4\n5\n6\n7\n", "8\n"] {
            last.take(block(LogStream::Stdout, text));
        }
        assert_eq!(text(last.finish()), "6\n7\n8\n");
        let mut none = LastLines::new(0);
        none.take(block(LogStream::Stdout, "1\n2\n"));
        assert_eq!(text(none.finish()), "");
    }

    proptest! {
        #[test]
        fn a_block_at_once_is_as_line_by_line(
            lines in "[ab\n]{0,40}",
            pattern in prop::sample::select(vec![
                "a", "^a", "a$", "^$", "", "b\\s*a", "[^a]b", "a\nb", "^b|a$", "\\b",
                "(?-m)^a", "(?-sm)a$", "(?s-im:^b|a$)", "\\Aa", "b\\z", "(?m-R)^a$",
            ]),
        ) {
            let regex = Pattern::new(pattern).unwrap();
            let expected: String = lines
                .split_inclusive('\n')
                .filter(|line| regex.regex.is_match(line.trim_end_matches('\n').as_bytes()))
                .collect();
            let found = String::from_utf8(regex.lines_of(lines.as_bytes())).unwrap();
            prop_assert_eq!(&found, &expected, "{}", pattern);
            let clear = regex.clear(lines.as_bytes());
            prop_assert!(clear == 0 || lines.as_bytes()[clear - 1] == b'\n');
            let rest = String::from_utf8(regex.lines_of(&lines.as_bytes()[clear..])).unwrap();
            prop_assert_eq!(rest, expected, "{} after {}", pattern, clear);
        }
    }
}
