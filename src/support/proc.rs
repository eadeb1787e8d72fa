//! What the kernel tells of processes in `/proc` (proc(5)), read without allocating: the guardian
//! needs it when there may be no memory left.

use std::io::Write;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, RawDir};

/// A process at the moment it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its pid.
    pub pid: i32,
    /// A letter: `R`, `S`, `D`, `T`, `Z` …
    pub state: u8,
    /// Its parent; 0 for one outside our pid namespace.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl Stat {
    /// The process that now has `pid`; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        let mut text = [0; 1024];
        let length = read_file(pid, "stat", &mut text)?;
        Self::parse(pid, &text[..length])
    }

    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        // The second field, the name, may hold spaces and parentheses.
        let rest = text.get(text.iter().rposition(|&byte| byte == b')')? + 1..)?;
        let mut fields = rest.trim_ascii().split(|&byte| byte == b' ');
        let state = *fields.next()?.first()?;
        let mut number = |place| fields.nth(place).and_then(number::<i64>);
        let mut pid_at = |place| number(place).and_then(|pid| i32::try_from(pid).ok());
        Some(Self {
            pid,
            state,
            parent: pid_at(0)?,
            group: pid_at(0)?,
            session: pid_at(0)?,
            started: number(15)?.try_into().ok()?,
        })
    }

    /// Whether it has ended and waits for its parent to take note.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The random id of this boot of the machine; empty if it cannot be read.
pub fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let text = fs_err::read_to_string("/proc/sys/kernel/random/boot_id");
        text.unwrap_or_default().trim().to_owned()
    })
}

/// Calls `each` with the pid of every process.
pub fn for_each_pid(mut each: impl FnMut(i32)) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open("/proc", flags, Mode::empty()) else {
        return;
    };
    let mut names = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&directory, &mut names);
    while let Some(Ok(entry)) = entries.next() {
        if let Some(pid) = number(entry.file_name().to_bytes()) {
            each(pid);
        }
    }
}

/// Reads `/proc/<pid>/<name>` into `buffer`, as much of it as there is room for: how many bytes
/// there are. `None` if the process is gone or another user's.
pub fn read_file(pid: i32, name: &str, buffer: &mut [u8]) -> Option<usize> {
    let mut path = [0; 64];
    let mut room = path.as_mut_slice();
    write!(room, "/proc/{pid}/{name}").ok()?;
    let left = room.len();
    let path = &path[..path.len() - left];
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut length = 0;
    while length < buffer.len() {
        match rustix::io::read(&file, &mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(length)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = b"7 (a ) b (c) S 1 2 3 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 1 0 4711 99 88\n";
        let expected = Stat {
            pid: 7,
            state: b'S',
            parent: 1,
            group: 2,
            session: 3,
            started: 4711,
        };
        assert_eq!(Stat::parse(7, text), Some(expected));
        assert_eq!(Stat::parse(7, b"7 (cut off"), None);
    }

    #[test]
    fn this_process_is_among_all_and_hangs_below_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut pids = Vec::new();
        for_each_pid(|pid| pids.push(pid));
        assert!(pids.contains(&own));
        let stat = Stat::of(own).unwrap();
        assert_eq!(stat.parent, nix::unistd::getppid().as_raw());
        assert_eq!(stat.group, nix::unistd::getpgrp().as_raw());
        assert!(!stat.has_ended());
        assert_eq!(Stat::of(i32::MAX), None);
    }
}
