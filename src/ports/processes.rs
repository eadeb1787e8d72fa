//! Processes: which sockets they have open, and what can be told of them. All of it from `/proc`.
//!
//! The processes of one service are read in microseconds; every process of the machine takes some 10 ms.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Uid, User};
use procfs::process::Process;
use rustix::fs::{Mode, OFlags, RawDir, readlinkat_raw};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::Serialize;

/// Longer command lines are cut; they stand in one-line messages.
const MAX_COMMAND: usize = 160;

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortProcess {
    /// Its pid.
    pub pid: i32,
    /// Its command line: one line without control characters, cut where it is very long.
    pub command: String,
    /// The user as whom it runs.
    pub user: Option<String>,
    /// Since when it runs, in milliseconds since the Unix epoch, to the second.
    pub started_at: Option<u64>,
    /// Its working directory, where it can be read.
    pub directory: Option<String>,
    /// The id of the stack that started it, as its environment says.
    pub instance: Option<String>,
    /// The service as which that stack started it, likewise.
    pub service: Option<String>,
}

impl PortProcess {
    /// What can be said of a process; what must not be read is left out.
    pub(crate) fn of(pid: i32) -> Self {
        let process = Process::new(pid).ok();
        let process = process.as_ref();
        let user = process.and_then(|process| process.uid().ok());
        let directory = process.and_then(|process| process.cwd().ok());
        Self {
            pid,
            command: command(pid),
            user: user.and_then(user_name),
            started_at: process.and_then(started_at),
            directory: directory.map(|path| path.to_string_lossy().into_owned()),
            instance: variable_of(pid, "STACK_INSTANCE").map(|text| one_line(&text)),
            service: variable_of(pid, "STACK_SERVICE").map(|text| one_line(&text)),
        }
    }
}

fn started_at(process: &Process) -> Option<u64> {
    let since_boot = process.stat().ok()?.starttime * 1000 / procfs::ticks_per_second().max(1);
    Some((procfs::boot_time_secs().ok()? * 1000 + since_boot) / 1000 * 1000)
}

/// A variable of a process's environment, as it was at exec, if it may be read.
pub(crate) fn variable_of(pid: i32, key: &str) -> Option<String> {
    let environment = Process::new(pid).ok()?.environ().ok()?;
    let value = environment.get(OsStr::new(key))?;
    Some(value.to_string_lossy().into_owned())
}

/// The command line of `pid` on one line, without control characters; its name in brackets where it
/// has none, `unknown` for pid 0 and for a process that is gone.
pub(crate) fn command(pid: i32) -> String {
    let process = (pid > 0).then(|| Process::new(pid).ok()).flatten();
    let words = |process: Process| match process.cmdline().unwrap_or_default() {
        // A kernel thread or a zombie has none.
        words if words.is_empty() => Some(format!("[{}]", process.stat().ok()?.comm)),
        words => Some(words.join(" ")),
    };
    let text = process.and_then(words);
    text.map_or_else(|| "unknown".to_owned(), |text| one_line(&text))
}

/// Short, and without what would steer a terminal: whoever wrote a command line may have put
/// escapes into it.
fn one_line(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = clean.take(MAX_COMMAND).collect();
    if text.chars().nth(MAX_COMMAND).is_some() {
        line.push('…');
    }
    line.trim_end().to_owned()
}

/// The name of a user; none where the system knows none, as for one of a container.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some(user.name)
}

/// Whether there is a process of that number.
pub(crate) fn exists(pid: i32) -> bool {
    // 0 and less would ask for groups of processes.
    pid > 0 && kill(nix::unistd::Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether `pid` is one of `tree` or descends from one.
pub(crate) fn descends(mut pid: i32, tree: &[i32]) -> bool {
    // The bound is against a table that changes while it is read.
    for _ in 0..64 {
        if tree.contains(&pid) {
            return true;
        }
        match Process::new(pid).and_then(|process| process.stat()) {
            Ok(stat) if stat.ppid > 0 => pid = stat.ppid,
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

/// For each of the socket inodes every process that has it open, lowest pid first, in one scan of
/// all processes. 0 is not an inode.
pub(crate) fn owners_of(inodes: &HashSet<u64>) -> HashMap<u64, Vec<i32>> {
    let mut found: HashMap<u64, Vec<i32>> = HashMap::new();
    if inodes.iter().all(|&inode| inode == 0) {
        return found;
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let own: HashSet<u64> = sockets_of(pid).unwrap_or_default().into_iter().collect();
        for &inode in own.intersection(inodes) {
            found.entry(inode).or_default().push(pid);
        }
    }
    for pids in found.values_mut() {
        pids.sort_unstable();
    }
    found
}

/// The inodes of the sockets that `pid` has open.
pub(crate) fn sockets_of(pid: i32) -> io::Result<Vec<u64>> {
    let descriptors = descriptors_of(pid)?;
    Ok(descriptors.into_iter().map(|(_, inode)| inode).collect())
}

/// The sockets that a process has open: descriptor and inode of each.
pub(crate) fn descriptors_of(pid: i32) -> io::Result<Vec<(i32, u64)>> {
    // A sweep reads this for every service, so there is nothing in it but system calls, and of those
    // one for each descriptor.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    let mut names = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(&directory, &mut names);
    let mut sockets = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // `.` and `..` are not numbers.
        let Some(descriptor) = number(entry.file_name().to_bytes()) else {
            continue;
        };
        let mut link = [MaybeUninit::uninit(); 64];
        let Ok((link, _)) = readlinkat_raw(&directory, entry.file_name(), &mut link) else {
            continue; // Closed in the meantime.
        };
        let inode = link
            .strip_prefix(b"socket:[")
            .and_then(|rest| number(rest.strip_suffix(b"]")?));
        sockets.extend(inode.map(|inode| (descriptor, inode)));
    }
    Ok(sockets)
}

fn number<T: FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A copy of another process's descriptor (`pidfd_getfd(2)`).
pub(crate) fn copy_of(pid: i32, descriptor: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()).ok()
}

#[cfg(test)]
mod tests {
    use crate::ports::testing::Helper;

    use super::*;

    #[test]
    fn a_command_line_is_one_clean_line() {
        // It runs once it has spoken; in the middle of `execve` a process has no command line.
        let mut helper = Helper::idle();
        helper.hear("ready:");
        let pid = helper.pid();
        let text = command(pid);
        drop(helper);
        assert!(text.contains(" --exact ports::testing"), "{text}");
        assert_eq!(command(0), "unknown");
        assert_eq!(command(pid), "unknown", "it is gone");
        assert_eq!(one_line("a\u{1b}[31m\nb\0"), "a [31m b");
        let long = one_line(&"x".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (161, true));
    }

    #[test]
    fn descent_is_followed_over_parents() {
        let helper = Helper::idle();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(descends(helper.pid(), &[me]));
        assert!(descends(me, &[me]));
        assert!(!descends(me, &[helper.pid()]));
        assert!(!descends(me, &[]));
    }
}
