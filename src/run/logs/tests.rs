//! Rotation, as writers do it and as readers see it.

use std::num::NonZeroU32;
use std::path::Path;

use fs_err as fs;
use proptest::prelude::*;

use super::segments::segments_of;
use super::testing::{info, records, unit};
use super::writer::{BlockInfo, LogFiles};
use super::{
    Followed, LogNews, LogReader, Position, Start, Wanted, announce_reader, clear_logs,
    last_lines_of_attempt,
};
use crate::plan::model::LoggingPlan;
use crate::run::snapshot::LogStream;

fn limits(max_size: u64, max_file: u32) -> LoggingPlan {
    LoggingPlan {
        max_size,
        max_file: NonZeroU32::new(max_file).unwrap(),
    }
}

/// The logs of a run of a stack, of which `api` may keep this much.
fn files(dir: &Path, run: u64, limits: LoggingPlan) -> LogFiles {
    let mut files = LogFiles::new(dir.into(), run);
    files.limit(&unit("api"), limits);
    files
}

/// Appends lines of ten bytes, each a block, with their numbers as times.
fn write(files: &mut LogFiles, numbers: std::ops::Range<u64>) -> Position {
    let mut end = Position::default();
    for number in numbers {
        let line = format!("{number:09}\n");
        end = files
            .append(&unit("api"), info(number), line.as_bytes())
            .end;
    }
    end
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let lines: Vec<_> = numbers.map(|number| format!("{number:09}\n")).collect();
    lines.concat()
}

/// The bases of the segments, and what is in their logs.
fn on_disk(dir: &Path) -> Vec<(u64, String)> {
    let segments = segments_of(dir, &unit("api")).unwrap();
    let log = |base| {
        let name = match segments.newest {
            Some(newest) if newest == base => "api.log".to_owned(),
            Some(_) | None => format!("api.log.{base}"),
        };
        (base, fs::read_to_string(dir.join(name)).unwrap())
    };
    segments.bases().into_iter().map(log).collect()
}

fn grown(position: Position) -> LogNews {
    LogNews::Grown {
        unit: unit("api"),
        position,
    }
}

fn open(dir: &Path, start: Start) -> LogReader {
    LogReader::open(dir.into(), &Wanted::default(), start, None).unwrap()
}

fn follow(dir: &Path, start: Start) -> LogReader {
    LogReader::open(dir.into(), &Wanted::default(), start, Some(Vec::new())).unwrap()
}

fn tail(run: Option<u64>, lines: usize) -> Start {
    Start::LastRun {
        run,
        tail: Some(lines),
    }
}

/// All that a reader returns; what was lost as `<10>`.
fn text(reader: &mut LogReader) -> String {
    let piece = |piece| match piece {
        Followed::Block(block) => String::from_utf8(block.bytes.to_vec()).unwrap(),
        Followed::Lost { bytes, .. } => format!("<{bytes}>"),
    };
    let pieces = std::iter::from_fn(|| reader.next_piece().unwrap());
    pieces.map(piece).collect()
}

#[test]
fn a_full_segment_is_finished_and_the_oldest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 3));
    let end = write(&mut files, 0..4);
    assert_eq!(on_disk(dir), [(0, lines(0..3)), (30, lines(3..4))]);
    assert_eq!(
        end,
        Position {
            segment: 30,
            offset: 10
        }
    );
    let end = write(&mut files, 4..20);
    let expected = [
        (120, lines(12..15)),
        (150, lines(15..18)),
        (180, lines(18..20)),
    ];
    assert_eq!(on_disk(dir), expected);
    assert_eq!(end.absolute(), 200);
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "api.idx.120",
        "api.idx.150",
        "api.idx.180",
        "api.log",
        "api.log.120",
        "api.log.150",
    ];
    assert_eq!(names, expected);
    // A block that is larger than a segment is one.
    let huge = "x".repeat(99) + "\n";
    files.append(&unit("api"), info(30), huge.as_bytes());
    write(&mut files, 21..22);
    assert_eq!(on_disk(dir)[1..], [(200, huge), (300, lines(21..22))]);
}

#[test]
fn one_file_is_kept_where_one_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = files(directory.path(), 1, limits(30, 1));
    write(&mut files, 0..8);
    assert_eq!(on_disk(directory.path()), [(60, lines(6..8))]);
}

#[test]
fn the_line_that_an_attempt_left_without_an_end_keeps_no_file_from_ending() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = files(directory.path(), 1, limits(30, 5));
    let mut part = |text: &str, attempt| {
        let info = BlockInfo {
            is_partial: !text.ends_with('\n'),
            attempt,
            ..info(1)
        };
        files.append(&unit("api"), info, text.as_bytes());
    };
    let last_word = "a line of twenty-four by";
    part(last_word, 1);
    part("next attempt\n", 2);
    let expected = [(0, last_word.to_owned()), (24, "next attempt\n".to_owned())];
    assert_eq!(on_disk(directory.path()), expected);
}

#[test]
fn a_line_is_not_torn_between_two_segments() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 5));
    let mut part = |text: &str, continues: bool| {
        let info = BlockInfo {
            is_partial: !text.ends_with('\n'),
            continues,
            ..info(1)
        };
        files.append(&unit("api"), info, text.as_bytes());
    };
    part("a line of twenty-four b", false);
    part("ytes or more\n", true);
    part("next\n", false);
    let first = "a line of twenty-four bytes or more\n".to_owned();
    assert_eq!(
        on_disk(dir),
        [(0, first.clone()), (36, "next\n".to_owned())]
    );
    // But one without an end does not keep a file from ending.
    for _ in 0..6 {
        part("0123456789", true);
    }
    let whole = "next\n".to_owned() + &"0123456789".repeat(5);
    assert_eq!(
        on_disk(dir)[1..],
        [(36, whole), (91, "0123456789".to_owned())]
    );
}

#[test]
fn the_next_run_goes_on_with_the_newest_segment_and_with_its_own_limits() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    write(&mut files(dir, 1, limits(30, 5)), 0..11);
    write(&mut files(dir, 2, limits(30, 2)), 11..13);
    assert_eq!(on_disk(dir), [(90, lines(9..12)), (120, lines(12..13))]);
    let runs: Vec<_> = records(dir, "api").iter().map(|it| it.run).collect();
    assert_eq!(runs, [2]);
    assert_eq!(text(&mut open(dir, tail(None, 100))), lines(11..13));
    let time = Start::Since {
        time: 10,
        tail: None,
    };
    assert_eq!(text(&mut open(dir, time)), lines(10..13), "of both runs");
}

#[test]
fn a_crash_between_two_steps_of_a_rotation_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    write(&mut files(dir, 1, limits(30, 5)), 0..5);
    // Renamed, and nothing new yet.
    fs::rename(dir.join("api.log"), dir.join("api.log.30")).unwrap();
    assert_eq!(text(&mut open(dir, Start::Run(1))), lines(0..5));
    write(&mut files(dir, 1, limits(30, 5)), 5..6);
    assert_eq!(on_disk(dir).last(), Some(&(50, lines(5..6))));
    assert_eq!(text(&mut open(dir, Start::Run(1))), lines(0..6));
    // The index of the oldest is removed, and its log not yet.
    fs::remove_file(dir.join("api.idx.0")).unwrap();
    assert_eq!(text(&mut open(dir, tail(Some(1), 6))), lines(0..6));
    write(&mut files(dir, 1, limits(30, 2)), 6..7);
    assert_eq!(text(&mut open(dir, tail(Some(1), 9))), lines(3..7));
    assert!(!dir.join("api.log.0").exists());
}

#[test]
fn a_reader_follows_over_rotations() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 3));
    let mut told = follow(dir, Start::Now);
    let mut unasked = follow(dir, Start::Run(1));
    let mut seen = [String::new(), String::new()];
    for number in 0..50 {
        let end = write(&mut files, number..number + 1);
        told.hear(grown(end)).unwrap();
        seen[0] += &text(&mut told);
        if number % 7 == 0 {
            unasked.look_at(&unit("api")).unwrap();
            seen[1] += &text(&mut unasked);
        }
    }
    unasked.finish().unwrap();
    seen[1] += &text(&mut unasked);
    assert_eq!(seen, [lines(0..50), lines(0..50)]);
}

#[test]
fn the_last_lines_and_what_comes_after_them_go_over_all_segments() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 9));
    write(&mut files, 0..9);
    let mut reader = follow(dir, tail(None, 8));
    // The newest segment was full.
    let end = write(&mut files, 9..10);
    reader.hear(grown(end)).unwrap();
    assert_eq!(text(&mut reader), lines(1..10));
}

#[test]
fn a_reader_that_a_flood_overtakes_counts_what_it_missed_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 3));
    write(&mut files, 0..9);
    let start = Start::LastRun {
        run: None,
        tail: None,
    };
    let mut reader = open(dir, start);
    assert!(reader.next_piece().unwrap().is_some());
    write(&mut files, 9..30);
    let expected = format!("{}<180>{}", lines(1..3), lines(21..30));
    assert_eq!(text(&mut reader), expected);
}

#[test]
fn who_holds_an_old_segment_reads_it_to_its_end_and_learns_what_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(30, 2));
    write(&mut files, 0..2);
    let mut live = follow(dir, tail(None, 9));
    let mut past = open(dir, tail(None, 9));
    assert!(past.next_piece().unwrap().is_some());
    let end = write(&mut files, 2..20);
    live.hear(grown(end)).unwrap();
    let rest = format!("{}<120>{}", lines(0..3), lines(15..20));
    assert_eq!(text(&mut live), rest);
    past.finish().unwrap();
    assert_eq!(text(&mut past), rest[10..]);
}

#[test]
fn what_the_client_of_up_has_not_read_is_kept_up_to_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(100, 2));
    write(&mut files, 0..5);
    let mut up = follow(dir, Start::Run(1));
    assert!(up.next_piece().unwrap().is_some());
    let end = write(&mut files, 5..100);
    assert_eq!(on_disk(dir).len(), 10, "all that was not read");
    up.hear(grown(end)).unwrap();
    assert_eq!(text(&mut up), lines(1..100));
    // It reads the newest now, so the next rotation removes what was kept for it.
    write(&mut files, 100..101);
    assert_eq!(on_disk(dir).len(), 2);
    // 1,024 bytes in tests.
    let end = write(&mut files, 101..250);
    assert_eq!(on_disk(dir).len(), 2);
    up.hear(grown(end)).unwrap();
    assert_eq!(text(&mut up), format!("<1300>{}", lines(230..250)));
    drop(up);
    write(&mut files, 250..261);
    assert_eq!(on_disk(dir).len(), 2);
}

#[test]
fn what_the_client_of_up_has_yet_to_begin_with_is_kept_too() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let announced = announce_reader(dir).unwrap();
    let mut files = files(dir, 1, limits(100, 2));
    let end = write(&mut files, 0..100);
    assert_eq!(on_disk(dir).len(), 10);
    let mut up = follow(dir, Start::Run(1));
    up.hear(grown(end)).unwrap();
    assert_eq!(text(&mut up), lines(0..100));
    write(&mut files, 100..101);
    assert_eq!(on_disk(dir).len(), 2, "it reads the newest");
    drop((announced, up));
    write(&mut files, 101..150);
    assert_eq!(on_disk(dir).len(), 2);
}

#[test]
fn no_reader_keeps_more_segments_than_can_be_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let _announced = announce_reader(dir).unwrap();
    write(&mut files(dir, 1, limits(10, 2)), 0..100);
    // What is usual, what is kept beyond it, and the one that is written.
    assert_eq!(on_disk(dir).len(), 1 + 64 + 1);
}

#[test]
fn what_went_before_the_client_of_up_came_to_a_service_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut up = follow(dir, Start::Run(1));
    let mut now = follow(dir, Start::Now);
    let end = write(&mut files(dir, 1, limits(100, 2)), 0..100);
    for reader in [&mut up, &mut now] {
        reader.hear(grown(end)).unwrap();
    }
    assert_eq!(text(&mut up), format!("<800>{}", lines(80..100)));
    assert_eq!(text(&mut now), lines(80..100));
    // Of a service that has printed in an earlier run it has the end of that.
    let mut up = follow(dir, Start::Run(2));
    let end = write(&mut files(dir, 2, limits(100, 2)), 100..200);
    up.hear(grown(end)).unwrap();
    assert_eq!(text(&mut up), lines(100..200));
}

#[test]
fn the_last_lines_of_an_attempt_may_lie_in_several_segments() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    write(&mut files(dir, 9, limits(30, 5)), 0..10);
    let last = last_lines_of_attempt(dir, &unit("api"), 9, 1, 8);
    let expected = lines(2..10);
    assert_eq!(last, expected.lines().collect::<Vec<_>>());
}

#[test]
fn cleared_logs_are_gone_and_readers_go_on_with_what_comes() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    write(&mut files(dir, 1, limits(30, 5)), 0..10);
    let mut files = files(dir, 2, limits(30, 5));
    files.append(&unit("web"), info(1), b"of another one\n");
    // Whether the unit has printed in this run or not.
    for numbers in [10..15, 15..20] {
        let mut reader = follow(dir, Start::Now);
        let mut up = follow(dir, tail(None, 9));
        files.clear(&[unit("api")]).unwrap();
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        assert!(
            names.iter().all(|name| name.starts_with("web")),
            "{names:?}"
        );
        let end = write(&mut files, numbers.clone());
        assert_eq!(end.absolute(), numbers.end * 10);
        reader.hear(grown(end)).unwrap();
        assert_eq!(text(&mut reader), lines(numbers.clone()));
        // It reads what it has open to its end.
        up.hear(grown(end)).unwrap();
        let shown = text(&mut up);
        assert!(shown.ends_with(&lines(numbers)), "{shown}");
    }
    clear_logs(dir, &[]).unwrap();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    assert_eq!(text(&mut open(dir, tail(None, 9))), "");
}

#[test]
fn a_log_that_was_moved_away_is_followed_by_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = files(dir, 1, limits(1_000, 5));
    write(&mut files, 0..2);
    let mut reader = follow(dir, Start::Run(1));
    fs::rename(dir.join("api.log"), dir.join("kept.txt")).unwrap();
    let second = 1_000_000_000;
    let end = write(&mut files, 10 * second..10 * second + 1);
    assert_eq!(
        end,
        Position {
            segment: 20,
            offset: 12
        }
    );
    reader.hear(grown(end)).unwrap();
    assert_eq!(text(&mut reader), lines(0..2) + "10000000000\n");
    assert_eq!(
        fs::read_to_string(dir.join("kept.txt")).unwrap(),
        lines(0..2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn where_a_segment_ends_makes_no_difference_to_readers(
        blocks in prop::collection::vec((any::<bool>(), "[ab\n]{1,6}", any::<bool>()), 1..40),
        size in 1_u64..40,
        count in 0..12_usize,
    ) {
        let read = |size: u64| {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path();
            let mut run = 1;
            let mut files = files(dir, run, limits(size, u32::MAX));
            for (number, (is_stdout, text, is_new_run)) in blocks.iter().enumerate() {
                if *is_new_run {
                    run += 1;
                    files = self::files(dir, run, limits(size, u32::MAX));
                }
                let stream = if *is_stdout { LogStream::Stdout } else { LogStream::Stderr };
                let info = BlockInfo {
                    stream,
                    is_partial: !text.ends_with('\n'),
                    continues: number % 3 == 0,
                    ..info(number as u64)
                };
                files.append(&unit("api"), info, text.as_bytes());
            }
            let time = blocks.len() as u64 / 2;
            let starts = [
                tail(Some(run), count),
                tail(None, count),
                Start::Run(run),
                Start::Since { time, tail: None },
                Start::Since { time, tail: Some(count) },
            ];
            starts.map(|start| text(&mut open(dir, start)))
        };
        prop_assert_eq!(read(size), read(u64::MAX));
    }
}
