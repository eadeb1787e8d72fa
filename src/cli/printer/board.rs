//! What the printer knows of every unit: which are on their way, and which deserve a row.
//!
//! Pure: events and the time in, decisions out. [`super::frame`] draws it.

use indexmap::IndexMap;

use super::roster::Roster;
use super::words::{self, Rank, Said};
use crate::run::snapshot::{CRASH_LOOP, Phase, ServiceSnapshot};
use crate::support::name::UnitId;

/// The live region comes only when something has been pending for this long: a stack that is up
/// at once needs none, and then `indicatif` is never touched.
const FIRST_DELAY: u64 = 100;

/// The same once everything was up before: a quick restart should not make the screen jump.
const LATER_DELAY: u64 = 1_000;

/// A stop that takes longer than this is worth a line where there is no live region.
const SLOW_STOP: u64 = 1_000;

/// Without a change for this long, a service's row shows the last line that it printed.
pub(super) const QUIET_AFTER: u64 = 3_000;

/// One unit.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) snapshot: ServiceSnapshot,
    /// What gives its colour.
    pub(super) position: usize,
    /// Its place in the file, and among the replicas of its service.
    rank: (usize, u32),
    /// The number of the change that made it what it is.
    pub(super) changed: u64,
    /// What it printed last, free of escape sequences.
    pub(super) last_line: String,
    /// Whether a line has told that its stop takes long.
    is_slow_stop_told: bool,
}

impl Row {
    /// Whether it is on its way up or down, so that somebody may be waiting for it.
    pub(super) fn is_pending(&self) -> bool {
        let snapshot = &self.snapshot;
        match snapshot.phase {
            Phase::Waiting | Phase::Starting | Phase::Stopping => true,
            Phase::Running => snapshot.is_one_shot,
            // One that fails again and again is no longer on its way; nor is one that was there
            // and comes back: that is said in lines.
            Phase::Backoff => snapshot.ready_at.is_none() && snapshot.failures < CRASH_LOOP,
            Phase::Pending
            | Phase::Healthy
            | Phase::Unhealthy
            | Phase::Scheduled
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => false,
        }
    }

    /// Whether it is on its way up.
    fn is_coming(&self) -> bool {
        self.is_pending() && self.snapshot.phase != Phase::Stopping
    }

    fn is_untold_stop(&self) -> bool {
        self.snapshot.phase == Phase::Stopping && !self.is_slow_stop_told
    }

    /// How much the reader wants to see it; smaller is more. Of those that are up, the last to have come
    /// is the most interesting; of those that are on their way, the first of the file, which others wait
    /// for.
    fn interest(&self) -> (u8, u64, (usize, u32)) {
        let age = if self.is_pending() {
            0
        } else {
            u64::MAX - self.changed
        };
        let phase = match self.snapshot.phase {
            Phase::Failed => 0,
            Phase::Unhealthy => 1,
            Phase::Backoff => 2,
            Phase::Stopping => 3,
            Phase::Starting => 4,
            Phase::Running if self.snapshot.is_one_shot => 4,
            Phase::Waiting => 5,
            Phase::Running | Phase::Healthy | Phase::Scheduled | Phase::Completed => 6,
            Phase::Stopped => 7,
            Phase::Pending => 8,
        };
        (phase, age, self.rank)
    }
}

/// Every unit.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: IndexMap<UnitId, Row>,
    /// How many of them are on their way.
    pending: usize,
    /// Their names, and those of units that have not been heard of yet.
    pub(super) roster: Roster,
    changes: u64,
    /// Since when something is pending.
    pending_since: Option<u64>,
    /// Whether everything was up, or as far up as it gets, before.
    has_settled: bool,
    /// Whether all of it is being stopped.
    pub(super) is_draining: bool,
    /// Whether a Ctrl-C here has begun that, and another one kills.
    pub(super) can_kill: bool,
}

impl Board {
    /// A board for units in the order of the file.
    pub(super) fn new(units: &[UnitId]) -> Self {
        Self {
            roster: Roster::new(units),
            ..Self::default()
        }
    }

    /// Takes a snapshot; `now` in milliseconds since the Unix epoch. What there is to say, if
    /// there is.
    pub(super) fn apply(&mut self, snapshot: ServiceSnapshot, now: u64) -> Option<Said> {
        let unit = snapshot.unit();
        let known = self.rows.get(&unit);
        let said = words::change(known.map(|row| &row.snapshot), &snapshot, now);
        self.changes += 1;
        let (changed, is_slow_stop_told, last_line) = match known {
            Some(row) if row.snapshot.phase == snapshot.phase => {
                (row.changed, row.is_slow_stop_told, row.last_line.clone())
            }
            Some(row) => (self.changes, false, row.last_line.clone()),
            None => (self.changes, false, String::new()),
        };
        self.roster.add(&unit);
        let row = Row {
            position: self.roster.position(&unit),
            rank: self.roster.rank(&unit),
            changed,
            last_line,
            is_slow_stop_told,
            snapshot,
        };
        self.pending += usize::from(row.is_pending());
        let before = self.rows.insert(unit, row);
        self.pending -= usize::from(before.as_ref().is_some_and(Row::is_pending));
        if self.pending > 0 {
            self.pending_since.get_or_insert(now);
        } else if self.pending_since.take().is_some() {
            self.has_settled = true;
        }
        said
    }

    /// Notes what a unit printed last.
    pub(super) fn set_last_line(&mut self, unit: &UnitId, line: &str) {
        if let Some(row) = self.rows.get_mut(unit) {
            line.clone_into(&mut row.last_line);
        }
    }

    /// Whether something is on its way.
    pub(super) fn is_pending(&self) -> bool {
        self.pending_since.is_some()
    }

    /// Whether any unit is in this phase.
    pub(super) fn is_any(&self, phase: Phase) -> bool {
        self.rows.values().any(|row| row.snapshot.phase == phase)
    }

    /// When the live region is due, in milliseconds since the Unix epoch.
    pub(super) fn region_due(&self) -> Option<u64> {
        let delay = if self.has_settled && !self.is_any(Phase::Stopping) {
            LATER_DELAY
        } else {
            FIRST_DELAY
        };
        Some(self.pending_since? + delay)
    }

    /// What must be said in a line of its own although there is a live region.
    ///
    /// While all services start or stop, the region shows the steps and only trouble is worth
    /// keeping; between, how each comes and goes is news.
    pub(super) fn live_rank(&self) -> Rank {
        if self.has_settled && !self.is_draining {
            Rank::Outcome
        } else {
            Rank::Trouble
        }
    }

    /// When the region should be drawn anew: its times show tenths in the first ten seconds, whole
    /// seconds later.
    pub(super) fn next_frame(&self, now: u64) -> Option<u64> {
        self.pending_since?;
        let is_young =
            |row: &Row| row.is_coming() && now.saturating_sub(row.snapshot.since) < 10_000;
        let step = if self.rows.values().any(is_young) {
            100
        } else {
            1_000
        };
        Some(now + step)
    }

    /// When the next stop becomes a slow one, in milliseconds since the Unix epoch.
    pub(super) fn next_slow_stop(&self) -> Option<u64> {
        let untold = self.rows.values().filter(|row| row.is_untold_stop());
        untold.map(|row| row.snapshot.since + SLOW_STOP).min()
    }

    /// The services whose stop takes long and that were not told of yet: each is given once.
    pub(super) fn take_slow_stops(&mut self, now: u64) -> Vec<(UnitId, Said)> {
        let slow = self
            .rows
            .values_mut()
            .filter(|row| row.is_untold_stop() && now >= row.snapshot.since + SLOW_STOP);
        slow.map(|row| {
            row.is_slow_stop_told = true;
            let said = words::stopping(&row.snapshot, now);
            (row.snapshot.unit(), said)
        })
        .collect()
    }

    /// The rows for a region of at most `limit` lines, in the order of the file, and the others, of
    /// which one line tells where not all fit.
    pub(super) fn select(&self, limit: usize) -> (Vec<&Row>, Vec<&Row>) {
        let is_only_stopping = !self.rows.values().any(Row::is_coming);
        let mut wanted: Vec<&Row> = Vec::new();
        let mut hidden: Vec<&Row> = Vec::new();
        for row in self.rows.values() {
            match row.snapshot.phase {
                // Nobody asked for it, or nobody wants it any more.
                Phase::Pending | Phase::Stopped => {}
                phase if phase == Phase::Stopping || !is_only_stopping => wanted.push(row),
                phase if phase.is_alive() => hidden.push(row),
                _ => {}
            }
        }
        let needs_note = !hidden.is_empty() || wanted.len() > limit;
        let room = limit.saturating_sub(usize::from(needs_note)).max(1);
        if wanted.len() > room {
            wanted.sort_by_key(|row| row.interest());
            hidden.extend(wanted.drain(room..));
        }
        wanted.sort_by_key(|row| row.rank);
        // With room for a single line, the row is worth more than the note.
        if limit <= 1 {
            hidden.clear();
        }
        (wanted, hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{healthy, starting};

    #[test]
    fn after_the_first_start_comings_and_goings_are_news() {
        let mut board = Board::default();
        board.apply(starting("api", 8_001, 0), 0);
        assert_eq!(board.live_rank(), Rank::Trouble);
        board.apply(healthy("api", 8_001, 300), 300);
        assert_eq!(board.live_rank(), Rank::Outcome);
        assert_eq!(board.region_due(), None);
        // A quick restart is told in lines; only a slow one brings the region back.
        board.apply(starting("api", 8_001, 1_000), 1_000);
        assert_eq!(board.live_rank(), Rank::Outcome);
        assert_eq!(board.region_due(), Some(1_000 + LATER_DELAY));
    }

    #[test]
    fn a_stop_is_shown_at_once_and_leaves_no_lines() {
        let mut board = Board::default();
        board.apply(healthy("api", 8_001, 300), 300);
        let stopping = ServiceSnapshot {
            phase: Phase::Stopping,
            ..healthy("api", 8_001, 300)
        };
        board.is_draining = true;
        board.apply(stopping, 5_000);
        assert_eq!(board.region_due(), Some(5_000 + FIRST_DELAY));
        assert_eq!(board.live_rank(), Rank::Trouble);
    }

    #[test]
    fn only_a_stop_that_takes_long_gets_a_line() {
        let mut board = Board::default();
        let stopping = |name, since| ServiceSnapshot {
            phase: Phase::Stopping,
            since,
            kill_at: Some(since + 10_000),
            ..healthy(name, 8_001, 300)
        };
        board.apply(stopping("api", 5_000), 5_000);
        board.apply(stopping("web", 5_500), 5_500);
        assert_eq!(board.next_slow_stop(), Some(6_000));
        let told: Vec<String> = board
            .take_slow_stops(6_000)
            .into_iter()
            .map(|(unit, said)| format!("{} {}", unit.label(1), said.text))
            .collect();
        assert_eq!(told, ["api stopping (pid 4001), killed in 9 s"]);
        assert_eq!(board.next_slow_stop(), Some(6_500));
        assert!(board.take_slow_stops(6_400).is_empty());
    }

    #[test]
    fn one_that_is_stopped_while_the_others_go_on_is_news() {
        let mut board = Board::default();
        board.apply(starting("api", 8_001, 0), 0);
        board.apply(healthy("api", 8_001, 300), 300);
        board.apply(healthy("web", 8_002, 300), 300);
        let stopping = ServiceSnapshot {
            phase: Phase::Stopping,
            ..healthy("api", 8_001, 300)
        };
        board.apply(stopping, 5_000);
        assert_eq!(board.live_rank(), Rank::Outcome);
    }
}
