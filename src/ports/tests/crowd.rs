//! Many stacks at one instant: no port is given twice, whatever the state of the ledger.

use std::collections::HashSet;
use std::fs::File;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::ports::request::Want;
use crate::ports::testing::{Helper, in_own_network, owner, pool, private_tmpfs, range, request};
use crate::ports::{Allocation, Batch, Hold, Ledger, PortError, PortWarning, allocate, grant};

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
        is_noted_later: false,
        running: None,
    };
    allocate(&batch, &Ledger::at(state).with_lock_wait(lock_wait()))
}

/// As many as may queue here wait longer than one start of a stack would; but not where the lock never
/// comes.
fn lock_wait() -> Duration {
    match std::env::var_os("STACK_TEST_LOCKED") {
        Some(_) => Duration::from_millis(200),
        None => Duration::from_secs(30),
    }
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
    let warned = allocation.warnings.iter();
    let warned = warned.filter(|warning| matches!(warning, PortWarning::Ledger(_)));
    println!("warned:{}", warned.count());
    println!("ports:{:?}", ports_of(&allocation));
    stdin().read_line(&mut String::new()).unwrap();
}

/// A crowd that was started at once.
struct Crowd {
    stacks: Vec<Helper>,
    /// What they got.
    ports: Vec<u16>,
    /// How many warnings about the ledger each of them gave.
    warned: Vec<usize>,
}

fn crowd(state: &Path, more: Option<(&str, &str)>) -> Crowd {
    let mut stacks: Vec<_> = (0..STACKS)
        .map(|index| {
            let index = index.to_string();
            let mut env = vec![
                ("STACK_TEST_STATE", state.to_str().unwrap()),
                ("STACK_TEST_INDEX", &index),
            ];
            env.extend(more);
            Helper::start("ports::tests::crowd::helper_is_a_stack", &env)
        })
        .collect();
    for stack in &mut stacks {
        stack.hear("ready:");
    }
    for stack in &mut stacks {
        stack.tell("go");
    }
    let (mut ports, mut warned) = (Vec::new(), Vec::new());
    for stack in &mut stacks {
        warned.push(stack.hear("warned:").parse().unwrap());
        let got: Vec<u16> = serde_json::from_str(&stack.hear("ports:")).unwrap();
        ports.extend(got);
    }
    Crowd {
        stacks,
        ports,
        warned,
    }
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
        let Crowd { stacks, ports, .. } = crowd(state.path(), None);
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
        assert_eq!(holders.len(), STACKS * EACH);
        for holder in &holders {
            assert!(
                holder.process.is_some() && holder.stack.is_some(),
                "{holder}"
            );
        }
        // With them gone, every port is free again at once.
        drop(stacks);
        let free = (8000..=9000).filter(|&port| Hold::take(port).is_ok());
        assert_eq!(free.count(), 1001);
    });
}

/// Nobody shares a port, and everybody says once that the ledger does not work.
fn assert_all_warned_once(state: &Path) {
    let crowd = crowd(state, Some(("STACK_TEST_LOCKED", "1")));
    assert_distinct(&crowd.ports, STACKS * EACH);
    assert_eq!(crowd.warned, [1; STACKS]);
}

/// Nobody shares a port, and whoever finds the damage says so once. The first one mends it.
fn assert_some_warned_once(state: &Path) {
    let crowd = crowd(state, None);
    assert_distinct(&crowd.ports, STACKS * EACH);
    assert!(crowd.warned.iter().all(|&warned| warned <= 1));
    assert!(crowd.warned.contains(&1));
}

#[test]
fn nor_do_they_when_the_ledger_stays_locked() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        fs_err::create_dir(state.path().join("ports")).unwrap();
        let lock = File::create(state.path().join("ports/lock")).unwrap();
        lock.lock().unwrap();
        assert_all_warned_once(state.path());
    });
}

#[test]
fn nor_do_they_when_the_ledger_is_garbage() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        fs_err::create_dir(state.path().join("ports")).unwrap();
        fs_err::write(state.path().join("ports/stacks"), "\0garbage").unwrap();
        assert_some_warned_once(state.path());
    });
}

#[test]
fn nor_do_they_when_the_ledger_was_cut_off() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        drop(stack(0, state.path()).unwrap());
        let path = state.path().join("ports/stacks");
        let whole = fs_err::read(&path).unwrap();
        fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_some_warned_once(state.path());
    });
}

#[test]
fn nor_do_they_when_the_state_directory_cannot_be_made() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs_err::write(&file, "").unwrap();
        assert_all_warned_once(&file.join("state"));
    });
}

#[test]
fn nor_do_they_when_the_state_directory_is_read_only() {
    in_own_network(|| {
        use nix::mount::{MsFlags, mount};
        let state = tempfile::tempdir().unwrap();
        if !private_tmpfs(state.path(), "size=1m") {
            println!("skipped: needs root");
            return;
        }
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let none = None::<&str>;
        mount(none, state.path(), none, read_only, none).unwrap();
        assert_all_warned_once(state.path());
    });
}

#[test]
fn nor_do_they_when_the_disk_is_full() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        if !private_tmpfs(state.path(), "size=64k") {
            println!("skipped: needs root");
            return;
        }
        assert!(fs_err::write(state.path().join("fill"), vec![0; 128 * 1024]).is_err());
        assert_all_warned_once(state.path());
    });
}

/// Whoever starts right after another one does not look everybody up again.
#[test]
fn the_ports_of_a_stack_that_was_just_killed_are_free_for_who_wants_them() {
    in_own_network(|| {
        let state = tempfile::tempdir().unwrap();
        let env = [
            ("STACK_TEST_STATE", state.path().to_str().unwrap()),
            ("STACK_TEST_INDEX", "0"),
        ];
        let mut killed = Helper::start("ports::tests::crowd::helper_is_a_stack", &env);
        killed.tell("go");
        killed.hear("ports:");
        drop(killed);
        let ledger = Ledger::at(state.path());
        for want in [Want::Fixed(8005), Want::Within(range("8006-8019"))] {
            let requests: Vec<_> = match want {
                Want::Within(_) => (0..14)
                    .map(|port| request(&format!("s{port}"), want))
                    .collect(),
                Want::Fixed(_) | Want::Auto | Want::Prefer(_) => vec![request("api", want)],
            };
            let batch = Batch {
                requests: &requests,
                pool: &pool(&["8000-9000"]),
                owner: &owner("other", state.path()),
                strict: false,
                fresh: false,
                is_noted_later: false,
                running: None,
            };
            let allocation = allocate(&batch, &ledger).unwrap();
            assert_eq!(allocation.holds.len(), requests.len());
        }
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
                        let ledger = Ledger::at(state.path()).with_lock_wait(lock_wait());
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
