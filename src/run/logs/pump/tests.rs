use super::*;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

use super::super::intake::{LINE_CAP, READ_LENGTH};
use super::super::testing::{TestSink, UNLIMITED, noise, records, unit, with_pump};
use super::super::{Followed, LogNews, LogReader, Start, Wanted, pipe_pair};
use crate::plan::model::LoggingPlan;
use crate::run::snapshot::LogStream::{self, Stderr, Stdout};
use crate::support::testing::alone_async;

/// Registers a pipe and returns its write end.
fn pipe(handle: &PumpHandle, name: &str, stream: LogStream, attempt: u32) -> File {
    let (read_end, write_end) = pipe_pair(1).unwrap();
    handle.register(read_end, unit(name), stream, attempt, UNLIMITED);
    File::from(write_end)
}

/// Writes in pieces of several sizes, and closes.
fn write_in_pieces(mut pipe: File, bytes: Vec<u8>) -> JoinHandle<()> {
    spawn(move || {
        let mut rest = &bytes[..];
        for size in [1, 10, 1_000, 4_095, 100_000, 7].into_iter().cycle() {
            let (piece, more) = rest.split_at(rest.len().min(size));
            pipe.write_all(piece).unwrap();
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
    })
}

fn log(dir: &Path, name: &str) -> Vec<u8> {
    fs_err::read(dir.join(format!("{name}.log"))).unwrap()
}

/// Logs `bytes`, written by a thread, and checks that file and blocks have all of them.
async fn assert_survives(bytes: Vec<u8>) -> TestSink {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    with_pump(dir.path(), sink.clone(), async |handle| {
        let writer = write_in_pieces(pipe(&handle, "api", Stdout, 1), bytes.clone());
        sink.wait_for_bytes("api", bytes.len()).await;
        writer.join().unwrap();
    })
    .await;
    assert!(log(dir.path(), "api") == bytes, "the file differs");
    let blocks = sink.blocks();
    let sent: Vec<u8> = blocks.iter().flat_map(|b| b.bytes.clone()).collect();
    assert!(sent == bytes, "the blocks differ");
    let records = records(dir.path(), "api");
    assert_eq!(records.len(), blocks.len());
    let mut end = 0;
    for (record, block) in records.iter().zip(&blocks) {
        assert_eq!(record.offset, end);
        assert_eq!(record.length, block.bytes.len() as u64);
        assert_eq!(record.is_partial, block.is_partial());
        end = record.end();
    }
    sink
}

#[tokio::test]
async fn a_hundred_megabytes_arrive_whole() {
    let line = |number: usize| format!("{number:09} {}\n", "x".repeat(number % 150));
    let text: String = (0..).map(line).take(1_200_000).collect();
    assert!(text.len() > 100_000_000);
    assert_survives(text.into_bytes()).await;
}

#[tokio::test]
async fn any_bytes_arrive_as_they_are() {
    assert_survives(noise(1024 * 1024)).await;
}

#[tokio::test]
async fn a_huge_line_goes_through_in_parts_of_bounded_size() {
    let sink = assert_survives(vec![b'x'; 20 * 1024 * 1024]).await;
    let longest = sink.blocks().iter().map(|b| b.bytes.len()).max();
    assert!(longest.unwrap() <= READ_LENGTH + LINE_CAP);
}

#[test]
fn what_was_printed_before_a_drain_is_in_the_file_after_it() {
    alone_async(async {
        let dir = tempfile::tempdir().unwrap();
        let sink = TestSink::default();
        with_pump(dir.path(), sink.clone(), async |handle| {
            let mut out = pipe(&handle, "api", Stdout, 1);
            out.write_all(b"one\ntwo\nthr").unwrap();
            drop(out);
            assert!(!handle.drain(unit("api"), 1).await.is_leaky);
            assert_eq!(log(dir.path(), "api"), b"one\ntwo\nthr");
            assert_eq!(sink.blocks().len(), 2);
            assert!(sink.blocks()[1].is_partial());
        })
        .await;
    });
}

#[test]
fn the_last_words_before_a_crash_are_kept() {
    alone_async(async {
        let dir = tempfile::tempdir().unwrap();
        with_pump(dir.path(), TestSink::default(), async |handle| {
            let (out, out_end) = pipe_pair(1).unwrap();
            let (err, err_end) = pipe_pair(1).unwrap();
            handle.register(out, unit("api"), Stdout, 1, LoggingPlan::default());
            handle.register(err, unit("api"), Stderr, 1, LoggingPlan::default());
            let mut child = Command::new("sh")
                .args(["-c", "echo started; printf 'out of cheese' >&2; kill -9 $$"])
                .stdin(Stdio::null())
                .stdout(out_end)
                .stderr(err_end)
                .spawn()
                .unwrap();
            child.wait().unwrap();
            assert!(!handle.drain(unit("api"), 1).await.is_leaky);
        })
        .await;
        let text = String::from_utf8(log(dir.path(), "api")).unwrap();
        assert!(
            text.contains("started\n") && text.contains("out of cheese"),
            "{text}"
        );
    });
}

#[tokio::test]
async fn each_stream_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    let text = |tag: char| -> Vec<u8> {
        (0..50_000)
            .flat_map(|n| format!("{tag}{n}\n").into_bytes())
            .collect()
    };
    let (out, err) = (text('o'), text('e'));
    with_pump(dir.path(), sink.clone(), async |handle| {
        let threads = [
            write_in_pieces(pipe(&handle, "api", Stdout, 1), out.clone()),
            write_in_pieces(pipe(&handle, "api", Stderr, 1), err.clone()),
        ];
        sink.wait_for_bytes("api", out.len() + err.len()).await;
        for thread in threads {
            thread.join().unwrap();
        }
    })
    .await;
    let file = log(dir.path(), "api");
    for (stream, bytes) in [(Stdout, out), (Stderr, err)] {
        let logged: Vec<u8> = records(dir.path(), "api")
            .iter()
            .filter(|record| record.stream == stream)
            .flat_map(|record| {
                let start = usize::try_from(record.offset).unwrap();
                file[start..start + usize::try_from(record.length).unwrap()].to_vec()
            })
            .collect();
        assert!(logged == bytes, "{stream:?} differs");
    }
}

// The clock is paused: it moves on to the next timer when there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn an_unfinished_line_is_shown_after_a_tenth_of_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    with_pump(dir.path(), sink.clone(), async |handle| {
        let mut out = pipe(&handle, "api", Stdout, 1);
        let start = Instant::now();
        out.write_all(b"Password: ").unwrap();
        sink.wait_for(|blocks| blocks.len() == 1).await;
        let waited = start.elapsed().as_millis();
        assert!((100..=102).contains(&waited), "{waited} ms");
        assert!(sink.blocks()[0].is_partial());
        out.write_all(b"hunter2\n").unwrap();
        sink.wait_for(|blocks| blocks.len() == 2).await;
        assert!(!sink.blocks()[1].is_partial());
        assert_eq!(start.elapsed().as_millis(), waited, "a whole line waited");
    })
    .await;
    let continues: Vec<bool> = records(dir.path(), "api")
        .iter()
        .map(|r| r.continues)
        .collect();
    assert_eq!(continues, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_line_whose_end_comes_in_time_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    with_pump(dir.path(), sink.clone(), async |handle| {
        let mut out = pipe(&handle, "api", Stdout, 1);
        out.write_all(b"first\nhalf ").unwrap();
        sink.wait_for(|blocks| blocks.len() == 1).await;
        out.write_all(b"a line\n").unwrap();
        sink.wait_for(|blocks| blocks.len() == 2).await;
    })
    .await;
    assert_eq!(sink.blocks()[0].bytes, b"first\n");
    assert_eq!(sink.blocks()[1].bytes, b"half a line\n");
}

#[test]
fn a_grandchild_that_holds_the_pipe_delays_nothing_and_loses_nothing() {
    alone_async(async {
        let dir = tempfile::tempdir().unwrap();
        let sink = TestSink::default();
        with_pump(dir.path(), sink.clone(), async |handle| {
            let mut out = pipe(&handle, "api", Stdout, 1);
            out.write_all(b"mine\n").unwrap();
            assert!(handle.drain(unit("api"), 1).await.is_leaky);
            let mut next = pipe(&handle, "api", Stdout, 2);
            next.write_all(b"second attempt\n").unwrap();
            sink.wait_for(|blocks| blocks.len() == 2).await;
            out.write_all(b"late\n").unwrap();
            sink.wait_for(|blocks| blocks.len() == 3).await;
            drop(out);
            assert!(!handle.drain(unit("api"), 1).await.is_leaky);
            assert!(handle.drain(unit("api"), 2).await.is_leaky);
        })
        .await;
        let attempts: Vec<u32> = sink.blocks().iter().map(|b| b.attempt).collect();
        assert_eq!(attempts, [1, 2, 1]);
    });
}

/// Writes without end until told to stop.
fn flood(mut pipe: File, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    spawn(move || {
        let text = "spam spam spam spam\n".repeat(3_000);
        while !stop.load(Ordering::Relaxed) && pipe.write_all(text.as_bytes()).is_ok() {}
    })
}

#[tokio::test]
async fn a_flood_starves_neither_other_services_nor_the_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    let stop = Arc::new(AtomicBool::new(false));
    with_pump(dir.path(), sink.clone(), async |handle| {
        let flooder = flood(pipe(&handle, "loud", Stdout, 1), stop.clone());
        sink.wait_for_bytes("loud", 1_000_000).await;
        // It holds the pipe and never stops, yet a drain ends.
        assert!(handle.drain(unit("loud"), 1).await.is_leaky);
        for number in 0..20 {
            let mut quiet = pipe(&handle, "quiet", Stdout, number);
            quiet.write_all(b"hello\n").unwrap();
            let before: usize = sink.blocks().iter().map(|b| b.bytes.len()).sum();
            sink.wait_for_bytes("quiet", 6 * (number as usize + 1))
                .await;
            let after: usize = sink.blocks().iter().map(|b| b.bytes.len()).sum();
            // A round or two of the flood, of 1 MiB each.
            assert!(after - before < 4 * 1024 * 1024, "{}", after - before);
        }
        stop.store(true, Ordering::Relaxed);
        handle.drain(unit("loud"), 1).await;
        flooder.join().unwrap();
    })
    .await;
}

#[test]
fn closing_logs_what_is_there_and_closes_the_pipe() {
    alone_async(async {
        let dir = tempfile::tempdir().unwrap();
        with_pump(dir.path(), TestSink::default(), async |handle| {
            let mut out = pipe(&handle, "api", Stdout, 1);
            out.write_all(b"last words").unwrap();
            handle.close(unit("api"));
            assert!(!handle.drain(unit("api"), 1).await.is_leaky);
            assert!(out.write_all(b"x").is_err(), "the pipe is still open");
        })
        .await;
        assert_eq!(log(dir.path(), "api"), b"last words");
    });
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    with_pump(dir.path(), sink.clone(), async |handle| {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        handle.register(file, unit("api"), Stdout, 1, LoggingPlan::default());
        handle.drain(unit("api"), 1).await;
    })
    .await;
    assert_eq!(sink.notices().len(), 1);
    assert!(!dir.path().join("api.log").exists(), "no output, no file");
}

#[test]
fn a_terminal_is_read_to_its_hangup() {
    alone_async(async {
        let dir = tempfile::tempdir().unwrap();
        with_pump(dir.path(), TestSink::default(), async |handle| {
            let terminal = nix::pty::openpty(None, None).unwrap();
            let nonblocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
            nix::fcntl::fcntl(&terminal.master, nonblocking).unwrap();
            handle.register(
                terminal.master,
                unit("api"),
                Stdout,
                1,
                LoggingPlan::default(),
            );
            let mut slave = File::from(terminal.slave);
            slave.write_all(b"hello").unwrap();
            assert!(handle.drain(unit("api"), 1).await.is_leaky);
            slave.write_all(b" and bye").unwrap();
            drop(slave);
            assert!(!handle.drain(unit("api"), 1).await.is_leaky);
        })
        .await;
        assert_eq!(log(dir.path(), "api"), b"hello and bye");
    });
}

#[tokio::test]
async fn a_reader_that_hears_the_feed_misses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(5_000_000);
    let (handle, feed, pump) = Pump::new(dir.path().into(), 1, TestSink::default()).unwrap();
    let mut shown = Vec::new();
    let read = async {
        let writer = write_in_pieces(pipe(&handle, "api", Stdout, 1), bytes.clone());
        let mut viewer = feed.viewer();
        assert!(viewer.changed().await);
        let news = viewer.news();
        let start = Start::Run(1);
        let mut reader =
            LogReader::open(dir.path().into(), &Wanted::default(), start, Some(news)).unwrap();
        loop {
            while let Some(piece) = reader.next_piece().unwrap() {
                match piece {
                    Followed::Block(block) => shown.extend_from_slice(&block.bytes),
                    Followed::Lost { .. } => panic!("{piece:?}"),
                }
            }
            if shown.len() == bytes.len() {
                break;
            }
            assert!(viewer.changed().await);
            for news in viewer.news() {
                reader.hear(news).unwrap();
            }
        }
        writer.join().unwrap();
        drop(handle);
    };
    tokio::join!(read, pump.run());
    assert!(shown == bytes);
}

#[tokio::test]
async fn what_no_file_takes_is_handed_to_viewers() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("api.log")).unwrap();
    let (handle, feed, pump) = Pump::new(dir.path().into(), 1, TestSink::default()).unwrap();
    let watch = async {
        let mut viewer = feed.viewer();
        let mut out = pipe(&handle, "api", Stdout, 7);
        drop(handle);
        out.write_all(b"last words\n").unwrap();
        assert!(viewer.changed().await);
        let news = viewer.news();
        let [
            LogNews::Unwritten { position, block },
            LogNews::Grown { .. },
        ] = &news[..]
        else {
            panic!("{news:?}")
        };
        assert_eq!((position.offset, block.attempt), (0, 7));
        assert_eq!(block.bytes, "last words\n");
        drop(out);
        assert!(!viewer.changed().await);
    };
    tokio::join!(watch, pump.run());
}
