//! The ledger as files, and its rules. No sockets here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ports::testing::{key, owner};
use crate::support::protocol::Protocol;
use crate::support::testing::alone;

use super::lock::lock;
use super::*;

mod past;
mod trouble;

const DAY: u64 = 24 * 3_600_000;

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

/// Notes that a stack starts with `ports`, as this process would.
fn start(ledger: &Ledger, owner: &Owner, ports: &[(&str, u16)]) -> Noted {
    let ports: Vec<_> = rows(ports)
        .into_iter()
        .map(|row| (row.key, row.protocol, row.port))
        .collect();
    ledger.note(owner, &ports).unwrap()
}

/// A stack that has come and gone.
fn come_and_go(ledger: &Ledger, owner: &Owner, ports: &[(&str, u16)]) {
    drop(start(ledger, owner, ports));
}

/// The ledger at another place or time.
fn there(ledger: &Ledger, change: impl FnOnce(&mut Here)) -> Session {
    let mut here = Here::now();
    change(&mut here);
    Session::load(ledger, here, lock(ledger).map_err(Some))
}

fn numbers(ports: &[StackPort]) -> Vec<u16> {
    ports.iter().map(|port| port.port).collect()
}

/// The numbers between 8000 and 8009 that others had.
fn kept(session: &Session) -> Vec<u16> {
    let mut kept = session.kept();
    (8000..8010).filter(|&port| kept.contains(port)).collect()
}

#[test]
fn what_is_written_is_read_again() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path().join("new/stack"));
        let shop = owner("shop", directory.path());
        let noted = start(&ledger, &shop, &[("api", 8000), ("web", 8001)]);
        let live = ledger.overview().live;
        assert_eq!(live.len(), 2);
        assert_eq!((&live[1].key, live[1].is_running), (&key("web"), true));
        assert_eq!(
            live[0].to_string(),
            format!(
                "PORT of service `api` in stack `shop` ({})",
                directory.path().display()
            )
        );
        let file = ledger.path().join("stacks");
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(noted);
        let overview = ledger.overview();
        assert_eq!(overview.live, []);
        assert_eq!(numbers(&overview.sticky), [8000, 8001]);
        let told = overview.sticky[0].to_string();
        assert!(told.ends_with("which is not running"), "{told}");
    });
}

#[test]
fn the_overview_says_everything_at_once_and_only_what_counts() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path().join("new"));
        assert_eq!(ledger.overview(), LedgerOverview::default());
        assert!(!ledger.path().exists(), "a look makes nothing");
        let [shop, blog, mail] =
            ["shop", "blog", "mail"].map(|project| owner(project, directory.path()));
        let ports = [
            (key("api"), Protocol::Tcp, 8000),
            (key("dns"), Protocol::Udp, 8000),
        ];
        let _shop = ledger.note(&shop, &ports).unwrap();
        come_and_go(&ledger, &blog, &[("api", 8001)]);
        let mut elsewhere = there(&ledger, |here| here.netns = 7);
        let _mail = elsewhere.start(&mail, &rows(&[("api", 8002)]), false);
        assert!(elsewhere.commit());
        let mut session = Session::begin(&ledger, None);
        session.grant(vec![8003]);
        session.unlock();
        let overview = ledger.overview();
        let stack_port = |owner: &Owner, service, protocol, port, is_running| StackPort {
            owner: owner.clone(),
            key: key(service),
            protocol,
            port,
            is_running,
        };
        assert_eq!(
            overview.live,
            [
                stack_port(&shop, "api", Protocol::Tcp, 8000, true),
                stack_port(&shop, "dns", Protocol::Udp, 8000, true),
            ]
        );
        assert_eq!(
            overview.sticky,
            [
                stack_port(&shop, "api", Protocol::Tcp, 8000, false),
                stack_port(&shop, "dns", Protocol::Udp, 8000, false),
                stack_port(&blog, "api", Protocol::Tcp, 8001, false),
            ]
        );
        assert_eq!(overview.granted, [8003]);
        assert_eq!(overview.warnings, []);
    });
}

#[test]
fn each_stack_runs_for_as_long_as_its_own_mark_is_kept() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let live = || numbers(&ledger.overview().live);
        let [shop, blog, mail] =
            ["shop", "blog", "mail"].map(|project| owner(project, directory.path()));
        let first = start(&ledger, &shop, &[("api", 8000)]);
        let second = start(&ledger, &blog, &[("api", 8001)]);
        assert_eq!(live(), [8000, 8001]);
        drop(first);
        assert_eq!(live(), [8001]);
        let third = start(&ledger, &mail, &[("api", 8002)]);
        let again = start(&ledger, &shop, &[("api", 8000)]);
        assert_eq!(live(), [8001, 8002, 8000]);
        // Also where its row was lost.
        drop(third);
        fs_err::remove_file(ledger.path().join("stacks")).unwrap();
        assert_eq!(live(), [0; 0]);
        let third = start(&ledger, &mail, &[("api", 8002)]);
        drop((second, again));
        assert_eq!(live(), [8002]);
        drop(third);
        assert_eq!(live(), [0; 0]);
    });
}

/// Whether a stack runs, whether its directory is there, a change of the world, and whether its row
/// then counts as live and as sticky.
type Case = (bool, bool, fn(&mut Here), bool, bool);

#[test]
fn dead_holders_other_boots_and_lost_directories_do_not_count() {
    alone(|| {
        let cases: [Case; 6] = [
            (true, true, |_| {}, true, true),
            (false, true, |_| {}, false, true),
            (false, false, |_| {}, false, false),
            (true, true, |now| now.boot = "next".to_owned(), false, true),
            (true, true, |now| now.netns = 8, false, false),
            // Which namespace that was is forgotten with the boot.
            (
                true,
                true,
                |now| (now.netns, now.boot) = (8, "next".to_owned()),
                false,
                true,
            ),
        ];
        for (runs, has_directory, change, live, sticky) in cases {
            let directory = tempfile::tempdir().unwrap();
            let ledger = Ledger::at(directory.path().join("state"));
            let home = directory.path().join("shop");
            if has_directory {
                fs_err::create_dir(&home).unwrap();
            }
            let noted = start(&ledger, &owner("shop", &home), &[("api", 8000)]);
            let noted = Some(noted).filter(|_| runs);
            let session = there(&ledger, change);
            let case = format!("{runs} {has_directory} {:?}", session.here);
            assert_eq!(session.held().count(), usize::from(live), "{case}");
            assert_eq!(kept(&session).len(), usize::from(sticky), "{case}");
            assert_eq!(
                session.sticky_ports().0.len(),
                usize::from(sticky),
                "{case}"
            );
            drop(noted);
        }
    });
}

#[test]
fn numbers_are_known_by_protocol() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    let ports = [
        (key("one"), Protocol::Tcp, 8000),
        (key("two"), Protocol::Udp, 8000),
        (key("three"), Protocol::Both, 8001),
        (key("four"), Protocol::Tcp, 8002),
        (key("five"), Protocol::Tcp, 8004),
    ];
    let _noted = ledger.note(&shop, &ports).unwrap();
    let session = Session::look(&ledger);
    let of = |wanted: Protocol| -> Vec<u16> {
        let held = session.held().filter(|(part, _)| *part == wanted);
        held.map(|(_, port)| port).collect()
    };
    assert_eq!(of(Protocol::Tcp), [8000, 8001, 8002, 8004]);
    assert_eq!(of(Protocol::Udp), [8000, 8001]);
    let known = session.stack_of(8001).unwrap();
    assert_eq!((known.protocol, known.is_running), (Protocol::Both, true));
    assert_eq!(session.stack_of(8003), None);
    let own = Session::begin(&ledger, Some(&shop.instance));
    assert_eq!((own.held().count(), own.stack_of(8001)), (0, None));
}

#[test]
fn grants_end_after_two_minutes_and_with_the_boot() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let mut session = Session::begin(&ledger, None);
    session.grant(vec![8000, 8001]);
    session.unlock();
    let granted = |change: fn(&mut Here)| there(&ledger, change).granted().count();
    assert_eq!(granted(|_| {}), 2);
    assert_eq!(granted(|now| now.boottime_millis += 120_001), 0);
    assert_eq!(
        granted(|now| now.boottime_millis = 5),
        0,
        "a deadline that no grant can have"
    );
    assert_eq!(granted(|now| now.boot = "next".to_owned()), 0);
    assert_eq!(granted(|now| now.netns = 8), 0);
    // A stack that was asked for one of them has it.
    let _noted = start(&ledger, &owner("shop", directory.path()), &[("api", 8000)]);
    assert_eq!(ledger.overview().granted, [8001]);
    let _noted = start(&ledger, &owner("blog", directory.path()), &[("api", 8001)]);
    assert!(!ledger.path().join("grants").exists());
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
