//! Which processes there are and how they hang together. What is read from `/proc` stands in
//! `linux/facts.rs`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::system::facts::{children_of, is_zombie, parent_of, session_of, start_time};
use crate::support::name::{ServiceName, UnitId};

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The pid.
    pub(crate) pid: i32,
    /// When it started, in ticks of [`now_ticks`](super::now_ticks): on Linux field 22 of
    /// `/proc/<pid>/stat`.
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// The process that now has `pid`.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// Whether that very process still exists and is no zombie.
    pub(crate) fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time) && !is_zombie(self.pid)
    }
}

/// A process and everything below it, as far as parents go: what has left by a double fork hangs
/// below the supervisor instead, or below nobody where there are no subreapers.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut seen: HashSet<i32> = HashSet::from([root]);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        for child in children_of(pid) {
            if seen.insert(child) {
                found.push(child);
            }
        }
    }
    found
}

/// The process group of a process.
pub(crate) fn group_of(pid: i32) -> Option<i32> {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)))
        .ok()
        .map(nix::unistd::Pid::as_raw)
}

/// Whether a shell with job control stands above a process: an ancestor in its session, but in
/// another group. Without one nobody could continue the group once it has stopped.
pub(crate) fn has_job_control(pid: i32) -> bool {
    let (group, session) = (group_of(pid), session_of(pid));
    let mut next = pid;
    // A pid that is reused meanwhile could make a circle of these steps.
    for _ in 0..ANCESTORS {
        let Some(parent) = parent_of(next).filter(|&parent| parent > 0) else {
            return false;
        };
        if session_of(parent) != session {
            return false;
        }
        if group_of(parent) != group {
            return true;
        }
        next = parent;
    }
    false
}

/// A process, its parent, its grandparent and so on.
pub(crate) fn ancestors(pid: i32) -> impl Iterator<Item = i32> {
    let parent = |&pid: &i32| parent_of(pid).filter(|&parent| parent > 0);
    std::iter::successors(Some(pid), parent).take(ANCESTORS)
}

/// How far up anybody is looked for.
const ANCESTORS: usize = 64;

/// The unit that a process was started for, if an environment of these entries is marked for
/// `instance`.
pub(super) fn unit_in<'a>(
    entries: &(impl Iterator<Item = &'a [u8]> + Clone),
    instance: &str,
) -> Option<UnitId> {
    let value = |key: &str| {
        entries.clone().find_map(|item| {
            let text = std::str::from_utf8(item).ok()?;
            text.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)
        })
    };
    if value("STACK_INSTANCE")? != instance {
        return None;
    }
    Some(UnitId {
        service: ServiceName::new(&value("STACK_SERVICE")?).ok()?,
        replica: value("STACK_REPLICA")?.parse().ok()?,
    })
}
