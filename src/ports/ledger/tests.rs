//! The ledger as a file, and its rules. No sockets here.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use crate::ports::testing::{key, owner};
use crate::support::protocol::Protocol;

use super::book::{Book, Care};
use super::file::VERSION;
use super::place::{Here, Process};
use super::*;

fn rows(ports: &[(&str, u16)]) -> Vec<PortRow> {
    ports
        .iter()
        .map(|&(service, port)| PortRow {
            key: key(service),
            protocol: Protocol::Tcp,
            port,
        })
        .collect()
}

fn record(ledger: &Ledger, owner: &Owner, ports: &[(&str, u16)]) -> Vec<LedgerWarning> {
    ledger.update(|session| {
        let here = session.here.clone();
        session.book.record(owner, &rows(ports), false, &here);
    })
}

/// A world in which only the directory `/here` exists and only process 1 lives.
fn here() -> Here {
    Here {
        boot: "boot".to_owned(),
        netns: 7,
        process: Process { pid: 99, start: 99 },
        boottime_millis: 1_000_000,
        unix_millis: 1_000_000_000_000,
        alive: |process, _| process.pid == 1,
        present: |path| path == Path::new("/here"),
    }
}

fn prune(book: &mut Book, here: &Here) {
    book.prune(here, Care::Thorough);
}

fn book_of(project: &str, directory: &str, pid: i32, port: u16, here: &Here) -> Book {
    let mut book = Book {
        boot: here.boot.clone(),
        ..Book::default()
    };
    let there = Here {
        process: Process { pid, start: 1 },
        ..here.clone()
    };
    book.record(
        &owner(project, Path::new(directory)),
        &rows(&[("api", port)]),
        false,
        &there,
    );
    book
}

#[test]
fn what_is_written_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path().join("new/stack"));
    let shop = owner("shop", directory.path());
    assert_eq!(record(&ledger, &shop, &[("api", 8000), ("web", 8001)]), []);
    let live = ledger.live();
    assert_eq!(live.len(), 2);
    assert_eq!(live[1].key, key("web"));
    assert_eq!(live[1].supervisor, i32::try_from(std::process::id()).ok());
    assert_eq!(
        ledger.stack_of(8000).unwrap().to_string(),
        format!(
            "PORT of service `api` in stack `shop` ({})",
            directory.path().display()
        )
    );
    assert_eq!(ledger.release(&shop), []);
    assert_eq!(ledger.live(), []);
    assert_eq!(ledger.sticky().len(), 2);
    assert!(
        ledger
            .stack_of(8000)
            .unwrap()
            .to_string()
            .ends_with("which is not running")
    );
    let mode = std::fs::metadata(ledger.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_overview_says_everything_at_once_and_only_what_counts() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path().join("new"));
    assert_eq!(ledger.overview(), LedgerOverview::default());
    let shop = owner("shop", directory.path());
    let ports = [
        (key("api"), Protocol::Tcp, 8000),
        (key("dns"), Protocol::Udp, 8000),
    ];
    assert_eq!(ledger.hold(&shop, &ports), []);
    let blog = owner("blog", directory.path());
    let mail = owner("mail", directory.path());
    ledger.update(|session| {
        let dead = Here {
            process: Process { pid: 1, start: 0 },
            ..session.here.clone()
        };
        session
            .book
            .record(&blog, &rows(&[("api", 8001)]), false, &dead);
        let elsewhere = Here {
            netns: 7,
            ..session.here.clone()
        };
        session
            .book
            .record(&mail, &rows(&[("api", 8002)]), false, &elsewhere);
        session.book.grants.push(GrantRow {
            port: 8003,
            netns: session.here.netns,
            until: session.here.boottime_millis + GRANT_MILLIS,
        });
    });
    let overview = ledger.overview();
    let stack_port = |owner: &Owner, service, protocol, port, supervisor| StackPort {
        owner: owner.clone(),
        key: key(service),
        protocol,
        port,
        supervisor,
    };
    let me = i32::try_from(std::process::id()).ok();
    assert_eq!(
        overview.live,
        [
            stack_port(&shop, "api", Protocol::Tcp, 8000, me),
            stack_port(&shop, "dns", Protocol::Udp, 8000, me),
        ]
    );
    assert_eq!(
        overview.sticky,
        [
            stack_port(&shop, "api", Protocol::Tcp, 8000, None),
            stack_port(&shop, "dns", Protocol::Udp, 8000, None),
            stack_port(&blog, "api", Protocol::Tcp, 8001, None),
            stack_port(&mail, "api", Protocol::Tcp, 8002, None),
        ]
    );
    assert_eq!(overview.granted, [8003]);
    assert_eq!(overview.warnings, []);

    fs_err::write(ledger.path(), "garbage").unwrap();
    let overview = ledger.overview();
    assert!(matches!(
        overview.warnings[..],
        [LedgerWarning::Damaged { .. }]
    ));
}

/// Directory and pid of a row, a change of the world, and whether the row then counts as live and
/// as sticky.
type Case = (&'static str, i32, fn(&mut Here), bool, bool);

#[test]
fn dead_holders_other_boots_and_lost_directories_do_not_count() {
    let here = here();
    let cases: [Case; 5] = [
        ("/here", 1, |_| {}, true, true),
        ("/here", 2, |_| {}, false, true),
        ("/gone", 1, |_| {}, false, false),
        ("/here", 1, |now| now.boot = "next".to_owned(), false, true),
        ("/here", 1, |now| now.netns = 8, false, true),
    ];
    for (directory, pid, change, live, sticky) in cases {
        let mut book = book_of("shop", directory, pid, 8000, &here);
        let mut now = here.clone();
        change(&mut now);
        prune(&mut book, &now);
        let case = format!("{directory} {pid} {now:?}");
        assert_eq!(book.live(&now, None).count(), usize::from(live), "{case}");
        assert_eq!(book.sticky(None).count(), usize::from(sticky), "{case}");
    }
}

#[test]
fn another_namespaces_rows_are_kept_for_it() {
    let here = here();
    let mut book = book_of("shop", "/here", 2, 8000, &here);
    let other = Here { netns: 8, ..here };
    prune(&mut book, &other);
    assert_eq!(book.live.len(), 1, "process 2 cannot be judged from there");
}

#[test]
fn grants_end_after_two_minutes_and_with_the_boot() {
    let mut now = here();
    let grant = GrantRow {
        port: 8000,
        netns: now.netns,
        until: now.boottime_millis + GRANT_MILLIS,
    };
    let granted = |now: &Here| {
        let mut book = Book {
            boot: "boot".to_owned(),
            grants: vec![grant.clone()],
            ..Book::default()
        };
        prune(&mut book, now);
        book.granted(now).count()
    };
    assert_eq!(granted(&now), 1);
    now.boottime_millis += GRANT_MILLIS + 1;
    assert_eq!(granted(&now), 0);
    now.boottime_millis = 5;
    assert_eq!(granted(&now), 0, "a deadline that no grant can have");
    now = Here {
        boot: "next".to_owned(),
        ..here()
    };
    assert_eq!(granted(&now), 0);
}

#[test]
fn what_is_old_is_forgotten() {
    let day = 24 * 3_600_000;
    let mut now = here();
    let shop = owner("shop", Path::new("/here"));
    let mut book = book_of("shop", "/here", 1, 8000, &now);
    book.blame(&shop, 8000, true, &now);
    assert!(book.own_sticky(&shop).is_empty(), "it turned bad");
    now.unix_millis += 8 * day;
    prune(&mut book, &now);
    assert_eq!(book.own_sticky(&shop).len(), 1);
    now.unix_millis += 90 * day;
    prune(&mut book, &now);
    assert!(book.stacks.is_empty());
}

#[test]
fn fresh_ports_forget_what_was() {
    let here = here();
    let shop = owner("shop", Path::new("/here"));
    let mut book = book_of("shop", "/here", 1, 8000, &here);
    book.record(&shop, &rows(&[("web", 8001)]), false, &here);
    assert_eq!(book.own_sticky(&shop).len(), 2);
    book.record(&shop, &rows(&[("web", 8002)]), true, &here);
    assert_eq!(book.own_sticky(&shop), HashMap::from([(key("web"), 8002)]));
}

#[test]
fn a_server_that_needs_its_hold_released_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    assert_eq!(ledger.needs_release(&shop), []);
    assert_eq!(ledger.learn_release(&shop, &key("api")), []);
    assert_eq!(ledger.learn_release(&shop, &key("api")), []);
    assert_eq!(ledger.needs_release(&shop), [key("api")]);
}

#[test]
fn garbage_is_said_once_and_replaced() {
    for garbage in [
        &b""[..],
        b"{",
        b"not json",
        b"\0\xff\xfe",
        b"[]",
        b"{\"version\":1}",
        b"{\"version\":1,\"live\":[{}],\"grants\":[],\"stacks\":[]}",
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
    // A small tmpfs in a mount namespace of this thread; that takes root.
    let outcome = std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let directory = tempfile::tempdir().unwrap();
        // A mount namespace needs a file-system view of its own, which threads otherwise share.
        let own = CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS;
        let mounted = unshare(own)
            .and_then(|()| {
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            })
            .and_then(|()| {
                let size = Some("size=16k");
                mount(
                    Some("tmpfs"),
                    directory.path(),
                    Some("tmpfs"),
                    MsFlags::empty(),
                    size,
                )
            });
        if mounted.is_err() {
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
        assert_eq!(left, 4, "the ledger, its lock and bell, and the filling");
        // A test beside this one may be between fork and exec, with a copy of our descriptors.
        nix::mount::umount2(directory.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    })
    .join();
    assert!(outcome.is_ok());
}

#[test]
fn the_state_directory_follows_the_xdg_rules() {
    let with = |pairs: &'static [(&str, &str)]| {
        state_dir(|name| {
            let (_, value) = pairs.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(value))
        })
    };
    let found = |text: &str| Some(PathBuf::from(text));
    assert_eq!(
        with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]),
        found("/s/stack")
    );
    assert_eq!(with(&[("HOME", "/h")]), found("/h/.local/state/stack"));
    assert_eq!(
        with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
        found("/h/.local/state/stack")
    );
    assert_eq!(with(&[("XDG_STATE_HOME", "")]), None);
}

#[test]
fn a_small_ledger_takes_about_a_millisecond() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    for index in 0..5 {
        let mut stack = owner("shop", directory.path());
        stack.instance = format!("shop-{index}");
        record(
            &ledger,
            &stack,
            &[("api", 8000), ("web", 8001), ("db", 8002)],
        );
    }
    let shop = owner("shop", directory.path());
    let fastest = (0..20)
        .map(|_| {
            let started = Instant::now();
            record(&ledger, &shop, &[("api", 8010)]);
            started.elapsed()
        })
        .min();
    // Far above what it takes, since this runs unoptimised beside other tests; a sync to the disk
    // would still show.
    assert!(fastest < Some(Duration::from_millis(20)), "{fastest:?}");
}
