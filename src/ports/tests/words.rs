//! What users are told, with real sockets.

use std::path::Path;

use super::one_batch;
use crate::ports::request::{Pool, PortKey, Want};
use crate::ports::testing::{in_own_network, key, listener, owner, pool, range, request, wish};
use crate::ports::{Batch, Ledger, Lesson, PortError, StackPort, allocate, grant};
use crate::support::protocol::Protocol;

#[test]
fn exhaustion_lists_who_has_the_ports() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let _server = listener("127.0.0.1:8001");
        let requests = ["a", "b", "c"].map(|name| request(name, Want::Auto));
        let (pool, owner) = (pool(&["8000-8002"]), owner("shop", state.path()));
        let ledger = Ledger::at(state.path());
        let error = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap_err();
        assert!(matches!(error, PortError::Exhausted { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "no free port left in 8000-8002: 3 wanted, 2 found"
        );
        let hint = error.hint();
        assert!(hint.contains("\n  8001 pid "), "{hint}");
        assert!(
            !hint.contains("\n  8000 "),
            "our own bind is not a holder: {hint}"
        );
        assert_eq!(ledger.overview().sticky, [], "a failure writes nothing");
    });
}

#[test]
fn exhaustion_tells_what_was_left_out() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let granted = grant(1, &[range("5998-6001")], &ledger).unwrap();
        assert_eq!(granted.ports, [5998]);
        let requests = ["a", "b"].map(|name| request(name, Want::Auto));
        let owner = owner("shop", state.path());
        let mut pool = pool(&["5998-6001"]);
        pool.exclude = vec![range("6001"), range("7000")];
        let error = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap_err();
        assert_eq!(
            error.hint(),
            "widen `ports.range`, or stop a stack that is no longer needed; left out are 1 by \
             `ports.exclude`, 1 refused by browsers, 1 granted by `stack ports free` just before"
        );
        pool.exclude.push(range("5000-5999"));
        let error = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap_err();
        assert_eq!(
            error.hint(),
            "widen `ports.range`; left out are 3 by `ports.exclude`, 1 refused by browsers"
        );
        let error = grant(3, &[range("5998-6001")], &ledger).unwrap_err();
        assert_eq!(
            error.hint(),
            "widen `--range`, or stop a stack that is no longer needed; left out are 1 refused by \
             browsers, 1 granted by `stack ports free` just before"
        );
    });
}

#[test]
fn a_port_of_another_replica_is_told_with_its_number() {
    let port = StackPort {
        owner: owner("shop", Path::new("/home/me/shop")),
        key: PortKey {
            replica: 2,
            ..key("web")
        },
        protocol: Protocol::Tcp,
        port: 8001,
        is_running: false,
    };
    assert_eq!(
        port.to_string(),
        "PORT of replica 2 of service `web` in stack `shop` (/home/me/shop), which is not running"
    );
}

#[test]
fn a_range_that_browsers_refuse_in_part_is_told_once() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let within = range("6664-6700");
        let requests = [
            request("a", Want::Auto),
            request("b", Want::Auto),
            request("c", Want::Within(within)),
            request("d", Want::Within(within)),
        ];
        let owner = owner("shop", state.path());
        let mut pool = pool(&["8000-8010", "9990-10100"]);
        let said = |pool: &Pool| {
            let allocation = allocate(&one_batch(&requests, pool, &owner, false), &ledger);
            let warnings = allocation.unwrap().warnings;
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            said(&pool),
            [
                "browsers refuse 1 port of 9990-10100 (10080); it is left out",
                "browsers refuse 7 ports of 6664-6700 (6665, 6666, 6667, 6668…); they are left out",
            ]
        );
        pool.exclude = vec![range("10080"), range("6665-6699")];
        assert_eq!(said(&pool), [""; 0], "who knows need not hear it");
    });
}

#[test]
fn a_port_that_moves_because_it_turned_bad_is_told_once() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let requests = ["api", "web", "db"].map(|name| request(name, Want::Auto));
        let (pool, owner) = (pool(&["8000-9000"]), owner("shop", state.path()));
        let batch = one_batch(&requests, &pool, &owner, false);
        let said = |batch: &Batch<'_>| {
            let warnings = allocate(batch, &ledger).unwrap().warnings;
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let learn = |port, lesson| ledger.learn(&owner, &requests[0].key, port, lesson);
        assert_eq!(said(&batch), [""; 0]);
        learn(8000, Lesson::Stolen);
        assert_eq!(said(&batch), [""; 0], "one theft is bad luck");
        learn(8000, Lesson::Stolen);
        learn(8001, Lesson::Useless);
        assert_eq!(
            said(&batch),
            [
                "port 8000 for PORT of service `api` was stolen twice and is not taken again; \
                 got 8003 instead",
                "port 8001 for PORT of service `web` could not be bound by it and is not taken \
                 again; got 8004 instead",
            ]
        );
        assert_eq!(said(&batch), [""; 0]);
        // Who asks for a number, or for fresh ones, knows why it is another one.
        learn(8002, Lesson::Useless);
        learn(8003, Lesson::Useless);
        let others = [
            wish("db", Want::Auto, 8500),
            request("api", Want::Prefer(8501)),
        ];
        assert_eq!(said(&one_batch(&others, &pool, &owner, false)), [""; 0]);
        learn(8500, Lesson::Useless);
        let fresh = Batch {
            fresh: true,
            is_noted_later: false,
            running: None,
            ..batch
        };
        assert_eq!(said(&fresh), [""; 0]);
    });
}
