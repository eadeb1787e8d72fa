//! What can happen to the files of the ledger: one warning, and it goes on.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::ports::testing::private_tmpfs;

/// A whole transaction of a stack, as its start makes it: with a look at what others had.
fn record(ledger: &Ledger, owner: &Owner, ports: &[(&str, u16)]) -> Vec<LedgerWarning> {
    let mut session = Session::begin(ledger, Some(&owner.instance));
    let mut kept = session.kept();
    kept.contains(8000);
    let useless = kept.useless();
    session.forget(useless);
    drop(session.start(owner, &rows(ports), false));
    session.commit();
    session.into_warnings()
}

#[test]
fn garbage_is_said_once_and_goes() {
    alone(|| {
        for garbage in [
            &b"{"[..],
            b"not a line\n",
            b"\0\xff\xfe",
            b"[]\n[]\n[]\n",
            b"-1 2 3 4 5 6\t{",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let ledger = Ledger::at(directory.path());
            fs_err::create_dir(ledger.path()).unwrap();
            fs_err::write(ledger.path().join("stacks"), garbage).unwrap();
            let shop = owner("shop", directory.path());
            let warnings = record(&ledger, &shop, &[("api", 8000)]);
            assert!(
                matches!(warnings[..], [LedgerWarning::Damaged { .. }]),
                "{garbage:?}: {warnings:?}"
            );
            let blog = owner("blog", directory.path());
            assert_eq!(record(&ledger, &blog, &[("api", 8001)]), []);
            assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
            let overview = ledger.overview();
            assert_eq!(overview.warnings, [], "{garbage:?}");
            assert_eq!(overview.sticky.len(), 2);
        }
    });
}

#[test]
fn every_truncation_is_survived() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let [shop, blog] = ["shop", "blog"].map(|project| owner(project, directory.path()));
        come_and_go(&ledger, &shop, &[("api", 8000)]);
        come_and_go(&ledger, &blog, &[("api", 8001)]);
        let path = ledger.path().join("stacks");
        let whole = fs_err::read(&path).unwrap();
        for length in 0..whole.len() {
            fs_err::write(&path, &whole[..length]).unwrap();
            let lines = whole[..length].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(ledger.overview().sticky.len(), lines, "{length}");
        }
        fs_err::write(&path, &whole).unwrap();
        assert_eq!(ledger.overview().sticky.len(), 2);
    });
}

#[test]
fn a_lock_that_is_never_given_back_costs_the_wait_and_no_more() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path()).with_lock_wait(Duration::from_millis(50));
        let shop = owner("shop", directory.path());
        assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
        let holder = File::open(ledger.lock_path()).unwrap();
        holder.lock().unwrap();

        let started = Instant::now();
        let warnings = record(&ledger, &shop, &[("api", 8001)]);
        assert!(matches!(warnings[..], [LedgerWarning::Locked { .. }]));
        assert!(started.elapsed() < Duration::from_secs(5));
        let overview = ledger.overview();
        assert!(
            matches!(overview.warnings[..], [LedgerWarning::Locked { .. }]),
            "{overview:?}"
        );
        assert_eq!(numbers(&overview.sticky), [8000], "it can still be read");
    });
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
    // There is nothing to be read, and nothing that is certain.
    let overview = ledger.overview();
    assert!(!overview.warnings.is_empty(), "{overview:?}");

    let ledger = Ledger::at(directory.path());
    fs_err::create_dir_all(ledger.path().join("stacks")).unwrap();
    let warnings = record(&ledger, &shop, &[("api", 8000)]);
    assert!(
        matches!(warnings[..], [LedgerWarning::Unreadable { .. }]),
        "{warnings:?}"
    );
}

#[test]
fn a_full_disk_is_a_warning_and_what_was_stays() {
    // In a mount namespace of this thread.
    let outcome = std::thread::spawn(|| {
        let directory = tempfile::tempdir().unwrap();
        if !private_tmpfs(directory.path(), "size=16k") {
            println!("skipped: needs root");
            return;
        }
        let ledger = Ledger::at(directory.path());
        let [shop, blog] = ["shop", "blog"].map(|project| owner(project, directory.path()));
        assert_eq!(record(&ledger, &shop, &[("api", 8000)]), []);
        let fill = vec![0; 64 * 1024];
        assert!(fs_err::write(directory.path().join("fill"), fill).is_err());
        let names: Vec<String> = (0..400).map(|index| format!("s{index}")).collect();
        let many: Vec<(&str, u16)> = names.iter().map(String::as_str).zip(8001..).collect();
        let warnings = record(&ledger, &blog, &many);
        assert!(
            matches!(warnings[..], [LedgerWarning::Unwritten { .. }]),
            "{warnings:?}"
        );
        assert_eq!(numbers(&ledger.overview().sticky), [8000]);
        let text = fs_err::read_to_string(ledger.path().join("stacks")).unwrap();
        assert_eq!(text.lines().count(), 1, "no half of a line: {text}");
        // A test beside this one may be between fork and exec, with a copy of our descriptors.
        nix::mount::umount2(directory.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    })
    .join();
    assert!(outcome.is_ok());
}

#[test]
fn damage_within_a_row_is_said_by_who_reads_it() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let shop = owner("shop", directory.path());
        come_and_go(&ledger, &shop, &[("api", 8000)]);
        let path = ledger.path().join("stacks");
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, text.replace("\"api\",", "\"api\";")).unwrap();
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
    });
}

#[test]
fn a_reader_without_the_lock_never_sees_half_a_row() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    let names: Vec<String> = (0..200).map(|index| format!("s{index}")).collect();
    let ports = |count: usize| -> Vec<(&str, u16)> {
        let names = names[..count].iter().map(String::as_str);
        names.zip(8000..).collect()
    };
    let mut noted = vec![start(&ledger, &shop, &ports(1))];
    let done = AtomicBool::new(false);
    let unlocked = || {
        Err(LedgerWarning::Unreadable {
            reason: String::new(),
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let session = Session::load(&ledger, Here::now(), unlocked().map_err(Some));
                    // Perhaps with rows of just before, but each of them whole.
                    let live = session.live_ports();
                    let count = |name: &str| {
                        let key = key(name);
                        live.iter().filter(|port| port.key == key).count()
                    };
                    assert!(count("s0") > 0);
                    assert_eq!(count("s1"), count("s199"));
                    assert_eq!(session.into_warnings().len(), 1);
                }
            });
        }
        for round in 0..100 {
            let count = if round % 2 == 0 { 200 } else { 1 };
            noted.push(start(&ledger, &shop, &ports(count)));
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(noted);
}
