//! One stack: the bare loop of sockets that are bound and kept, the whole allocation, and the looks
//! at sockets that others repeat.

use std::hint::black_box;

use divan::Bencher;
use stack::ports::request::Owner;
use stack::ports::{Batch, Hold, Known, Ledger, Listeners, Subject, allocate, holder, observe};
use stack::support::port_range::PortRange;
use stack::support::protocol::Protocol;

use super::asked;

const COUNTS: [usize; 2] = [3, 900];

fn range() -> PortRange {
    asked::range(20_000, 21_999)
}

/// As many holds as asked for, and nothing else.
#[divan::bench(args = COUNTS)]
fn bare_bind_loop(bencher: Bencher, count: usize) {
    stack::ports::ensure_descriptors(count);
    bencher.bench(|| {
        range()
            .ports()
            .filter_map(|port| Hold::take(port).ok())
            .take(count)
            .collect::<Vec<_>>()
    });
}

/// A whole transaction with a ledger that is written each time, ports sticky from the second on.
#[divan::bench(args = COUNTS)]
fn allocate_batch(bencher: Bencher, count: usize) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::at(state.path());
    let requests = asked::requests(count);
    let pool = asked::pool(range());
    let owner = asked::owner(0, state.path());
    let batch = Batch {
        requests: &requests,
        pool: &pool,
        owner: &owner,
        strict: false,
        fresh: false,
        is_noted_later: false,
        running: None,
    };
    bencher.bench(|| allocate(black_box(&batch), &ledger).map(|allocation| allocation.holds));
}

/// The look at a service's ports that readiness repeats.
#[divan::bench]
fn observe_one_service(bencher: Bencher) {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = server.local_addr().map_or(0, |address| address.port());
    let ports = [(Protocol::Tcp, port)];
    let subject = Subject {
        ports: &ports,
        holds: &[],
        main: me,
    };
    bencher.bench(|| {
        let listeners = Listeners::read(Protocol::Tcp);
        listeners.map(|listeners| {
            observe(
                &listeners,
                black_box(&subject),
                &mut Known::default(),
                Vec::new,
                |_| false,
            )
        })
    });
    drop(server);
}

/// What an error message costs: every process is looked at.
#[divan::bench]
fn name_the_holder(bencher: Bencher) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = server.local_addr().map_or(0, |address| address.port());
    bencher.bench(|| holder(Protocol::Tcp, black_box(port)));
    drop(server);
}

/// How many stacks have come and gone before.
const ENDED: [usize; 2] = [0, 5000];

/// The start of a stack beside many that have ended, each in a directory of its own.
#[divan::bench(args = ENDED)]
fn known_stack_beside_ended_ones(bencher: Bencher, ended: usize) {
    beside_ended(bencher, ended, true);
}

/// The same of one that was never there, so that it must know which numbers others had.
#[divan::bench(args = ENDED)]
fn new_stack_beside_ended_ones(bencher: Bencher, ended: usize) {
    beside_ended(bencher, ended, false);
}

fn beside_ended(bencher: Bencher, ended: usize, is_known: bool) {
    let state = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::at(state.path().join("ledger"));
    let requests = asked::requests(3);
    let owner_of = |index: usize| {
        let directory = state.path().join(format!("copy{index}"));
        drop(fs_err::create_dir(&directory));
        asked::owner(index, &directory)
    };
    let start = |owner: &Owner| {
        let batch = Batch {
            requests: &requests,
            pool: &asked::pool(asked::range(20_000, 21_000)),
            owner,
            strict: false,
            fresh: false,
            is_noted_later: false,
            running: None,
        };
        allocate(black_box(&batch), &ledger).map(|allocation| allocation.holds)
    };
    for index in 1..=ended {
        drop(start(&owner_of(index)));
    }
    let mut next = ended;
    bencher
        .with_inputs(|| {
            next += usize::from(!is_known);
            owner_of(if is_known { 0 } else { next })
        })
        .bench_local_refs(|owner| start(owner));
}
