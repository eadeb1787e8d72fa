use super::*;
use crate::cli::printer::testing::{failed, healthy, service, starting, unit, waiting};
use crate::cli::style::width;
use crate::run::reason::{CheckFailure, Reason, StartError};
use crate::run::snapshot::{Exit, ServiceSnapshot};

const SCREEN: Size = Size {
    columns: 100,
    rows: 40,
};

fn board(services: &[ServiceSnapshot], now: u64) -> Board {
    let units: Vec<_> = services.iter().map(ServiceSnapshot::unit).collect();
    let mut board = Board::new(&units);
    for service in services {
        board.apply(service.clone(), now);
    }
    board
}

/// The region with a mark at the screen's edge, so that a snapshot shows what was cut.
fn frame(board: &Board, now: u64, size: Size) -> String {
    let lines = render(board, now, size, Palette::MONOCHROME);
    assert!(lines.len() <= size.rows.saturating_sub(ROWS_ABOVE).max(1));
    for line in &lines {
        assert!(width(line) < size.columns.max(MIN_COLUMNS), "{line:?}");
        assert_eq!(line.trim_end(), line);
    }
    lines.join("\n")
}

fn small_stack() -> Vec<ServiceSnapshot> {
    vec![
        ServiceSnapshot {
            phase: Phase::Running,
            is_one_shot: true,
            ports: Vec::new(),
            since: 0,
            ..starting("build", 8_000, 0)
        },
        waiting("backend", &["build", "db"]),
        healthy("db", 8_001, 400),
        starting("ui", 8_002, 1_000),
        service("never-asked-for"),
    ]
}

#[test]
fn a_row_holds_nothing_that_moves_the_cursor() {
    let hostile = Reason::NotExecuted {
        error: StartError::NotFound {
            name: "/no\x1b]52;c;aGk=\x07\x1b[2Jbad".to_owned(),
        },
    };
    let services = [failed("api", 1, hostile), starting("ui", 8_002, 0)];
    let text = frame(&board(&services, 0), 500, SCREEN);
    assert!(
        text.contains("the program `/nobad` is not found"),
        "{text:?}"
    );
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn a_small_stack_on_its_way_up() {
    let mut board = board(&small_stack(), 0);
    board.set_last_line(&unit("build"), "   Compiling serde_json v1.0.154");
    insta::assert_snapshot!(frame(&board, 2_450, SCREEN), @r"
    build    running    2.4 s  pid 4000
    backend  waiting    2.4 s  for build to be healthy, db to be healthy
    db       healthy    0.3 s  http://localhost:8001/
    ui       starting   1.4 s  http://localhost:8002/  pid 4002
    ");
    // After a while the long build shows that it is alive.
    insta::assert_snapshot!(frame(&board, 83_000, SCREEN), @r"
    build    running     1:23  pid 4000  › Compiling serde_json v1.0.154
    backend  waiting     1:23  for build to be healthy, db to be healthy
    db       healthy    0.3 s  http://localhost:8001/
    ui       starting    1:22  http://localhost:8002/  pid 4002
    ");
}

#[test]
fn why_one_is_not_ready_yet_is_worth_more_than_its_address() {
    let reason = ServiceSnapshot {
        reason: Some(Reason::Check {
            failure: CheckFailure::TimedOut,
        }),
        ..starting("ui", 8_002, 1_000)
    };
    let mut board = board(&[reason], 0);
    board.set_last_line(&unit("ui"), "serving");
    insta::assert_snapshot!(frame(&board, 13_000, SCREEN), @"ui  starting    12 s  the check took too long  › serving");
}

#[test]
fn while_everything_stops_the_last_row_says_how_to_kill() {
    let stopping = ServiceSnapshot {
        phase: Phase::Stopping,
        kill_at: Some(10_000),
        ..healthy("api", 8_001, 0)
    };
    let mut board = board(&[stopping], 0);
    board.is_draining = true;
    assert!(!frame(&board, 2_000, SCREEN).contains("Ctrl-C"));
    board.is_draining = true;
    board.can_kill = true;
    insta::assert_snapshot!(frame(&board, 2_000, SCREEN), @r"
    api  stopping     2 s  pid 4001, killed in 8 s
    press Ctrl-C again to kill everything now
    ");
    let lines = render(
        &board,
        2_000,
        Size { rows: 4, ..SCREEN },
        Palette::MONOCHROME,
    );
    assert_eq!(
        lines.len(),
        1,
        "a screen with room for a row shows who is waited for"
    );
}

#[test]
fn a_narrow_screen_cuts_and_stays_aligned() {
    let size = Size {
        columns: 40,
        rows: 10,
    };
    insta::assert_snapshot!(frame(&board(&small_stack(), 0), 2_450, size), @r"
    build    running   pid 4000
    backend  waiting   for build to be hea…
    db       healthy   localhost:8001
    ui       starting  localhost:8002  pid…
    ");
}

#[test]
fn trouble_on_the_way_is_seen() {
    let services = [
        failed("migrate", 1, crate::cli::printer::testing::exited()),
        failed(
            "api",
            0,
            crate::cli::printer::testing::not_started("migrate"),
        ),
        ServiceSnapshot {
            phase: Phase::Backoff,
            exit: Some(Exit::Code(101)),
            since: 1_000,
            next_attempt_at: Some(1_400),
            attempt: 3,
            failures: 3,
            ..service("worker")
        },
        ServiceSnapshot {
            phase: Phase::Unhealthy,
            reason: Some(crate::cli::printer::testing::unavailable()),
            ..healthy("search", 8_004, 1_000)
        },
        starting("web", 8_005, 1_000),
    ];
    insta::assert_snapshot!(frame(&board(&services, 0), 1_300, SCREEN), @r"
    migrate  failed             exited with code 1
    api      failed             not started: migrate exited with code 1
    worker   backoff     0.3 s  exited with code 101; restarting in 0.4 s (attempt 4)
    search   unhealthy   0.3 s  HTTP 503 Service Unavailable from /health  http://localhost:8004/
    web      starting    0.3 s  http://localhost:8005/  pid 4005
    ");
}

#[test]
fn a_hundred_services_on_forty_rows_show_the_interesting_ones() {
    let mut services: Vec<ServiceSnapshot> = (0..100u16)
        .map(|i| {
            let text = format!("service-{i:02}");
            match i {
                45..50 => starting(&text, 8_000 + i, 1_000),
                50..75 => waiting(&text, &["service-49"]),
                _ => healthy(&text, 8_000 + i, 900),
            }
        })
        .collect();
    services[7] = failed("service-07", 1, crate::cli::printer::testing::exited());
    let mut board = board(&services, 0);
    // The last to have changed is the most interesting of those that are up.
    board.apply(starting("service-03", 8_003, 1_000), 0);
    board.apply(healthy("service-03", 8_003, 1_300), 0);
    let text = frame(&board, 1_500, SCREEN);
    assert_eq!(text.lines().count(), 37);
    insta::assert_snapshot!(text);
}

#[test]
fn the_region_is_there_only_while_something_is_pending() {
    let mut board = board(&[healthy("api", 8_001, 0)], 0);
    assert_eq!(frame(&board, 0, SCREEN), "");
    assert_eq!(board.next_frame(0), None);
    board.apply(starting("api", 8_001, 0), 0);
    assert_ne!(frame(&board, 0, SCREEN), "");
    board.apply(healthy("api", 8_001, 300), 300);
    assert_eq!(frame(&board, 300, SCREEN), "");
    // A service that keeps failing does not keep the region alive.
    let looping = ServiceSnapshot {
        phase: Phase::Backoff,
        failures: 6,
        attempt: 6,
        ..service("api")
    };
    board.apply(looping, 400);
    assert_eq!(board.next_frame(400), None);
}

#[test]
fn a_stop_shows_who_is_waited_for_and_how_long() {
    let stopping = |text: &str, pid: i32| ServiceSnapshot {
        phase: Phase::Stopping,
        since: 10_000,
        kill_at: Some(20_000),
        pid: Some(pid),
        ..starting(text, 8_001, 0)
    };
    let mut board = board(
        &[
            healthy("db", 8_001, 300),
            stopping("api", 412),
            stopping("web", 413),
            healthy("cache", 8_002, 300),
        ],
        10_000,
    );
    insta::assert_snapshot!(frame(&board, 17_400, SCREEN), @r"
    api  stopping     7 s  pid 412, killed in 3 s
    web  stopping     7 s  pid 413, killed in 3 s
    … 2 more: 2 healthy
    ");
    board.apply(
        ServiceSnapshot {
            phase: Phase::Stopped,
            ..service("web")
        },
        17_500,
    );
    insta::assert_snapshot!(frame(&board, 20_000, SCREEN), @r"
    api  stopping    10 s  pid 412, being killed
    … 2 more: 2 healthy
    ");
}

#[test]
fn a_tiny_screen_gets_one_line() {
    for rows in 0..6 {
        let size = Size { columns: 5, rows };
        let text = frame(&board(&small_stack(), 0), 2_450, size);
        assert_eq!(text.lines().count(), rows.saturating_sub(3).max(1));
    }
}

#[test]
fn frames_come_ten_times_a_second_at_first_and_once_a_second_later() {
    let board = board(&[starting("api", 8_001, 0)], 0);
    assert_eq!(board.region_due(), Some(100));
    assert_eq!(board.next_frame(500), Some(600));
    assert_eq!(board.next_frame(10_000), Some(11_000));
}
