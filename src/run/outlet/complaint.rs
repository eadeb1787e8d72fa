//! The complaint of a server that could not have its address.
//!
//! A server that never sets `SO_REUSEADDR` cannot bind a port that is held for it. It says so in the
//! words of its language, and by these it is recognised: the phrases below are what the standard
//! library or the usual server of each language prints (see the tests). Most name the address, which
//! tells whether it is about a port of the unit at all, or about another one (a port that is written in the
//! program, a proxy's admin port, a second listener).

use std::net::IpAddr;

use memchr::{memchr, memchr2_iter, memrchr};

use crate::run::handover::NamedAddress;
use crate::support::escape::plain;

/// What is said of an address that is in use, in lower case; "port 8003 is in use" in its many
/// forms is [`says_port_in_use`].
const PHRASES: [&str; 6] = [
    "address already in use",
    "address in use",
    "eaddrinuse",
    "[errno 98]",
    "os error 98",
    "only one usage of each socket address",
];

/// Endings of source files: the number behind `main.rs:` is that of a line.
const SOURCE_ENDINGS: [&str; 31] = [
    "c", "cc", "clj", "cpp", "cs", "cxx", "erl", "ex", "exs", "fs", "go", "h", "hpp", "hs", "java",
    "js", "jsx", "kt", "lua", "mjs", "cjs", "php", "pl", "pm", "py", "rb", "rs", "scala", "swift",
    "ts", "tsx",
];

/// What the lines of `bytes` name that complain about an address: those of `ports`, the unit's own, that
/// a line names, else others, else nothing.
pub(super) fn find(bytes: &[u8], ports: &[u16]) -> Vec<Vec<NamedAddress>> {
    // Every phrase has "in use", "inuse", "one usage", or the number 98 behind "errno" or "error".
    // This look at the raw bytes costs next to nothing, and leaves hardly a line to read.
    let begins = |at: usize, word: &[u8]| {
        let found = bytes.get(at..at + word.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let ends = |at: usize, word: &[u8]| at >= word.len() && begins(at - word.len(), word);
    let words = memchr2_iter(b'u', b'U', bytes).filter(|&at| {
        let is_whole = !bytes.get(at + 3).is_some_and(u8::is_ascii_alphanumeric);
        begins(at, b"use") && is_whole && (ends(at, b"in ") || ends(at, b"in"))
            || begins(at, b"usage") && ends(at, b"one ")
    });
    let numbers = memchr::memmem::find_iter(bytes, b"98")
        .filter(|&at| ends(at, b"errno ") || ends(at, b"error "));
    let mut places: Vec<usize> = words.chain(numbers).collect();
    places.sort_unstable();
    let mut found = Vec::new();
    let mut read = 0;
    for at in places {
        // Nothing is read twice, however often a line says it.
        if at < read {
            continue;
        }
        let start = memrchr(b'\n', &bytes[..at]).map_or(0, |end| end + 1);
        let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length);
        let line = plain(&bytes[start..end]).to_ascii_lowercase();
        if PHRASES.iter().any(|phrase| line.contains(phrase)) || says_port_in_use(&line) {
            found.push(named_in(&line, ports));
        }
        read = end;
    }
    found
}

/// `port is already in use`, `port 8003 is in use`, `port 8003 was already in use`.
fn says_port_in_use(line: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric();
    line.match_indices("port").any(|(at, word)| {
        let rest = line[at + word.len()..]
            .trim_start_matches([' ', ':', '=', '#'])
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start();
        ["is ", "was "]
            .iter()
            .find_map(|verb| rest.strip_prefix(verb))
            .map(|rest| rest.strip_prefix("already ").unwrap_or(rest))
            .and_then(|rest| rest.strip_prefix("in use"))
            .is_some_and(|rest| !line[..at].ends_with(is_letter) && !rest.starts_with(is_letter))
    })
}

/// The ports that a line names: those of `ports`, wherever in the line, else others where a port would be.
fn named_in(line: &str, ports: &[u16]) -> Vec<NamedAddress> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    // Where the last number ended that was a place in a file or a time of day, and no port.
    let mut passed_over = usize::MAX;
    for (start, end) in numbers(line) {
        let Some(port) = line[start..end].parse().ok().filter(|port| *port > 0) else {
            continue;
        };
        let before = &line[..start];
        let colon = before.strip_suffix(':');
        // `('127.0.0.1', 5432)` as Python writes an address.
        let tuple = before
            .strip_suffix("', ")
            .filter(|_| line[end..].starts_with(')'));
        let address = colon.or(tuple).and_then(address_before);
        let named = NamedAddress { address, port };
        if ports.contains(&port) {
            own.push(named);
        } else if let Some(left) = colon {
            if left.len() == passed_over || is_source_file(left) || is_time(left, end - start) {
                passed_over = end;
            } else {
                others.push(named);
            }
        } else {
            // `port 5432`.
            let left = before.trim_end_matches([' ', ':', '=', '#']);
            let is_named = left.len() < start && left.ends_with("port");
            if is_named || tuple.is_some() {
                others.push(named);
            }
        }
    }
    if own.is_empty() { others } else { own }
}

/// The IP address at the end of a text.
fn address_before(text: &str) -> Option<IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let text = text.strip_suffix(']').unwrap_or(text);
    let start = text.trim_end_matches(is_part).len();
    text[start..].parse().ok()
}

/// The numbers of a line, each from where to where; digits within words are none.
fn numbers(line: &str) -> impl Iterator<Item = (usize, usize)> {
    let bytes = line.as_bytes();
    let is_word = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            while is_word(at) {
                at += 1;
            }
            if at == start {
                at += 1;
            } else if bytes[start..at].iter().all(u8::is_ascii_digit) {
                return Some((start, at));
            }
        }
        None
    })
}

/// Whether a text ends with the name of a source file.
fn is_source_file(text: &str) -> bool {
    text.rsplit_once('.')
        .is_some_and(|(_, ending)| SOURCE_ENDINGS.contains(&ending))
}

/// Whether `text`, a colon and a number of `digits` digits are a time of day: `15:04`.
fn is_time(text: &str, digits: usize) -> bool {
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let hours = text.len() - stem.len();
    // The end of an IPv4 address is not an hour.
    digits == 2 && (1..=2).contains(&hours) && !stem.ends_with('.')
}

#[cfg(test)]
mod tests;
