//! Machines that say no: too few open files, privileged ports, no IPv6.

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, geteuid, setuid};

use crate::ports::request::Want;
use crate::ports::testing::{Helper, in_own_network, listener, owner, pool, request};
use crate::ports::{
    Batch, Hold, HoldError, Ledger, PortError, allocate, is_port_free, original_soft_limit,
};

/// Not a test: wants more ports than it may open files.
#[test]
#[ignore = "a helper of other tests"]
fn helper_has_few_files() {
    let hard: u64 = std::env::var("STACK_TEST_HARD").unwrap().parse().unwrap();
    let state = tempfile::tempdir().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let requests: Vec<_> = (0..100)
        .map(|index| request(&format!("s{index}"), Want::Auto))
        .collect();
    let batch = Batch {
        requests: &requests,
        pool: &pool(&["8000-9000"]),
        owner: &owner("shop", state.path()),
        strict: false,
        fresh: false,
        is_noted_later: false,
        running: None,
    };
    let ledger = Ledger::at(state.path());
    match allocate(&batch, &ledger) {
        Ok(allocation) => {
            println!("got:{} {:?}", allocation.holds.len(), original_soft_limit());
        }
        Err(error) => {
            assert!(matches!(error, PortError::TooManyFiles { .. }), "{error:?}");
            assert!(is_port_free(8000), "nothing stays held");
            assert_eq!(ledger.overview().sticky, []);
            println!("got:{}", error.hint());
        }
    }
}

fn with_hard_limit(limit: &str) -> String {
    let name = "ports::tests::limits::helper_has_few_files";
    Helper::start(name, &[("STACK_TEST_HARD", limit)]).hear("got:")
}

#[test]
fn the_limit_on_open_files_is_raised_or_named() {
    in_own_network(|| {
        assert_eq!(with_hard_limit("4096"), "100 Some(64)");
        let said = with_hard_limit("64");
        assert!(said.starts_with("the limit is 64"), "{said}");
    });
}

/// Not a test: a user without privileges who wants port 80.
#[test]
#[ignore = "a helper of other tests"]
fn helper_wants_a_privileged_port() {
    let state = tempfile::tempdir().unwrap();
    if geteuid().is_root() {
        setuid(Uid::from_raw(65534)).unwrap();
    }
    assert!(matches!(Hold::take(80), Err(HoldError::Denied)));
    let batch = Batch {
        requests: &[request("web", Want::Fixed(80))],
        pool: &pool(&["8000-9000"]),
        owner: &owner("shop", state.path()),
        strict: false,
        fresh: false,
        is_noted_later: false,
        running: None,
    };
    let error = allocate(&batch, &Ledger::at(state.path())).unwrap_err();
    println!("got:{error} / {}", error.hint());
}

#[test]
fn a_privileged_port_is_denied_not_taken() {
    in_own_network(|| {
        if std::env::var_os("STACK_TEST_NETNS").is_some() {
            println!("skipped: needs root, to be able to drop it");
            return;
        }
        let name = "ports::tests::limits::helper_wants_a_privileged_port";
        assert_eq!(
            Helper::start(name, &[]).hear("got:"),
            "port 80 for PORT of service `web`: not allowed by the system / \
             ports below 1024 need a privilege; write `auto` or a higher number"
        );
    });
}

#[test]
fn a_machine_with_ipv6_switched_off_is_served() {
    in_own_network(|| {
        if fs_err::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").is_err() {
            println!("skipped: the kernel's settings cannot be written");
            return;
        }
        let server = listener("127.0.0.1:8000");
        assert!(!is_port_free(8000));
        drop(server);
        let hold = Hold::take(8000).unwrap();
        assert!(!is_port_free(8000));
        hold.soften().unwrap();
        listener("127.0.0.1:8000");
    });
}
