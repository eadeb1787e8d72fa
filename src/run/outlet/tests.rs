use super::*;

use std::os::fd::OwnedFd;

use crate::plan::model::LoggingPlan;
use crate::run::logs::{Pump, pipe_pair};
use crate::run::snapshot::LogStream;
use crate::support::name::ServiceName;

fn unit(replica: u32) -> UnitId {
    UnitId {
        service: ServiceName::new("web").unwrap(),
        replica,
    }
}

/// An outlet for two replicas with the ports 8001 and 8002, and where its findings go.
fn outlet() -> (Outlet, mpsc::UnboundedReceiver<Finding>) {
    let (finding_tx, finding_rx) = mpsc::unbounded_channel();
    let (event_tx, _) = broadcast::channel(1);
    let mut outlet = Outlet::new(event_tx, finding_tx);
    for (replica, port) in [(1, 8001), (2, 8002)] {
        expect(&mut outlet, replica, vec![port]);
    }
    (outlet, finding_rx)
}

fn expect(outlet: &mut Outlet, replica: u32, ports: Vec<u16>) {
    let expected = Expected {
        ports,
        pattern: None,
    };
    outlet.expect(&unit(replica), expected);
}

fn print(outlet: &mut Outlet, replica: u32, attempt: u32, text: &str) {
    outlet.look(
        &unit(replica),
        (attempt, LogStream::Stdout),
        text.as_bytes(),
    );
}

fn complaint(replica: u32, attempt: u32, ports: &[u16]) -> Finding {
    let named = ports.iter().map(|&port| NamedAddress {
        address: None,
        port,
    });
    Finding::Complaint {
        unit: unit(replica),
        attempt,
        named: named.collect(),
    }
}

const IN_USE: &str = "bind: Address already in use";

#[test]
fn finds_the_url_of_the_port_and_no_other() {
    let cases = [
        (
            "Uvicorn running on http://127.0.0.1:8003 (Press CTRL+C)",
            Some("http://localhost:8003/"),
        ),
        (
            "  ➜  Local:   http://localhost:8003/app/",
            Some("http://localhost:8003/app/"),
        ),
        (
            "\u{1b}[36mhttp://localhost:\u{1b}[1m8003\u{1b}[22m/\u{1b}[39m",
            Some("http://localhost:8003/"),
        ),
        (
            "Serving HTTP on 0.0.0.0 port 8003 (http://0.0.0.0:8003/) ...",
            Some("http://localhost:8003/"),
        ),
        ("proxy to http://localhost:80030/", None),
        ("listening on :8003", None),
        ("see https://example.org/ or localhost:8003", None),
    ];
    for (text, url) in cases {
        let text = plain(text);
        assert_eq!(find_url(&text, 8003).as_deref(), url, "{text}");
    }
}

#[test]
fn each_replica_is_searched_for_its_own_port() {
    let (mut outlet, mut finding_rx) = outlet();
    let both = "http://localhost:8001/ http://localhost:8002/\n";
    print(&mut outlet, 2, 1, both);
    let url = "http://localhost:8002/".to_owned();
    let expected = Finding::Url {
        unit: unit(2),
        port: 8002,
        url,
    };
    assert_eq!(finding_rx.try_recv(), Ok(expected));
    assert!(finding_rx.try_recv().is_err());
}

#[test]
fn an_attempt_complains_once_and_the_next_one_again() {
    let (mut outlet, mut finding_rx) = outlet();
    print(
        &mut outlet,
        1,
        1,
        &format!("starting\n{IN_USE}\n{IN_USE}\n"),
    );
    print(&mut outlet, 1, 1, IN_USE);
    print(&mut outlet, 1, 2, IN_USE);
    // What is left of an older attempt says nothing about the present one.
    print(&mut outlet, 1, 1, IN_USE);
    print(&mut outlet, 2, 1, IN_USE);
    assert_eq!(finding_rx.try_recv(), Ok(complaint(1, 1, &[])));
    assert_eq!(finding_rx.try_recv(), Ok(complaint(1, 2, &[])));
    assert_eq!(finding_rx.try_recv(), Ok(complaint(2, 1, &[])));
    assert!(finding_rx.try_recv().is_err());
}

#[test]
fn only_the_start_of_an_attempt_is_searched() {
    let (mut outlet, mut finding_rx) = outlet();
    // A line end every 64 bytes, and a complaint just before and just after the limit.
    let noise = ("x".repeat(63) + "\n").repeat(SEARCH_LIMIT / 64 - 1);
    print(&mut outlet, 1, 1, &noise);
    print(&mut outlet, 1, 1, &format!("{IN_USE}\n"));
    assert_eq!(finding_rx.try_recv(), Ok(complaint(1, 1, &[])));
    print(&mut outlet, 1, 2, &noise);
    print(&mut outlet, 1, 2, &noise);
    print(&mut outlet, 1, 2, IN_USE);
    assert!(finding_rx.try_recv().is_err(), "too late");
    print(&mut outlet, 1, 3, &(noise.repeat(2) + IN_USE));
    assert!(finding_rx.try_recv().is_err(), "too late in one block");
    print(&mut outlet, 3, 1, IN_USE);
    assert!(finding_rx.try_recv().is_err(), "a unit without ports");
}

#[tokio::test]
async fn a_complaint_is_known_before_the_drain_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let (outlet, mut finding_rx) = outlet();
    let (handle, _, pump) = Pump::new(directory.path().into(), 1, outlet).unwrap();
    let test = async {
        let (read_end, write_end) = pipe_pair(1).unwrap();
        handle.register(
            read_end,
            unit(2),
            LogStream::Stderr,
            1,
            LoggingPlan::default(),
        );
        write(&write_end, "bind: Address alr");
        write(&write_end, "eady in use");
        handle.drain(unit(2), 1).await;
        assert_eq!(finding_rx.try_recv(), Ok(complaint(2, 1, &[])));
        drop(handle);
    };
    tokio::join!(pump.run(), test);
    assert!(directory.path().join("web@2.log").exists());
}

fn write(pipe: &OwnedFd, text: &str) {
    assert_eq!(nix::unistd::write(pipe, text.as_bytes()), Ok(text.len()));
}
