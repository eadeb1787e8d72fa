//! What `libproc` and `sysctl` tell about processes.

use std::collections::HashSet;

use nix::unistd::{Pid, getpid, getsid};

use super::strays;
use crate::run::process::facts::{descendants, unit_in};
use crate::support::clock;
use crate::support::darwin::{self, process};
use crate::support::name::UnitName;

pub(crate) use crate::support::darwin::boot_id;

/// launchd, the parent of all orphans.
const LAUNCHD: i32 = 1;

/// When a process started, in milliseconds since the Unix epoch. `None` for zombies, too.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    Some(process(pid)?.started)
}

/// Whether a process has ended and waits to be reaped, or is gone.
pub(crate) fn is_zombie(pid: i32) -> bool {
    process(pid).is_none()
}

/// How many clock ticks a second has; start times count in them.
pub(crate) fn clock_ticks() -> u64 {
    1000
}

/// The time in those ticks. The kernel tells the start of a process by the wall clock.
pub(crate) fn now_ticks() -> u64 {
    clock::unix_millis()
}

/// The direct children of a process that still run.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let mut children = darwin::all_pids();
    children.retain(|&child| parent_of(child) == Some(pid));
    children
}

/// The session of a process.
pub(crate) fn session_of(pid: i32) -> Option<i32> {
    getsid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw)
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Some(process(pid)?.parent)
}

/// The members of a session that still run, orphans among them.
pub(crate) fn session_members(session: i32) -> Vec<i32> {
    let mut members = darwin::all_pids();
    members.retain(|&pid| session_of(pid) == Some(session) && !is_zombie(pid));
    members
}

/// Every process whose environment, as it was at exec, holds the entry `KEY=value`. Programs of the
/// system do not show theirs.
pub(crate) fn environment_has(entry: &str) -> Vec<i32> {
    let own = getpid().as_raw();
    let mut marked = darwin::all_pids();
    marked.retain(|&pid| {
        pid != own
            && darwin::environment(pid)
                .is_some_and(|entries| entries.iter().any(|item| item == entry.as_bytes()))
    });
    marked
}

/// The unit that a process was started for, by the marks in its environment.
pub(crate) fn unit_mark(pid: i32, instance: &str) -> Option<UnitName> {
    let entries = darwin::environment(pid)?;
    unit_in(&entries.iter().map(Vec::as_slice), instance)
}

/// The processes that may have left a service: our children, and of launchd's children those that
/// are of one of `sessions` or marked for `instance`. Any other child of launchd may be anybody's.
///
/// An orphan is not our child, so nobody would tell us of its end; it is watched from here on
/// ([`ended_strays`](super::ended_strays)).
pub(crate) fn possible_strays(sessions: &[i32], instance: &str) -> Vec<i32> {
    let own = getpid().as_raw();
    let mut found = Vec::new();
    for pid in darwin::all_pids() {
        match parent_of(pid) {
            Some(parent) if parent == own => found.push(pid),
            Some(LAUNCHD) => {
                let of_session = session_of(pid).is_some_and(|id| sessions.contains(&id));
                if of_session || unit_mark(pid, instance).is_some() {
                    strays::watch(pid);
                    found.push(pid);
                }
            }
            Some(_) | None => {}
        }
    }
    found
}

/// Everything below this process, itself left out, and everything of the given sessions: these are
/// led by what the supervisor has started, and after its end launchd is the parent of it all.
pub(crate) fn everything_below(sessions: &[i32]) -> Vec<i32> {
    let own = getpid().as_raw();
    let mut found: HashSet<i32> = descendants(own).into_iter().collect();
    for &session in sessions {
        for member in session_members(session) {
            found.extend(descendants(member));
        }
    }
    found.remove(&own);
    found.into_iter().collect()
}
