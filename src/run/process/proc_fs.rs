//! What `/proc` tells about processes (proc(5)).

use std::collections::HashSet;

use fs_err as fs;
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use crate::support::name::{ServiceName, UnitName};

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The pid.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// The process that now has `pid`.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// Whether that very process still exists and is no zombie.
    pub(crate) fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
            && !matches!(process_state(self.pid), None | Some('Z' | 'X'))
    }
}

/// The fields of `/proc/<pid>/stat` from the third on. The second, the name, may hold spaces and
/// parentheses, so the cut is at the last `)`.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let rest = text.get(text.rfind(')')? + 1..)?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

/// When a process started, in clock ticks since boot.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat_fields(pid)?.get(19)?.parse().ok()
}

/// The one-letter state of a process: `R`, `S`, `D`, `T`, `Z` …
pub(crate) fn process_state(pid: i32) -> Option<char> {
    stat_fields(pid)?.first()?.chars().next()
}

/// The random id of this boot of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// How many clock ticks a second has; start times count in them.
pub(crate) fn clock_ticks() -> u64 {
    sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .unwrap_or(100)
}

/// The direct children of a process, zombies included.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        if let Ok(text) = fs::read_to_string(task.path().join("children")) {
            children.extend(
                text.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
    }
    children
}

/// The direct children of this process, zombies included.
///
/// Orphans become the children of a subreaper's main thread, and only that one starts processes
/// here, so one file has them all. The kernel may leave an entry out when another child ends while
/// the file is read (proc(5)), so it is read until two readings agree.
pub(crate) fn own_children() -> Vec<i32> {
    let path = format!("/proc/self/task/{}/children", nix::unistd::getpid());
    let read = || fs::read_to_string(&path).unwrap_or_default();
    let mut text = read();
    for _ in 0..OWN_CHILDREN_READINGS {
        let again = read();
        if again == text {
            break;
        }
        text = again;
    }
    text.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// How often the list of children is read again at most, in a storm of ends.
const OWN_CHILDREN_READINGS: usize = 8;

/// A process and everything below it, as far as parents go: what has left by a double fork hangs
/// below the supervisor instead.
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

/// The session of a process.
pub(crate) fn session_of(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(3)?.parse().ok()
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

/// How far up a shell is looked for.
const ANCESTORS: usize = 64;

/// The parent of a process.
fn parent_of(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// Every process, by its number.
fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The members of a session that still run, orphans among them.
pub(crate) fn session_members(session: i32) -> Vec<i32> {
    all_pids()
        .into_iter()
        .filter(|&pid| {
            stat_fields(pid).is_some_and(|fields| {
                fields.get(3).and_then(|field| field.parse().ok()) == Some(session)
                    && fields
                        .first()
                        .is_none_or(|state| state != "Z" && state != "X")
            })
        })
        .collect()
}

/// Every process whose environment, as it was at exec, holds the entry `KEY=value`.
pub(crate) fn environment_has(entry: &str) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    all_pids()
        .into_iter()
        .filter(|&pid| pid != own)
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
                bytes
                    .split(|&b| b == 0)
                    .any(|item| item == entry.as_bytes())
            })
        })
        .collect()
}

/// The unit that a process was started for, by the marks in its environment.
pub(crate) fn unit_mark(pid: i32, instance: &str) -> Option<UnitName> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |key: &str| {
        bytes.split(|&b| b == 0).find_map(|item| {
            let text = std::str::from_utf8(item).ok()?;
            text.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)
        })
    };
    if value("STACK_INSTANCE")? != instance {
        return None;
    }
    Some(UnitName {
        service: ServiceName::new(&value("STACK_SERVICE")?).ok()?,
        replica: value("STACK_REPLICA")?.parse().ok()?,
    })
}
