//! Which processes there are and how they hang together.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use fs_err as fs;
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, getpid, sysconf};
use serde::{Deserialize, Serialize};

use crate::support::name::{ServiceName, UnitId};
use crate::support::proc::{Stat, for_each_pid};

/// A process, told apart from a later one with the same pid by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The pid.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_time: u64,
}

impl ProcessId {
    /// The process that now has `pid`.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self::from(&stat))
    }

    /// Whether that very process still exists and has not ended.
    pub(crate) fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| self == Self::from(&stat) && !stat.has_ended())
    }
}

impl From<&Stat> for ProcessId {
    fn from(stat: &Stat) -> Self {
        Self {
            pid: stat.pid,
            start_time: stat.started,
        }
    }
}

/// The pid namespace of this process, by its inode; 0 if it cannot be read.
pub(crate) fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino())
}

/// The inode of the first pid namespace of a kernel, which is the same on every machine.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The pid namespaces in which anything runs. `None` where that cannot be known: from within any other
/// than the first, or where there is a process whose namespace nobody tells us.
pub(crate) fn living_namespaces() -> Option<HashSet<u64>> {
    let mut found = HashSet::from([pid_namespace()]);
    let (mut sees_first, mut is_sure) = (false, true);
    for_each_pid(|pid| {
        sees_first |= pid == 1;
        match fs::metadata(format!("/proc/{pid}/ns/pid")) {
            Ok(file) => drop(found.insert(file.ino())),
            Err(_) => is_sure &= is_known_to_be_here(pid),
        }
    });
    let is_first = pid_namespace() == FIRST_NAMESPACE;
    (is_first && sees_first && is_sure).then_some(found)
}

/// Whether a process that may not be asked for its namespace is in ours all the same, or has ended: it has
/// but one pid.
fn is_known_to_be_here(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(text) => text
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|pids| pids.split_whitespace().count() == 1),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether a pid means the same to a process as to this one. One that cannot be asked has ended, or is
/// another user's.
pub(crate) fn is_in_our_pid_namespace(pid: i32) -> bool {
    let theirs = fs::metadata(format!("/proc/{pid}/ns/pid"));
    theirs.map_or(true, |file| file.ino() == pid_namespace())
}

/// How many clock ticks a second has; start times count in them.
pub(crate) fn clock_ticks() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks
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
fn children_of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let texts = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts.flat_map(|text| pids_in(&text)).collect()
}

/// The direct children of this process, zombies included.
///
/// Orphans become the children of a subreaper's main thread, and only that one starts processes
/// here, so one file has them all. The kernel may leave an entry out when another child ends while
/// the file is read (proc(5)), so it is read until two readings agree.
pub(crate) fn own_children() -> Vec<i32> {
    let path = format!("/proc/self/task/{}/children", getpid());
    let Ok(file) = std::fs::File::open(path) else {
        return Vec::new();
    };
    let read = || {
        let (mut text, mut length) = (vec![0; 4096], 0);
        while let Ok(more @ 1..) = file.read_at(&mut text[length..], length as u64) {
            length += more;
            text.resize(length + 4096, 0);
        }
        text.truncate(length);
        text
    };
    let mut text = read();
    for _ in 0..OWN_CHILDREN_READINGS {
        let again = read();
        if again == text {
            break;
        }
        text = again;
    }
    pids_in(&String::from_utf8_lossy(&text))
}

fn pids_in(text: &str) -> Vec<i32> {
    let pids = text.split_ascii_whitespace();
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// How often the list of children is read again at most, in a storm of ends.
const OWN_CHILDREN_READINGS: usize = 8;

/// Whether any child is left, zombies included. With a subreaper this is the proof that a whole
/// tree is gone: an orphan anywhere below would be our child.
pub(crate) fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::All, flags), Err(Errno::ECHILD))
}

/// A process and everything below it, as far as parents go: what has left by a double fork hangs
/// below the supervisor instead. Costs as much as there is below it; who asks about many processes
/// at once reads a [`ProcessTree`](super::ProcessTree).
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut seen = HashSet::from([root]);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        found.extend(
            children_of(pid)
                .into_iter()
                .filter(|&child| seen.insert(child)),
        );
    }
    found
}

/// Whether a process was stopped by a signal.
pub(crate) fn is_suspended(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.state == b'T')
}

/// The process group of a process.
pub(crate) fn group_of(pid: i32) -> Option<i32> {
    Some(Stat::of(pid)?.group)
}

/// The session of a process.
pub(crate) fn session_of(pid: i32) -> Option<i32> {
    Some(Stat::of(pid)?.session)
}

/// Whether a shell with job control stands above a process: an ancestor in its session, but in
/// another group. Without one nobody could continue the group once it has stopped.
pub(crate) fn has_job_control(pid: i32) -> bool {
    let Some(own) = Stat::of(pid) else {
        return false;
    };
    ancestors(pid)
        .map_while(Stat::of)
        .take_while(|stat| stat.session == own.session)
        .any(|stat| stat.group != own.group)
}

/// A process, its parent, its grandparent and so on.
pub(crate) fn ancestors(pid: i32) -> impl Iterator<Item = i32> {
    let parent = |&pid: &i32| {
        let parent = Stat::of(pid)?.parent;
        (parent > 0).then_some(parent)
    };
    // A pid that is reused meanwhile could make a circle of these steps.
    std::iter::successors(Some(pid), parent).take(ANCESTORS)
}

/// How far up anybody is looked for.
const ANCESTORS: usize = 64;

/// What the environment of a process, as it was at exec, says about whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks<'a> {
    /// The id of the instance.
    pub(crate) instance: &'a [u8],
    /// The service.
    pub(crate) service: &'a [u8],
    /// The number of the replica.
    pub(crate) replica: &'a [u8],
}

impl<'a> Marks<'a> {
    /// The marks among the entries of an environment, each of which ends with a NUL.
    pub(crate) fn in_environment(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            instance: value(bytes, b"STACK_INSTANCE")?,
            service: value(bytes, b"STACK_SERVICE")?,
            replica: value(bytes, b"STACK_REPLICA")?,
        })
    }

    /// The unit that they name.
    fn unit(&self) -> Option<UnitId> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(UnitId {
            service: ServiceName::new(text(self.service)?).ok()?,
            replica: text(self.replica)?.parse().ok()?,
        })
    }
}

/// What marks the processes of a command that runs beside a unit, with its number: a check.
pub(crate) const COMMAND_MARK: &str = "STACK_COMMAND";

/// The unit of `instance` that a process was started for, by the marks in its environment; and which
/// command beside that unit, if any.
pub(crate) fn unit_mark(pid: i32, instance: &str) -> Option<(UnitId, Option<u64>)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let marks = Marks::in_environment(&bytes)?;
    if marks.instance != instance.as_bytes() {
        return None;
    }
    let command = value(&bytes, COMMAND_MARK.as_bytes());
    let command = command.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    Some((marks.unit()?, command))
}

/// Waits while a process is in the middle of exec: until then its environment is empty and has no end
/// yet (`env_end`, the 51st field of proc(5)'s stat), and whose it is cannot be told. Whether that can be
/// told now; one whose environment may not be read, or that has ended, is not waited for.
pub(crate) fn await_exec(pid: i32) -> bool {
    let is_in_exec = || {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        let end = fields.split_ascii_whitespace().nth(48)?;
        let has_ended = Stat::of(pid).is_none_or(|stat| stat.has_ended());
        Some(environment.is_empty() && end == "0" && !has_ended)
    };
    for look in 1..=LOOKS {
        if is_in_exec() != Some(true) {
            return true;
        }
        std::thread::sleep(LOOK_AGAIN * look);
    }
    false
}

/// How often a process in the middle of exec is looked at, and the first of the pauses, each of which is
/// longer by that much than the one before: 90 ms in all, as it may wait for a processor.
const LOOKS: u32 = 60;
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// The value of a variable in an environment, each entry of which ends with a NUL.
fn value<'a>(environment: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut entries = environment.split(|&byte| byte == 0);
    entries.find_map(|entry| entry.strip_prefix(key)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_the_marks_in_its_environment() {
        let marks = Marks::in_environment(
            b"PATH=/bin\0STACK_INSTANCE=shop-1\0STACK_REPLICA=2\0STACK_SERVICES=x\0STACK_SERVICE=web\0",
        )
        .unwrap();
        let unit = marks.unit().unwrap();
        assert_eq!(marks.instance, b"shop-1");
        assert_eq!((unit.service.as_str(), unit.replica), ("web", 2));
        assert_eq!(Marks::in_environment(b"STACK_INSTANCE=shop-1\0"), None);
    }
}
