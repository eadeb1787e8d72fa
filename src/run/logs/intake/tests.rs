use super::*;

use std::fs::File;
use std::io::Write;

use nix::sys::epoll::EpollCreateFlags;
use proptest::prelude::*;

use super::super::pipe_pair;
use super::super::testing::{TestSink, unit};

/// An intake that reads one pipe, of `api`, into files in a directory of its own.
struct Reading {
    directory: tempfile::TempDir,
    sink: TestSink,
    epoll: Epoll,
    intake: Intake<TestSink>,
    pipe: File,
}

impl Reading {
    fn of_api() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sink = TestSink::default();
        let files = LogFiles::new(directory.path().into(), 1);
        let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
        let mut intake = Intake::new(files, sink.clone());
        let (read_end, write_end) = pipe_pair(1).unwrap();
        intake
            .register(&epoll, (read_end, true), unit("api"), LogStream::Stdout, 1)
            .unwrap();
        Self {
            directory,
            sink,
            epoll,
            intake,
            pipe: File::from(write_end),
        }
    }
}

#[test]
fn a_chunk_is_cut_at_its_last_line_end() {
    assert_eq!(cut(b"one\ntwo\nthr", 0), (8, false));
    assert_eq!(cut(b"one\n", 0), (4, false));
    assert_eq!(cut(b"thr", 0), (0, false));
    assert_eq!(cut(b"three\nfo", 3), (6, false));
    assert_eq!(cut(&[b'x'; LINE_CAP - 1], LINE_CAP - 2), (0, false));
    assert_eq!(cut(&[b'x'; LINE_CAP], LINE_CAP - 1), (LINE_CAP, true));
    let long = [&b"one\n"[..], &[b'x'; LINE_CAP]].concat();
    assert_eq!(cut(&long, 0), (long.len(), true));
}

#[test]
fn a_line_without_an_end_that_answers_somebody_is_not_held_back_for_long() {
    let Reading {
        epoll,
        mut intake,
        mut pipe,
        ..
    } = Reading::of_api();
    let now = Instant::now();
    // Of somebody who has waited long enough.
    intake.hurry(&unit("api"), now.checked_sub(HURRY).unwrap());
    pipe.write_all(b"a prompt").unwrap();
    assert_eq!(intake.round(&epoll), Round::Worked);
    assert!(intake.deadline().unwrap() >= now + PARTIAL_AFTER);
    let later = now + PARTIAL_AFTER * 20;
    intake.flush_due(&epoll, later);
    assert_eq!(intake.deadline(), None);
    intake.hurry(&unit("api"), Instant::now());
    pipe.write_all(b"the echo of a key").unwrap();
    assert_eq!(intake.round(&epoll), Round::Worked);
    assert!(intake.deadline().unwrap() <= Instant::now() + ANSWER_AFTER);
    // Others are not concerned.
    intake.hurry(&unit("web"), later);
    assert!(intake.deadline().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_the_input_is_chopped_the_file_is_the_same(
        pieces in prop::collection::vec(
            (prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 1..400), 1..60_usize),
            0..12,
        ),
        flushes in prop::collection::vec(any::<bool>(), 12),
    ) {
        let Reading { directory, sink, epoll, mut intake, mut pipe } = Reading::of_api();
        let mut all = Vec::new();
        for ((bytes, times), flushes) in pieces.iter().zip(flushes) {
            let piece = bytes.repeat(*times);
            pipe.write_all(&piece).unwrap();
            all.extend(piece);
            while intake.round(&epoll) == Round::Worked {}
            // Held back is only a short unfinished line, and then a flush is due for it.
            let sent: usize = sink.blocks().iter().map(|block| block.bytes.len()).sum();
            prop_assert!(all.len() - sent < LINE_CAP);
            prop_assert!(!all[sent..].contains(&b'\n'));
            prop_assert!(sent == all.len() || intake.deadline().is_some());
            if flushes {
                intake.flush_due(&epoll, Instant::now() + PARTIAL_AFTER);
                prop_assert_eq!(intake.deadline(), None);
            }
        }
        // Not by the end of the pipe: a child that another test starts may hold a copy of it.
        intake.close(&epoll, &unit("api"));
        prop_assert!(intake.sources.is_empty());
        let path = directory.path().join("api.log");
        let logged = if all.is_empty() { Vec::new() } else { fs_err::read(path).unwrap() };
        prop_assert_eq!(&logged, &all);
        let seen: Vec<u8> = sink.blocks().into_iter().flat_map(|block| block.bytes).collect();
        prop_assert_eq!(seen, all);
    }
}

#[test]
fn a_line_whose_end_has_come_is_not_cut_however_late_the_reader_is() {
    let Reading {
        directory: _directory,
        sink,
        epoll,
        mut intake,
        mut pipe,
    } = Reading::of_api();
    pipe.write_all(b"one, ").unwrap();
    while intake.round(&epoll) == Round::Worked {}
    pipe.write_all(b"two\nthree").unwrap();
    let late = Instant::now() + PARTIAL_AFTER;
    intake.flush_due(&epoll, late);
    let lines = || -> Vec<Vec<u8>> {
        let blocks = sink.blocks().into_iter();
        blocks.map(|block| block.bytes).collect()
    };
    assert_eq!(lines(), [b"one, two\n"]);
    // The next one waits for its own end, and nothing has come.
    assert!(intake.deadline().is_some());
    intake.flush_due(&epoll, late + PARTIAL_AFTER);
    assert_eq!(lines(), [&b"one, two\n"[..], b"three"]);
}
