//! The last words of a unit, for the report of its failure.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::intake::LINE_CAP;
use super::reader::{Followed, Scope, Track};
use super::segments::segments_of;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// The last `count` lines of one attempt of one run of `unit`, without their ends, as text. None
/// where there is nothing or it cannot be read: a report is made from what there is.
pub fn last_lines_of_attempt(
    dir: &Path,
    unit: &UnitId,
    run: u64,
    attempt: u32,
    count: usize,
) -> Vec<String> {
    let scope = Scope {
        run: Some(run),
        attempt: Some(attempt),
        ..Scope::default()
    };
    read(dir, unit, scope, count).unwrap_or_default()
}

fn read(dir: &Path, unit: &UnitId, scope: Scope, count: usize) -> io::Result<Vec<String>> {
    let mut lines = Lines {
        count,
        done: VecDeque::new(),
        unfinished: [Vec::new(), Vec::new()],
    };
    let mut track = Track::new(unit.clone(), scope, false);
    let bases = segments_of(dir, unit)?.bases();
    track.begin(dir, bases, Some(count))?;
    let mut ready = VecDeque::new();
    while track.next_time(false)?.is_some() {
        track.take(&mut ready)?;
        for piece in ready.drain(..) {
            match piece {
                Followed::Block(block) => lines.add(block.stream, &block.bytes),
                Followed::Lost { .. } => lines.finish_all(),
            }
        }
    }
    lines.finish_all();
    Ok(lines.done.into())
}

/// Joins the parts of lines, each stream for itself.
struct Lines {
    count: usize,
    done: VecDeque<String>,
    unfinished: [Vec<u8>; 2],
}

impl Lines {
    fn add(&mut self, stream: LogStream, bytes: &[u8]) {
        let number = stream.number();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = &mut self.unfinished[number];
            // A report has no use for megabytes of one line.
            let room = LINE_CAP - line.len().min(LINE_CAP);
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.finish(number);
            }
        }
    }

    fn finish(&mut self, number: usize) {
        let line = std::mem::take(&mut self.unfinished[number]);
        let end = line
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
            .map_or(0, |last| last + 1);
        if self.done.len() == self.count {
            self.done.pop_front();
        }
        self.done
            .push_back(String::from_utf8_lossy(&line[..end]).into_owned());
    }

    fn finish_all(&mut self) {
        for number in 0..self.unfinished.len() {
            if !self.unfinished[number].is_empty() {
                self.finish(number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
