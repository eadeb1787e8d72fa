//! The wait for a line that says that a service is ready (`healthcheck.log`).

use regex::Regex;

use crate::run::snapshot::LogStream;
use crate::support::escape::plain;

/// How much of an unfinished line is kept, in bytes.
const LINE_LIMIT: usize = 64 * 1024;

/// The wait for a line of the latest attempt, on either stream.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) pattern: Regex,
    attempt: u32,
    is_over: bool,
    /// What was printed on each stream of a line whose end has not come.
    unfinished: [Vec<u8>; 2],
}

impl Wait {
    pub(super) fn new(pattern: Regex) -> Self {
        Self {
            pattern,
            attempt: 0,
            is_over: false,
            unfinished: Default::default(),
        }
    }

    /// Looks at the next output of `attempt`. Whether the line is there now and was not before.
    pub(super) fn is_over(&mut self, attempt: u32, stream: LogStream, bytes: &[u8]) -> bool {
        if attempt > self.attempt {
            *self = Self {
                attempt,
                ..Self::new(self.pattern.clone())
            };
        }
        if attempt < self.attempt || self.is_over {
            return false;
        }
        let unfinished = match stream {
            LogStream::Stdout => &mut self.unfinished[0],
            LogStream::Stderr => &mut self.unfinished[1],
        };
        unfinished.extend_from_slice(bytes);
        // An unfinished line is looked at as well: it may be a prompt.
        self.is_over = fits(&self.pattern, unfinished);
        let rest = memchr::memrchr(b'\n', unfinished).map_or(0, |at| at + 1);
        unfinished.drain(..rest);
        if self.is_over || unfinished.len() > LINE_LIMIT {
            *unfinished = Vec::new();
        }
        self.is_over
    }
}

/// Whether a line of some output is what a pattern asks for, colours aside.
pub(crate) fn fits(pattern: &Regex, output: &[u8]) -> bool {
    plain(output).lines().any(|line| pattern.is_match(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogStream::{Stderr, Stdout};

    #[test]
    fn a_line_is_found_in_pieces_and_colours_on_either_stream_once_an_attempt() {
        let mut wait = Wait::new(Regex::new("^ready in [0-9]+ ms$").unwrap());
        assert!(!wait.is_over(1, Stdout, b"not ready in 5 ms\n"));
        assert!(!wait.is_over(1, Stdout, b"ready "));
        assert!(!wait.is_over(1, Stderr, b"in 5 ms\n"), "another stream");
        assert!(wait.is_over(1, Stdout, b"\x1b[32min 5\x1b[0m ms\r\n"));
        assert!(!wait.is_over(1, Stdout, b"ready in 6 ms\n"), "told before");
        assert!(wait.is_over(2, Stderr, b"ready in 6 ms\n"));
        assert!(!wait.is_over(1, Stdout, b"ready in 7 ms\n"), "of the past");
    }
}
