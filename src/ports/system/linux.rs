//! What Linux tells about processes and the machine: `/proc`.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use nix::sys::stat::fstat;
use nix::time::ClockId;
use procfs::FromRead;
use rustix::fs::{Mode, OFlags, RawDir, readlinkat_raw};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::support::fs::read_small;
use crate::support::protocol::Protocol;

/// The clock of the time since boot, sleep included.
pub(crate) const BOOT_CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;

/// The random id of this boot of the machine; empty if it cannot be read.
pub(crate) fn boot_id() -> String {
    let bytes = read_small("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// The inode of this thread's network namespace; 0 if it cannot be read.
pub(crate) fn network_namespace() -> u64 {
    // A thread may have a namespace of its own.
    fs_err::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino())
}

/// The start time of a living process, in clock ticks since boot; `None` for a zombie, which holds
/// no socket any more.
pub(crate) fn start_of(pid: i32) -> Option<u64> {
    let bytes = read_small(&format!("/proc/{pid}/stat")).ok()?;
    let stat = procfs::process::Stat::from_read(bytes.as_slice()).ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Some(procfs::process::Process::new(pid).ok()?.stat().ok()?.ppid)
}

/// Every process, by its number.
pub(crate) fn all_pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
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
        // `.` and `..` are no numbers.
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

/// How many descriptors the kernel gives one process, whatever its limit says. A hard limit above
/// `fs.nr_open` cannot be had here, so the limit says it all.
pub(crate) fn most_descriptors() -> u64 {
    u64::MAX
}

/// A copy of another process's descriptor (`pidfd_getfd(2)`).
pub(crate) fn copy_of(pid: i32, descriptor: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()).ok()
}

/// The inode of a socket of our own.
pub(crate) fn inode_of(socket: BorrowedFd<'_>) -> Option<u64> {
    Some(fstat(socket).ok()?.st_ino)
}

/// The words of a process's command line; its name in brackets where it has none.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    let process = procfs::process::Process::new(pid).ok()?;
    let words = process.cmdline().unwrap_or_default();
    if words.is_empty() {
        // A kernel thread or a zombie has none.
        process.stat().ok().map(|stat| format!("[{}]", stat.comm))
    } else {
        Some(words.join(" "))
    }
}

/// The user whose process it is.
pub(crate) fn user_of(pid: i32) -> Option<u32> {
    procfs::process::Process::new(pid).ok()?.uid().ok()
}

/// When a process started, in milliseconds since the Unix epoch, to the second.
pub(crate) fn started_at(pid: i32) -> Option<u64> {
    let stat = procfs::process::Process::new(pid).ok()?.stat().ok()?;
    let since_boot = stat.starttime * 1000 / procfs::ticks_per_second().max(1);
    Some((procfs::boot_time_secs().ok()? * 1000 + since_boot) / 1000 * 1000)
}

/// The working directory of a process, if it may be read.
pub(crate) fn directory_of(pid: i32) -> Option<String> {
    let path = procfs::process::Process::new(pid).ok()?.cwd().ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// A variable of a process's environment, as it was at exec, if it may be read.
pub(crate) fn variable_of(pid: i32, key: &str) -> Option<String> {
    let environment = procfs::process::Process::new(pid).ok()?.environ().ok()?;
    let value = environment.get(OsStr::new(key))?;
    Some(value.to_string_lossy().into_owned())
}

/// The first port that needs no privilege, `ip_unprivileged_port_start`.
pub(crate) fn unprivileged_start() -> Option<u16> {
    setting("ip_unprivileged_port_start").trim().parse().ok()
}

/// `ip_local_reserved_ports` as the kernel writes it, `8080,9148-9150`; empty if it does not.
pub(crate) fn reserved_ports() -> String {
    setting("ip_local_reserved_ports")
}

/// `ip_local_port_range`: two numbers with white space between them.
pub(crate) fn ephemeral_range() -> String {
    setting("ip_local_port_range")
}

fn setting(name: &str) -> String {
    let bytes = read_small(&format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a socket with `SO_REUSEADDR` may be bound where another one with the option is bound and does
/// not listen.
pub(crate) const SHARES_WITH_HOLDS: bool = true;

/// Whether the kernel's table has the remains of closed connections.
pub(crate) const SHOWS_LEFTOVERS: bool = true;

/// Tries the addresses that may be bound beside `[::]`. There are none: a strict bind of `[::]` meets
/// every socket on the port, and keeps out every other one.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the interface is that of a system on which this can fail"
)]
pub(crate) fn probe_beside(_part: Protocol, _port: u16, _reuse: bool) -> io::Result<()> {
    Ok(())
}

/// Ends the listening of a socket, which stays bound. Does nothing to one that does not listen.
pub(crate) fn stop_listening(socket: &Socket) -> io::Result<()> {
    if socket.is_listener()? {
        socket.shutdown(Shutdown::Both)?;
    }
    Ok(())
}
