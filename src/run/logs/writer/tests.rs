use super::*;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::run::news::News;

use super::super::segments::index_path;
use super::super::testing::{info, records, unit};

const SECOND: u64 = 1_000_000_000;

fn read_log(dir: &Path) -> Vec<u8> {
    fs_err::read(log_path(dir, &unit("api"))).unwrap()
}

#[test]
fn files_are_private_and_appear_with_the_first_byte() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("logs");
    let mut files = LogFiles::new(dir.clone(), 1);
    assert!(!dir.exists());
    files.append(&unit("api"), info(SECOND), b"hello\n");
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&log_path(&dir, &unit("api"))), 0o600);
    assert_eq!(mode(&index_path(&dir, &unit("api"), 0)), 0o600);
}

#[test]
fn a_new_run_appends() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    for run in [1, 2] {
        let mut files = LogFiles::new(dir.into(), run);
        files.append(&unit("api"), info(run * SECOND), b"hello\n");
        let appended = files.append(&unit("api"), info(run * SECOND + 1), b"again\n");
        assert_eq!(appended.end.offset, run * 12);
    }
    assert_eq!(read_log(dir), b"hello\nagain\nhello\nagain\n");
    let places: Vec<_> = records(dir, "api")
        .iter()
        .map(|r| (r.run, r.offset, r.length, r.time))
        .collect();
    let expected = [
        (1, 0, 6, SECOND),
        (1, 6, 6, SECOND + 1),
        (2, 12, 6, 2 * SECOND),
        (2, 18, 6, 2 * SECOND + 1),
    ];
    assert_eq!(places, expected);
}

#[test]
fn what_a_full_disk_refuses_is_counted_and_logging_goes_on_after_it() {
    on_a_tiny_disk(|dir| {
        let mut files = LogFiles::new(dir.into(), 1);
        let mut append = |time: u64, text: &str| {
            let notice = files
                .append(&unit("api"), info(time), text.as_bytes())
                .notice;
            notice.map(|notice| notice.news)
        };
        let ballast = fill(dir);
        let lost = |lost_bytes| {
            Some(News::LogNotWritten {
                lost_bytes,
                error: "No space left on device (os error 28)".to_owned(),
            })
        };
        assert_eq!(append(100 * SECOND, "one\n"), lost(4));
        assert_eq!(append(101 * SECOND, "two\n"), None, "one notice a minute");
        assert_eq!(append(159 * SECOND, "three\n"), None);
        assert_eq!(append(160 * SECOND, "four\n"), lost(15));
        fs_err::remove_file(ballast).unwrap();
        assert_eq!(append(161 * SECOND, "five\n"), None);
        assert_eq!(append(162 * SECOND, "six\n"), None);
        assert_eq!(
            append(300 * SECOND, "seven\n"),
            None,
            "all losses were said"
        );
        assert_eq!(read_log(dir), b"five\nsix\nseven\n");
        let dropped: Vec<u64> = records(dir, "api").iter().map(|r| r.dropped).collect();
        assert_eq!(dropped, [19, 0, 0]);
    });
}

#[test]
fn a_full_index_takes_the_block_back() {
    on_a_tiny_disk(|dir| {
        let mut files = LogFiles::new(dir.into(), 1);
        // The index needs another page of the disk before the log does.
        let is_full = || index_length(dir).is_multiple_of(4096);
        files.append(&unit("api"), info(SECOND), b"one\n");
        while !is_full() {
            files.append(&unit("api"), info(SECOND), b"one\n");
        }
        let before = read_log(dir);
        fill(dir);
        let appended = files.append(&unit("api"), info(SECOND), b"two\n");
        assert!(appended.notice.is_some());
        assert_eq!(read_log(dir), before);
    });
}

/// Fills the disk on which `dir` is; the file that does.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("ballast");
    let mut file = fs_err::File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

fn index_length(dir: &Path) -> u64 {
    fs_err::metadata(index_path(dir, &unit("api"), 0))
        .unwrap()
        .len()
}

/// Runs `test` in a directory on a disk of 64 KiB that only this thread sees; does nothing where
/// that is not allowed.
fn on_a_tiny_disk(test: impl FnOnce(&Path) + Send + 'static) {
    let work = move || {
        let directory = tempfile::tempdir().unwrap();
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        let none = None::<&str>;
        let is_mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, private, none))
            .and_then(|()| {
                let tmpfs = Some("tmpfs");
                mount(
                    tmpfs,
                    directory.path(),
                    tmpfs,
                    MsFlags::empty(),
                    Some("size=64k"),
                )
            });
        match is_mounted {
            Ok(()) => {
                test(directory.path());
                umount2(directory.path(), MntFlags::MNT_DETACH).unwrap();
            }
            Err(error) => {
                println!("skipped: needs the right to mount ({error})");
                assert_ne!(std::env::var("STACK_TEST_REQUIRE").as_deref(), Ok("all"));
            }
        }
    };
    std::thread::spawn(work).join().unwrap();
}

#[test]
fn a_disk_that_fills_up_within_a_block_keeps_whole_lines() {
    on_a_tiny_disk(|dir| {
        let ballast = dir.join("ballast");
        fs_err::write(&ballast, vec![0; 16 * 1024]).unwrap();
        let block = "123456789\n".repeat(1_500).into_bytes();
        let mut files = LogFiles::new(dir.into(), 1);
        let mut last_end = Position::default();
        let mut kept = 0;
        for number in 0..10 {
            let appended = files.append(&unit("api"), info(number), &block);
            last_end = appended.end;
            kept += appended.kept;
        }
        let log = read_log(dir);
        let last = *records(dir, "api").last().unwrap();
        assert_eq!(last.end(), log.len() as u64);
        assert_eq!(log.len() % 10, 0, "a line was torn");
        assert!(
            !log.len().is_multiple_of(block.len()),
            "the disk was not full within a block"
        );
        assert_eq!(last_end.offset, last.end());
        assert_eq!(kept, log.len(), "the rest is for viewers");
        fs_err::remove_file(ballast).unwrap();
        files.append(&unit("api"), info(20), b"after\n");
        let resumed = *records(dir, "api").last().unwrap();
        assert_eq!(resumed.dropped, (10 * block.len() - log.len()) as u64);
        assert!(read_log(dir).ends_with(b"123456789\nafter\n"));
    });
}

#[test]
fn a_log_that_somebody_removed_or_emptied_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 1);
    files.append(&unit("api"), info(10 * SECOND), b"one\n");
    fs_err::remove_file(log_path(dir, &unit("api"))).unwrap();
    files.append(&unit("api"), info(11 * SECOND), b"two\n");
    assert_eq!(read_log(dir), b"two\n");
    assert_eq!(records(dir, "api").len(), 1);
    fs_err::write(log_path(dir, &unit("api")), "").unwrap();
    files.append(&unit("api"), info(12 * SECOND), b"three\n");
    assert_eq!(read_log(dir), b"three\n");
    assert_eq!(records(dir, "api")[0].length, 6);
    fs_err::remove_dir_all(dir).unwrap();
    let appended = files.append(&unit("api"), info(13 * SECOND), b"four\n");
    assert!(appended.notice.is_none());
    assert_eq!(read_log(dir), b"four\n");
}
