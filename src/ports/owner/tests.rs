//! Names for those who have a port.

use crate::ports::request::Want;
use crate::ports::testing::{Helper, in_own_network, key, listener, owner, pool, request};
use crate::ports::{Batch, Hold, allocate};

use super::*;

#[test]
fn a_listener_is_named_with_pid_and_command() {
    in_own_network(|| {
        assert_eq!(holder(Protocol::Tcp, 8000, None), None);
        let _server = listener("127.0.0.1:8000");
        let found = holder(Protocol::Tcp, 8000, None).unwrap();
        assert_eq!(found.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(found.state, TcpState::Listen);
        assert_eq!(found.address.to_string(), "127.0.0.1");
        let text = found.to_string();
        assert!(text.starts_with(&format!("pid {} (`", found.pid)), "{text}");
    });
}

#[test]
fn a_hold_of_another_stack_is_named_with_its_stack() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(state.path());
        let owner = owner("shop", state.path());
        let batch = Batch {
            requests: &[request("api", Want::Auto)],
            pool: &pool(&["8000-9000"]),
            owner: &owner,
            strict: false,
            fresh: false,
        };
        let _allocation = allocate(&batch, &ledger).unwrap();
        let Some(found) = holder(Protocol::Tcp, 8000, Some(&ledger)) else {
            println!("skipped: needs Linux 6.8");
            return;
        };
        assert_eq!(found.state, TcpState::Bound);
        let stack = found.stack.as_ref().unwrap();
        assert_eq!(
            (stack.owner.project.as_str(), &stack.key),
            ("shop", &key("api"))
        );
        assert!(found.to_string().contains("service `api` in stack `shop`"));
    });
}

#[test]
fn leftovers_are_named_as_such() {
    in_own_network(|| {
        let server = listener("127.0.0.1:8000");
        let client = std::net::TcpStream::connect("127.0.0.1:8000").unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop((accepted, server, client));
        let found = holder(Protocol::Tcp, 8000, None).unwrap();
        assert!(found.pid == 0 && found.state.is_leftover(), "{found:?}");
        assert!(found.to_string().starts_with("closed connections"));
    });
}

#[test]
fn the_listener_matters_more_than_its_connections() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        hold.soften().unwrap();
        let server = listener("127.0.0.1:8000");
        let _client = std::net::TcpStream::connect("127.0.0.1:8000").unwrap();
        let _accepted = server.accept().unwrap();
        assert_eq!(
            holder(Protocol::Tcp, 8000, None).unwrap().state,
            TcpState::Listen
        );
    });
}

#[test]
fn a_command_line_is_one_clean_line() {
    // It runs once it has spoken; in the middle of `execve` a process has no command line.
    let mut helper = Helper::start("ports::verify::tests::helper_idles", &[]);
    helper.hear("ready:");
    let pid = helper.pid();
    let text = command(pid);
    drop(helper);
    assert!(text.contains(" --exact ports::verify"), "{text}");
    assert_eq!(command(0), "unknown");
    assert_eq!(command(pid), "unknown", "it is gone");
    assert_eq!(one_line("a\u{1b}[31m\nb\0"), "a [31m b");
    let long = one_line(&"x".repeat(1000));
    assert_eq!((long.chars().count(), long.ends_with('…')), (161, true));
}

#[test]
fn descent_is_followed_over_parents() {
    let helper = Helper::start("ports::verify::tests::helper_idles", &[]);
    let me = i32::try_from(std::process::id()).unwrap();
    assert!(descends(helper.pid(), &[me]));
    assert!(descends(me, &[me]));
    assert!(!descends(me, &[helper.pid()]));
    assert!(!descends(me, &[]));
}

#[test]
fn who_cannot_be_seen_is_told_by_the_name_of_the_user() {
    let holder = |uid| Holder {
        port: 8000,
        pid: 0,
        command: "unknown".to_owned(),
        address: IpAddr::from([127, 0, 0, 1]),
        state: TcpState::Listen,
        uid,
        stack: None,
    };
    assert_eq!(
        holder(0).to_string(),
        "a process of user root that cannot be seen"
    );
    // Nobody has this number; `useradd` gives out none above 60000.
    assert_eq!(
        holder(3_999_999_999).to_string(),
        "a process of user 3999999999 that cannot be seen"
    );
}
