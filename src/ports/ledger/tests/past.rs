//! What is remembered of a stack, and for how long.

use std::collections::HashMap;

use super::*;

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
    book.blame(&shop, 8002, true, &here);
    book.change(&shop, &here, |past| past.release.push(key("api")));
    book.record(&shop, &rows(&[("web", 8002)]), true, &here);
    assert_eq!(
        book.past(&shop).release,
        [key("api")],
        "what is known of a server is not about its number"
    );
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
    assert_eq!(ledger.unlearn_release(&shop, &key("web")), []);
    assert_eq!(ledger.needs_release(&shop), [key("api")]);
    assert_eq!(ledger.unlearn_release(&shop, &key("api")), []);
    assert_eq!(ledger.needs_release(&shop), []);
}

fn replica(number: u32, port: u16) -> PortRow {
    let mut row = rows(&[("web", port)]).remove(0);
    row.key.replica = number;
    row
}

#[test]
fn scaling_down_and_up_again_finds_the_same_ports() {
    let here = here();
    let shop = owner("shop", Path::new("/here"));
    let mut book = Book::default();
    let three = [replica(1, 8000), replica(2, 8001), replica(3, 8002)];
    book.record(&shop, &three, false, &here);
    book.record(&shop, &three[..1], false, &here);
    // Another port of the service, and another stack, have nothing to do with it.
    let mut admin = replica(2, 8003);
    admin.key.name = crate::support::name::PortName::new("ADMIN").unwrap();
    book.record(&shop, &[three[0].clone(), admin.clone()], false, &here);
    let blog = owner("blog", Path::new("/here"));
    book.record(&blog, &[replica(2, 8004)], false, &here);
    let mut expected: HashMap<_, _> = three.into_iter().map(|row| (row.key, row.port)).collect();
    expected.insert(admin.key, admin.port);
    assert_eq!(book.own_sticky(&shop), expected);
    assert_eq!(book.live(&here, Some(&blog.instance)).count(), 2);
}

#[test]
fn a_port_is_bad_when_it_was_stolen_twice_within_a_week() {
    let day = 24 * 3_600_000;
    let mut now = here();
    let shop = owner("shop", Path::new("/here"));
    let mut book = book_of("shop", "/here", 1, 8000, &now);
    book.blame(&shop, 8000, false, &now);
    assert_eq!(book.own_sticky(&shop).len(), 1, "once is bad luck");
    assert!(book.own_bad(&shop).is_empty());
    // The first theft is forgotten by the time of the second.
    now.unix_millis += 8 * day;
    book.blame(&shop, 8000, false, &now);
    assert_eq!(book.own_sticky(&shop).len(), 1);
    now.unix_millis += 6 * day;
    book.blame(&shop, 8000, false, &now);
    assert!(book.own_sticky(&shop).is_empty());
    assert_eq!(book.own_bad(&shop), [8000]);
    book.record(&shop, &rows(&[("api", 8000)]), true, &now);
    assert!(book.own_bad(&shop).is_empty(), "fresh ports forget it");
}

#[test]
fn thefts_are_counted_over_runs() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(directory.path());
    let shop = owner("shop", directory.path());
    record(&ledger, &shop, &[("api", 8000)]);
    let sticky = || Session::read(&ledger).book.own_sticky(&shop).len();
    assert_eq!(ledger.note_stolen(&shop, 8000), []);
    assert_eq!(sticky(), 1);
    assert_eq!(ledger.note_stolen(&shop, 8000), []);
    assert_eq!(sticky(), 0);
}

#[test]
fn numbers_are_known_by_protocol() {
    let here = here();
    let shop = owner("shop", Path::new("/here"));
    let ports = [
        (Protocol::Tcp, 8000),
        (Protocol::Udp, 8000),
        (Protocol::Both, 8001),
    ];
    let ports: Vec<PortRow> = ports
        .into_iter()
        .map(|(protocol, port)| PortRow {
            key: key(&format!("s-{protocol}").replace('+', "-")),
            protocol,
            port,
        })
        .collect();
    let mut book = Book::default();
    book.record(&shop, &ports, false, &here);
    let numbers = |wanted: Protocol| -> Vec<u16> {
        book.live(&here, None)
            .filter(|entry| entry.protocol.overlaps(wanted))
            .map(|entry| entry.port)
            .collect()
    };
    assert_eq!(numbers(Protocol::Tcp), [8000, 8001]);
    assert_eq!(numbers(Protocol::Udp), [8000, 8001]);
    let live = book.live_ports(&here, None, Some(8001));
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].protocol, Protocol::Both);
    let sticky = book.sticky_ports(&here, None, Some(8000));
    assert_eq!(sticky.len(), 2);
}

#[test]
fn of_many_that_start_at_once_one_looks_everybody_up() {
    let mut now = here();
    let shop = owner("shop", Path::new("/here"));
    let mut book = book_of("shop", "/here", 1, 8000, &now);
    book.prune(&now, Care::Quick);
    // It dies, and its directory goes.
    now.alive = |_, _| false;
    now.present = |_| false;
    now.boottime_millis += 50;
    book.prune(&now, Care::Quick);
    assert_eq!(book.live.len(), 1);
    assert!(
        !book.judge(&now, |port| port == 8001),
        "nobody asked for 8000"
    );
    assert!(book.judge(&now, |port| port == 8000));
    assert!(book.live.is_empty());
    assert_eq!(book.own_sticky(&shop).len(), 1);
    now.boottime_millis += 50;
    book.prune(&now, Care::Quick);
    assert!(book.stacks.is_empty());
}
