//! The schedule against the engine's.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> HealthTiming {
    HealthTiming {
        interval: 30 * SECOND,
        timeout: 30 * SECOND,
        retries: 3,
        start_period: Duration::ZERO,
        start_interval: 5 * SECOND,
        doubt: SECOND,
    }
}

/// Drives a schedule for `horizon` with checks that take no time and pass from `well_from` on.
/// Returns when it became healthy and when unhealthy first, since the start.
fn drive(
    timing: HealthTiming,
    with_extra: bool,
    well_from: Duration,
    horizon: Duration,
) -> (Option<Duration>, Option<Duration>) {
    let start = Instant::now();
    let mut health = Health::new(timing, true, start, 0);
    let (mut healthy, mut unhealthy) = (None, None);
    while let Some(now) = health.deadline().filter(|&now| now <= start + horizon) {
        let (steps, _) = health.due(now);
        for step in steps {
            let CheckStep::Begin { id } = step else {
                continue;
            };
            let is_extra = health
                .in_flight
                .is_some_and(|check| check.kind == ProbeKind::Extra);
            let passed = now >= start + well_from && (with_extra || !is_extra);
            match health.finished(id, passed, now) {
                Verdict::Healthy => healthy = healthy.or(Some(now - start)),
                Verdict::Unhealthy => unhealthy = unhealthy.or(Some(now - start)),
                Verdict::Unchanged => {}
            }
        }
    }
    (healthy, unhealthy)
}

#[test]
fn a_service_that_is_up_after_80_ms_is_ready_at_150_ms() {
    let (healthy, _) = drive(timing(), true, Duration::from_millis(80), 60 * SECOND);
    assert_eq!(healthy, Some(Duration::from_millis(150)));
}

#[test]
fn when_it_is_ready_by_when_its_check_passes() {
    let millis = Duration::from_millis;
    for (doubt, interval, well_from, expected) in [
        // What passes at once was there before, unless it is known whose the answer is.
        (SECOND, 30 * SECOND, 0, SECOND),
        (Duration::ZERO, 30 * SECOND, 0, Duration::ZERO),
        // What has failed before has come with the service.
        (SECOND, 30 * SECOND, 1, millis(50)),
        (SECOND, 30 * SECOND, 80, millis(150)),
        (SECOND, 30 * SECOND, 1_000, millis(1_550)),
        // A counted check counts: never later than the engine.
        (SECOND, millis(600), 0, millis(600)),
    ] {
        let timing = HealthTiming {
            interval,
            doubt,
            ..timing()
        };
        let (healthy, _) = drive(timing, true, millis(well_from), 60 * SECOND);
        assert_eq!(
            healthy,
            Some(expected),
            "{doubt:?}, {interval:?}, {well_from}"
        );
    }
}

#[test]
fn three_counted_failures_make_it_unhealthy_when_the_engine_would() {
    let (_, unhealthy) = drive(timing(), true, 1000 * SECOND, 200 * SECOND);
    assert_eq!(unhealthy, Some(90 * SECOND));
}

#[test]
fn a_start_period_excuses_failures() {
    let timing = HealthTiming {
        start_period: 60 * SECOND,
        interval: 10 * SECOND,
        ..timing()
    };
    let (_, unhealthy) = drive(timing, true, 1000 * SECOND, 200 * SECOND);
    // Checks every 5 s up to 55 s are excused; those at 60, 70 and 80 s are not.
    assert_eq!(unhealthy, Some(80 * SECOND));
}

#[test]
fn a_check_that_hangs_is_cancelled_and_counts() {
    let timing = HealthTiming {
        interval: SECOND,
        timeout: 2 * SECOND,
        retries: 1,
        ..timing()
    };
    let start = Instant::now();
    let mut health = Health::new(timing, true, start, 0);
    health.due(start);
    // The extra check of the start hangs until the counted one falls due.
    let (steps, _) = health.due(start + SECOND);
    assert_eq!(
        steps,
        [CheckStep::Cancel { id: 1 }, CheckStep::Begin { id: 2 }]
    );
    let (steps, verdict) = health.due(start + 3 * SECOND);
    assert_eq!(steps, [CheckStep::Cancel { id: 2 }]);
    assert_eq!(verdict, Verdict::Unhealthy);
}

#[test]
fn an_answer_of_a_cancelled_check_changes_nothing() {
    let start = Instant::now();
    let mut health = Health::new(timing(), true, start, 7);
    health.due(start);
    assert_eq!(health.finished(7, true, start), Verdict::Unchanged);
    let late = start + SECOND;
    assert_eq!(health.finished(8, true, late), Verdict::Healthy);
}

/// The look for a listening port, whose owner is known.
fn look() -> HealthTiming {
    HealthTiming {
        doubt: Duration::ZERO,
        ..timing()
    }
}

#[test]
fn what_was_lost_is_looked_for_again() {
    let start = Instant::now();
    let mut health = Health::new(look(), false, start, 0);
    health.due(start);
    assert_eq!(health.finished(1, true, start), Verdict::Healthy);
    health.lose(start + SECOND);
    let due = health.deadline().unwrap();
    assert_eq!(due, start + SECOND + FIRST_PAUSE);
    health.due(due);
    assert_eq!(health.finished(2, true, due), Verdict::Healthy);
}

#[test]
fn what_is_doubted_is_looked_at_again_when_the_doubt_ends() {
    let start = Instant::now();
    let mut health = Health::new(look(), false, start, 0);
    health.due(start);
    health.finished(1, false, start);
    let due = health.deadline().unwrap();
    health.due(due);
    let until = due + SECOND / 100;
    health.doubt(until);
    assert_eq!(health.finished(2, true, due), Verdict::Unchanged);
    assert_eq!(health.deadline(), Some(until));
    health.due(until);
    assert_eq!(health.finished(3, true, until), Verdict::Healthy);
}

#[test]
fn nothing_ticks_once_an_uncounted_schedule_has_passed() {
    let start = Instant::now();
    let mut health = Health::new(look(), false, start, 0);
    health.due(start);
    assert_eq!(health.finished(1, true, start), Verdict::Healthy);
    assert_eq!(health.deadline(), None);
}

proptest! {
    /// Never later than the engine at healthy, never earlier at unhealthy.
    #[test]
    fn extra_checks_only_help(
        interval in 1_u64..40,
        start_interval in 1_u64..10,
        start_period in 0_u64..60,
        retries in 1_u32..5,
        well_from in 0_u64..200_000,
    ) {
        let timing = HealthTiming {
            interval: Duration::from_secs(interval),
            timeout: 30 * SECOND,
            retries,
            start_period: Duration::from_secs(start_period),
            start_interval: Duration::from_secs(start_interval),
            doubt: SECOND,
        };
        let well_from = Duration::from_millis(well_from);
        let ours = drive(timing, true, well_from, 400 * SECOND);
        let engine = drive(timing, false, well_from, 400 * SECOND);
        if let Some(theirs) = engine.0 {
            prop_assert!(ours.0.is_some_and(|healthy| healthy <= theirs));
        }
        if let Some(unhealthy) = ours.1 {
            prop_assert!(engine.1.is_some_and(|theirs| unhealthy >= theirs));
        }
    }

    /// Whatever checks answer, and however long they take: what makes a young service healthy is a
    /// counted check, or one that another has failed before.
    #[test]
    fn an_extra_check_is_trusted_after_a_failure_or_a_second(
        answers in prop::collection::vec((any::<bool>(), 0_u64..400), 1..20),
        interval in 100_u64..3_000,
    ) {
        let timing = HealthTiming { interval: Duration::from_millis(interval), ..timing() };
        let start = Instant::now();
        let mut health = Health::new(timing, true, start, 0);
        let mut has_failed = false;
        for (passed, took) in answers {
            let due = health.deadline().unwrap();
            let (steps, _) = health.due(due);
            let Some(&CheckStep::Begin { id }) = steps.last() else { continue };
            let kind = health.in_flight.unwrap().kind;
            let now = due + Duration::from_millis(took);
            let verdict = health.finished(id, passed, now);
            if verdict == Verdict::Healthy && kind == ProbeKind::Extra {
                prop_assert!(has_failed || now >= start + SECOND);
            }
            if passed && kind == ProbeKind::Extra && now >= start + SECOND {
                prop_assert_ne!(health.status, Status::Starting);
            }
            has_failed |= !passed;
        }
    }
}
