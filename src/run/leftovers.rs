//! Ending what a killed supervisor and guardian left behind: reap, never adopt.
//!
//! What belongs to the instance is known by three things: the leases, the sessions they lead, and
//! the mark in every service's environment. The round is repeated until nothing new is found, since
//! a dying process may start others.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{SIGCONT, SIGKILL, SIGTERM};

use super::lease;
use super::process::{ProcessId, descendants, environment_has, session_members, signal_process};
use crate::support::name::UnitId;

/// How long leftovers may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How long what was killed may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often the processes are looked at. Nobody tells us of the end of a process that is not our
/// child, so this is the one place that polls; it lives for seconds at most.
const PAUSE: Duration = Duration::from_millis(20);

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// How many processes were ended.
    pub ended: usize,
    /// The pids of those that did not end.
    pub remaining: Vec<i32>,
}

/// The main processes that still run of an instance that has no supervisor any more, by unit; none
/// where its supervisor or its guardian has ended everything. Whoever asks has seen that nobody has
/// the lock.
pub fn running(lease_path: &Path) -> HashMap<UnitId, i32> {
    let leases = lease::read(lease_path);
    let alive = leases.iter().filter(|lease| lease.process().is_some());
    alive
        .filter_map(|lease| Some((lease.unit_name()?, lease.pid)))
        .collect()
}

/// Leaves a lease as one does who is killed, for tests: that `pid` was started for `unit`.
#[cfg(test)]
pub(crate) fn leave(lease_path: &Path, unit: &UnitId, pid: i32) {
    let boot = super::process::boot_id();
    let (service, replica) = (&unit.service, unit.replica);
    let text = format!("boot {boot}\n{pid} 0 {} {service}@{replica}\n", u64::MAX);
    fs_err::write(lease_path, text).unwrap();
}

/// Ends every process of an instance that has no supervisor any more. Blocks. The caller holds the
/// instance's lock, so that nothing is started meanwhile.
pub fn reap(instance: &str, lease_path: &Path) -> Leftovers {
    // A supervisor that ended in good order has removed its leases. `/proc` is searched only where
    // one did not: the search costs more than the whole rest of a start.
    if !lease_path.exists() {
        return Leftovers::default();
    }
    let leases = lease::read(lease_path);
    let first = find(instance, &leases);
    if first.is_empty() {
        return Leftovers::default();
    }
    let mut seen: HashSet<ProcessId> = HashSet::new();
    let begun = Instant::now();
    let mut asked: HashSet<ProcessId> = HashSet::new();
    loop {
        let mut found = find(instance, &leases);
        // Who was seen once is followed to its end: without its parent, or with an environment of
        // its own, it may not be found a second time.
        found.extend(seen.iter().filter(|process| process.is_alive()));
        seen.extend(&found);
        if found.is_empty() {
            return Leftovers {
                ended: seen.len(),
                remaining: Vec::new(),
            };
        }
        let waited = begun.elapsed();
        if waited > GRACE + KILL_LIMIT {
            let remaining: Vec<i32> = found.iter().map(|process| process.pid).collect();
            return Leftovers {
                ended: seen.len() - remaining.len(),
                remaining,
            };
        }
        for process in found {
            if waited >= GRACE {
                signal_process(process.pid, SIGKILL);
            } else if asked.insert(process) {
                signal_process(process.pid, SIGTERM);
                signal_process(process.pid, SIGCONT);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// The living processes of an instance.
fn find(instance: &str, leases: &[lease::Lease]) -> HashSet<ProcessId> {
    let mut pids: HashSet<i32> = HashSet::new();
    for process in leases.iter().filter_map(lease::Lease::process) {
        pids.extend(descendants(process.pid));
        pids.extend(session_members(process.pid));
    }
    pids.extend(environment_has(&format!("STACK_INSTANCE={instance}")));
    pids.into_iter()
        .filter_map(ProcessId::of)
        .filter(|process| process.is_alive())
        .collect()
}
