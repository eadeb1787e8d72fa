//! When to look whether a service is well, and what the answers amount to (design 5.2).
//!
//! The counted checks follow the container engine: the first one interval after the start, the
//! next one interval after the last one's end, `retries` failures in a row make it unhealthy, a
//! failure inside `start_period` does not count until it was healthy once. While it is starting,
//! extra checks run beside them, at once and then ever more slowly; they can only make it healthy.
//! What passes at once may have been there before the service: somebody else's server on the port, a
//! file of the last run. So the pass of an extra check is doubted while the service is young and
//! nothing has failed yet.

use std::time::Duration;

use tokio::time::Instant;

/// The settled times of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HealthTiming {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    /// For how long after the start the pass of an extra check needs a failure before it.
    pub(crate) doubt: Duration,
}

/// Whether a check is one that the engine would make, or one of ours between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Counted,
    Extra,
}

/// Something to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckStep {
    /// Begin the check with this number.
    Begin { id: u64 },
    /// Kill the check with this number; its answer is of no interest any more.
    Cancel { id: u64 },
}

/// What an answer, or the lack of one, amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing new.
    Unchanged,
    /// It is healthy from now on.
    Healthy,
    /// It is unhealthy from now on.
    Unhealthy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    id: u64,
    kind: ProbeKind,
    begun: Instant,
}

/// After this long without success extra checks are made more rarely: whoever is not ready by then
/// will not be in the next moment either.
const LONG: Duration = Duration::from_secs(60);

/// By how much more rarely.
const RARER: u32 = 5;

/// The first pause between extra checks; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The schedule of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    timing: HealthTiming,
    /// Whether there are counted checks at all. Looking for a listening port makes none: it can
    /// make a service ready, never unhealthy.
    is_counted: bool,
    status: Status,
    started: Instant,
    streak: u32,
    /// From when on an extra check's pass counts: what passes after a failure has come with the attempt.
    trusted_from: Instant,
    counted_due: Instant,
    extra_due: Instant,
    pause: Duration,
    in_flight: Option<InFlight>,
    last_id: u64,
}

impl Health {
    /// The schedule of a service that was executed at `now`. `first_id` is the number before the
    /// first check's: numbers must not repeat over attempts, or a late answer could be mistaken.
    pub(crate) fn new(timing: HealthTiming, is_counted: bool, now: Instant, first_id: u64) -> Self {
        let first = if timing.start_period.is_zero() {
            timing.interval
        } else {
            timing.start_interval
        };
        Self {
            timing,
            is_counted,
            status: Status::Starting,
            started: now,
            streak: 0,
            trusted_from: now + timing.doubt,
            counted_due: now + first,
            extra_due: now,
            pause: FIRST_PAUSE,
            in_flight: None,
            last_id: first_id,
        }
    }

    /// The number of the last check that was begun.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// When [`Self::due`] must be called; `None` when nothing is left to look for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let timeout = self
            .in_flight
            .map(|check| check.begun + self.timing.timeout);
        let counted = match self.in_flight {
            Some(InFlight {
                kind: ProbeKind::Counted,
                ..
            }) => None,
            Some(InFlight {
                kind: ProbeKind::Extra,
                ..
            })
            | None => self.is_counted.then_some(self.counted_due),
        };
        let extra =
            (self.in_flight.is_none() && self.status == Status::Starting).then_some(self.extra_due);
        [timeout, counted, extra].into_iter().flatten().min()
    }

    /// Moves every time by `gap`.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.started += gap;
        self.trusted_from += gap;
        self.counted_due += gap;
        self.extra_due += gap;
        if let Some(check) = &mut self.in_flight {
            check.begun += gap;
        }
    }

    /// Does what has fallen due by `now`.
    pub(crate) fn due(&mut self, now: Instant) -> (Vec<CheckStep>, Verdict) {
        let mut steps = Vec::new();
        let mut verdict = Verdict::Unchanged;
        if let Some(check) = self.in_flight
            && now >= check.begun + self.timing.timeout
        {
            steps.push(CheckStep::Cancel { id: check.id });
            verdict = self.answered(check, false, now);
        }
        let is_counted_running = matches!(
            self.in_flight,
            Some(InFlight {
                kind: ProbeKind::Counted,
                ..
            })
        );
        if self.is_counted && !is_counted_running && now >= self.counted_due {
            if let Some(extra) = self.in_flight.take() {
                steps.push(CheckStep::Cancel { id: extra.id });
            }
            steps.push(self.begin(ProbeKind::Counted, now));
        } else if self.in_flight.is_none()
            && self.status == Status::Starting
            && now >= self.extra_due
        {
            steps.push(self.begin(ProbeKind::Extra, now));
        }
        (steps, verdict)
    }

    fn begin(&mut self, kind: ProbeKind, now: Instant) -> CheckStep {
        self.last_id += 1;
        self.in_flight = Some(InFlight {
            id: self.last_id,
            kind,
            begun: now,
        });
        CheckStep::Begin { id: self.last_id }
    }

    /// Notes that what made the service healthy is gone, seen by other means than a check. The next
    /// check that passes makes it healthy again; where no check would come, one is due at once.
    pub(crate) fn lose(&mut self, now: Instant) {
        self.status = if self.is_counted {
            Status::Unhealthy
        } else {
            Status::Starting
        };
        self.trusted_from = self.trusted_from.min(now);
        self.pause = FIRST_PAUSE;
        self.extra_due = now + self.pause;
    }

    /// Doubts what extra checks say until `until`, whatever they have said before.
    pub(crate) fn doubt(&mut self, until: Instant) {
        self.trusted_from = until;
    }

    /// What is looked at has changed: it is looked at now rather than when a check is due.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.extra_due = self.extra_due.min(now);
        if self.status == Status::Unhealthy {
            self.counted_due = self.counted_due.min(now);
        }
    }

    /// Takes in an answer. One that nobody waits for any more changes nothing.
    pub(crate) fn finished(&mut self, id: u64, passed: bool, now: Instant) -> Verdict {
        match self.in_flight {
            Some(check) if check.id == id => self.answered(check, passed, now),
            Some(_) | None => Verdict::Unchanged,
        }
    }

    fn answered(&mut self, check: InFlight, passed: bool, now: Instant) -> Verdict {
        self.in_flight = None;
        // The engine asks whether the check *began* within the period.
        let is_excused = self.status == Status::Starting
            && check.begun.saturating_duration_since(self.started) < self.timing.start_period;
        let is_doubted = now < self.trusted_from;
        if !passed {
            self.trusted_from = self.trusted_from.min(now);
        }
        let verdict = match (check.kind, passed) {
            (ProbeKind::Extra, true) if is_doubted => Verdict::Unchanged,
            (ProbeKind::Counted | ProbeKind::Extra, true) => {
                self.streak = 0;
                self.enter(Status::Healthy)
            }
            (ProbeKind::Extra, false) => Verdict::Unchanged,
            (ProbeKind::Counted, false) if is_excused => Verdict::Unchanged,
            (ProbeKind::Counted, false) => {
                self.streak = self.streak.saturating_add(1);
                if self.streak >= self.timing.retries {
                    self.enter(Status::Unhealthy)
                } else {
                    Verdict::Unchanged
                }
            }
        };
        match check.kind {
            ProbeKind::Counted => {
                let is_in_start_period = self.status == Status::Starting
                    && now.saturating_duration_since(self.started) < self.timing.start_period;
                let pause = if is_in_start_period {
                    self.timing.start_interval
                } else {
                    self.timing.interval
                };
                self.counted_due = now + pause;
                // A counted check was a look as well: the extra ones go on after it.
                self.extra_due = self.extra_due.max(now + self.pause);
            }
            ProbeKind::Extra => {
                self.extra_due = now + self.pause;
                if passed && is_doubted {
                    self.extra_due = self.extra_due.min(self.trusted_from);
                }
                let mut longest = self.timing.start_interval.min(self.timing.interval);
                if !self.is_counted && now.saturating_duration_since(self.started) > LONG {
                    longest *= RARER;
                }
                self.pause = (self.pause * 2).min(longest.max(FIRST_PAUSE));
            }
        }
        verdict
    }

    fn enter(&mut self, status: Status) -> Verdict {
        if self.status == status {
            return Verdict::Unchanged;
        }
        self.status = status;
        match status {
            Status::Healthy => Verdict::Healthy,
            Status::Unhealthy => Verdict::Unhealthy,
            Status::Starting => Verdict::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests;
