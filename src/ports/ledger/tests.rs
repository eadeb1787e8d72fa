//! The ledger as a file, and its rules. No sockets here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ports::testing::{key, owner};
use crate::support::protocol::Protocol;

use super::book::{Book, Care};
use super::place::{Here, Process};
use super::*;

mod past;
mod trouble;

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
    let cases: [Case; 6] = [
        ("/here", 1, |_| {}, true, true),
        ("/here", 2, |_| {}, false, true),
        ("/gone", 1, |_| {}, false, false),
        ("/here", 1, |now| now.boot = "next".to_owned(), false, true),
        ("/here", 1, |now| now.netns = 8, false, false),
        // Which namespace that was is forgotten with the boot.
        (
            "/here",
            1,
            |now| (now.netns, now.boot) = (8, "next".to_owned()),
            false,
            true,
        ),
    ];
    for (directory, pid, change, live, sticky) in cases {
        let mut book = book_of("shop", directory, pid, 8000, &here);
        let mut now = here.clone();
        change(&mut now);
        prune(&mut book, &now);
        let case = format!("{directory} {pid} {now:?}");
        assert_eq!(book.live(&now, None).count(), usize::from(live), "{case}");
        assert_eq!(
            book.sticky(&now, None).count(),
            usize::from(sticky),
            "{case}"
        );
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
