//! What can happen to the files of the ledger: one warning, and it goes on.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::super::file::VERSION;
use super::*;
use crate::ports::testing::private_tmpfs;

#[test]
fn garbage_is_said_once_and_replaced() {
    for garbage in [
        &b""[..],
        b"{",
        b"not json",
        b"\0\xff\xfe",
        b"[]",
        b"{\"version\":2}",
        b"{\"version\":2,\"live\":[{}],\"grants\":[],\"stacks\":[]}",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        fs_err::write(ledger.path(), garbage).unwrap();
        let shop = owner("shop", directory.path());
        let warnings = record(&ledger, &shop, &[("api", 8000)]);
        assert!(
            matches!(warnings[..], [LedgerWarning::Damaged { .. }]),
            "{garbage:?}: {warnings:?}"
        );
        assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
        assert_eq!(ledger.live().len(), 1);
    }
}

#[test]
fn every_truncation_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    record(&ledger, &shop, &[("api", 8000)]);
    let whole = fs_err::read(ledger.path()).unwrap();
    for length in 0..whole.len() {
        fs_err::write(ledger.path(), &whole[..length]).unwrap();
        assert_eq!(ledger.live(), []);
    }
}

#[test]
fn an_older_ledger_is_replaced_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let older = r#"{"version":1,"boot":"b","live":[],"grants":[],"stacks":[]}"#;
    fs_err::write(ledger.path(), older).unwrap();
    assert_eq!(ledger.overview(), LedgerOverview::default());
    let shop = owner("shop", directory.path());
    assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
    assert_eq!(ledger.live().len(), 1);
}

#[test]
fn a_newer_ledger_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let newer = format!("{{\"version\":{},\"rows\":7}}", VERSION + 1);
    fs_err::write(ledger.path(), &newer).unwrap();
    let warnings = record(&ledger, &owner("shop", directory.path()), &[("api", 8000)]);
    assert!(matches!(warnings[..], [LedgerWarning::Newer { .. }]));
    assert_eq!(fs_err::read_to_string(ledger.path()).unwrap(), newer);
}

#[test]
fn a_lock_that_is_never_given_back_costs_the_wait_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path()).with_lock_wait(Duration::from_millis(50));
    let shop = owner("shop", directory.path());
    record(&ledger, &shop, &[("api", 8000)]);
    let before = fs_err::read(ledger.path()).unwrap();
    let holder = File::open(ledger.lock_path()).unwrap();
    holder.lock().unwrap();

    let started = Instant::now();
    let warnings = record(&ledger, &shop, &[("api", 8001)]);
    assert!(matches!(warnings[..], [LedgerWarning::Locked { .. }]));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(fs_err::read(ledger.path()).unwrap(), before);
    assert_eq!(ledger.live().len(), 1, "it can still be read");
    assert_eq!(ledger.live()[0].port, 8000);
}

#[test]
fn a_place_that_cannot_be_written_is_a_warning() {
    // Not by permissions, as tests may run as root.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs_err::write(&file, "").unwrap();
    let shop = owner("shop", directory.path());
    let ledger = Ledger::at(file.join("stack"));
    let warnings = record(&ledger, &shop, &[("api", 8000)]);
    assert!(
        matches!(warnings[..], [LedgerWarning::Unusable { .. }]),
        "{warnings:?}"
    );

    let ledger = Ledger::at(directory.path());
    fs_err::create_dir(ledger.path()).unwrap();
    let warnings = record(&ledger, &shop, &[("api", 8000)]);
    assert!(
        matches!(warnings[..], [LedgerWarning::Unreadable { .. }]),
        "{warnings:?}"
    );
}

#[test]
fn a_full_disk_is_a_warning_and_keeps_the_old_file() {
    // In a mount namespace of this thread.
    let outcome = std::thread::spawn(|| {
        let directory = tempfile::tempdir().unwrap();
        if !private_tmpfs(directory.path(), "size=16k") {
            println!("skipped: needs root");
            return;
        }
        let ledger = Ledger::at(directory.path());
        let shop = owner("shop", directory.path());
        assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
        let fill = vec![0; 64 * 1024];
        assert!(fs_err::write(directory.path().join("fill"), fill).is_err());
        let warnings = record(&ledger, &shop, &[("api", 8001)]);
        assert!(
            matches!(warnings[..], [LedgerWarning::Unwritten { .. }]),
            "{warnings:?}"
        );
        assert_eq!(ledger.live()[0].port, 8000);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 3, "the ledger, its lock, and the filling");
        // A test beside this one may be between fork and exec, with a copy of our descriptors.
        nix::mount::umount2(directory.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    })
    .join();
    assert!(outcome.is_ok());
}

#[test]
fn damage_within_a_row_is_said_by_who_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    record(&ledger, &shop, &[("api", 8000)]);
    let text = fs_err::read_to_string(ledger.path()).unwrap();
    fs_err::write(ledger.path(), text.replace("\"api\",", "\"api\";")).unwrap();
    let overview = ledger.overview();
    assert!(
        matches!(overview.warnings[..], [LedgerWarning::Damaged { .. }]),
        "{overview:?}"
    );
    let warnings = record(&ledger, &shop, &[("api", 8000)]);
    assert!(
        matches!(warnings[..], [LedgerWarning::Damaged { .. }]),
        "{warnings:?}"
    );
    assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
}

#[test]
fn a_reader_without_the_lock_never_sees_half_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    let names: Vec<String> = (0..200).map(|index| format!("s{index}")).collect();
    let ports = |count: usize| -> Vec<(&str, u16)> {
        let names = names[..count].iter().map(String::as_str);
        names.zip(8000..).collect()
    };
    record(&ledger, &shop, &ports(1));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let overview = ledger.overview();
                    assert_eq!(overview.warnings, []);
                    assert!([1, 200].contains(&overview.live.len()));
                }
            });
        }
        for round in 0..200 {
            let ports = ports(if round % 2 == 0 { 200 } else { 1 });
            assert_eq!(record(&ledger, &shop, &ports), []);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_spare_file_that_is_in_use_or_none_of_ours_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    let elsewhere = directory.path().join("elsewhere");
    fs_err::write(&elsewhere, "untouched").unwrap();
    std::os::unix::fs::symlink(&elsewhere, ledger.spare_path()).unwrap();
    assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
    assert_eq!(fs_err::read_to_string(&elsewhere).unwrap(), "untouched");

    assert_eq!(record(&ledger, &shop, &[("api", 8001)]), []);
    let reader = File::open(ledger.spare_path()).unwrap();
    reader.lock_shared().unwrap();
    let before = fs_err::read(ledger.spare_path()).unwrap();
    assert_eq!(record(&ledger, &shop, &[("api", 8002)]), []);
    let still = std::io::read_to_string(&reader).unwrap();
    assert_eq!(still.as_bytes(), before);
    assert_eq!(ledger.live()[0].port, 8002);
}

#[test]
fn who_looks_learns_that_stacks_may_run_that_could_not_be_noted() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path()).with_lock_wait(Duration::ZERO);
    record(&ledger, &owner("shop", directory.path()), &[("api", 8000)]);
    assert_eq!(ledger.overview().warnings, []);
    let lock = File::open(directory.path().join("ports.lock")).unwrap();
    lock.lock().unwrap();
    let overview = ledger.overview();
    assert!(
        matches!(overview.warnings[..], [LedgerWarning::Locked { .. }]),
        "{overview:?}"
    );
    assert_eq!(overview.live.len(), 1, "what it says is shown all the same");
    // Where no directory can be made there is nothing to be read, and nothing that is certain.
    let file = directory.path().join("file");
    fs_err::write(&file, "").unwrap();
    let overview = Ledger::at(file.join("stack")).overview();
    assert!(!overview.warnings.is_empty(), "{overview:?}");
}
