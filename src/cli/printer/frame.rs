//! The live region as lines of text.
//!
//! Pure: the board, the time and the size of the screen in, lines out. [`super::region`] puts
//! them on the screen.

use super::board::{Board, QUIET_AFTER, Row};
use super::words;
use crate::cli::style::{Palette, Tone, cut, pad, phase_tone, state_word, width};
use crate::run::snapshot::Phase;
use crate::support::escape::plain_line;

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
    let has_hint = board.can_kill() && limit > 1;
    let selection = board.select(limit - usize::from(has_hint));
    let widest = |text: fn(&Row) -> &str| {
        let cells = selection.rows.iter().map(|row| width(text(row)));
        cells.max().unwrap_or(0)
    };
    let layout = Layout {
        columns,
        is_narrow: columns < NARROW,
        label: widest(|row| &row.label).min(columns / 3),
        state: widest(|row| state_word(&row.snapshot)),
        palette,
    };
    let mut lines: Vec<String> = selection
        .rows
        .iter()
        .map(|row| layout.row(row, now))
        .collect();
    if !selection.hidden.is_empty() {
        let count = selection.hidden.len();
        let hidden = selection.hidden.iter().map(|row| &row.snapshot);
        let note = format!("… {count} more: {}", words::tally(hidden));
        lines.push(palette.paint(Tone::Quiet, &cut(&note, columns)));
    }
    if has_hint {
        lines.push(palette.paint(Tone::Quiet, &cut(KILL_HINT, columns)));
    }
    lines
}

/// The widths of the columns of one frame.
struct Layout {
    columns: usize,
    /// Whether times give way to what is worth more.
    is_narrow: bool,
    label: usize,
    state: usize,
    palette: Palette,
}

/// The cells of a time: `59.9 s`, `12 m 3 s` is cut to minutes before it grows wider.
const TIME: usize = 6;

impl Layout {
    fn row(&self, row: &Row, now: u64) -> String {
        let snapshot = &row.snapshot;
        let mut line = Line::new(self.columns, self.palette);
        let label = pad(&cut(&row.label, self.label), self.label);
        line.push_with(&label, |palette, text| {
            palette.paint_service(row.position, text)
        });
        line.gap();
        let word = state_word(snapshot);
        line.push(phase_tone(snapshot.phase), &pad(word, self.state));
        if !self.is_narrow {
            line.gap();
            let time = time(row, now);
            line.push(Tone::Quiet, &format!("{time:>TIME$}"));
        }
        for (tone, detail) in details(row, now, self.is_narrow) {
            if !detail.is_empty() {
                line.gap();
                line.push(tone, &detail);
            }
        }
        line.text
    }
}

/// What stands behind the time, most useful first, as the end may be cut off.
fn details(row: &Row, now: u64, is_narrow: bool) -> Vec<(Tone, String)> {
    let snapshot = &row.snapshot;
    let addresses = || {
        let addresses = words::addresses(snapshot);
        if is_narrow {
            addresses
                .replace("http://", "")
                .replace("/, ", ", ")
                .trim_end_matches('/')
                .to_owned()
        } else {
            addresses
        }
    };
    let pid = || match snapshot.pid {
        Some(pid) => format!("pid {pid}"),
        None => String::new(),
    };
    match snapshot.phase {
        Phase::Pending | Phase::Stopped | Phase::Completed => Vec::new(),
        Phase::Waiting => {
            let text = words::waiting(snapshot);
            // The state's word says "waiting" already.
            let text = text.strip_prefix("waiting").unwrap_or(&text).trim_start();
            vec![(Tone::Plain, text.to_owned())]
        }
        // An address at which nobody answers says less than why.
        Phase::Starting | Phase::Running => {
            let mut details = match words::obstacle(snapshot) {
                Some(why) => vec![(Tone::Plain, why)],
                None => vec![(Tone::Plain, addresses()), (Tone::Quiet, pid())],
            };
            details.extend(last_line(row, now));
            details
        }
        Phase::Healthy => vec![(Tone::Plain, addresses())],
        Phase::Unhealthy => vec![(Tone::Plain, reason(row)), (Tone::Quiet, addresses())],
        Phase::Stopping => {
            let kill = words::killed_in(snapshot, now).unwrap_or_default();
            let separator = if kill.is_empty() || snapshot.pid.is_none() {
                ""
            } else {
                ", "
            };
            let mut details = vec![(Tone::Plain, format!("{}{separator}{kill}", pid()))];
            details.extend(last_line(row, now));
            details
        }
        Phase::Backoff => vec![(Tone::Plain, words::backoff_how(snapshot))],
        Phase::Failed => vec![(Tone::Plain, words::failed_how(snapshot))],
    }
}

fn reason(row: &Row) -> String {
    let reason = row.snapshot.reason.as_ref();
    reason.map(crate::cli::words::reason).unwrap_or_default()
}

/// The last line that the service printed, once it has been quiet about its state for a while.
fn last_line(row: &Row, now: u64) -> Option<(Tone, String)> {
    let is_quiet = now.saturating_sub(row.snapshot.since) >= QUIET_AFTER;
    let line = row.last_line.trim();
    (is_quiet && !line.is_empty()).then(|| (Tone::Quiet, format!("› {line}")))
}

/// The time it took, for what has got somewhere; the time that has passed, for what is on its way.
fn time(row: &Row, now: u64) -> String {
    let snapshot = &row.snapshot;
    let passed = now.saturating_sub(snapshot.since);
    match snapshot.phase {
        Phase::Pending | Phase::Stopped | Phase::Failed => String::new(),
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

/// A line that is filled from the left until it is full.
struct Line {
    text: String,
    left: usize,
    /// Spaces that are owed before the next text.
    gap: usize,
    palette: Palette,
}

impl Line {
    fn new(columns: usize, palette: Palette) -> Self {
        Self {
            text: String::new(),
            left: columns,
            gap: 0,
            palette,
        }
    }

    fn gap(&mut self) {
        self.gap += 2;
    }

    fn push(&mut self, tone: Tone, text: &str) {
        self.push_with(text, |palette, text| palette.paint(tone, text));
    }

    fn push_with(&mut self, text: &str, paint: impl FnOnce(Palette, &str) -> String) {
        // Reasons and last lines hold text of others.
        let text = plain_line(text);
        let trimmed = text.trim_end();
        let room = self.left.saturating_sub(self.gap);
        if trimmed.is_empty() || room == 0 {
            self.gap += width(&text);
            return;
        }
        let shown = cut(trimmed, room);
        self.text.push_str(&pad("", self.gap));
        self.text.push_str(&paint(self.palette, &shown));
        self.left = room - width(&shown);
        self.gap = width(&text) - width(trimmed);
    }
}

#[cfg(test)]
mod tests;
