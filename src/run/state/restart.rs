//! Whether and when a service that ended is started again (design 5.3).

use std::time::Duration;

/// Which ends are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartWhen {
    /// None.
    Never,
    /// Failures: a code that is no success, or a signal that `stack` did not send.
    OnFailure,
    /// All but those that `stack` asked for.
    Always,
}

/// A service's restart policy, every value settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends.
    pub when: RestartWhen,
    /// How many restarts in a row are made at most; `None` is without limit.
    pub max_attempts: Option<u32>,
    /// Before the first restart of a row.
    pub delay: Duration,
    /// The delay doubles up to this.
    pub max_delay: Duration,
    /// A run that lasts as long ends the row.
    pub window: Duration,
}

impl RestartPolicy {
    /// The engine's figures: 100 ms doubling to 60 s, back to the start after 10 s of good running.
    pub const fn with(when: RestartWhen, max_attempts: Option<u32>) -> Self {
        Self {
            when,
            max_attempts,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(60),
            window: Duration::from_secs(10),
        }
    }

    /// The delay before the `nth` restart in a row, from 1. `jitter` lies in 0..1 and spreads it by
    /// ±10 %, so that services that fell together do not rise together.
    pub fn delay_before(&self, nth: u32, jitter: f64) -> Duration {
        let doublings = nth.saturating_sub(1).min(30);
        let nominal = self.delay.saturating_mul(1 << doublings).min(self.max_delay);
        nominal.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap() {
        let policy = RestartPolicy::with(RestartWhen::Always, None);
        let nominal: Vec<u128> =
            (1..=12).map(|nth| policy.delay_before(nth, 0.5).as_millis()).collect();
        assert_eq!(
            nominal,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
        );
        assert_eq!(policy.delay_before(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let policy = RestartPolicy::with(RestartWhen::Always, None);
        assert_eq!(policy.delay_before(1, 0.0).as_millis(), 90);
        assert_eq!(policy.delay_before(1, 1.0).as_millis(), 110);
    }

    #[test]
    fn no_delay_stays_no_delay() {
        let policy = RestartPolicy {
            delay: Duration::ZERO,
            ..RestartPolicy::with(RestartWhen::Always, None)
        };
        assert_eq!(policy.delay_before(9, 1.0), Duration::ZERO);
    }
}
