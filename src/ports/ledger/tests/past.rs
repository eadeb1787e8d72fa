//! What is remembered of a stack, and for how long.

use std::collections::HashMap;

use super::*;
use crate::ports::ledger::Lesson;

fn row(here: &Here) -> Row {
    let shop = owner("shop", Path::new("/here"));
    let mut row = Row::new(&shop);
    row.record(&shop, &rows(&[("api", 8000)]), false, here);
    row
}

fn sticky(row: &Row) -> HashMap<PortKey, u16> {
    row.ports().map(|row| (row.key.clone(), row.port)).collect()
}

fn bad(row: &Row) -> Vec<u16> {
    row.bad_ports().collect()
}

#[test]
fn what_is_old_is_forgotten() {
    let mut now = Here::now();
    let mut row = row(&now);
    row.blame(8000, true, &now);
    assert_eq!(bad(&row), [8000]);
    now.unix_millis += 8 * DAY;
    row.prune(&now);
    assert_eq!((bad(&row), sticky(&row).len()), (vec![], 1));
    now.unix_millis += 90 * DAY;
    row.prune(&now);
    assert!(row.is_empty());
}

#[test]
fn fresh_ports_forget_what_was() {
    let here = Here::now();
    let mut row = row(&here);
    let shop = row.owner.clone();
    row.record(&shop, &rows(&[("web", 8001)]), false, &here);
    assert_eq!(sticky(&row).len(), 2);
    row.blame(8002, true, &here);
    row.release.push(key("api"));
    row.record(&shop, &rows(&[("web", 8002)]), true, &here);
    assert_eq!(
        row.release,
        [key("api")],
        "what is known of a server is not about its number"
    );
    assert_eq!(sticky(&row), HashMap::from([(key("web"), 8002)]));
    assert_eq!(bad(&row), [0; 0]);
}

#[test]
fn a_server_that_needs_its_hold_released_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    let released = || {
        Session::begin(&ledger, Some(&shop.instance))
            .own_row(&shop)
            .release
    };
    assert_eq!(released(), []);
    assert_eq!(ledger.learn(&shop, &key("api"), 8000, Lesson::Release), []);
    assert_eq!(ledger.learn(&shop, &key("api"), 8000, Lesson::Release), []);
    assert_eq!(released(), [key("api")]);
    assert_eq!(ledger.learn(&shop, &key("web"), 8000, Lesson::Reuse), []);
    assert_eq!(released(), [key("api")]);
    assert_eq!(ledger.learn(&shop, &key("api"), 8000, Lesson::Reuse), []);
    assert_eq!(released(), []);
}

fn replica(number: u32, port: u16) -> PortRow {
    let mut row = rows(&[("web", port)]).remove(0);
    row.key.replica = number;
    row
}

#[test]
fn scaling_down_and_up_again_finds_the_same_ports() {
    let here = Here::now();
    let shop = owner("shop", Path::new("/here"));
    let mut row = Row::new(&shop);
    let three = [replica(1, 8000), replica(2, 8001), replica(3, 8002)];
    row.record(&shop, &three, false, &here);
    row.record(&shop, &three[..1], false, &here);
    // Another port of the service has nothing to do with it.
    let mut admin = replica(2, 8003);
    admin.key.name = crate::support::name::PortName::new("ADMIN").unwrap();
    row.record(&shop, &[three[0].clone(), admin.clone()], false, &here);
    let mut expected: HashMap<_, _> = three.into_iter().map(|row| (row.key, row.port)).collect();
    expected.insert(admin.key, admin.port);
    assert_eq!(sticky(&row), expected);
    assert_eq!(numbers(&row.stack_ports(true)), [8000, 8003]);
}

#[test]
fn a_port_is_bad_when_it_was_stolen_twice_within_a_week() {
    let mut now = Here::now();
    let mut row = row(&now);
    row.blame(8000, false, &now);
    assert_eq!(bad(&row), [0; 0], "once is bad luck");
    // The first theft is forgotten by the time of the second.
    now.unix_millis += 8 * DAY;
    row.prune(&now);
    row.blame(8000, false, &now);
    assert_eq!(bad(&row), [0; 0]);
    now.unix_millis += 6 * DAY;
    row.prune(&now);
    row.blame(8000, false, &now);
    assert_eq!(bad(&row), [8000]);
    let shop = row.owner.clone();
    row.record(&shop, &rows(&[("api", 8000)]), true, &now);
    assert_eq!(bad(&row), [0; 0], "fresh ports forget it");
}

#[test]
fn thefts_are_counted_while_a_stack_runs_and_over_runs() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let shop = owner("shop", directory.path());
        let row = || Session::begin(&ledger, Some(&shop.instance)).own_row(&shop);
        let noted = start(&ledger, &shop, &[("api", 8000)]);
        assert_eq!(ledger.learn(&shop, &key("api"), 8000, Lesson::Stolen), []);
        assert_eq!(bad(&row()), [0; 0]);
        drop(noted);
        // Another stack that starts notes that it has ended.
        come_and_go(&ledger, &owner("blog", directory.path()), &[("api", 8001)]);
        assert_eq!(ledger.learn(&shop, &key("api"), 8000, Lesson::Stolen), []);
        assert_eq!(bad(&row()), [8000]);
        assert_eq!(sticky(&row()).len(), 1);
    });
}

#[test]
fn a_row_says_the_same_after_it_was_written() {
    let here = Here::now();
    let mut row = row(&here);
    row.blame(8001, true, &here);
    row.release.push(key("web"));
    let line = row.to_line(Some(7), &here).unwrap();
    let read = row::Line::parse(line.trim_end().as_bytes()).unwrap();
    assert_eq!((read.slot, read.row()), (Some(7), Some(row)));
    assert_eq!(read.held(&here), [(Protocol::Tcp, 8000)]);
    for damaged in [
        "",
        "#",
        "1 2 3",
        &line[..line.len() / 2],
        "/ / b 1 2\t{}",
        "+ / / b 1 2\t{}",
        "-/ / b 1 2\t[",
    ] {
        assert!(row::Line::parse(damaged.as_bytes()).is_none(), "{damaged}");
    }
}

#[test]
fn who_starts_again_has_one_row() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let [shop, blog] = ["shop", "blog"].map(|project| owner(project, directory.path()));
        come_and_go(&ledger, &shop, &[("api", 8000), ("web", 8001)]);
        come_and_go(&ledger, &blog, &[("api", 8002)]);
        come_and_go(&ledger, &shop, &[("api", 8003)]);
        let session = Session::look(&ledger);
        // Not 8000 any more.
        assert_eq!(kept(&session), [8001, 8002, 8003]);
        let of = |owner: &Owner| kept(&Session::begin(&ledger, Some(&owner.instance)));
        assert_eq!(of(&shop), [8002]);
        assert_eq!(of(&blog), [8001, 8003]);
        let mut sticky = numbers(&session.sticky_ports().0);
        sticky.sort_unstable();
        assert_eq!(sticky, [8001, 8002, 8003]);
    });
}

#[test]
fn the_row_of_a_directory_that_is_gone_goes_when_it_is_in_the_way() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path().join("state"));
        let gone = directory.path().join("gone");
        come_and_go(&ledger, &owner("gone", &gone), &[("api", 8000)]);
        come_and_go(&ledger, &owner("shop", directory.path()), &[("api", 8001)]);
        let ended = || fs_err::read_to_string(ledger.path().join("stacks")).unwrap();
        let mut session = Session::begin(&ledger, None);
        let mut kept = session.kept();
        assert!(!kept.contains(8000) && kept.contains(8001));
        let useless = kept.useless();
        session.forget(useless);
        assert!(!ended().starts_with('#'));
        session.commit();
        assert!(ended().starts_with('#'));
    });
}

#[test]
fn the_file_of_those_that_have_ended_does_not_grow_for_ever() {
    alone(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path().join("state"));
        let length = || {
            fs_err::metadata(ledger.path().join("stacks"))
                .unwrap()
                .len()
        };
        let [shop, blog] = ["shop", "blog"].map(|project| owner(project, directory.path()));
        // The same ones again and again.
        for _ in 0..400 {
            come_and_go(&ledger, &shop, &[("api", 8000)]);
            come_and_go(&ledger, &blog, &[("api", 8001)]);
        }
        assert!(length() < 100 << 10, "{}", length());
        let gone = directory.path().join("gone");
        for round in 0..400 {
            let passing = owner(&format!("passing{round}"), &gone);
            come_and_go(&ledger, &passing, &[("api", 8002)]);
        }
        assert!(length() > 64 << 10, "{}", length());
        let mut later = there(&ledger, |here| here.unix_millis += 2 * DAY);
        later.commit();
        assert!(length() < 2 << 10, "{}", length());
        for known in [shop, blog] {
            assert_eq!(
                sticky(&Session::begin(&ledger, Some(&known.instance)).own_row(&known)).len(),
                1
            );
        }
    });
}
