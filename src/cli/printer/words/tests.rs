use super::*;
use crate::cli::printer::testing::{
    exited, failed, healthy, not_started, port, service, starting, unavailable, waiting,
};
use crate::run::reason::{CheckFailure, PortTrouble};
use crate::run::snapshot::PortState;

/// The texts of a life, change by change; nothing said is a dash.
fn life(snapshots: &[ServiceSnapshot]) -> String {
    let mut previous = None;
    let mut text = String::new();
    for next in snapshots {
        let line = change(previous, next, next.since).map_or_else(
            || "-".to_owned(),
            |said| format!("{:?} {}", said.rank, said.text),
        );
        text.push_str(&line);
        text.push('\n');
        previous = Some(next);
    }
    text
}

#[test]
fn of_a_process_that_is_about_to_make_room_for_another_nothing_is_said() {
    let mut old = healthy("api", 8001, 1_300);
    old.desired.generation = 2;
    let stopping = ServiceSnapshot {
        phase: Phase::Stopping,
        ..old.clone()
    };
    let new = ServiceSnapshot {
        generation: 2,
        desired: old.desired,
        attempt: 2,
        pid: Some(4712),
        ..healthy("api", 8001, 2_300)
    };
    let text = life(&[old, stopping, new]);
    assert_eq!(text.matches("healthy").count(), 1, "{text}");
    assert!(text.starts_with("-\n"), "{text}");
}

#[test]
fn a_life_is_told_without_saying_anything_twice() {
    let base = starting("api", 8001, 1_000);
    let text = life(&[
        service("api"),
        waiting("api", &["db", "cache"]),
        waiting("api", &["db"]),
        waiting("api", &["db"]),
        ServiceSnapshot {
            pid: None,
            ..base.clone()
        },
        base.clone(),
        base.clone(),
        healthy("api", 8001, 1_300),
        ServiceSnapshot {
            phase: Phase::Unhealthy,
            reason: Some(unavailable()),
            ..healthy("api", 8001, 1_300)
        },
        healthy("api", 8001, 9_000),
        ServiceSnapshot {
            phase: Phase::Backoff,
            exit: Some(Exit::Code(1)),
            since: 10_000,
            next_attempt_at: Some(10_200),
            attempt: 2,
            failures: 2,
            ..service("api")
        },
        ServiceSnapshot {
            pid: Some(4712),
            attempt: 3,
            ..base.clone()
        },
        ServiceSnapshot {
            phase: Phase::Backoff,
            exit: Some(Exit::Signal(11)),
            since: 10_000,
            next_attempt_at: Some(22_800),
            attempt: 7,
            failures: 7,
            ..service("api")
        },
        failed(
            "api",
            8,
            Reason::GaveUp {
                exit: Exit::Code(1),
                restarts: 7,
                trouble: None,
                left: None,
            },
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_stop_says_when_it_will_kill_and_how_it_went() {
    let stopping = ServiceSnapshot {
        phase: Phase::Stopping,
        since: 5_000,
        kill_at: Some(15_000),
        ..starting("db", 8001, 1_000)
    };
    let sooner = ServiceSnapshot {
        kill_at: Some(5_001),
        ..stopping.clone()
    };
    let killed = ServiceSnapshot {
        phase: Phase::Stopped,
        since: 15_000,
        exit: Some(Exit::Signal(9)),
        ..service("db")
    };
    let stopped = ServiceSnapshot {
        exit: Some(Exit::Signal(15)),
        since: 5_080,
        ..killed.clone()
    };
    let text = life(&[
        stopping.clone(),
        stopping.clone(),
        sooner,
        killed,
        stopping,
        stopped,
    ]);
    insta::assert_snapshot!(text, @r"
    Step stopping (pid 4001), killed in 10 s
    -
    Step stopping (pid 4001), killed in 1 s
    Trouble killed after 10.0 s
    Step stopping (pid 4001), killed in 10 s
    Outcome stopped
    ");
}

#[test]
fn one_shots_and_what_never_started() {
    let build = ServiceSnapshot {
        ports: Vec::new(),
        is_one_shot: true,
        ..starting("build", 8001, 0)
    };
    let done = ServiceSnapshot {
        phase: Phase::Completed,
        since: 3_400,
        pid: None,
        exit: Some(Exit::Code(0)),
        ..build.clone()
    };
    let running = ServiceSnapshot {
        phase: Phase::Running,
        ..build.clone()
    };
    let text = life(&[build, running, done])
        + &life(&[failed("web", 0, not_started("migrate"))])
        + &life(&[failed("seed", 1, exited())])
        + &life(&[ServiceSnapshot {
            phase: Phase::Running,
            ..starting("plain", 8009, 0)
        }]);
    insta::assert_snapshot!(text, @r"
    Step started (pid 4001)
    -
    Outcome completed after 3.4 s
    Failure not started: migrate exited with code 1
    Failure failed: exited with code 1
    Step started (pid 4009)
    ");
}

#[test]
fn a_port_that_goes_wrong_is_news_within_a_phase() {
    let good = healthy("api", 8001, 1_300);
    let stolen = |pid: i32| ServiceSnapshot {
        ports: vec![PortSnapshot {
            state: PortState::Stolen {
                pid,
                command: "nginx: master".to_owned(),
                bound_to: "127.0.0.1".to_owned(),
            },
            ..port(8001)
        }],
        ..good.clone()
    };
    let wrong = ServiceSnapshot {
        ports: vec![PortSnapshot {
            state: PortState::WrongPort {
                listens_on: vec![5173, 5174],
            },
            ..port(8001)
        }],
        ..good.clone()
    };
    let text = life(&[
        good.clone(),
        stolen(77),
        stolen(77),
        stolen(0),
        wrong,
        good.clone(),
        ServiceSnapshot {
            phase: Phase::Stopping,
            ..good.clone()
        },
        ServiceSnapshot {
            phase: Phase::Stopping,
            ..stolen(78)
        },
    ]);
    insta::assert_snapshot!(text, @r"
    Outcome healthy after 0.3 s at http://localhost:8001/
    Trouble port 8001 was taken by another process on 127.0.0.1: pid 77 (nginx: master)
    -
    Trouble port 8001 was taken by nginx: master on 127.0.0.1
    Trouble it listens on 5173, 5174 instead of 8001
    -
    Step stopping (pid 4001)
    -
    ");
}

#[test]
fn what_is_wrong_from_the_start_is_said_with_the_start() {
    let starting = ServiceSnapshot {
        reason: Some(Reason::Check {
            failure: CheckFailure::Port {
                trouble: PortTrouble::Elsewhere {
                    port: 8036,
                    listens_on: vec![38785],
                },
            },
        }),
        ports: vec![PortSnapshot {
            state: PortState::WrongPort {
                listens_on: vec![38785],
            },
            ..port(8_036)
        }],
        ..starting("w", 8_036, 0)
    };
    let said = change(Some(&service("w")), &starting, 0).unwrap();
    assert_eq!(said.rank, Rank::Trouble);
    assert_eq!(
        said.text,
        "started (pid 4036); it listens on 38785 instead of 8036"
    );
    let healthy = ServiceSnapshot {
        phase: Phase::Healthy,
        reason: None,
        ports: vec![PortSnapshot {
            state: PortState::Stolen {
                pid: 12,
                command: "nginx".to_owned(),
                bound_to: "127.0.0.1".to_owned(),
            },
            ..port(8_036)
        }],
        ..starting.clone()
    };
    let said = change(Some(&starting), &healthy, 0).unwrap();
    assert_eq!(said.rank, Rank::Trouble);
    assert!(
        said.text
            .ends_with("; port 8036 was taken by another process on 127.0.0.1: pid 12 (nginx)"),
        "{said:?}"
    );
}

#[test]
fn numbers_are_readable() {
    assert_eq!(span(99), "99 ms");
    assert_eq!(span(300), "0.3 s");
    assert_eq!(span(59_999), "59.9 s");
    assert_eq!(span(200_000), "3 m 20 s");
}

#[test]
fn the_runs_of_a_schedule_are_told_with_the_next_one() {
    let job = |exit: Option<Exit>, reason| ServiceSnapshot {
        phase: Phase::Scheduled,
        since: 1_300,
        started_at: Some(1_000),
        attempt: u32::from(exit.is_some()),
        exit,
        reason,
        next_run: Some(301_000),
        ..service("job")
    };
    let ran = job(Some(Exit::Code(0)), None);
    let text = life(&[
        job(None, None),
        ServiceSnapshot {
            pid: Some(7),
            phase: Phase::Running,
            ..ran.clone()
        },
        ran.clone(),
        ServiceSnapshot {
            next_run: Some(601_000),
            ..ran.clone()
        },
        ServiceSnapshot {
            pid: Some(8),
            attempt: 2,
            phase: Phase::Running,
            ..ran
        },
        job(Some(Exit::Code(1)), Some(exited())),
    ]);
    let expected = "\
Outcome next run in 5 m
Step started (pid 7)
Step completed after 0.3 s; next run in 5 m
-
Step started (pid 8, attempt 2)
Trouble failed: exited with code 1; next run in 5 m
";
    assert_eq!(text, expected);
}
