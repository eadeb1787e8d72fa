//! Who runs: processes by mark, by namespace and by identity. Zombies do not count; they run no
//! more.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::waiting::wait_until;

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    /// Its pid.
    pub(crate) pid: i32,
    /// When it started, in ticks since the system did.
    started: u64,
}

impl Process {
    /// The process that has this pid now; `None` if there is none, or only a zombie.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses, which may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// When it started, in ticks since the system did.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends it a signal, unless it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end just now; then there is nothing left to be told.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Suspends it, and waits until it stands still.
    #[track_caller]
    pub(crate) fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("it to stand still", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
            let state = stat.rsplit_once(')')?.1.trim_start().chars().next();
            (state == Some('T')).then_some(())
        });
    }

    /// Its parent; `None` when it is gone.
    pub(crate) fn parent(&self) -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        fields.nth(1)?.parse().ok()
    }

    /// Its command line, for messages.
    pub(crate) fn command(&self) -> String {
        let raw = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&raw).replace('\0', " ")
    }

    /// A figure of its memory, in KiB: `VmRSS` is what it has now, `VmHWM` the most it ever had.
    #[track_caller]
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.expect("proc(5)").parse().expect("proc(5)")
    }

    /// Where its open descriptors lead: `socket:[4711]`, or a path.
    #[track_caller]
    pub(crate) fn open_files(&self) -> Vec<String> {
        fs::read_dir(format!("/proc/{}/fd", self.pid))
            .expect("it runs")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.display().to_string())
            .collect()
    }

    /// One variable of its environment.
    pub(crate) fn variable(&self, key: &str) -> Option<String> {
        environment(self.pid).remove(key)
    }

    /// Everything that runs and satisfies `is_ours`, which gets the directory in `/proc`.
    pub(crate) fn all(is_ours: impl Fn(&Path) -> bool) -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("/proc is mounted");
        entries
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                is_ours(&entry.path()).then(|| Self::of(pid))?
            })
            .collect()
    }
}

/// The environment with which a process was executed; empty for one that is gone.
fn environment(pid: i32) -> BTreeMap<String, String> {
    let raw = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&raw)
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
