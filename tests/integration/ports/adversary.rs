//! The port adversary: twenty services with slow starts come up, crash and restart while somebody
//! goes over their ports without a pause, strictly and with `SO_REUSEADDR`, on every address.
//!
//! What it steals depends on chance and on the machine; what must hold does not. The seed is
//! printed, and `STACK_TEST_SEED` repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{LIMIT, Process, Service, TestStack, World};

/// How long it steals, in milliseconds.
const MILLIS: &str = "6000";

/// Twenty services: slow ones, late ones with a check, ones that crash again and again, on several
/// addresses. Each attempt lasts long enough to be looked at, whoever has its port.
fn twenty() -> String {
    let service = |index: u32| {
        let kind = match index % 5 {
            0 => "slow-start 300 -- bind $<PORT:auto> --http",
            1 => "bind $<PORT:auto> --late 400 --http",
            2 => "slow-start 200 -- bind $<PORT:auto> --http --die-after 600",
            3 => "slow-start 250 -- bind $<PORT:auto> --http --host 0.0.0.0",
            _ => "slow-start 350 -- bind $<PORT:auto> --http --host ::",
        };
        let check = if index.is_multiple_of(2) {
            ", healthcheck: { http: /, interval: 200ms, retries: 2 }"
        } else {
            ""
        };
        let restart = "restart_policy: { condition: any, delay: 20ms, max_delay: 100ms }";
        format!("  s{index}: {{ command: 'MISBEHAVE {kind}', {restart}{check} }}\n")
    };
    let services: String = (0..20).map(service).collect();
    format!("ports: {{ range: P8000-P8079 }}\nservices:\n{services}")
}

#[expect(clippy::print_stdout, reason = "the seed of a failure must be known")]
fn seed() -> u64 {
    let seed = std::env::var("STACK_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| u64::from(since.subsec_nanos()))
        });
    println!("STACK_TEST_SEED={seed}");
    seed
}

/// Everything that the supervisor tells a client of its event stream, up to its end.
fn events(stack: &TestStack) -> JoinHandle<Vec<Value>> {
    let lock = stack.lock();
    let path = lock["socket"].as_str().expect("the lock says where it is");
    let mut stream = UnixStream::connect(path).expect("the supervisor listens");
    write!(stream, "GET /v1/events HTTP/1.1\r\nhost: stack\r\n\r\n").expect("it reads");
    std::thread::spawn(move || {
        // Between the lines of JSON stand the sizes of the chunks.
        BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(&line).expect("events are JSON"))
            .collect()
    })
}

/// Asks every service that listens who it is, on the address that it listens on.
fn answers(stack: &TestStack, rows: &[Service]) -> BTreeMap<String, String> {
    let ask = |row: &Service| -> Option<(String, String)> {
        let entry = row.port_entry();
        let bound_to: IpAddr = entry["bound_to"].as_str()?.parse().ok()?;
        let host = match bound_to {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address == Ipv6Addr::UNSPECIFIED => {
                IpAddr::V6(Ipv6Addr::LOCALHOST)
            }
            IpAddr::V6(other) => other.into(),
        };
        let port = u16::try_from(entry["port"].as_u64()?).ok()?;
        let asked = TcpStream::connect_timeout(&SocketAddr::new(host, port), LIMIT).and_then(
            |mut stream| {
                stream.set_read_timeout(Some(LIMIT))?;
                write!(stream, "GET / HTTP/1.1\r\n\r\n")?;
                let lines = BufReader::new(stream).lines();
                // The body is the line after the empty one, and the connection is closed by us.
                lines
                    .skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .nth(1)
                    .unwrap_or_else(|| Ok("nothing".to_owned()))
            },
        );
        let body = asked.unwrap_or_else(|error| error.to_string());
        Some((row.name().to_owned(), body))
    };
    let network = stack.world().network();
    network.enter(|| rows.iter().filter_map(ask).collect())
}

/// What holds of a service at every moment: a stolen port is nobody's health, and has its intruder's
/// name on it.
#[track_caller]
fn is_honest(row: &Service, adversary: i32) {
    let entry = row.port_entry();
    if row.port_state() == "stolen" {
        assert_ne!(row.phase(), "healthy", "{row:?}");
        assert_eq!(entry["pid"], i64::from(adversary), "{row:?}");
        let command = entry["command"].as_str().unwrap_or_default();
        assert!(command.contains("adversary"), "{row:?}");
    }
    assert_ne!(row.port_state(), "wrong_port", "{row:?}");
    if row.port_state() == "listening" {
        assert_ne!(entry["pid"], i64::from(adversary), "{row:?}");
    }
}

/// The service listens, as the same process in both rows, so it did in between.
fn listened_all_the_time(before: &Service, after: &Service) -> Option<i64> {
    let pid = |row: &Service| row.port_entry()["pid"].as_i64();
    let is_same = before.port_state() == "listening"
        && after.port_state() == "listening"
        && before.attempt() == after.attempt()
        && pid(before) == pid(after);
    is_same.then(|| pid(before))?
}

#[test]
fn an_adversary_never_takes_a_port_unseen() {
    let seed = seed();
    let stack = TestStack::new(&twenty());
    let range = format!("{}-{}", stack.port(8000), stack.port(8079));
    let arguments = ["adversary", &range, MILLIS, "--seed", &seed.to_string()];
    let mut adversary = stack.helper(&arguments);
    adversary.wait_for_line("stole");
    let intruder = adversary.pid();

    stack.run(&["up", "-d"]).ok();
    let told = events(&stack);
    let dotenv = stack.dotenv();
    assert_eq!(dotenv.values().collect::<BTreeSet<_>>().len(), 20);

    let mut round = seed;
    while !adversary.stdout().contains("that is all") {
        let before = stack.ps();
        let answers = answers(&stack, &before);
        let after = stack.ps();
        assert_eq!(before.len(), 20);
        for (before, after) in before.iter().zip(&after) {
            is_honest(before, intruder);
            is_honest(after, intruder);
            if let Some(pid) = listened_all_the_time(before, after) {
                let expected = format!("pid {pid}");
                assert_eq!(answers.get(before.name()), Some(&expected), "{before:?}");
            }
        }
        assert_eq!(stack.dotenv(), dotenv, "no port moves");
        // One of them dies in each round, whatever it is doing.
        let victim = &after[usize::try_from(round % 20).expect("it is small")];
        if let Some(process) = victim.pid().and_then(Process::of) {
            process.signal(Signal::SIGKILL);
        }
        round = round.wrapping_mul(7).wrapping_add(3);
    }

    // What it keeps for good is shown as what it is, or is on another address beside a service that
    // has come up all the same.
    let said = adversary.stdout();
    let kept: BTreeSet<u64> = said
        .lines()
        .filter_map(|line| line.strip_prefix("kept ")?.split(' ').next()?.parse().ok())
        .collect();
    for (key, port) in &dotenv {
        let port: u64 = port.parse().expect("a port is a number");
        let name = key.trim_end_matches("_PORT").to_lowercase();
        stack.wait_for(&name, "listening, or stolen", |row| {
            is_honest(row, intruder);
            // One that has given up says over what.
            let has_given_up = row.phase() == "failed";
            assert!(
                !has_given_up
                    || (row.reason().contains("\"taken\"")
                        && row.reason().contains(&port.to_string())),
                "{row:?}"
            );
            let is_stolen = row.port_state() == "stolen";
            assert!(
                !is_stolen || has_given_up || kept.contains(&port),
                "{row:?}\n{said}"
            );
            is_stolen || has_given_up || row.port_state() == "listening"
        });
    }

    // Once it has gone, everybody has what was his.
    drop(adversary);
    stack.run(&["up", "-d"]).ok();
    for index in 0..20 {
        let name = format!("s{index}");
        stack.wait_for(&name, "healthy", |row| row.phase() == "healthy");
    }
    assert_eq!(stack.dotenv(), dotenv);
    stack.down();
    let told = told.join().expect("the events were read");
    let services = |event: &Value| -> Vec<Value> {
        match event["event"].as_str() {
            Some("service") => vec![event.clone()],
            Some("snapshot") => event["stack"]["services"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    };
    let rows: Vec<Service> = told.iter().flat_map(services).map(Service::from).collect();
    assert!(rows.len() > 100, "{} events", rows.len());
    for row in &rows {
        is_honest(row, intruder);
    }
}

/// Three services that listen on what they are given.
const THREE: &str = "
ports: { range: P8000-P8079 }
services:
  one: { command: MISBEHAVE bind $<PORT:auto> --http, restart_policy: { condition: any, delay: 20ms, max_delay: 100ms } }
  two: { command: MISBEHAVE bind $<PORT:auto> --http, restart_policy: { condition: any, delay: 20ms, max_delay: 100ms } }
  three: { command: MISBEHAVE bind $<PORT:auto> --http, restart_policy: { condition: any, delay: 20ms, max_delay: 100ms } }
";

#[test]
fn copies_that_start_at_once_beside_an_adversary_share_no_port() {
    let seed = seed();
    let world = World::new();
    let copies: Vec<TestStack> = ["a", "b", "c", "d", "e", "f"]
        .into_iter()
        .map(|copy| TestStack::in_world(&world, copy, THREE))
        .collect();
    let range = format!("{}-{}", copies[0].port(8000), copies[0].port(8079));
    let arguments = ["adversary", &range, "3000", "--seed", &seed.to_string()];
    let mut adversary = copies[0].helper(&arguments);
    adversary.wait_for_line("stole");
    let starting: Vec<_> = copies
        .iter()
        .map(|copy| copy.start(&["up", "-d"]))
        .collect();
    for up in starting {
        up.wait().ok();
    }
    let ports: Vec<String> = copies
        .iter()
        .flat_map(|copy| copy.dotenv().into_values())
        .collect();
    let distinct: BTreeSet<&String> = ports.iter().collect();
    assert_eq!((ports.len(), distinct.len()), (18, 18), "{ports:?}");
    adversary.wait_for_line("that is all");
    for copy in &copies {
        for row in copy.ps() {
            is_honest(&row, adversary.pid());
        }
    }
    drop(adversary);
    for copy in &copies {
        copy.run(&["up", "-d"]).ok();
        for service in ["one", "two", "three"] {
            let row = copy.wait_for(service, "healthy", |row| row.phase() == "healthy");
            let port = copy.port_of(service);
            let (_, body) = copy.get(port, "/").expect("an answer");
            assert_eq!(body, format!("pid {}", row.pid().expect("it runs")));
        }
        copy.down();
    }
}
