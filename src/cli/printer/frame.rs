//! The live region as lines of text.
//!
//! Pure: the board, the time and the size of the screen in, lines out. [`super::region`] puts
//! them on the screen.

use super::board::{Board, QUIET_AFTER, Row};
use super::words;
use crate::cli::style::{Palette, Tone, cut, phase_tone, state_word};
use crate::cli::table::{Cell, Table};
use crate::cli::words::behind;
use crate::run::snapshot::Phase;

/// The screen, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// That of the terminals of old, for what has none.
    pub(super) const CLASSIC: Self = Self {
        columns: 80,
        rows: 24,
    };
}

/// Rows that stay free above the region, for the logs that scroll there.
const ROWS_ABOVE: usize = 3;

/// The narrowest screen that is drawn for; a smaller one wraps.
const MIN_COLUMNS: usize = 20;

/// Below this width a port number is worth more than a time and a scheme.
const NARROW: usize = 60;

/// What another Ctrl-C does while everything is being stopped.
pub(super) const KILL_HINT: &str = "press Ctrl-C again to kill everything now";

/// The lines of the region, each narrower than the screen; none if nothing is pending.
pub(super) fn render(board: &Board, now: u64, size: Size, palette: Palette) -> Vec<String> {
    if !board.is_pending() {
        return Vec::new();
    }
    // A line that fills the last column leaves terminals in doubt where the cursor is.
    let columns = size.columns.max(MIN_COLUMNS) - 1;
    let limit = size.rows.saturating_sub(ROWS_ABOVE).max(1);
    let has_hint = board.can_kill && limit > 1;
    let (rows, hidden) = board.select(limit - usize::from(has_hint));
    // Times give way to what is worth more.
    let is_narrow = columns < NARROW;
    let mut table = Table::new([""; 4]);
    for row in rows {
        let snapshot = &row.snapshot;
        let time = if is_narrow {
            String::new()
        } else {
            format!("{:>TIME$}", time(row, now))
        };
        table.push([
            Cell::new(
                Tone::Service(row.position),
                cut(&snapshot.label(), columns / 3),
            ),
            Cell::new(phase_tone(snapshot.phase), state_word(snapshot)),
            Cell::new(Tone::Quiet, time),
            details(row, now, is_narrow),
        ]);
    }
    let drawn = table.render(palette, Some(columns));
    let mut lines: Vec<String> = drawn.lines().map(str::to_owned).collect();
    if !hidden.is_empty() {
        let count = hidden.len();
        let hidden = hidden.iter().map(|row| &row.snapshot);
        let note = format!("… {count} more: {}", words::tally(hidden));
        lines.push(palette.paint(Tone::Quiet, &cut(&note, columns)));
    }
    if has_hint {
        lines.push(palette.paint(Tone::Quiet, &cut(KILL_HINT, columns)));
    }
    lines
}

/// The cells of a time: `59.9 s`, `12 m 3 s` is cut to minutes before it grows wider.
const TIME: usize = 6;

/// What stands behind the time, most useful first, as the end may be cut off.
fn details(row: &Row, now: u64, is_narrow: bool) -> Cell {
    let snapshot = &row.snapshot;
    let mut addresses = words::addresses(snapshot);
    if is_narrow {
        addresses = addresses.replace("http://", "").replace("/, ", ", ");
        addresses.truncate(addresses.trim_end_matches('/').len());
    }
    let pid = behind("pid ", snapshot.pid);
    let plain = |text: String| Cell::new(Tone::Plain, text);
    match snapshot.phase {
        Phase::Pending | Phase::Stopped | Phase::Completed => Cell::default(),
        // The state's word says "waiting" already.
        Phase::Waiting => plain(words::waiting_how(snapshot)),
        Phase::Starting | Phase::Running => {
            // An address at which nobody answers says less than why.
            let cell = match words::obstacle(snapshot) {
                Some(why) => plain(why),
                None => plain(addresses).and(Tone::Quiet, pid),
            };
            cell.and(Tone::Quiet, last_line(row, now))
        }
        Phase::Healthy => plain(addresses),
        Phase::Unhealthy => {
            let why = snapshot.reason.as_ref().map(crate::cli::words::reason);
            plain(why.unwrap_or_default()).and(Tone::Quiet, addresses)
        }
        Phase::Stopping => {
            let parts = [Some(pid), words::killed_in(snapshot, now)]
                .into_iter()
                .flatten();
            let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
            plain(parts.join(", ")).and(Tone::Quiet, last_line(row, now))
        }
        Phase::Backoff => plain(words::backoff_how(snapshot)),
        Phase::Scheduled => plain(words::scheduled_how(snapshot, now)),
        Phase::Failed => plain(words::failed_how(snapshot)),
    }
}

/// The last line that the service printed, once it has been quiet about its state for a while.
fn last_line(row: &Row, now: u64) -> String {
    let line = row.last_line.trim();
    if line.is_empty() || now.saturating_sub(row.snapshot.since) < QUIET_AFTER {
        return String::new();
    }
    format!("› {line}")
}

/// The time it took, for what has got somewhere; the time that has passed, for what is on its way.
fn time(row: &Row, now: u64) -> String {
    let snapshot = &row.snapshot;
    let passed = now.saturating_sub(snapshot.since);
    match snapshot.phase {
        Phase::Pending | Phase::Scheduled | Phase::Stopped | Phase::Failed => String::new(),
        Phase::Healthy => words::ready_time(snapshot).unwrap_or_default(),
        Phase::Completed => words::run_time(snapshot).unwrap_or_default(),
        Phase::Running if !snapshot.is_one_shot => String::new(),
        Phase::Stopping => whole(passed),
        Phase::Waiting | Phase::Starting | Phase::Running | Phase::Unhealthy | Phase::Backoff => {
            if passed < 10_000 {
                format!("{}.{} s", passed / 1_000, passed % 1_000 / 100)
            } else {
                whole(passed)
            }
        }
    }
}

fn whole(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests;
