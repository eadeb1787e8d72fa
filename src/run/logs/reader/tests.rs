use super::*;

use proptest::prelude::*;

use super::super::grep::Grep;
use super::super::segments::{index_path, log_path};
use super::super::testing::{info, replica, unit};
use super::super::writer::{BlockInfo, LogFiles};
use super::segment::PIECE_LENGTH;
use crate::run::logs::Position;
use crate::run::snapshot::LogStream;

/// A reader of the last run, of all of it or its last lines.
fn open(dir: &Path, services: &[&str], tail: Option<usize>) -> LogReader {
    let units = services.iter().map(|name| (unit(name).service, None));
    let wanted = Wanted {
        units: units.collect(),
        ..Wanted::default()
    };
    let start = Start::LastRun { run: None, tail };
    LogReader::open(dir.into(), &wanted, start, None).unwrap()
}

/// No limit.
fn all() -> Wanted {
    Wanted::default()
}

fn pieces(reader: &mut LogReader) -> Vec<Followed> {
    std::iter::from_fn(|| reader.next_piece().unwrap()).collect()
}

fn blocks(reader: &mut LogReader) -> Vec<LogBlock> {
    let block = |piece| match piece {
        Followed::Block(block) => block,
        Followed::Lost { .. } => panic!("{piece:?}"),
    };
    pieces(reader).into_iter().map(block).collect()
}

/// The blocks as `unit: text`.
fn shown(mut reader: LogReader) -> Vec<String> {
    blocks(&mut reader)
        .iter()
        .map(|block| {
            let text = String::from_utf8_lossy(&block.bytes);
            format!("{}: {text}", block.unit.label(1))
        })
        .collect()
}

fn text(reader: &mut LogReader) -> String {
    let blocks = blocks(reader);
    let bytes: Vec<u8> = blocks
        .iter()
        .flat_map(|block| block.bytes.to_vec())
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn units_are_merged_in_the_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    // The clock was set back between two blocks of `web`; they keep their order.
    let blocks = [
        ("web", 10, "w1\n"),
        ("api", 20, "a1\n"),
        ("web", 30, "w2\n"),
        ("web", 15, "w3\n"),
        ("api", 40, "a2\n"),
    ];
    for (name, time, text) in blocks {
        files.append(&unit(name), info(time), text.as_bytes());
    }
    assert_eq!(
        shown(open(dir, &[], None)),
        [
            "web: w1\n",
            "api: a1\n",
            "web: w2\n",
            "web: w3\n",
            "api: a2\n"
        ]
    );
    let some = open(dir, &["api", "silent"], None);
    assert_eq!(shown(some), ["api: a1\n", "api: a2\n"]);
}

#[test]
fn each_replica_has_a_log_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    let units = [unit("web"), replica("web", 2), replica("web", 10)];
    for (time, text) in [(10, "one\n"), (20, "two\n")] {
        for (unit, later) in units.iter().zip(0..) {
            files.append(unit, info(time + later), text.as_bytes());
        }
    }
    for name in [
        "web.log",
        "web.idx.0",
        "web@2.log",
        "web@2.idx.0",
        "web@10.log",
    ] {
        assert!(dir.join(name).exists(), "{name}");
    }
    // What stands beside them and is not a log of a unit.
    for name in [
        "web@1.log",
        "web@02.log",
        "web@x.log",
        "@2.log",
        "web@2.txt",
    ] {
        fs_err::write(dir.join(name), "x\n").unwrap();
    }
    assert_eq!(logged_units(dir).unwrap(), units);
    let expected = [
        "web: one\n",
        "web-2: one\n",
        "web-10: one\n",
        "web: two\n",
        "web-2: two\n",
        "web-10: two\n",
    ];
    assert_eq!(shown(open(dir, &["web"], None)), expected);
    assert_eq!(
        shown(open(dir, &["web"], Some(1))),
        ["web: two\n", "web-2: two\n", "web-10: two\n"]
    );
}

#[test]
fn the_last_run_is_that_of_the_latest_block_of_any_service() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut first = LogFiles::new(dir.into(), 1);
    first.append(&unit("api"), info(10), b"old\n");
    first.append(&unit("gone"), info(11), b"removed since\n");
    let mut second = LogFiles::new(dir.into(), 2);
    second.append(&unit("api"), info(20), b"new\n");
    assert_eq!(shown(open(dir, &[], None)), ["api: new\n"]);
    assert_eq!(shown(open(dir, &["gone"], None)), [""; 0]);
    let of_run = |run| shown(LogReader::open(dir.into(), &all(), Start::Run(run), None).unwrap());
    // Only the beginning of a run is looked for: what came after it is shown as well.
    assert_eq!(of_run(2), ["api: new\n"]);
    assert_eq!(of_run(3), [""; 0]);
}

#[test]
fn nothing_is_there_before_the_first_run() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("logs");
    assert_eq!(shown(open(&dir, &[], None)), [""; 0]);
    assert_eq!(shown(open(&dir, &["api"], Some(5))), [""; 0]);
}

#[test]
fn a_log_without_an_index_is_shown_in_pieces_of_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n}\n")).collect();
    fs_err::write(log_path(dir, &unit("api")), lines.concat()).unwrap();
    let all = blocks(&mut open(dir, &[], None));
    assert!(all.len() > 1);
    let is_bounded = |block: &LogBlock| block.bytes.len() as u64 <= PIECE_LENGTH;
    assert!(all.iter().all(is_bounded));
    assert!(text(&mut open(dir, &[], None)) == lines.concat());
    for count in [1, 7, 30_000] {
        let tail = text(&mut open(dir, &[], Some(count)));
        assert!(tail == lines[100_000 - count..].concat(), "{count}");
    }
}

#[test]
fn a_torn_record_and_bytes_without_one_are_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    files.append(&unit("api"), info(1), b"one\n");
    let append = |path: std::path::PathBuf, bytes: &[u8]| {
        let mut file = crate::support::fs::open_private_append(&path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    };
    append(log_path(dir, &unit("api")), b"two\n");
    append(index_path(dir, &unit("api"), 0), &[7; 30]);
    assert_eq!(shown(open(dir, &[], None)), ["api: one\n"]);
}

#[test]
fn a_reader_beside_a_writer_sees_whole_blocks_up_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_owned();
    let writer = std::thread::spawn({
        let dir = dir.clone();
        move || {
            let mut files = LogFiles::new(dir, 1);
            for number in 0..20_000 {
                let line = format!("{number}\n").repeat(number % 5 + 1);
                files.append(&unit("api"), info(number as u64), line.as_bytes());
            }
        }
    });
    let mut complete = 0;
    while !writer.is_finished() || complete == 0 {
        let blocks = blocks(&mut open(&dir, &[], None));
        assert!(blocks.len() >= complete, "the log shrank");
        complete = blocks.len();
        for (number, block) in blocks.iter().enumerate() {
            assert!(block.bytes.starts_with(format!("{number}\n").as_bytes()));
        }
    }
    writer.join().unwrap();
}

#[test]
fn a_line_in_parts_counts_once_and_is_shown_whole() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    let mut add = |stream, continues, text: &str| {
        let info = BlockInfo {
            stream,
            continues,
            is_partial: !text.ends_with('\n'),
            ..info(1)
        };
        files.append(&unit("api"), info, text.as_bytes());
    };
    add(LogStream::Stdout, false, "old\nmig");
    add(LogStream::Stderr, false, "warning\nbad");
    add(LogStream::Stdout, true, "ra");
    add(LogStream::Stderr, true, " thing\n");
    add(LogStream::Stdout, true, "tion done\n");
    let tail = |count| shown(open(dir, &[], Some(count)));
    assert_eq!(tail(0), [""; 0]);
    assert_eq!(tail(1), ["api: mig", "api: ra", "api: tion done\n"]);
    assert_eq!(
        tail(2),
        [
            "api: mig",
            "api: bad",
            "api: ra",
            "api:  thing\n",
            "api: tion done\n"
        ]
    );
    assert_eq!(tail(3)[1], "api: warning\nbad");
    assert_eq!(tail(4)[0], "api: old\nmig");
    assert_eq!(tail(4), tail(100));
}

/// The news of a unit's end.
fn grown(offset: u64) -> LogNews {
    LogNews::Grown {
        unit: unit("api"),
        position: Position::at(offset),
    }
}

fn unwritten(offset: u64, text: &'static str) -> LogNews {
    LogNews::Unwritten {
        position: Position::at(offset),
        block: LogBlock {
            unit: unit("api"),
            stream: LogStream::Stdout,
            time: 1,
            attempt: 1,
            bytes: text.into(),
            continues: false,
        },
    }
}

#[test]
fn a_reader_goes_on_with_files_that_grow() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("logs");
    let mut reader = LogReader::open(dir.clone(), &all(), Start::Run(2), Some(Vec::new())).unwrap();
    let mut files = LogFiles::new(dir.clone(), 2);
    files.append(&unit("api"), info(1), b"one\n");
    assert_eq!(text(&mut reader), "", "nobody told");
    reader.hear(grown(4)).unwrap();
    assert_eq!(text(&mut reader), "one\n");
    for number in 0..200 {
        files.append(&unit("api"), info(number), b"more\n");
        if number % 7 == 0 {
            reader.look_at(&unit("api")).unwrap();
            assert!(text(&mut reader).len().is_multiple_of(5));
        }
    }
    reader.look_at(&unit("api")).unwrap();
    assert_eq!(text(&mut reader).len(), 15);
    // Emptied by somebody; the writer begins another one.
    for name in ["api.log", "api.idx.0"] {
        fs_err::write(dir.join(name), "").unwrap();
    }
    let end = files
        .append(&unit("api"), info(10_000_000_000), b"again\n")
        .end;
    assert_eq!((end.segment, end.offset), (4 + 200 * 5, 6));
    reader
        .hear(LogNews::Grown {
            unit: unit("api"),
            position: end,
        })
        .unwrap();
    assert_eq!(text(&mut reader), "again\n");
    fs_err::remove_dir_all(&dir).unwrap();
    files.append(&unit("api"), info(20_000_000_000), b"anew\n");
    files.append(&unit("web"), info(20_000_000_001), b"never told of\n");
    reader.finish().unwrap();
    assert_eq!(text(&mut reader), "anew\nnever told of\n");
}

#[test]
fn who_shows_a_run_keeps_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    LogFiles::new(dir.into(), 1).append(&unit("api"), info(1), b"one\n");
    let may_go = || {
        let log = std::fs::File::open(log_path(dir, &unit("api"))).unwrap();
        log.try_lock().is_ok()
    };
    let other = open(dir, &[], None);
    assert!(may_go());
    let run = LogReader::open(dir.into(), &all(), Start::Run(1), None).unwrap();
    assert!(!may_go());
    drop(run);
    // Closed, but for a copy in a child that another test has just started.
    while !may_go() {
        std::thread::yield_now();
    }
    drop(other);
}

#[test]
fn from_now_on_is_without_the_past() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    files.append(&unit("api"), info(1), b"old\n");
    let news = Some(vec![unwritten(4, "lost\n"), grown(4)]);
    let mut reader = LogReader::open(dir.into(), &all(), Start::Now, news).unwrap();
    assert_eq!(text(&mut reader), "");
    files.append(&unit("api"), info(2), b"new\n");
    files.append(&unit("web"), info(3), b"hello\n");
    reader.hear(grown(8)).unwrap();
    reader.look_at(&unit("web")).unwrap();
    assert_eq!(text(&mut reader), "new\nhello\n");
}

/// A log with a gap: what its index takes no more after `one` is lost, until `four`.
fn gap(dir: &Path) -> LogFiles {
    let mut files = LogFiles::new(dir.into(), 1);
    files.append(&unit("api"), info(1), b"one\n");
    files.close(&unit("api"));
    let (index, aside) = (dir.join("api.idx.0"), dir.join("aside"));
    fs_err::rename(&index, &aside).unwrap();
    std::os::unix::fs::symlink("/dev/full", &index).unwrap();
    for text in ["two\n", "three\n"] {
        assert_eq!(files.append(&unit("api"), info(2), text.as_bytes()).kept, 0);
    }
    fs_err::rename(&aside, &index).unwrap();
    files
}

#[test]
fn what_no_file_took_is_shown_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = gap(dir);
    let told = || vec![unwritten(4, "two\n"), unwritten(4, "three\n"), grown(4)];
    let begin = |start| LogReader::open(dir.into(), &all(), start, Some(told())).unwrap();
    let tail = |lines| {
        text(&mut begin(Start::LastRun {
            run: None,
            tail: Some(lines),
        }))
    };
    assert_eq!(tail(0), "");
    assert_eq!(tail(1), "three\n");
    assert_eq!(tail(3), "one\ntwo\nthree\n");
    let mut early = LogReader::open(dir.into(), &all(), Start::Run(1), Some(Vec::new())).unwrap();
    let mut now = begin(Start::Now);
    files.append(&unit("api"), info(3), b"four\n");
    // A gap is not passed before it is told what was in it.
    early.look_at(&unit("api")).unwrap();
    assert_eq!(text(&mut early), "one\n");
    for news in told() {
        early.hear(news).unwrap();
    }
    early.hear(grown(9)).unwrap();
    assert_eq!(text(&mut early), "two\nthree\nfour\n");
    now.hear(grown(9)).unwrap();
    assert_eq!(text(&mut now), "four\n");
    let mut late = begin(Start::Run(1));
    assert_eq!(text(&mut late), "one\ntwo\nthree\nfour\n");
    let mut last = begin(Start::LastRun {
        run: None,
        tail: Some(1),
    });
    assert_eq!(text(&mut last), "four\n");
}

#[test]
fn what_is_lost_is_counted_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    gap(dir).append(&unit("api"), info(3), b"four\n");
    let texts = |pieces: Vec<Followed>| -> Vec<String> {
        let text = |piece| match piece {
            Followed::Block(block) => String::from_utf8(block.bytes.to_vec()).unwrap(),
            Followed::Lost { bytes, .. } => bytes.to_string(),
        };
        pieces.into_iter().map(text).collect()
    };
    // Without the supervisor that had it.
    let mut reader = LogReader::open(dir.into(), &all(), Start::Run(1), None).unwrap();
    assert_eq!(texts(pieces(&mut reader)), ["one\n", "10", "four\n"]);
    // It has forgotten the beginning.
    let lost = LogNews::Lost {
        unit: unit("api"),
        position: Position::at(4),
        bytes: 4,
    };
    let news = vec![lost, unwritten(4, "three\n"), grown(9)];
    let mut reader = LogReader::open(dir.into(), &all(), Start::Run(1), Some(news)).unwrap();
    let expected = ["one\n", "4", "three\n", "four\n"];
    assert_eq!(texts(pieces(&mut reader)), expected);
}

/// The lines of some blocks in the order of their last bytes: the simple way.
fn lines_by_end(blocks: &[(LogStream, Vec<u8>)]) -> Vec<(LogStream, Vec<u8>)> {
    let mut done = Vec::new();
    let mut unfinished = [
        (0, LogStream::Stdout, Vec::new()),
        (0, LogStream::Stderr, Vec::new()),
    ];
    let bytes = blocks
        .iter()
        .flat_map(|(stream, bytes)| bytes.iter().map(move |byte| (*stream, *byte)));
    for (place, (stream, byte)) in bytes.enumerate() {
        for line in unfinished.iter_mut().filter(|line| line.1 == stream) {
            line.0 = place;
            line.2.push(byte);
            if byte == b'\n' {
                done.push((place, stream, std::mem::take(&mut line.2)));
            }
        }
    }
    done.extend(unfinished.into_iter().filter(|line| !line.2.is_empty()));
    done.sort_by_key(|line| line.0);
    done.into_iter()
        .map(|(_, stream, line)| (stream, line))
        .collect()
}

/// A reader of everything of which a block may match.
fn open_with(dir: &Path, pattern: Option<&Pattern>) -> LogReader {
    let wanted = Wanted {
        grep: pattern.cloned(),
        ..all()
    };
    let start = Start::Since {
        time: 0,
        tail: None,
    };
    LogReader::open(dir.into(), &wanted, start, None).unwrap()
}

#[test]
fn small_blocks_that_do_not_match_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    // More than is searched at once.
    for number in 0..20_000 {
        let text = format!("line {number} of the usual length\n");
        files.append(&unit("api"), info(number), text.as_bytes());
    }
    let pattern = Pattern::new("line (7|19999) of").unwrap();
    let mut reader = open_with(dir, Some(&pattern));
    let found = text(&mut reader);
    for number in [7, 19_999] {
        assert!(found.contains(&format!("line {number} of")), "{found}");
    }
    // A few that lie on an edge are not searched beforehand.
    assert!(found.lines().count() < 10, "{found}");
    // What comes later is found as well.
    files.append(&unit("api"), info(30_000), b"line 8 of\n");
    files.append(&unit("api"), info(30_000), b"line 7 of\n");
    reader.look_at(&unit("api")).unwrap();
    assert_eq!(text(&mut reader), "line 7 of\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_left_out_would_not_have_matched(
        blocks in prop::collection::vec((any::<bool>(), any::<bool>(), 1..3_u32, "[ab\n]{1,6}"), 0..24),
        pattern in prop::sample::select(vec!["a", "b$", "aa", "^$", "^ab", "a\nb", "\\Ab"]),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let mut files = LogFiles::new(dir.into(), 1);
        let mut last = [None; 4];
        for ((is_api, is_stdout, attempt, text), time) in blocks.into_iter().zip(1..) {
            let stream = if is_stdout { LogStream::Stdout } else { LogStream::Stderr };
            let is_partial = !text.ends_with('\n');
            let place = usize::from(is_api) * 2 + usize::from(is_stdout);
            let before = std::mem::replace(&mut last[place], is_partial.then_some(attempt));
            let continues = before == Some(attempt);
            let info = BlockInfo { stream, attempt, time, is_partial, continues };
            let name = if is_api { "api" } else { "web" };
            files.append(&unit(name), info, text.as_bytes());
        }
        let pattern = Pattern::new(pattern).unwrap();
        let found = |mut reader: LogReader| {
            let mut grep = Grep::new(pattern.clone());
            let blocks = super::tests::blocks(&mut reader);
            let mut found: Vec<_> = blocks.into_iter().flat_map(|it| grep.take(it)).collect();
            found.extend(grep.finish());
            found
        };
        prop_assert_eq!(found(open_with(dir, Some(&pattern))), found(open_with(dir, None)));
    }

    #[test]
    fn a_tail_is_the_last_lines_to_end(
        blocks in prop::collection::vec((any::<bool>(), "[ab\n]{1,6}"), 0..24),
        count in 0..12_usize,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let mut files = LogFiles::new(dir.into(), 1);
        let mut continues = [false; 2];
        let mut written = Vec::new();
        for (is_stdout, text) in blocks {
            let stream = if is_stdout { LogStream::Stdout } else { LogStream::Stderr };
            let is_partial = !text.ends_with('\n');
            let goes_on = std::mem::replace(&mut continues[usize::from(is_stdout)], is_partial);
            let info = BlockInfo { stream, continues: goes_on, is_partial, ..info(1) };
            files.append(&unit("api"), info, text.as_bytes());
            written.push((stream, text.into_bytes()));
        }
        let tail: Vec<_> = super::tests::blocks(&mut open(dir, &[], Some(count)))
            .into_iter()
            .map(|block| (block.stream, block.bytes.to_vec()))
            .collect();
        let expected = lines_by_end(&written);
        let found = lines_by_end(&tail);
        let last = expected[expected.len().saturating_sub(count)..].to_vec();
        prop_assert_eq!(found, last);
    }
}
