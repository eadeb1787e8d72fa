//! When the changes of a service's files are acted upon. No clock: `now` is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// An action follows the last change after this time.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(100);

/// And the first one after this time at most.
const LONGEST: Duration = Duration::from_secs(1);

/// A second in which nothing changes ends a row of actions.
const QUIET: Duration = Duration::from_secs(1);

/// After so many in a row a quiet second is waited for.
const MOST: u32 = 5;

/// The wait doubles this often at most.
const DOUBLINGS: u32 = 6;

/// The changes of one service.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// The first and the last change that nothing has been done about.
    changed: Option<(Instant, Instant)>,
    /// Whether an action is under way.
    is_acting: bool,
    /// When the last change came, or the last action was over.
    active: Option<Instant>,
    /// How many actions there were in a row, with no quiet second between them.
    row: u32,
    /// Whether it was said that it waits.
    is_told: bool,
}

impl Burst {
    /// Something has changed. Returns whether it is worth a word: from now on it waits for quiet.
    pub(super) fn change(&mut self, now: Instant) -> bool {
        if !self.is_acting && self.active.is_some_and(|active| now >= active + QUIET) {
            self.row = if self.changed.is_some() { self.row } else { 0 };
            self.is_told &= self.row > 0;
        }
        self.active = Some(now);
        let first = self.changed.map_or(now, |(first, _)| first);
        self.changed = Some((first, now));
        self.row >= MOST && !std::mem::replace(&mut self.is_told, true)
    }

    /// When an action is due; `None` while there is nothing to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.changed.filter(|_| !self.is_acting)?;
        Some(match self.row.checked_sub(MOST) {
            None => (last + DEBOUNCE).min(first + LONGEST),
            Some(beyond) => last + QUIET * (1 << beyond.min(DOUBLINGS)),
        })
    }

    /// An action begins, for all that has changed so far.
    pub(super) fn act(&mut self) {
        self.changed = None;
        self.is_acting = true;
        self.row += 1;
    }

    /// It is over.
    pub(super) fn acted(&mut self, now: Instant) {
        if self.is_acting {
            self.is_acting = false;
            self.active = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Acts when that is due; the time at which it was, and is over.
    fn act(burst: &mut Burst) -> Instant {
        let due = burst.due().expect("something is due");
        burst.act();
        burst.acted(due);
        due
    }

    #[test]
    fn a_burst_is_one_action_after_its_last_change() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert_eq!(burst.due(), None);
        for at in [0, 50, 120] {
            burst.change(start + ms(at));
        }
        assert_eq!(burst.due(), Some(start + ms(220)));
        act(&mut burst);
        assert_eq!(burst.due(), None);
    }

    #[test]
    fn changes_without_an_end_are_acted_upon_all_the_same() {
        let start = Instant::now();
        let mut burst = Burst::default();
        for at in 0..30 {
            burst.change(start + ms(at * 50));
        }
        assert_eq!(burst.due(), Some(start + LONGEST));
    }

    #[test]
    fn nothing_is_due_while_an_action_is_under_way() {
        let start = Instant::now();
        let mut burst = Burst::default();
        burst.change(start);
        burst.act();
        burst.change(start + ms(200));
        assert_eq!(burst.due(), None);
        burst.acted(start + ms(900));
        assert_eq!(burst.due(), Some(start + ms(300)));
    }

    #[test]
    fn a_quiet_second_ends_the_row() {
        let mut now = Instant::now();
        let mut burst = Burst::default();
        for _ in 0..20 {
            assert!(!burst.change(now));
            assert_eq!(burst.due(), Some(now + DEBOUNCE));
            now = act(&mut burst) + QUIET;
        }
    }

    #[test]
    fn five_in_a_row_wait_for_quiet_and_ever_longer() {
        let mut now = Instant::now();
        let mut burst = Burst::default();
        for _ in 0..5 {
            assert!(!burst.change(now));
            assert_eq!(burst.due(), Some(now + DEBOUNCE));
            now = act(&mut burst) + ms(50);
        }
        // It is said once.
        assert!(burst.change(now));
        assert!(!burst.change(now + ms(10)));
        for wait in [1, 2, 4, 8, 16, 32, 64, 64] {
            burst.change(now);
            assert_eq!(burst.due(), Some(now + QUIET * wait));
            // The service writes the file again as soon as it has started.
            now = act(&mut burst) + ms(50);
        }
        // A second after which it did not.
        now += QUIET;
        burst.change(now);
        assert_eq!(burst.due(), Some(now + DEBOUNCE));
    }

    #[test]
    fn a_change_after_a_long_wait_for_quiet_does_not_end_the_row() {
        let mut now = Instant::now();
        let mut burst = Burst::default();
        for _ in 0..7 {
            burst.change(now);
            now = act(&mut burst) + ms(50);
        }
        burst.change(now);
        assert_eq!(burst.due(), Some(now + QUIET * 4));
        now += QUIET * 2;
        burst.change(now);
        assert_eq!(burst.due(), Some(now + QUIET * 4));
    }
}
