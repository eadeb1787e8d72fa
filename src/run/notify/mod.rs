//! What a service says of itself: the messages of `sd_notify(3)`, and what they amount to.
//!
//! Each replica has a datagram socket of its own ([`socket`]). When a message counts, and whose it is, is
//! decided in `run::supervisor`.

mod socket;

use std::time::Duration;

use tokio::time::Instant;

use crate::run::reason::CheckFailure;

pub(crate) use socket::{Heard, NotifySocket};

/// The longest status that is kept, in characters: it stands in a table.
const STATUS_LIMIT: usize = 200;

/// A line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// `READY=1`
    Ready,
    /// `RELOADING=1`
    Reloading,
    /// `STOPPING=1`
    Stopping,
    /// `STATUS=…`
    Status(String),
    /// `WATCHDOG=1`
    Alive,
    /// `WATCHDOG=trigger`
    Trouble,
    /// `WATCHDOG_USEC=…`
    Watchdog(Duration),
}

/// The lines of a message that mean something here.
pub(crate) fn words(message: &[u8]) -> Vec<Word> {
    let text = String::from_utf8_lossy(message);
    let words = text.lines().filter_map(|line| {
        Some(match line.split_once('=')? {
            ("READY", "1") => Word::Ready,
            ("RELOADING", "1") => Word::Reloading,
            ("STOPPING", "1") => Word::Stopping,
            ("STATUS", text) => Word::Status(text.trim().chars().take(STATUS_LIMIT).collect()),
            ("WATCHDOG", "1") => Word::Alive,
            ("WATCHDOG", "trigger") => Word::Trouble,
            ("WATCHDOG_USEC", limit) => Word::Watchdog(Duration::from_micros(limit.parse().ok()?)),
            _ => return None,
        })
    });
    words.collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// What an attempt has said of itself so far.
#[derive(Debug, Clone)]
pub(crate) struct Notified {
    standing: Standing,
    status: Option<String>,
    /// Within which time a sign of life follows the one before.
    limit: Duration,
    /// When the last one came; before the first none is missed.
    alive: Option<Instant>,
    /// Whether one is missed, or trouble was told.
    is_missed: bool,
}

impl Notified {
    /// Nothing; once there are signs of life, one is missed after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            standing: Standing::Starting,
            status: None,
            limit,
            alive: None,
            is_missed: false,
        }
    }

    pub(crate) fn take(&mut self, word: Word, now: Instant) {
        match word {
            Word::Ready => self.standing = Standing::Ready,
            Word::Reloading => self.standing = Standing::Reloading,
            Word::Stopping => self.standing = Standing::Stopping,
            Word::Status(text) => self.status = Some(text).filter(|text| !text.is_empty()),
            Word::Alive => {
                self.alive = Some(now);
                self.is_missed = false;
            }
            Word::Trouble => self.is_missed = true,
            // Zero turns it off.
            Word::Watchdog(limit) if limit.is_zero() => self.alive = None,
            Word::Watchdog(limit) => {
                self.limit = limit;
                self.alive = Some(now);
            }
        }
    }

    /// Whether a check passes.
    pub(crate) fn outcome(&self) -> Result<(), CheckFailure> {
        match self.standing {
            Standing::Stopping => Err(CheckFailure::Stopping),
            Standing::Starting | Standing::Ready | Standing::Reloading if self.is_missed => {
                let limit_millis = self.limit.as_millis().try_into().unwrap_or(u64::MAX);
                Err(CheckFailure::Watchdog { limit_millis })
            }
            Standing::Starting => Err(CheckFailure::NotReady),
            Standing::Reloading => Err(CheckFailure::Reloading),
            Standing::Ready => Ok(()),
        }
    }

    /// Whether it is not well from now on, without another check.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_missed || self.standing == Standing::Stopping
    }

    pub(crate) fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    /// When a sign of life is missed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let alive = self.alive.filter(|_| !self.is_missed)?;
        alive.checked_add(self.limit)
    }

    /// Notes what is missed by `now`. Whether anything is.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now);
        self.is_missed |= is_due;
        is_due
    }

    /// Moves every time by `gap`.
    pub(crate) fn shift(&mut self, gap: Duration) {
        if let Some(alive) = &mut self.alive {
            *alive += gap;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(messages: &[&str]) -> Result<(), CheckFailure> {
        let mut notified = Notified::new(Duration::from_secs(5));
        for message in messages {
            for word in words(message.as_bytes()) {
                notified.take(word, Instant::now());
            }
        }
        notified.outcome()
    }

    #[test]
    fn what_counts_is_said_line_by_line() {
        assert_eq!(outcome(&[]), Err(CheckFailure::NotReady));
        assert_eq!(outcome(&["MAINPID=7\nREADY=1\nX_OWN=a=b"]), Ok(()));
        assert_eq!(
            outcome(&["READY=0", "ready=1", "READY"]),
            Err(CheckFailure::NotReady)
        );
        assert_eq!(
            outcome(&["READY=1", "RELOADING=1\nMONOTONIC_USEC=1"]),
            Err(CheckFailure::Reloading)
        );
        assert_eq!(outcome(&["READY=1", "RELOADING=1", "READY=1"]), Ok(()));
        assert_eq!(
            outcome(&["READY=1", "STOPPING=1"]),
            Err(CheckFailure::Stopping)
        );
        let trouble = outcome(&["READY=1", "WATCHDOG=trigger"]);
        assert_eq!(trouble, Err(CheckFailure::Watchdog { limit_millis: 5000 }));
        assert_eq!(
            outcome(&["READY=1", "WATCHDOG=trigger", "WATCHDOG=1"]),
            Ok(())
        );
    }

    #[test]
    fn a_sign_of_life_is_missed_only_after_the_first_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut notified = Notified::new(Duration::from_secs(5));
        notified.take(Word::Ready, start);
        assert_eq!(notified.deadline(), None);
        notified.take(Word::Alive, after(1));
        assert!(!notified.due(after(5)));
        notified.take(Word::Alive, after(5));
        notified.shift(Duration::from_secs(10));
        assert!(!notified.due(after(19)));
        assert!(notified.due(after(20)));
        assert!(notified.is_lost());
        assert_eq!(notified.deadline(), None, "told once");
        notified.take(Word::Alive, after(21));
        assert_eq!(notified.outcome(), Ok(()));
        notified.take(Word::Watchdog(Duration::from_secs(1)), after(22));
        assert_eq!(notified.deadline(), Some(after(23)));
        notified.take(Word::Watchdog(Duration::ZERO), after(22));
        assert_eq!(notified.deadline(), None, "turned off");
    }

    #[test]
    fn a_status_is_short_and_an_empty_one_is_none() {
        let mut notified = Notified::new(Duration::from_secs(5));
        let long = format!("STATUS={}", "x".repeat(5000));
        for (message, status) in [
            ("STATUS= up ", Some(2)),
            (&long, Some(200)),
            ("STATUS=", None),
        ] {
            for word in words(message.as_bytes()) {
                notified.take(word, Instant::now());
            }
            assert_eq!(notified.status().map(str::len), status);
        }
    }
}
