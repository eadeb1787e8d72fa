//! The whole table, row by row, and what must hold over any sequence of wishes and events.

use std::fmt::Write as _;

use super::*;
use crate::run::snapshot::Cause;
use crate::run::state::{Desired, Observed};

const PHASES: [Phase; 11] = [
    Phase::Pending,
    Phase::Waiting,
    Phase::Starting,
    Phase::Running,
    Phase::Healthy,
    Phase::Unhealthy,
    Phase::Stopping,
    Phase::Backoff,
    Phase::Completed,
    Phase::Failed,
    Phase::Stopped,
];

const CONDITIONS: [Condition; 3] = [
    Condition::Started,
    Condition::Healthy,
    Condition::CompletedSuccessfully,
];

fn seen(wanted: Wanted, phase: Phase) -> Seen {
    Seen {
        desired: Desired {
            wanted,
            generation: 2,
            cause: Cause::Up,
            grace: None,
            ignores_dependencies: false,
            is_rolling: false,
            runs_now: false,
        },
        observed: Observed {
            phase,
            begun: 2,
            told: 0,
            is_executed: false,
            has_completed: false,
            is_uncertain: false,
            is_unkillable: false,
            healthy_until: None,
        },
    }
}

fn old(seen: Seen) -> Seen {
    Seen {
        observed: Observed {
            begun: 1,
            ..seen.observed
        },
        ..seen
    }
}

fn told(seen: Seen) -> Seen {
    Seen {
        observed: Observed {
            told: 2,
            ..seen.observed
        },
        ..seen
    }
}

fn word(step: &Step<&str>) -> &'static str {
    match step {
        Step::Nothing { .. } => "·",
        Step::Begin => "begin",
        Step::Execute { .. } => "execute",
        Step::Fail { .. } => "fail",
        Step::Stop { .. } => "stop",
        Step::Kill => "kill",
        Step::Spare { .. } => "spare",
    }
}

fn alone(unit: Seen, now: Instant) -> Step<&'static str> {
    reconcile(&unit, [], [], now)
}

#[test]
fn every_wish_meets_every_phase() {
    let now = Instant::now();
    let wishes = [
        ("idle", seen(Wanted::Nothing, Phase::Pending)),
        ("run", seen(Wanted::Running, Phase::Pending)),
        ("run, old", old(seen(Wanted::Running, Phase::Pending))),
        (
            "run, old, told",
            told(old(seen(Wanted::Running, Phase::Pending))),
        ),
        ("stopped", seen(Wanted::Stopped, Phase::Pending)),
        ("stopped, told", told(seen(Wanted::Stopped, Phase::Pending))),
        ("killed", seen(Wanted::Killed, Phase::Pending)),
        ("killed, told", told(seen(Wanted::Killed, Phase::Pending))),
    ];
    let mut table = String::new();
    for (name, wish) in wishes {
        for phase in PHASES {
            let mut unit = wish;
            unit.observed.phase = phase;
            let step = word(&alone(unit, now));
            // Somebody above it is still on its way down.
            let dependent = seen(Wanted::Stopped, Phase::Stopping);
            let held_up = word(&reconcile(&unit, [], [dependent], now));
            let held_up = if held_up == step {
                String::new()
            } else {
                format!(", below one that stops: {held_up}")
            };
            writeln!(table, "{name:<15} {:<10} {step}{held_up}", phase.word()).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_condition_judges_every_phase() {
    let now = Instant::now();
    let letters = |condition, seen: &dyn Fn(Phase) -> Seen| -> String {
        PHASES
            .iter()
            .map(|&phase| match judge(condition, &seen(phase), now) {
                Judgement::Met => 'm',
                Judgement::Unmet { .. } => '.',
                Judgement::Hopeless => 'x',
            })
            .collect()
    };
    let mut table = String::new();
    for condition in CONDITIONS {
        for (name, is_executed, has_completed) in [
            ("never executed", false, false),
            ("executed", true, false),
            ("completed", true, true),
        ] {
            let fresh = |phase| {
                let mut seen = seen(Wanted::Running, phase);
                seen.observed.is_executed = is_executed;
                seen.observed.has_completed = has_completed;
                seen
            };
            let row = letters(condition, &fresh);
            let row_old = letters(condition, &|phase| old(fresh(phase)));
            writeln!(table, "{condition:?}, {name}: {row}, old: {row_old}").unwrap();
        }
        let idle = letters(condition, &|phase| seen(Wanted::Nothing, phase));
        assert_eq!(idle, "mmmmmmmmmmm", "nobody has asked for it");
    }
    // In the order of PHASES.
    insta::assert_snapshot!(table);
}

fn waiting_on(seen: Seen, condition: Condition, is_required: bool) -> Dependency<&'static str> {
    Dependency {
        id: "db",
        condition,
        is_required,
        seen,
    }
}

#[test]
fn a_wait_for_health_ends_at_its_limit_and_an_optional_one_goes_on_without() {
    let now = Instant::now();
    let limit = now + HEALTHY_LIMIT;
    let mut db = seen(Wanted::Running, Phase::Starting);
    db.observed.healthy_until = Some(limit);
    let api = seen(Wanted::Running, Phase::Waiting);
    let step = |is_required, now| {
        let dependency = waiting_on(db, Condition::Healthy, is_required);
        reconcile(&api, [dependency], [], now)
    };
    assert_eq!(step(true, now), Step::Nothing { until: Some(limit) });
    assert_eq!(step(true, limit), Step::Fail { because: "db" });
    let without = vec!["db"];
    assert_eq!(step(false, limit), Step::Execute { without });
}

#[test]
fn what_is_started_without_its_dependencies_does_not_ask_them() {
    let now = Instant::now();
    let db = waiting_on(
        seen(Wanted::Running, Phase::Failed),
        Condition::Healthy,
        true,
    );
    let mut api = seen(Wanted::Running, Phase::Waiting);
    assert_eq!(reconcile(&api, [db], [], now), Step::Fail { because: "db" });
    api.desired.ignores_dependencies = true;
    let step = reconcile(&api, [db], [], now);
    assert_eq!(word(&step), "execute");
}

#[test]
fn nothing_is_begun_beside_what_sigkill_did_not_end() {
    let mut unit = old(seen(Wanted::Running, Phase::Failed));
    assert_eq!(alone(unit, Instant::now()), Step::Begin);
    unit.observed.is_unkillable = true;
    assert_eq!(word(&alone(unit, Instant::now())), "·");
    assert!(unit.is_settled(), "nobody waits for it");
}

#[test]
fn what_rolls_comes_down_once_everything_is_there_for_what_it_becomes() {
    let now = Instant::now();
    let mut rolling = old(seen(Wanted::Running, Phase::Healthy));
    rolling.desired.is_rolling = true;
    assert!(!rolling.holds_up(), "what it depends on goes first");
    let edge = |seen| Dependency {
        id: "db",
        condition: Condition::Healthy,
        is_required: true,
        seen,
    };
    let step = |unit: &Seen, seen| word(&reconcile(unit, [edge(seen)], [], now));
    assert_eq!(word(&alone(rolling, now)), "stop");
    for (db, expected) in [
        (seen(Wanted::Running, Phase::Healthy), "stop"),
        (old(seen(Wanted::Running, Phase::Healthy)), "·"),
        (seen(Wanted::Running, Phase::Starting), "·"),
        (seen(Wanted::Running, Phase::Failed), "spare"),
        (seen(Wanted::Stopped, Phase::Stopped), "spare"),
    ] {
        assert_eq!(step(&rolling, db), expected, "{db:?}");
    }
    let mut alone = rolling;
    alone.desired.ignores_dependencies = true;
    assert_eq!(step(&alone, seen(Wanted::Running, Phase::Failed)), "stop");
    // Once it is on its way down, and where it is down, it is like any other.
    rolling.observed.phase = Phase::Stopping;
    assert!(rolling.holds_up());
    rolling.observed.phase = Phase::Stopped;
    assert_eq!(
        step(&rolling, seen(Wanted::Running, Phase::Failed)),
        "begin"
    );
}
