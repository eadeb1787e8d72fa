//! Names for those who have a port.

use std::path::Path;

use crate::ports::request::Want;
use crate::ports::testing::{Made, in_own_network, key, listener, owner, pool, request, socket};
use crate::ports::{Batch, Hold, Ledger, allocate};

use super::*;

fn me() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

#[test]
fn a_listener_is_named_with_pid_and_command() {
    in_own_network(|| {
        assert_eq!(holder(Protocol::Tcp, 8000), None);
        let _server = listener("127.0.0.1:8000");
        let found = holder(Protocol::Tcp, 8000).unwrap();
        let pid = found.process.as_ref().unwrap().pid;
        assert_eq!(pid, me());
        assert_eq!(found.role, SocketRole::Listening);
        assert_eq!(found.address.to_string(), "127.0.0.1");
        let text = found.to_string();
        assert!(text.starts_with(&format!("pid {pid} (`")), "{text}");
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
            is_noted_later: false,
            running: None,
        };
        let _allocation = allocate(&batch, &ledger).unwrap();
        let stack = Session::look(&ledger).stack_of(8000);
        let Some(found) = holder_among(sockets::on_port(Protocol::Tcp, 8000).unwrap(), stack)
        else {
            println!("skipped: needs Linux 6.8");
            return;
        };
        assert_eq!(found.role, SocketRole::Bound);
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
        let found = holder(Protocol::Tcp, 8000).unwrap();
        assert_eq!((&found.process, found.role), (&None, SocketRole::Leftover));
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
            holder(Protocol::Tcp, 8000).unwrap().role,
            SocketRole::Listening
        );
    });
}

#[test]
fn who_cannot_be_seen_is_told_by_the_name_of_the_user() {
    let holder = |uid| Holder {
        port: 8000,
        role: SocketRole::Listening,
        address: IpAddr::from([127, 0, 0, 1]),
        uid,
        process: None,
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

#[test]
fn a_hold_that_no_table_shows_is_told_from_the_ledger() {
    let stack = StackPort {
        owner: owner("shop", Path::new("/shop")),
        key: key("api"),
        protocol: Protocol::Tcp,
        port: 8001,
        is_running: true,
    };
    let mut holders = BTreeMap::new();
    add_unseen(&mut holders, vec![stack]);
    let text = holders[&8001].to_string();
    assert!(
        text.contains("PORT of service `api` in stack `shop`"),
        "{text}"
    );
}

#[test]
fn a_server_is_asked_for_its_option() {
    in_own_network(|| {
        let made = Made {
            reuse: false,
            ..Made::LISTENER
        };
        let _strict = socket("127.0.0.1:8000".parse().unwrap(), made).unwrap();
        let _usual = listener("127.0.0.1:8001");
        assert_eq!(reuses_address(me(), Protocol::Tcp, 8000), Some(false));
        assert_eq!(reuses_address(me(), Protocol::Tcp, 8001), Some(true));
        assert_eq!(reuses_address(me(), Protocol::Tcp, 8002), None);
    });
}

#[test]
fn the_own_hold_is_not_among_the_others_and_everybody_else_is() {
    in_own_network(|| {
        let hold = Hold::take(8000).unwrap();
        let own: Vec<u64> = hold.inodes().collect();
        assert_eq!(others_on(Protocol::Tcp, 8000, &own).unwrap(), []);
        hold.soften().unwrap();
        let made = Made {
            listen: false,
            ..Made::LISTENER
        };
        let _bound = socket("127.0.0.1:8000".parse().unwrap(), made).unwrap();
        assert_eq!(others_on(Protocol::Tcp, 8000, &own).unwrap().len(), 1);
    });
}
