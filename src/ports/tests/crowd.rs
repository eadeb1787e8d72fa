//! Many stacks at one instant: no port is given twice, whatever the state of the ledger.

use std::collections::HashSet;
use std::fs::File;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::ports::request::Want;
use crate::ports::testing::{Helper, in_own_network, owner, pool, range, request};
use crate::ports::{Allocation, Batch, Hold, Ledger, PortError, allocate, grant};

const STACKS: usize = 50;
const EACH: usize = 20;

fn stack(index: usize, state: &Path) -> Result<Allocation, PortError> {
    let requests: Vec<_> = (0..EACH)
        .map(|port| request(&format!("s{port}"), Want::Auto))
        .collect();
    let batch = Batch {
        requests: &requests,
        pool: &pool(&["8000-9000"]),
        owner: &owner(&format!("stack{index}"), state),
        strict: false,
        fresh: false,
    };
    let ledger = Ledger::at(state).with_lock_wait(Duration::from_millis(200));
    allocate(&batch, &ledger)
}

fn ports_of(allocation: &Allocation) -> Vec<u16> {
    allocation.holds.values().map(Hold::port).collect()
}

/// Not a test: one of many stacks. Allocates when it is told to, and holds on.
#[test]
#[ignore = "a helper of other tests"]
fn helper_is_a_stack() {
    let env = |name| std::env::var(name).unwrap();
    let state = PathBuf::from(env("STACK_TEST_STATE"));
    println!("ready:");
    stdin().read_line(&mut String::new()).unwrap();
    let allocation = stack(env("STACK_TEST_INDEX").parse().unwrap(), &state).unwrap();
    println!("ports:{:?}", ports_of(&allocation));
    stdin().read_line(&mut String::new()).unwrap();
}

/// Starts the crowd at once; what each of them got.
fn crowd(state: &Path) -> (Vec<Helper>, Vec<u16>) {
    let mut stacks: Vec<_> = (0..STACKS)
        .map(|index| {
            let env = [
                ("STACK_TEST_STATE", state.to_str().unwrap()),
                ("STACK_TEST_INDEX", &index.to_string()),
            ];
            Helper::start("ports::tests::crowd::helper_is_a_stack", &env)
        })
        .collect();
    for stack in &mut stacks {
        stack.hear("ready:");
    }
    for stack in &mut stacks {
        stack.tell("go");
    }
    let got = stacks
        .iter_mut()
        .flat_map(|stack| {
            let said = stack.hear("ports:");
            let ports: Vec<u16> = serde_json::from_str(&said).unwrap();
            ports
        })
        .collect();
    (stacks, got)
}

fn assert_distinct(ports: &[u16], expected: usize) {
    assert_eq!(ports.len(), expected);
    let distinct: HashSet<u16> = ports.iter().copied().collect();
    assert_eq!(distinct.len(), expected, "duplicates");
}

#[test]
fn fifty_processes_at_once_never_share_a_port() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let (stacks, ports) = crowd(state.path());
        assert_distinct(&ports, STACKS * EACH);
        // The range is full but for one; the next one hears who has it.
        let PortError::Exhausted {
            wanted,
            found,
            holders,
            ..
        } = stack(STACKS, state.path()).unwrap_err()
        else {
            panic!("it is full")
        };
        assert_eq!((wanted, found), (EACH, 1));
        assert!(holders.is_empty() || holders.len() == STACKS * EACH);
        assert!(holders.iter().all(|holder| holder.pid > 0));
        // With them gone, every port is free again at once.
        drop(stacks);
        let free = (8000..=9000).filter(|&port| Hold::take(port).is_ok());
        assert_eq!(free.count(), 1001);
    });
}

#[test]
fn nor_do_they_when_the_ledger_stays_locked() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let lock = File::create(state.path().join("ports.lock")).unwrap();
        lock.lock().unwrap();
        let (_stacks, ports) = crowd(state.path());
        assert_distinct(&ports, STACKS * EACH);
    });
}

#[test]
fn nor_do_they_when_the_ledger_is_garbage() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        fs_err::write(state.path().join("ports.json"), "\0garbage").unwrap();
        let (_stacks, ports) = crowd(state.path());
        assert_distinct(&ports, STACKS * EACH);
    });
}

#[test]
fn fifty_threads_at_once_never_share_a_port() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(STACKS);
        let allocations: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..STACKS)
                .map(|index| {
                    let (barrier, state) = (&barrier, state.path());
                    scope.spawn(move || {
                        barrier.wait();
                        stack(index, state).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let ports: Vec<u16> = allocations.iter().flat_map(ports_of).collect();
        assert_distinct(&ports, STACKS * EACH);
    });
}

#[test]
fn two_scripts_are_never_granted_the_same_number() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(STACKS);
        let ports: Vec<u16> = thread::scope(|scope| {
            let threads: Vec<_> = (0..STACKS)
                .map(|_| {
                    scope.spawn(|| {
                        // As many as may queue here wait longer than one start of a stack would.
                        let ledger =
                            Ledger::at(state.path()).with_lock_wait(Duration::from_secs(30));
                        barrier.wait();
                        grant(3, &[range("8000-9000")], &ledger).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| {
                    let grant = thread.join().unwrap();
                    assert_eq!(grant.warnings, []);
                    grant.ports
                })
                .collect()
        });
        assert_distinct(&ports, STACKS * 3);
        assert!(ports.iter().all(|&port| port < 8000 + 150), "lowest first");
    });
}
