//! Whether and when a service that ended is started again (design 5.3).

use std::time::Duration;

use super::life::{Failure, Rest, Then};
use crate::plan::model::{RestartPolicy, RestartWhen};
use crate::run::snapshot::Exit;

impl RestartPolicy {
    /// What follows from an end by itself, the last one of `failures` in a row.
    pub(super) fn after(&self, exit: Exit, is_success: bool, failures: u32, jitter: f64) -> Then {
        let failure = match self.restart_after(is_success, failures, jitter) {
            Ok(delay) => return Then::Restart { delay },
            Err(Some(restarts)) => Failure::GaveUp { exit, restarts },
            Err(None) => Failure::Exited(exit),
        };
        Then::Rest(if is_success {
            Rest::Completed
        } else {
            Rest::Failed(failure)
        })
    }

    /// After which delay the last end of `failures` in a row is followed by a restart; if by none, after
    /// how many of them it is given up.
    pub(super) fn restart_after(
        &self,
        is_success: bool,
        failures: u32,
        jitter: f64,
    ) -> Result<Duration, Option<u32>> {
        let is_restarted = match self.when {
            RestartWhen::Never => false,
            RestartWhen::OnFailure => !is_success,
            RestartWhen::Always => true,
        };
        let restarts = failures.saturating_sub(1);
        if !is_restarted {
            Err(None)
        } else if self.max_attempts.is_some_and(|limit| restarts >= limit) {
            Err(Some(restarts))
        } else {
            Ok(self.delay_before(failures, jitter))
        }
    }

    /// The delay before the `nth` restart in a row, from 1. `jitter` lies in 0..1 and spreads it by
    /// ±10 %, so that services that fell together do not rise together.
    pub(crate) fn delay_before(&self, nth: u32, jitter: f64) -> Duration {
        let doublings = nth.saturating_sub(1).min(30);
        let nominal = self
            .delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        nominal.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap() {
        let policy = RestartPolicy::with(RestartWhen::Always, None);
        let nominal: Vec<u128> = (1..=12)
            .map(|nth| policy.delay_before(nth, 0.5).as_millis())
            .collect();
        assert_eq!(
            nominal,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000
            ]
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
