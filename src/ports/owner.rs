//! Who has a port: from the socket's inode to a process and its command line.
//!
//! The way leads over `/proc/<pid>/fd`, or what `system` has in its place. A service's own processes
//! are looked at first, since that takes microseconds; the scan of every process (some 10 ms) is for
//! strangers only.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use super::ledger::{Ledger, StackPort};
use super::sock_diag::{self, Socket, TcpState};
use super::system::{all_pids, command_line, descriptors_of, parent_of};
use super::who::user_name;
use crate::support::protocol::Protocol;

/// Longer command lines are cut; they stand in one-line messages.
const MAX_COMMAND: usize = 160;

/// Who has a port, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: u16,
    /// The process; 0 where it cannot be seen: another user's, one in a container, or none at all,
    /// as for leftovers of a closed connection.
    pub pid: i32,
    /// Its command line, `unknown` without a process.
    pub command: String,
    /// The local address of the socket.
    pub address: IpAddr,
    /// What the socket does.
    pub state: TcpState,
    /// The user who created it.
    pub uid: u32,
    /// The running stack to which the port belongs, where the ledger knows one.
    pub stack: Option<StackPort>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.state.is_leftover() && self.pid == 0 {
            f.write_str("closed connections that the kernel keeps for a minute")?;
        } else if self.pid == 0 {
            let user = user_name(self.uid).unwrap_or_else(|| self.uid.to_string());
            write!(f, "a process of user {user} that cannot be seen")?;
        } else {
            write!(f, "pid {} (`{}`)", self.pid, self.command)?;
        }
        match &self.stack {
            Some(stack) => write!(f, ", {stack}"),
            None => Ok(()),
        }
    }
}

/// Who has `port` of a protocol, if any socket is on it.
///
/// Of several, the one that matters most: a listener before a hold before a connection before
/// leftovers. `ledger` is asked which stack it belongs to.
pub fn holder(protocol: Protocol, port: u16, ledger: Option<&Ledger>) -> Option<Holder> {
    let stack = ledger.and_then(|ledger| ledger.stack_of(port));
    name(sock_diag::on_port_of(protocol, port).ok()?, stack)
}

/// As [`holder`], with the ledger's answer given.
pub(crate) fn name(mut sockets: Vec<Socket>, stack: Option<StackPort>) -> Option<Holder> {
    sockets.sort_by_key(|socket| weight(socket.state));
    let socket = sockets.first()?;
    let pid = processes_of(&HashSet::from([socket.inode])).remove(&socket.inode);
    Some(describe(socket, pid, stack))
}

/// Puts together what was found.
pub(crate) fn describe(socket: &Socket, pid: Option<i32>, stack: Option<StackPort>) -> Holder {
    let pid = pid.unwrap_or(0);
    Holder {
        port: socket.port,
        pid,
        command: command(pid),
        address: socket.address,
        state: socket.state,
        uid: socket.uid,
        // A stack that only had the port last says nothing about who is there now.
        stack: stack.filter(|stack| stack.supervisor.is_some()),
    }
}

/// The holder of a port of which only the ledger tells.
pub(crate) fn of_ledger(stack: StackPort) -> Holder {
    let pid = stack.supervisor.unwrap_or(0);
    Holder {
        port: stack.port,
        pid,
        command: command(pid),
        address: Ipv6Addr::UNSPECIFIED.into(),
        state: TcpState::Bound,
        uid: nix::unistd::getuid().as_raw(),
        stack: Some(stack),
    }
}

/// How little a socket in `state` says about who has its port.
pub(crate) fn weight(state: TcpState) -> u8 {
    match state {
        TcpState::Listen => 0,
        TcpState::Bound => 1,
        TcpState::Established | TcpState::SynSent | TcpState::SynReceived | TcpState::CloseWait => {
            2
        }
        TcpState::FinWait1
        | TcpState::FinWait2
        | TcpState::TimeWait
        | TcpState::LastAck
        | TcpState::Closing => 3,
    }
}

/// For each of the socket inodes a process that has it open, in one scan of all processes. 0 is no
/// inode.
pub(crate) fn processes_of(inodes: &HashSet<u64>) -> HashMap<u64, i32> {
    let mut missing: HashSet<u64> = inodes.iter().copied().filter(|&inode| inode != 0).collect();
    let mut found = HashMap::new();
    let mut pids = all_pids();
    while !missing.is_empty()
        && let Some(pid) = pids.next()
    {
        for inode in sockets_of(pid).unwrap_or_default() {
            if missing.remove(&inode) {
                found.insert(inode, pid);
            }
        }
    }
    found
}

/// For each of the socket inodes every process that has it open, lowest pid first, in one scan of
/// all processes.
pub(crate) fn all_processes_of(inodes: &HashSet<u64>) -> HashMap<u64, Vec<i32>> {
    let mut found: HashMap<u64, Vec<i32>> = HashMap::new();
    if inodes.iter().all(|&inode| inode == 0) {
        return found;
    }
    for pid in all_pids() {
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

/// The command line of `pid` on one line, without control characters; `unknown` for pid 0 and
/// for a process that is gone.
pub(crate) fn command(pid: i32) -> String {
    let text = (pid > 0).then(|| command_line(pid)).flatten();
    text.map_or_else(|| "unknown".to_owned(), |text| one_line(&text))
}

/// Short, and without what would steer a terminal: whoever wrote a command line may have put
/// escapes into it.
pub(crate) fn one_line(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = clean.take(MAX_COMMAND).collect();
    if text.chars().nth(MAX_COMMAND).is_some() {
        line.push('…');
    }
    line.trim_end().to_owned()
}

/// Whether `pid` is one of `tree` or descends from one.
pub(crate) fn descends(mut pid: i32, tree: &[i32]) -> bool {
    // The bound is against a table that changes while it is read.
    for _ in 0..64 {
        if tree.contains(&pid) {
            return true;
        }
        match parent_of(pid) {
            Some(parent) if parent > 0 => pid = parent,
            Some(_) | None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
