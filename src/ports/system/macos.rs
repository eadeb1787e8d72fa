//! What macOS tells about processes and the machine: `libproc` and `sysctl`. Compiled in CI and never
//! run there; `docs/design/macos.md` says what is lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::time::ClockId;
use socket2::{Domain, Socket, Type};

use crate::support::darwin;
use crate::support::protocol::Protocol;

pub(crate) use crate::support::darwin::boot_id;

/// The clock of the time since boot, sleep included (`clock_gettime(3)` of macOS).
pub(crate) const BOOT_CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// There is one network, whatever the process.
pub(crate) fn network_namespace() -> u64 {
    0
}

/// The start time of a living process, in milliseconds since the Unix epoch; `None` for a zombie,
/// which holds no socket any more.
pub(crate) fn start_of(pid: i32) -> Option<u64> {
    Some(darwin::process(pid)?.started)
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Some(darwin::process(pid)?.parent)
}

/// Every process, by its number.
pub(crate) fn all_pids() -> impl Iterator<Item = i32> {
    darwin::all_pids().into_iter()
}

/// The sockets that a process has open: descriptor of each, and a key that all descriptors of one socket share, in
/// the place of an inode.
pub(crate) fn descriptors_of(pid: i32) -> io::Result<Vec<(i32, u64)>> {
    let sockets = darwin::sockets(pid)?;
    Ok(sockets
        .into_iter()
        .map(|(descriptor, socket)| (descriptor, socket.identity))
        .collect())
}

/// How many descriptors the kernel gives one process, whatever its limit says: the hard one is
/// unlimited by default, and setting the soft one to that is refused (`setrlimit(2)` of macOS).
pub(crate) fn most_descriptors() -> u64 {
    darwin::sysctl_number(c"kern.maxfilesperproc")
        .and_then(|most| u64::try_from(most).ok())
        .unwrap_or(10240)
}

/// Descriptors of other processes cannot be copied.
pub(crate) fn copy_of(_pid: i32, _descriptor: i32) -> Option<OwnedFd> {
    None
}

/// The key of a socket of our own.
pub(crate) fn inode_of(socket: BorrowedFd<'_>) -> Option<u64> {
    let own = i32::try_from(std::process::id()).ok()?;
    Some(darwin::socket(own, socket.as_raw_fd())?.identity)
}

/// The words of a process's command line.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    Some(darwin::arguments(pid)?.join(" "))
}

/// The user whose process it is.
pub(crate) fn user_of(pid: i32) -> Option<u32> {
    Some(darwin::process(pid)?.user)
}

/// When a process started, in milliseconds since the Unix epoch, to the second.
pub(crate) fn started_at(pid: i32) -> Option<u64> {
    Some(darwin::process(pid)?.started / 1000 * 1000)
}

/// The working directory of a process, if it may be read.
pub(crate) fn directory_of(pid: i32) -> Option<String> {
    darwin::directory(pid)
}

/// A variable of a process's environment, as it was at exec, if it may be read.
pub(crate) fn variable_of(pid: i32, key: &str) -> Option<String> {
    darwin::environment(pid)?.iter().find_map(|entry| {
        let entry = String::from_utf8_lossy(entry);
        Some(entry.strip_prefix(key)?.strip_prefix('=')?.to_owned())
    })
}

/// The first port that needs no privilege: not to be had as a setting, and different for `0.0.0.0` and
/// for single addresses.
pub(crate) fn unprivileged_start() -> Option<u16> {
    None
}

/// The administrator cannot reserve ports.
pub(crate) fn reserved_ports() -> String {
    String::new()
}

/// From where outgoing connections get their ports: two numbers with white space between them.
pub(crate) fn ephemeral_range() -> String {
    let first = darwin::sysctl_number(c"net.inet.ip.portrange.first");
    let last = darwin::sysctl_number(c"net.inet.ip.portrange.last");
    match (first, last) {
        (Some(first), Some(last)) => format!("{first} {last}"),
        _ => String::new(),
    }
}

/// A BSD refuses a second bind of the same address and port even where both have `SO_REUSEADDR`. So no
/// server can bind what is held, whatever it sets, and a hold that is born with the option is one.
pub(crate) const SHARES_WITH_HOLDS: bool = false;

/// What no process has open any more is in no table.
pub(crate) const SHOWS_LEFTOVERS: bool = false;

/// Tries the addresses that a server with `SO_REUSEADDR` may bind beside `[::]` on a BSD, and with which
/// it would then get all clients: everybody's in IPv4, and the two of this machine.
///
/// With `reuse` nothing but the very same address is in the way, so the remains of connections are not.
pub(crate) fn probe_beside(part: Protocol, port: u16, reuse: bool) -> io::Result<()> {
    let kind = match part {
        Protocol::Tcp | Protocol::Both => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let addresses: [IpAddr; 3] = [
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    for address in addresses {
        let address = SocketAddr::new(address, port);
        let bound = Socket::new(Domain::for_address(address), kind, None).and_then(|socket| {
            socket.set_reuse_address(reuse)?;
            socket.bind(&address.into())
        });
        match bound {
            // One at a time: `0.0.0.0` and `127.0.0.1` would be in each other's way.
            Ok(()) => {}
            // A machine on which there is no IPv6.
            Err(error)
                if address.is_ipv6()
                    && [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT]
                        .contains(&Errno::from_raw(error.raw_os_error().unwrap_or(0))) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket that listens cannot be told to stop here (shutdown(2) refuses it as not connected): it goes
/// on until it is closed, and clients wait in its queue instead of being refused.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the interface is that of a system on which this can fail"
)]
pub(crate) fn stop_listening(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
