//! The room as a whole, with real sockets.

use super::request::Want;
use super::testing::{in_own_network, key, listener, owner, pool, request};
use super::{Batch, Ledger, allocate};

fn ports_of(allocation: &super::Allocation) -> Vec<u16> {
    allocation.holds.values().map(super::Hold::port).collect()
}

#[test]
fn a_clean_machine_gives_the_first_three_and_a_second_copy_the_next() {
    in_own_network(
        "ports::tests::a_clean_machine_gives_the_first_three_and_a_second_copy_the_next",
        || {
            let state = tempfile::tempdir().unwrap();
            let ledger = Ledger::at(state.path());
            let requests = ["api", "web", "db"].map(|name| request(name, Want::Auto));
            let pool = pool(&["8000-9000"]);
            let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let owners = [
                owner("one", directories[0].path()),
                owner("two", directories[1].path()),
            ];
            let start = |index: usize| {
                let batch = Batch {
                    requests: &requests,
                    pool: &pool,
                    owner: &owners[index],
                    strict: false,
                    fresh: false,
                };
                allocate(&batch, &ledger).unwrap()
            };
            let first = start(0);
            assert_eq!(ports_of(&first), [8000, 8001, 8002]);
            assert_eq!(first.warnings, []);
            let second = start(1);
            assert_eq!(ports_of(&second), [8003, 8004, 8005]);
            drop((first, second));
            // Tomorrow, in the other order.
            assert_eq!(ports_of(&start(1)), [8003, 8004, 8005]);
            assert_eq!(ports_of(&start(0)), [8000, 8001, 8002]);
        },
    );
}

#[test]
fn gaps_between_taken_ports_are_filled_lowest_first() {
    in_own_network(
        "ports::tests::gaps_between_taken_ports_are_filled_lowest_first",
        || {
            let state = tempfile::tempdir().unwrap();
            let taken = (8000..=8004).chain(8006..=8009).chain(8011..=8014);
            let _servers: Vec<_> = taken
                .map(|port| listener(&format!("127.0.0.1:{port}")))
                .collect();
            let requests = ["api", "web", "db"].map(|name| request(name, Want::Auto));
            let batch = Batch {
                requests: &requests,
                pool: &pool(&["8000-9000"]),
                owner: &owner("shop", state.path()),
                strict: false,
                fresh: false,
            };
            let allocation = allocate(&batch, &Ledger::at(state.path())).unwrap();
            assert_eq!(ports_of(&allocation), [8005, 8010, 8015]);
            assert_eq!(allocation.holds[&key("web")].port(), 8010);
        },
    );
}
