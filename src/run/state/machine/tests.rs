//! The whole table, and what must hold over any sequence.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::plan::model::RestartPolicy;
use crate::run::reason::{Blocker, BlockerState, HookEnd, PortTrouble, UnitRef};
use crate::run::snapshot::Phase;
use crate::support::name::ServiceName;

fn settings(when: RestartWhen, has_readiness: bool) -> Settings {
    Settings {
        policy: RestartPolicy::with(when, None),
        success_exit_codes: vec![3],
        grace: Duration::from_secs(10),
        has_readiness,
        restarts_unhealthy: false,
        is_shell_line: false,
        hooks: Vec::new(),
        is_scheduled: false,
    }
}

/// Something of it is left, for whose completion nobody waits.
const LEFT: Occurrence = Occurrence::TreeLeft { is_awaited: false };

fn taken() -> PortTrouble {
    PortTrouble::Taken {
        port: 8000,
        pid: 7,
        command: "nc".to_owned(),
        bound_to: "127.0.0.1".to_owned(),
    }
}

fn not_found() -> StartError {
    StartError::NotFound {
        name: "nope".to_owned(),
    }
}

fn hook_failure() -> HookFailure {
    HookFailure {
        time: HookTime::PreStart,
        command: "x".to_owned(),
        end: HookEnd::Exited {
            exit: Exit::Code(1),
        },
    }
}

/// With hooks of every time.
fn hooked(settings: Settings) -> Settings {
    Settings {
        hooks: vec![HookTime::PreStart, HookTime::PostStart, HookTime::PreStop],
        ..settings
    }
}

fn blocker() -> Blocker {
    Blocker {
        unit: UnitRef {
            service: ServiceName::new("db").unwrap(),
            replica: 1,
            replicas: 1,
        },
        state: BlockerState::Stopped,
    }
}

/// Executes a unit that waits for it, or for the end of its pause.
fn execute(machine: &mut Machine, moment: Moment) {
    let due = machine.deadline().unwrap_or(moment.now);
    let asked = match machine.phase() {
        Phase::Backoff => machine.on(Occurrence::Due, Moment { now: due, ..moment }),
        _ => machine.on(Occurrence::Execute, moment),
    };
    assert_eq!(asked, [Action::Execute]);
    machine.on(Occurrence::Executed, moment);
}

fn states(now: Instant) -> Vec<(&'static str, State)> {
    let stopping = |then, pressure, exit| State::Stopping {
        then,
        pressure,
        exit,
    };
    let executing = |is_preparing, stop| State::Executing { is_preparing, stop };
    let up = |standing| State::Up {
        started: now,
        standing,
    };
    let until = now + Duration::from_secs(10);
    let asked = Pressure::Asked { until };
    let hook = Pressure::Hook { until };
    let content = |pressure| {
        let then = Then::Rest(Rest::Completed);
        stopping(then, pressure, Some(Exit::Code(0)))
    };
    let patience = |is_awaited| Pressure::Patience {
        until: now,
        is_awaited,
    };
    vec![
        ("pending", State::Resting(Rest::Pending)),
        ("waiting", State::Waiting),
        ("executing", executing(false, None)),
        ("preparing", executing(true, None)),
        (
            "executing, not wanted",
            executing(false, Some(Duration::from_secs(10))),
        ),
        (
            "preparing, not wanted",
            executing(true, Some(Duration::from_secs(10))),
        ),
        ("starting", up(Standing::Starting)),
        ("running", up(Standing::Running)),
        ("healthy", up(Standing::Healthy)),
        ("unhealthy", up(Standing::Unhealthy)),
        (
            "in pre_stop",
            stopping(Then::Rest(Rest::Stopped), hook, None),
        ),
        (
            "in pre_stop, ended",
            stopping(Then::Rest(Rest::Stopped), hook, Some(Exit::Code(0))),
        ),
        ("stopping", stopping(Then::Rest(Rest::Stopped), asked, None)),
        (
            "stopping, main ended",
            stopping(Then::Rest(Rest::Stopped), asked, Some(Exit::Code(0))),
        ),
        (
            "killed",
            stopping(
                Then::Rest(Rest::Stopped),
                Pressure::Killed { until },
                Some(Exit::Signal(9)),
            ),
        ),
        ("ended, tree unknown", content(Pressure::Unknown)),
        (
            "failed, tree unknown",
            stopping(
                Then::Rest(Rest::Failed(Failure::Exited(Exit::Code(1)))),
                Pressure::Unknown,
                Some(Exit::Code(1)),
            ),
        ),
        ("ended, rest lingers", content(patience(false))),
        ("awaited, rest lingers", content(patience(true))),
        ("backoff", State::Backoff { until: now }),
        ("scheduled", State::Scheduled(Rest::Completed)),
        ("completed", State::Resting(Rest::Completed)),
        (
            "failed",
            State::Resting(Rest::Failed(Failure::Exited(Exit::Code(1)))),
        ),
        ("stopped", State::Resting(Rest::Stopped)),
    ]
}

fn occurrences() -> Vec<Occurrence> {
    vec![
        Occurrence::Begin,
        Occurrence::Schedule,
        Occurrence::Execute,
        Occurrence::Blocked(blocker()),
        Occurrence::Prepared,
        Occurrence::HookFailed(hook_failure()),
        Occurrence::HooksDone,
        Occurrence::Executed,
        Occurrence::NotExecuted {
            error: not_found(),
            is_temporary: false,
        },
        Occurrence::NotExecuted {
            error: not_found(),
            is_temporary: true,
        },
        Occurrence::Passed,
        Occurrence::FailedChecks,
        Occurrence::Leaving,
        Occurrence::InTrouble(taken()),
        Occurrence::HoldInTheWay,
        Occurrence::Exited(Exit::Code(0)),
        Occurrence::Exited(Exit::Signal(9)),
        Occurrence::TreeEmpty,
        LEFT,
        Occurrence::Stop { grace: None },
        Occurrence::Kill,
        Occurrence::Due,
    ]
}

#[test]
fn every_state_meets_every_occurrence() {
    let now = Instant::now();
    let mut table = String::new();
    for (name, state) in states(now) {
        for occurrence in occurrences() {
            let mut machine = Machine::new(settings(RestartWhen::OnFailure, true));
            machine.state = state.clone();
            let moment = Moment { now, jitter: 0.5 };
            let actions = machine.on(occurrence.clone(), moment);
            let after = machine.phase().word();
            let short = format!("{occurrence:?}");
            let changed = if machine.state == state { "·" } else { after };
            writeln!(table, "{name:<21} {short:<66} {changed:<10} {actions:?}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// Of a service with hooks only these are other than above.
#[test]
fn hooks_come_first_and_last() {
    let now = Instant::now();
    let mut table = String::new();
    for (name, state) in states(now) {
        for occurrence in occurrences() {
            let meet = |settings: Settings| {
                let mut machine = Machine::new(settings);
                machine.state = state.clone();
                let actions = machine.on(occurrence.clone(), Moment { now, jitter: 0.5 });
                (actions, machine)
            };
            let bare = settings(RestartWhen::OnFailure, true);
            let (actions, after) = meet(hooked(bare.clone()));
            if actions != meet(bare).0 {
                let short = format!("{occurrence:?}");
                let after = after.phase().word();
                writeln!(table, "{name:<21} {short:<25} {after:<10} {actions:?}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_prepares_a_service_is_not_repeated_once_it_has_passed() {
    let mut machine = Machine::new(hooked(settings(RestartWhen::OnFailure, false)));
    let mut now = Instant::now();
    let moment = |now| Moment { now, jitter: 0.5 };
    let prepare = [Action::BeginHooks(HookTime::PreStart)];
    machine.on(Occurrence::Begin, moment(now));
    assert_eq!(machine.on(Occurrence::Execute, moment(now)), prepare);
    machine.on(Occurrence::HookFailed(hook_failure()), moment(now));
    assert_eq!(
        (machine.attempt(), machine.failures()),
        (1, 1),
        "a failed start"
    );
    now = machine.deadline().unwrap();
    assert_eq!(machine.on(Occurrence::Due, moment(now)), prepare);
    assert_eq!(
        machine.on(Occurrence::Prepared, moment(now)),
        [Action::Execute]
    );
    machine.on(Occurrence::Executed, moment(now));
    machine.on(Occurrence::Exited(Exit::Code(1)), moment(now));
    machine.on(Occurrence::TreeEmpty, moment(now));
    now = machine.deadline().unwrap();
    assert_eq!(machine.on(Occurrence::Due, moment(now)), [Action::Execute]);
    machine.on(Occurrence::Executed, moment(now));
    machine.on(Occurrence::Stop { grace: None }, moment(now));
    machine.on(Occurrence::HooksDone, moment(now));
    machine.on(Occurrence::Exited(Exit::Signal(15)), moment(now));
    machine.on(Occurrence::TreeEmpty, moment(now));
    machine.on(Occurrence::Begin, moment(now));
    assert_eq!(
        machine.on(Occurrence::Execute, moment(now)),
        prepare,
        "somebody starts it anew"
    );
}

#[test]
fn what_prepares_a_service_is_given_up_as_its_policy_says() {
    for (limit, restarts) in [(None, None), (Some(1), Some(1))] {
        let when = limit.map_or(RestartWhen::Never, |_| RestartWhen::OnFailure);
        let mut machine = Machine::new(Settings {
            policy: RestartPolicy::with(when, limit),
            ..hooked(settings(when, false))
        });
        let mut now = Instant::now();
        machine.on(Occurrence::Begin, Moment { now, jitter: 0.5 });
        machine.on(Occurrence::Execute, Moment { now, jitter: 0.5 });
        for _ in 0..=limit.unwrap_or(0) {
            let failed = Occurrence::HookFailed(hook_failure());
            machine.on(failed, Moment { now, jitter: 0.5 });
            now = machine.deadline().unwrap_or(now);
            machine.on(Occurrence::Due, Moment { now, jitter: 0.5 });
        }
        let failure = Failure::NotPrepared {
            failure: hook_failure(),
            restarts,
        };
        assert_eq!(machine.state(), &State::Resting(Rest::Failed(failure)));
    }
}

#[test]
fn a_main_process_that_ends_under_its_last_hook_waits_for_that() {
    let mut machine = Machine::new(hooked(settings(RestartWhen::Always, false)));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.state = State::Up {
        started: moment.now,
        standing: Standing::Running,
    };
    assert_eq!(
        machine.on(Occurrence::Stop { grace: None }, moment),
        [Action::EndChecks, Action::BeginHooks(HookTime::PreStop)]
    );
    machine.on(Occurrence::Exited(Exit::Code(0)), moment);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.phase(), Phase::Stopping);
    assert_eq!(
        machine.on(Occurrence::HooksDone, moment),
        [Action::CheckTree]
    );
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.state(), &State::Resting(Rest::Stopped));
}

#[test]
fn a_crash_loop_backs_off_and_a_good_run_forgives() {
    let mut machine = Machine::new(settings(RestartWhen::Always, false));
    let mut now = Instant::now();
    machine.on(Occurrence::Begin, Moment { now, jitter: 0.5 });
    let mut delays = Vec::new();
    for run in [0, 0, 0, 20, 0] {
        let moment = |now| Moment { now, jitter: 0.5 };
        execute(&mut machine, moment(now));
        now += Duration::from_secs(run);
        machine.on(Occurrence::Exited(Exit::Code(1)), moment(now));
        machine.on(Occurrence::TreeEmpty, moment(now));
        let until = machine.deadline().unwrap();
        delays.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(delays, [100, 200, 400, 100, 200]);
}

#[test]
fn on_failure_gives_up_after_its_restarts_and_says_so() {
    let mut machine = Machine::new(Settings {
        policy: RestartPolicy::with(RestartWhen::OnFailure, Some(2)),
        ..settings(RestartWhen::OnFailure, false)
    });
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    for _ in 0..3 {
        execute(&mut machine, moment);
        machine.on(Occurrence::Exited(Exit::Code(7)), moment);
        machine.on(Occurrence::TreeEmpty, moment);
    }
    let failure = Failure::GaveUp {
        exit: Exit::Code(7),
        restarts: 2,
    };
    assert_eq!(machine.state(), &State::Resting(Rest::Failed(failure)));
    assert_eq!(machine.attempt(), 3);
}

#[test]
fn a_shell_that_finds_no_command_is_not_started_again() {
    let mut machine = Machine::new(Settings {
        restarts_unhealthy: false,
        is_shell_line: true,
        ..settings(RestartWhen::Always, false)
    });
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    execute(&mut machine, moment);
    machine.on(Occurrence::Exited(Exit::Code(127)), moment);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(
        machine.state(),
        &State::Resting(Rest::Failed(Failure::Exited(Exit::Code(127))))
    );
}

#[test]
fn a_success_code_of_the_file_completes() {
    let mut machine = Machine::new(settings(RestartWhen::OnFailure, false));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    execute(&mut machine, moment);
    machine.on(Occurrence::Exited(Exit::Code(3)), moment);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.state(), &State::Resting(Rest::Completed));
    assert!(machine.has_completed());
}

#[test]
fn what_appears_after_the_kill_is_killed_and_what_stays_is_given_up() {
    let mut machine = Machine::new(settings(RestartWhen::Always, false));
    let start = Instant::now();
    let after = |seconds| Moment {
        now: start + Duration::from_secs(seconds),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, after(0));
    execute(&mut machine, after(0));
    machine.on(Occurrence::Stop { grace: None }, after(0));
    // Its leader goes, somebody in another group stays and is asked.
    machine.on(Occurrence::Exited(Exit::Code(0)), after(1));
    let asked = machine.on(LEFT, after(1));
    assert_eq!(asked, [Action::SignalStrays]);
    assert_eq!(
        machine.on(Occurrence::Due, after(10)),
        [Action::KillTree],
        "the grace is one for the whole tree"
    );
    // Something was forked meanwhile.
    assert_eq!(machine.on(LEFT, after(11)), [Action::KillTree]);
    assert_eq!(machine.on(Occurrence::Due, after(12)), []);
    assert_eq!(
        machine.state(),
        &State::Resting(Rest::Failed(Failure::Unkillable))
    );
    // No second copy beside it, whoever asks.
    assert_eq!(machine.on(Occurrence::Begin, after(13)), []);
    assert_eq!(machine.on(Occurrence::Execute, after(13)), []);
    assert_eq!(machine.deadline(), None, "nobody waits for it any more");
}

#[test]
fn a_success_beside_an_intruder_is_a_failure_and_the_next_attempt_starts_clean() {
    for (when, expected) in [
        (RestartWhen::Never, "failed"),
        (RestartWhen::OnFailure, "backoff"),
    ] {
        let mut machine = Machine::new(settings(when, true));
        let moment = Moment {
            now: Instant::now(),
            jitter: 0.5,
        };
        machine.on(Occurrence::Begin, moment);
        execute(&mut machine, moment);
        machine.on(Occurrence::InTrouble(taken()), moment);
        machine.on(Occurrence::Exited(Exit::Code(0)), moment);
        machine.on(Occurrence::TreeEmpty, moment);
        assert_eq!(machine.phase().word(), expected);
        assert_eq!(machine.trouble(), Some(&taken()));
        assert!(!machine.has_completed());
        machine.on(Occurrence::Begin, moment);
        execute(&mut machine, moment);
        assert_eq!(machine.trouble(), None);
    }
}

/// Becomes ready, then ends with success while something of it is left.
fn leave(machine: &mut Machine, moment: Moment, is_awaited: bool) -> Instant {
    execute(machine, moment);
    machine.on(Occurrence::Passed, moment);
    machine.on(Occurrence::Exited(Exit::Code(0)), moment);
    let asked = machine.on(Occurrence::TreeLeft { is_awaited }, moment);
    assert_eq!(
        asked,
        [],
        "a child that its parent's end ends needs a moment"
    );
    machine.deadline().unwrap()
}

#[test]
fn leaving_the_foreground_is_a_failure_of_whom_more_is_expected_than_to_end() {
    let (never, on_failure, always) = (
        RestartWhen::Never,
        RestartWhen::OnFailure,
        RestartWhen::Always,
    );
    for (when, has_readiness, is_awaited, expected) in [
        (never, false, false, (Phase::Completed, false)),
        (never, true, true, (Phase::Completed, false)),
        (never, true, false, (Phase::Failed, true)),
        (on_failure, true, true, (Phase::Completed, false)),
        (on_failure, false, false, (Phase::Backoff, true)),
        (always, false, true, (Phase::Backoff, false)),
        (always, false, false, (Phase::Backoff, true)),
    ] {
        let mut machine = Machine::new(settings(when, has_readiness));
        let moment = Moment {
            now: Instant::now(),
            jitter: 0.5,
        };
        machine.on(Occurrence::Begin, moment);
        let now = leave(&mut machine, moment, is_awaited);
        let over = Moment { now, ..moment };
        assert_eq!(machine.on(Occurrence::Due, over), [Action::SignalRest]);
        let grace = machine.deadline().unwrap() - now;
        assert_eq!(grace, Duration::from_secs(10), "it may be the service");
        machine.on(Occurrence::TreeEmpty, over);
        let seen = (machine.phase(), machine.is_in_background());
        assert_eq!(seen, expected, "{when:?}, {has_readiness}, {is_awaited}");
        assert_eq!(
            machine.has_completed(),
            expected == (Phase::Completed, false) || is_awaited
        );
    }
}

#[test]
fn what_goes_with_its_parent_was_not_put_in_the_background() {
    let mut machine = Machine::new(settings(RestartWhen::Never, true));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    leave(&mut machine, moment, false);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.state(), &State::Resting(Rest::Completed));
}

#[test]
fn what_is_left_of_one_that_was_never_ready_is_not_waited_for() {
    let mut machine = Machine::new(settings(RestartWhen::Never, true));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    execute(&mut machine, moment);
    machine.on(Occurrence::Exited(Exit::Code(0)), moment);
    assert_eq!(machine.on(LEFT, moment), [Action::SignalRest]);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.phase(), Phase::Failed);
    assert!(machine.is_in_background());
}

#[test]
fn a_stop_ends_the_patience_and_no_restart_follows() {
    let mut machine = Machine::new(settings(RestartWhen::Always, true));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    leave(&mut machine, moment, false);
    let asked = machine.on(Occurrence::Stop { grace: None }, moment);
    assert_eq!(asked, [Action::SignalRest]);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!(machine.state(), &State::Resting(Rest::Stopped));
}

#[test]
fn who_always_leaves_the_foreground_gives_up_and_starts_clean_when_asked() {
    let mut machine = Machine::new(Settings {
        policy: RestartPolicy::with(RestartWhen::OnFailure, Some(1)),
        ..settings(RestartWhen::OnFailure, true)
    });
    let mut moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    for _ in 0..2 {
        moment.now = leave(&mut machine, moment, false);
        machine.on(Occurrence::Due, moment);
        machine.on(Occurrence::TreeEmpty, moment);
        assert!(machine.is_in_background());
    }
    let exit = Exit::Code(0);
    let failure = Failure::GaveUp { exit, restarts: 1 };
    assert_eq!(machine.state(), &State::Resting(Rest::Failed(failure)));
    machine.on(Occurrence::Begin, moment);
    execute(&mut machine, moment);
    assert!(!machine.is_in_background());
}

#[test]
fn what_cannot_be_executed_for_now_is_tried_for_longer_than_a_port_is_kept_by_closed_connections() {
    let mut machine = Machine::new(Settings {
        policy: RestartPolicy {
            delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            ..RestartPolicy::with(RestartWhen::Always, None)
        },
        ..settings(RestartWhen::Always, true)
    });
    let mut now = Instant::now();
    let moment = |now| Moment { now, jitter: 0.5 };
    machine.on(Occurrence::Begin, moment(now));
    // It has crashed a few times before.
    for _ in 0..7 {
        execute(&mut machine, moment(now));
        machine.on(Occurrence::Exited(Exit::Code(1)), moment(now));
        machine.on(Occurrence::TreeEmpty, moment(now));
    }
    let failures = machine.failures();
    let not_executed = || Occurrence::NotExecuted {
        error: StartError::Port { trouble: taken() },
        is_temporary: true,
    };
    let begun = now;
    while machine.phase() == Phase::Backoff {
        let due = machine.deadline().unwrap();
        assert!(
            due - now <= Duration::from_secs(2),
            "soon after it can be had"
        );
        now = due;
        assert_eq!(machine.on(Occurrence::Due, moment(now)), [Action::Execute]);
        assert_eq!(machine.failures(), failures, "nothing has failed");
        machine.on(not_executed(), moment(now));
    }
    assert_eq!(machine.phase(), Phase::Failed);
    assert!(now - begun > Duration::from_secs(90), "{:?}", now - begun);
}

#[test]
fn a_hold_in_the_way_costs_neither_a_failure_nor_a_delay() {
    let mut machine = Machine::new(settings(RestartWhen::Never, true));
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    machine.on(Occurrence::Begin, moment);
    execute(&mut machine, moment);
    machine.on(Occurrence::HoldInTheWay, moment);
    machine.on(Occurrence::Exited(Exit::Code(1)), moment);
    machine.on(Occurrence::TreeEmpty, moment);
    assert_eq!((machine.phase(), machine.failures()), (Phase::Waiting, 0));
    assert_eq!(machine.on(Occurrence::Execute, moment), [Action::Execute]);
}

proptest! {
    /// After a stop, nothing is executed until somebody asks for a start; and no second attempt
    /// is executed while the first one's main process has not been seen to end.
    #[test]
    fn a_stop_wins_and_attempts_never_overlap(
        steps in prop::collection::vec(0..occurrences().len(), 1..80),
        readiness: bool,
        is_scheduled: bool,
    ) {
        let settings = settings(RestartWhen::Always, readiness);
        let mut machine = Machine::new(Settings { is_scheduled, ..settings });
        let mut now = Instant::now();
        let all = occurrences();
        let (mut is_wanted, mut is_alive) = (false, false);
        for step in steps {
            now += Duration::from_secs(1);
            let occurrence = all[step].clone();
            // Reports of the kernel come only when they can.
            let possible = match &occurrence {
                Occurrence::Executed | Occurrence::NotExecuted { .. } => false,
                Occurrence::Exited(_) => is_alive,
                Occurrence::TreeEmpty => !is_alive,
                _ => true,
            };
            if !possible { continue; }
            match &occurrence {
                Occurrence::Begin | Occurrence::Schedule => is_wanted = true,
                Occurrence::Stop { .. } | Occurrence::Kill => is_wanted = false,
                Occurrence::Exited(_) => is_alive = false,
                _ => {}
            }
            let moment = Moment { now, jitter: 0.5 };
            let actions = machine.on(occurrence, moment);
            if actions.contains(&Action::Execute) {
                prop_assert!(is_wanted, "executed after a stop");
                prop_assert!(!is_alive, "two attempts at once");
                machine.on(Occurrence::Executed, moment);
                is_alive = true;
            }
            if let Some(deadline) = machine.deadline() {
                prop_assert!(deadline <= now + Duration::from_secs(67), "a wait without end");
            }
        }
    }
}

/// A unit that asks for a restart when it is unhealthy, with at most `limit` in a row.
fn restarting(limit: Option<u32>) -> Machine {
    let settings = settings(RestartWhen::Never, true);
    Machine::new(Settings {
        policy: RestartPolicy {
            max_attempts: limit,
            ..settings.policy
        },
        restarts_unhealthy: true,
        ..settings
    })
}

#[test]
fn an_unhealthy_unit_is_restarted_in_the_row_of_its_failures() {
    let now = Instant::now();
    let at = |seconds| Moment {
        now: now + Duration::from_secs(seconds),
        jitter: 0.5,
    };
    let mut machine = restarting(None);
    for occurrence in [Occurrence::Begin, Occurrence::Execute, Occurrence::Executed] {
        machine.on(occurrence, at(0));
    }
    for (row, delay) in [(1, 100), (2, 200)] {
        let actions = machine.on(Occurrence::FailedChecks, at(1));
        assert_eq!(actions, [Action::EndChecks, Action::SignalStop]);
        assert_eq!(machine.failures(), row);
        machine.on(Occurrence::Exited(Exit::Signal(15)), at(1));
        machine.on(Occurrence::TreeEmpty, at(1));
        let State::Backoff { until } = machine.state() else {
            panic!("{:?}", machine.state());
        };
        assert_eq!(*until, at(1).now + Duration::from_millis(delay));
        machine.on(Occurrence::Due, at(2));
        machine.on(Occurrence::Executed, at(2));
    }
    // After a good run the row begins anew.
    machine.on(Occurrence::Passed, at(2));
    machine.on(Occurrence::FailedChecks, at(60));
    assert_eq!(machine.failures(), 1);
}

#[test]
fn an_unhealthy_unit_without_a_restart_left_stays_unhealthy() {
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    let mut machine = restarting(Some(0));
    for occurrence in [Occurrence::Begin, Occurrence::Execute, Occurrence::Executed] {
        machine.on(occurrence, moment);
    }
    assert_eq!(machine.on(Occurrence::FailedChecks, moment), []);
    let is_unhealthy = |machine: &Machine| {
        let standing = Standing::Unhealthy;
        matches!(machine.state(), State::Up { standing: found, .. } if *found == standing)
    };
    assert!(is_unhealthy(&machine), "{:?}", machine.state());
}

/// One that has a schedule, and fails as its policy says before a run is over.
fn scheduled(when: RestartWhen, limit: Option<u32>) -> Machine {
    Machine::new(Settings {
        policy: RestartPolicy::with(when, limit),
        is_scheduled: true,
        ..settings(when, false)
    })
}

#[test]
fn a_run_by_a_schedule_is_followed_by_a_rest_until_the_next_one() {
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    let mut machine = scheduled(RestartWhen::Never, None);
    machine.on(Occurrence::Schedule, moment);
    assert_eq!(machine.state(), &State::Scheduled(Rest::Pending));
    for (code, rest) in [
        (0, Rest::Completed),
        (1, Rest::Failed(Failure::Exited(Exit::Code(1)))),
    ] {
        machine.on(Occurrence::Due, moment);
        assert_eq!(machine.phase(), Phase::Waiting);
        execute(&mut machine, moment);
        machine.on(Occurrence::Due, moment);
        assert_eq!(machine.phase(), Phase::Running, "no second run beside it");
        machine.on(Occurrence::Exited(Exit::Code(code)), moment);
        machine.on(Occurrence::TreeEmpty, moment);
        assert_eq!(machine.state(), &State::Scheduled(rest));
    }
    assert_eq!((machine.attempt(), machine.retries()), (2, Some(0)));
    machine.on(Occurrence::Due, moment);
    assert_eq!(machine.failures(), 0, "each run is judged by itself");
    machine.on(Occurrence::Blocked(blocker()), moment);
    assert_eq!(machine.phase(), Phase::Scheduled);
    machine.on(Occurrence::Stop { grace: None }, moment);
    assert_eq!(machine.state(), &State::Resting(Rest::Stopped));
}

#[test]
fn a_run_by_a_schedule_is_repeated_as_the_policy_says() {
    let mut moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    let mut machine = scheduled(RestartWhen::OnFailure, Some(1));
    machine.on(Occurrence::Begin, moment);
    for phase in [Phase::Backoff, Phase::Scheduled] {
        moment.now = machine.deadline().unwrap_or(moment.now);
        execute(&mut machine, moment);
        machine.on(Occurrence::Exited(Exit::Code(1)), moment);
        machine.on(Occurrence::TreeEmpty, moment);
        assert_eq!(machine.phase(), phase);
    }
    assert_eq!((machine.attempt(), machine.retries()), (2, Some(1)));
}

#[test]
fn a_stop_that_comes_while_a_run_ends_is_the_end_of_the_schedule() {
    let moment = Moment {
        now: Instant::now(),
        jitter: 0.5,
    };
    for stop in [Occurrence::Stop { grace: None }, Occurrence::Kill] {
        let mut machine = scheduled(RestartWhen::Never, None);
        machine.on(Occurrence::Begin, moment);
        execute(&mut machine, moment);
        machine.on(Occurrence::Exited(Exit::Code(1)), moment);
        machine.on(stop, moment);
        machine.on(Occurrence::TreeEmpty, moment);
        assert_eq!(machine.state(), &State::Resting(Rest::Stopped));
    }
}
