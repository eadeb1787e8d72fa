//! What `/proc` tells about processes (proc(5)).

use fs_err as fs;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::run::process::facts::{descendants, unit_in};
use crate::support::name::UnitId;

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

/// Whether a process has ended and waits to be reaped, or is gone.
pub(crate) fn is_zombie(pid: i32) -> bool {
    matches!(state_of(pid), None | Some('Z' | 'X'))
}

/// Whether a process was stopped by a signal.
pub(crate) fn is_suspended(pid: i32) -> bool {
    state_of(pid) == Some('T')
}

/// The state of a process in one letter: `R`, `S`, `D`, `T`, `Z` …
fn state_of(pid: i32) -> Option<char> {
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

/// The time in clock ticks since boot, by which the start of processes is told.
pub(crate) fn now_ticks() -> u64 {
    let ticks_per_second = clock_ticks();
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds * ticks_per_second + nanos * ticks_per_second / 1_000_000_000
    })
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
fn own_children() -> Vec<i32> {
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

/// The processes that may have left a service: here every child of ours, since a subreaper becomes
/// the parent of all orphans below it. The sessions and the instance are for systems without.
pub(crate) fn possible_strays(_sessions: &[i32], _instance: &str) -> Vec<i32> {
    own_children()
}

/// Everything below this process, itself left out: after the end of the supervisor also what that
/// one had started. The sessions are for systems without subreapers.
pub(crate) fn everything_below(_sessions: &[i32]) -> Vec<i32> {
    let own = nix::unistd::getpid().as_raw();
    let mut below = descendants(own);
    below.retain(|&pid| pid != own);
    below
}

/// The session of a process.
pub(crate) fn session_of(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(3)?.parse().ok()
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
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
pub(crate) fn unit_mark(pid: i32, instance: &str) -> Option<UnitId> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    unit_in(&bytes.split(|&byte| byte == 0), instance)
}
