//! The room as a whole, with real sockets.

mod crowd;
mod limits;
mod words;

use crate::support::protocol::Protocol;

use super::request::{Owner, Pool, PortRequest, Want};
use super::testing::{self, in_own_network, key, listener, owner, pool, range, request, wish};
use super::{
    Batch, Hold, Ledger, Lesson, PortError, PortWarning, allocate, free_port, free_ports, grant,
    is_port_free,
};

fn ports_of(allocation: &super::Allocation) -> Vec<u16> {
    allocation.holds.values().map(Hold::port).collect()
}

#[test]
fn a_clean_machine_gives_the_first_three_and_a_second_copy_the_next() {
    in_own_network(|| {
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
                is_noted_later: false,
                running: None,
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
    });
}

#[test]
fn gaps_between_taken_ports_are_filled_lowest_first() {
    in_own_network(|| {
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
            is_noted_later: false,
            running: None,
        };
        let allocation = allocate(&batch, &Ledger::at(state.path())).unwrap();
        assert_eq!(ports_of(&allocation), [8005, 8010, 8015]);
        assert_eq!(allocation.holds[&key("web")].port(), 8010);
    });
}

/// A batch of one stack whose directory and ledger are in `state`.
fn one_batch<'a>(
    requests: &'a [PortRequest],
    pool: &'a Pool,
    owner: &'a Owner,
    strict: bool,
) -> Batch<'a> {
    Batch {
        requests,
        pool,
        owner,
        strict,
        fresh: false,
        is_noted_later: false,
        running: None,
    }
}

#[test]
fn tcp_and_udp_of_one_number_can_belong_to_two_stacks() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let pool = pool(&["8000-9000"]);
        let start = |project: &str, protocol| {
            let requests = [PortRequest {
                protocol,
                ..request("dns", Want::Fixed(8053))
            }];
            let owner = owner(project, state.path());
            allocate(&one_batch(&requests, &pool, &owner, false), &ledger)
        };
        let _tcp = start("one", Protocol::Tcp).unwrap();
        let _udp = start("two", Protocol::Udp).unwrap();
        assert!(start("three", Protocol::Both).is_err());
        assert!(start("four", Protocol::Udp).is_err());
    });
}

#[test]
fn a_taken_wish_is_replaced_with_a_warning_that_names_the_holder() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let _server = listener("[::1]:8888");
        let requests = [wish("api", Want::Auto, 8888)];
        let (pool, owner) = (pool(&["8000-9000"]), owner("shop", state.path()));
        let allocation = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap();
        assert_eq!(ports_of(&allocation), [8000]);
        let text = allocation.warnings[0].to_string();
        let pid = std::process::id();
        assert!(
            text.starts_with(&format!(
                "port 8888 for PORT of service `api` (API_PORT in the environment): \
                 taken by pid {pid} (`"
            )),
            "{text}"
        );
        assert!(text.ends_with("; got 8000 instead"), "{text}");

        drop(allocation);
        let error = allocate(&one_batch(&requests, &pool, &owner, true), &ledger).unwrap_err();
        assert!(matches!(error, PortError::Refused(_)), "{error}");
        assert!(is_port_free(8000), "nothing stays held");
    });
}

#[test]
fn a_fixed_port_of_another_stack_is_an_error_that_names_it() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let pool = pool(&["8000-9000"]);
        let (shop, blog) = (owner("shop", state.path()), owner("blog", state.path()));
        let requests = [
            request("api", Want::Auto),
            request("web", Want::Fixed(8080)),
        ];
        let _shop = allocate(&one_batch(&requests, &pool, &shop, false), &ledger).unwrap();
        let error = allocate(&one_batch(&requests, &pool, &blog, false), &ledger).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("port 8080 for PORT of service `web`"),
            "{text}"
        );
        assert!(text.contains("service `web` in stack `shop`"), "{text}");
        assert!(is_port_free(8001), "nothing stays held");
        let sticky = ledger.overview().sticky;
        assert!(sticky.iter().all(|stack| stack.owner.project == "shop"));
    });
}

#[test]
fn down_and_up_find_the_same_ports_in_spite_of_time_wait() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let requests = ["api", "web"].map(|name| request(name, Want::Auto));
        let (pool, owner) = (pool(&["8000-9000"]), owner("shop", state.path()));
        for _ in 0..3 {
            let allocation =
                allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap();
            assert_eq!(ports_of(&allocation), [8000, 8001]);
            for hold in allocation.holds.values() {
                hold.soften().unwrap();
                let server = listener(&format!("127.0.0.1:{}", hold.port()));
                let client = std::net::TcpStream::connect(("127.0.0.1", hold.port())).unwrap();
                let accepted = server.accept().unwrap();
                drop((accepted, server, client));
            }
        }
    });
}

#[test]
fn a_stack_that_has_to_move_hears_why() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let requests = [request("api", Want::Auto)];
        let (pool, owner) = (pool(&["8000-9000"]), owner("shop", state.path()));
        drop(allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap());
        let _server = listener("127.0.0.1:8000");
        // Not even strictness makes it an error: nobody asked for the number.
        let allocation = allocate(&one_batch(&requests, &pool, &owner, true), &ledger).unwrap();
        let text = allocation.warnings[0].to_string();
        let start = "port 8000 for PORT of service `api` (as last time): taken by pid ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with("; got 8001 instead"), "{text}");
    });
}

#[test]
fn a_port_that_turned_bad_is_not_preferred_again() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let requests = [request("api", Want::Auto)];
        let (pool, owner) = (pool(&["8000-9000"]), owner("shop", state.path()));
        let batch = one_batch(&requests, &pool, &owner, false);
        drop(allocate(&batch, &ledger).unwrap());
        let learned = ledger.learn(&owner, &requests[0].key, 8000, Lesson::Useless);
        assert_eq!(learned, []);
        assert_eq!(ports_of(&allocate(&batch, &ledger).unwrap()), [8001]);
        let fresh = Batch {
            fresh: true,
            is_noted_later: false,
            running: None,
            ..batch
        };
        assert_eq!(ports_of(&allocate(&fresh, &ledger).unwrap()), [8000]);
    });
}

#[test]
fn ports_of_the_administrator_and_of_browsers_are_left_out() {
    in_own_network(|| {
        // The setting is one of the network namespace.
        let reserved = "/proc/sys/net/ipv4/ip_local_reserved_ports";
        if fs_err::write(reserved, "6664,6671-6672").is_err() {
            println!("skipped: the kernel's settings cannot be written");
            return;
        }
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let requests = ["a", "b", "c"].map(|name| request(name, Want::Auto));
        let owner = owner("shop", state.path());
        let mut pool = pool(&["6664-6700"]);
        pool.exclude.push(range("6673"));
        let allocation = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap();
        assert_eq!(ports_of(&allocation), [6670, 6674, 6675]);
        drop(allocation);

        let requests = [request("a", Want::Fixed(6666)), request("b", Want::Auto)];
        let pool = testing::pool(&["32000-33000"]);
        let allocation = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap();
        assert!(matches!(
            allocation.warnings[..],
            [
                PortWarning::BrowserRefuses { .. },
                PortWarning::Ephemeral { .. }
            ]
        ));
    });
}

#[test]
fn the_library_finds_and_keeps_ports() {
    in_own_network(|| {
        let _server = listener("127.0.0.1:8000");
        assert!(!is_port_free(8000) && is_port_free(8001) && !is_port_free(0));
        let first = free_port(range("8000-8003")).unwrap();
        assert_eq!(first.port(), 8001);
        let more = free_ports(2, range("8000-8003")).unwrap();
        assert_eq!(
            more.iter().map(Hold::port).collect::<Vec<_>>(),
            [8002, 8003]
        );
        let error = free_ports(2, range("8000-8003")).unwrap_err();
        assert!(matches!(error, PortError::Exhausted { .. }), "{error}");
        drop(more);
        assert!(is_port_free(8002));
    });
}

#[test]
fn what_was_granted_is_left_alone_but_for_a_wish() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let all = [range("8000-8004")];
        assert_eq!(grant(2, &all, &ledger).unwrap().ports, [8000, 8001]);
        assert_eq!(grant(1, &all, &ledger).unwrap().ports, [8002]);
        let requests = [request("a", Want::Auto), wish("b", Want::Auto, 8001)];
        let (pool, owner) = (pool(&["8000-8004"]), owner("shop", state.path()));
        let allocation = allocate(&one_batch(&requests, &pool, &owner, false), &ledger).unwrap();
        assert_eq!(ports_of(&allocation), [8003, 8001]);
        // It runs, so one is left.
        let error = grant(2, &all, &ledger).unwrap_err();
        assert!(matches!(error, PortError::Exhausted { .. }), "{error}");
        assert_eq!(grant(1, &all, &ledger).unwrap().ports, [8004]);
    });
}
