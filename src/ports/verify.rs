//! Whether a service listens where it was told to: by the owner of the listening socket.
//!
//! An answer on a port proves nothing, since it may come from somebody else's server; and a process
//! that runs proves nothing either, since several servers exit 0 or move to the next number when
//! their port is taken. What proves it is a listening socket on the port whose inode is open in a
//! process of the service.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use super::owner::{command, descends, processes_of, sockets_of};
use super::sock_diag::{self, Socket};
use crate::support::protocol::Protocol;

/// What is on a port that was given to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// A process of the service listens.
    Listening {
        /// On this address; `::` for all of IPv4 and IPv6.
        address: IpAddr,
        /// The process.
        pid: i32,
    },
    /// Nobody listens, and the service does not listen elsewhere either.
    NotListening,
    /// Somebody else listens.
    Stolen {
        /// The process; 0 where it cannot be seen (another user's, or in a container).
        pid: i32,
        /// Its command line, `unknown` where it cannot be seen.
        command: String,
        /// The address on which it listens.
        address: IpAddr,
    },
    /// Nobody listens, but the service does on ports that were not given to it.
    WrongPort {
        /// Those ports, lowest first.
        listens_on: Vec<u16>,
    },
}

/// Looks at the `ports` of one service, all of them, whose processes are `tree`: one observation
/// for each port, in their order.
///
/// Costs one table of listeners and the descriptors of `tree` (together some 100 µs); every process
/// of the machine is looked at only when a stranger listens on one of the ports. Fails where the
/// kernel tells nothing about its sockets.
pub fn observe(ports: &[u16], tree: &[i32]) -> io::Result<Vec<Observed>> {
    let listeners = sock_diag::listeners(Protocol::Tcp)?;
    if listeners.is_empty() {
        return Ok(vec![Observed::NotListening; ports.len()]);
    }
    Ok(judge(ports, &listeners, &Tree::read(tree)))
}

/// The sockets of a service's processes.
struct Tree<'a> {
    pids: &'a [i32],
    /// Which of them has a socket open.
    owners: HashMap<u64, i32>,
    /// One whose descriptors must not be read: it changed its user, or its program has file
    /// capabilities.
    closed: Option<i32>,
}

impl<'a> Tree<'a> {
    fn read(pids: &'a [i32]) -> Self {
        let mut owners = HashMap::new();
        let mut closed = None;
        for &pid in pids {
            match sockets_of(pid) {
                Ok(inodes) => owners.extend(inodes.into_iter().map(|inode| (inode, pid))),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    closed = closed.or(Some(pid));
                }
                Err(_) => {} // It ended in the meantime.
            }
        }
        Self {
            pids,
            owners,
            closed,
        }
    }
}

fn judge(ports: &[u16], listeners: &[Socket], tree: &Tree<'_>) -> Vec<Observed> {
    let mut elsewhere: Vec<u16> = listeners
        .iter()
        .filter(|socket| tree.owners.contains_key(&socket.inode) && !ports.contains(&socket.port))
        .map(|socket| socket.port)
        .collect();
    elsewhere.sort_unstable();
    elsewhere.dedup();

    let mut strangers: Option<HashMap<u64, i32>> = None;
    ports
        .iter()
        .map(|&port| {
            let here: Vec<&Socket> = listeners
                .iter()
                .filter(|socket| socket.port == port)
                .collect();
            let Some(first) = here.first() else {
                return if elsewhere.is_empty() {
                    Observed::NotListening
                } else {
                    Observed::WrongPort {
                        listens_on: elsewhere.clone(),
                    }
                };
            };
            let own = here
                .iter()
                .find_map(|socket| Some((socket, *tree.owners.get(&socket.inode)?)));
            if let Some((socket, pid)) = own {
                return Observed::Listening {
                    address: socket.address,
                    pid,
                };
            }
            let found = strangers.get_or_insert_with(|| scan(ports, listeners));
            stranger(first, found.get(&first.inode).copied(), tree)
        })
        .collect()
}

fn scan(ports: &[u16], listeners: &[Socket]) -> HashMap<u64, i32> {
    let inodes: HashSet<u64> = listeners
        .iter()
        .filter(|socket| ports.contains(&socket.port))
        .map(|socket| socket.inode)
        .collect();
    processes_of(&inodes)
}

/// A listener that none of the given processes has open, as far as could be seen.
fn stranger(socket: &Socket, pid: Option<i32>, tree: &Tree<'_>) -> Observed {
    let listening = |pid| Observed::Listening {
        address: socket.address,
        pid,
    };
    match (pid, tree.closed) {
        // Forked after the list of processes was made.
        (Some(pid), _) if descends(pid, tree.pids) => listening(pid),
        // A listener that is handed over to the service, which does not have it yet.
        (Some(pid), _) if u32::try_from(pid) == Ok(std::process::id()) => Observed::NotListening,
        (Some(pid), _) => Observed::Stolen {
            pid,
            command: command(pid),
            address: socket.address,
        },
        // Nobody who can be seen has it, and one of ours cannot be seen: a theft is not certain.
        (None, Some(closed)) => listening(closed),
        (None, None) => Observed::Stolen {
            pid: 0,
            command: command(0),
            address: socket.address,
        },
    }
}

#[cfg(test)]
mod tests;
