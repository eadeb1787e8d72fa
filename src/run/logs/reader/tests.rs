use super::*;

use proptest::prelude::*;

use super::super::testing::{info, replica, unit};
use super::super::writer::{BlockInfo, LogFiles, log_path};
use super::unit_log::PIECE_LENGTH;
use crate::run::snapshot::LogStream;

/// The blocks as `unit: text`.
fn shown(history: History) -> Vec<String> {
    history
        .map(|item| {
            let block = item.unwrap().block;
            format!(
                "{}: {}",
                block.unit.label(1),
                String::from_utf8_lossy(&block.bytes)
            )
        })
        .collect()
}

fn text(history: History) -> String {
    let blocks = history.map(|item| item.unwrap().block.bytes.to_vec());
    String::from_utf8(blocks.collect::<Vec<_>>().concat()).unwrap()
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
    let all = shown(history(dir, &[], None, Runs::Last).unwrap());
    assert_eq!(
        all,
        [
            "web: w1\n",
            "api: a1\n",
            "web: w2\n",
            "web: w3\n",
            "api: a2\n"
        ]
    );
    let one = [unit("api"), unit("silent")];
    let history = history(dir, &one, None, Runs::Last).unwrap();
    assert_eq!(history.end_offset(&unit("api")), 6);
    assert_eq!(history.end_offset(&unit("silent")), 0);
    assert_eq!(shown(history), ["api: a1\n", "api: a2\n"]);
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
    for name in ["web.log", "web.idx", "web@2.log", "web@2.idx", "web@10.log"] {
        assert!(dir.join(name).exists(), "{name}");
    }
    // What stands beside them and is no log of a unit.
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
    let all = history(dir, &units, None, Runs::Last).unwrap();
    assert_eq!(all.end_offset(&units[1]), 8);
    let expected = [
        "web: one\n",
        "web-2: one\n",
        "web-10: one\n",
        "web: two\n",
        "web-2: two\n",
        "web-10: two\n",
    ];
    assert_eq!(shown(all), expected);
    assert_eq!(
        shown(history(dir, &units[1..2], Some(1), Runs::Last).unwrap()),
        ["web-2: two\n"]
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
    assert_eq!(
        shown(history(dir, &[], None, Runs::Last).unwrap()),
        ["api: new\n"]
    );
    assert_eq!(
        shown(history(dir, &[unit("gone")], None, Runs::Last).unwrap()),
        [""; 0]
    );
    assert_eq!(
        shown(history(dir, &[], None, Runs::All).unwrap()),
        ["api: old\n", "gone: removed since\n", "api: new\n"]
    );
    assert_eq!(
        shown(history(dir, &[], Some(1), Runs::All).unwrap()).len(),
        2
    );
}

#[test]
fn nothing_is_there_before_the_first_run() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("logs");
    assert_eq!(
        shown(history(&dir, &[], None, Runs::Last).unwrap()),
        [""; 0]
    );
    let one = [unit("api")];
    assert_eq!(
        shown(history(&dir, &one, Some(5), Runs::All).unwrap()),
        [""; 0]
    );
}

#[test]
fn a_log_without_an_index_is_shown_in_pieces_of_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n}\n")).collect();
    fs_err::write(log_path(dir, &unit("api")), lines.concat()).unwrap();
    let one = [unit("api")];
    let all: Vec<_> = history(dir, &one, None, Runs::Last).unwrap().collect();
    assert!(all.len() > 5);
    assert!(
        all.iter()
            .flatten()
            .all(|item| item.block.bytes.len() as u64 <= PIECE_LENGTH)
    );
    assert!(text(history(dir, &one, None, Runs::Last).unwrap()) == lines.concat());
    for count in [1, 7, 30_000] {
        let tail = text(history(dir, &one, Some(count), Runs::Last).unwrap());
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
    append(index_path(dir, &unit("api")), &[7; 30]);
    let history = history(dir, &[], None, Runs::Last).unwrap();
    assert_eq!(history.end_offset(&unit("api")), 4);
    assert_eq!(shown(history), ["api: one\n"]);
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
    let mut complete: u64 = 0;
    while !writer.is_finished() || complete == 0 {
        let history = history(&dir, &[unit("api")], None, Runs::Last).unwrap();
        let end = history.end_offset(&unit("api"));
        assert!(end >= complete, "the log shrank");
        complete = end;
        let blocks: Vec<_> = history.map(|item| item.unwrap().block).collect();
        assert_eq!(
            blocks.iter().map(|b| b.bytes.len() as u64).sum::<u64>(),
            end
        );
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
    let tail = |count| shown(history(dir, &[], Some(count), Runs::Last).unwrap());
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

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
        let tail: Vec<_> = history(dir, &[unit("api")], Some(count), Runs::All)
            .unwrap()
            .map(|item| item.unwrap().block)
            .map(|block| (block.stream, block.bytes.to_vec()))
            .collect();
        let expected = lines_by_end(&written);
        let found = lines_by_end(&tail);
        let last = expected[expected.len().saturating_sub(count)..].to_vec();
        prop_assert_eq!(found, last);
    }
}
