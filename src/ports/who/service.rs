//! Whether a service listens where it was told to: by the owner of the listening socket.
//!
//! An answer on a port proves nothing, since it may come from somebody else's server; and a process
//! that runs proves nothing either, since several servers exit 0 or move to the next number when
//! their port is taken. What proves it is a socket on the port whose inode is open in a process of
//! the service.
//!
//! The kernel's table is read once for any number of services ([`Listeners`]). Whose a socket is
//! does not change while it exists, so it is found out once ([`Known`]): a look at services of
//! which nothing has changed costs the table and nothing else.

use std::collections::{HashMap, HashSet};
use std::io;

use super::PortState;
use crate::ports::processes::{descends, exists, owners_of, sockets_of};
use crate::ports::sockets::{self, Socket};
use crate::support::protocol::Protocol;

/// Every socket that serves somebody, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// By port.
    sockets: Vec<Socket>,
}

impl Listeners {
    /// Reads the kernel's tables of the given protocols: about 40 µs for those of an idle machine,
    /// 1 µs for each further socket (measured). Fails where the kernel tells nothing.
    pub fn read(protocol: Protocol) -> io::Result<Self> {
        let mut sockets = sockets::listeners(protocol)?;
        sockets.sort_by_key(|socket| socket.port);
        Ok(Self { sockets })
    }

    /// Those on a port. `part` is TCP or UDP.
    pub(super) fn on(&self, port: u16, part: Protocol) -> impl Iterator<Item = &Socket> {
        let start = self.sockets.partition_point(|socket| socket.port < port);
        self.sockets[start..]
            .iter()
            .take_while(move |socket| socket.port == port)
            .filter(move |socket| socket.protocol == part)
    }
}

/// A service as far as its ports go.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// All ports that were given to it.
    pub ports: &'a [(Protocol, u16)],
    /// The inodes of the sockets that hold them, which are not the service's but where it took them
    /// over.
    pub holds: &'a [u64],
    /// Its main process, which is looked at before all others.
    pub main: i32,
}

/// Whose the sockets on a service's ports are, as far as it was found out. To be cleared when the
/// service is executed anew.
#[derive(Debug, Clone, Default)]
pub struct Known(HashMap<u64, Whose>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This process of the service has it.
    Service(i32),
    /// This process has it, which does not belong to the service; 0 for one that cannot be seen.
    Other(i32),
    /// It is a hold, or otherwise our own.
    Ours,
}

impl Whose {
    /// Whether that is still so: a process may end and leave its socket to another one, and one that
    /// seemed to be somebody else's may turn out to be the service's. Costs a fraction of a microsecond
    /// for the service's own sockets.
    fn still_has(self, inode: u64, is_own: impl Fn(i32) -> bool) -> bool {
        match self {
            Self::Service(pid) => exists(pid),
            Self::Other(0) | Self::Ours => true,
            Self::Other(pid) => {
                sockets_of(pid).is_ok_and(|inodes| inodes.contains(&inode)) && !is_own(pid)
            }
        }
    }
}

impl Known {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Looks at all ports of one service: one observation for each, in their order.
///
/// `rest` gives the processes of the service, and is asked only if the sockets are not known yet
/// and the main process does not have them. `is_own` says of a process that none of these has
/// started whether it belongs to the service all the same. Every process of the machine is looked at
/// only when somebody else listens on one of the ports.
pub fn observe(
    listeners: &Listeners,
    subject: &Subject<'_>,
    known: &mut Known,
    rest: impl FnOnce() -> Vec<i32>,
    is_own: impl Fn(i32) -> bool,
) -> Vec<PortState> {
    let parts = || {
        subject
            .ports
            .iter()
            .flat_map(|&(protocol, port)| protocol.parts().iter().map(move |&part| (port, part)))
    };
    let there: HashSet<u64> = parts()
        .flat_map(|(port, part)| listeners.on(port, part))
        .map(|socket| socket.inode)
        .collect();
    known
        .0
        .retain(|inode, whose| there.contains(inode) && whose.still_has(*inode, &is_own));

    let is_settled = |known: &Known| {
        there.iter().all(|inode| known.0.contains_key(inode))
            && parts().all(|(port, part)| {
                listeners
                    .on(port, part)
                    .any(|socket| known.0.get(&socket.inode) != Some(&Whose::Ours))
            })
    };
    // A passed socket is open in the service whether it is served or not. If clients wait on it while
    // the service listens on a port of its own choice, it has not taken it over.
    let is_neglected =
        |socket: &Socket| socket.waiting > 0 && subject.holds.contains(&socket.inode);
    let may_be_neglected = parts().any(|(port, part)| listeners.on(port, part).any(is_neglected));
    let mut tree = Tree::default();
    if !is_settled(known) || may_be_neglected {
        tree.add(subject.main);
        known.adopt(&there, &tree);
    }
    if !is_settled(known) || may_be_neglected {
        for pid in rest() {
            tree.add(pid);
        }
        known.adopt(&there, &tree);
        known.find_others(&there, subject, &tree, &is_own);
        known.forget_gone(subject);
    }
    let elsewhere = tree.elsewhere(listeners, subject);
    subject
        .ports
        .iter()
        .map(|&(protocol, port)| {
            let seen = protocol.parts().iter().map(|&part| {
                let elsewhere = (part == Protocol::Tcp).then_some(&elsewhere[..]);
                let elsewhere = elsewhere.unwrap_or_default();
                let here = listeners
                    .on(port, part)
                    .filter(|socket| elsewhere.is_empty() || !is_neglected(socket));
                judge(here, known, elsewhere)
            });
            // Of a pair, the half with which more is wrong.
            seen.max_by_key(gravity).unwrap_or(PortState::NotListening)
        })
        .collect()
}

/// How much is wrong.
fn gravity(observed: &PortState) -> u8 {
    match observed {
        PortState::Listening { .. } => 0,
        PortState::Held | PortState::NotListening => 1,
        PortState::WrongPort { .. } => 2,
        PortState::Stolen { .. } => 3,
    }
}

/// One transport of one port: whose sockets are on it.
fn judge<'a>(
    here: impl Iterator<Item = &'a Socket>,
    known: &Known,
    elsewhere: &[u16],
) -> PortState {
    let mut own = None;
    let mut unseen = None;
    for socket in here {
        match known.0.get(&socket.inode) {
            Some(&Whose::Service(pid)) => {
                own.get_or_insert_with(|| PortState::listening(socket.address, pid));
            }
            Some(&Whose::Other(0)) => {
                unseen.get_or_insert_with(|| PortState::stolen(socket.address, 0));
            }
            Some(&Whose::Other(pid)) => return PortState::stolen(socket.address, pid),
            Some(Whose::Ours) | None => {}
        }
    }
    // Where the service itself listens, a theft must be certain to be called one.
    own.or(unseen).unwrap_or_else(|| {
        if elsewhere.is_empty() {
            PortState::NotListening
        } else {
            PortState::WrongPort {
                listens_on: elsewhere.to_vec(),
            }
        }
    })
}

impl Known {
    /// Notes which of the sockets `tree` has open.
    fn adopt(&mut self, there: &HashSet<u64>, tree: &Tree) {
        for inode in there {
            if let Some(&pid) = tree.owners.get(inode) {
                self.0.insert(*inode, Whose::Service(pid));
            }
        }
    }

    /// Finds out whose the sockets are that no process of the service has open, as far as could be
    /// seen.
    fn find_others(
        &mut self,
        there: &HashSet<u64>,
        subject: &Subject<'_>,
        tree: &Tree,
        is_own: impl Fn(i32) -> bool,
    ) {
        let mut missing: HashSet<u64> = there.clone();
        missing.retain(|inode| !self.0.contains_key(inode));
        for inode in subject.holds {
            if missing.remove(inode) {
                self.0.insert(*inode, Whose::Ours);
            }
        }
        if missing.is_empty() {
            return;
        }
        let owners = owners_of(&missing);
        let is_us = |pid: &i32| u32::try_from(*pid) == Ok(std::process::id());
        for inode in missing {
            let pids = owners.get(&inode).map_or(&[][..], Vec::as_slice);
            // One that was forked after the list of processes was made is of the tree all the same.
            let is_its = |pid: &&i32| descends(**pid, &tree.pids) || is_own(**pid);
            let whose = match (pids.iter().find(is_its), pids.first(), tree.closed) {
                (Some(&pid), _, _) => Whose::Service(pid),
                (None, Some(_), _) if pids.iter().any(is_us) => Whose::Ours,
                (None, Some(&pid), _) => Whose::Other(pid),
                // Nobody who can be seen has it, and one of ours cannot be seen: a theft is not
                // certain.
                (None, None, Some(closed)) => Whose::Service(closed),
                (None, None, None) => Whose::Other(0),
            };
            self.0.insert(inode, whose);
        }
    }

    /// Forgets the sockets that nobody was found to have because they have gone since the table was
    /// read: whoever closed them in between is not somebody who cannot be seen.
    fn forget_gone(&mut self, subject: &Subject<'_>) {
        if self.0.values().all(|whose| *whose != Whose::Other(0)) {
            return;
        }
        let has_udp = subject.ports.iter().any(|(protocol, _)| protocol.has_udp());
        let protocol = if has_udp {
            Protocol::Both
        } else {
            Protocol::Tcp
        };
        if let Ok(now) = Listeners::read(protocol) {
            let there: HashSet<u64> = now.sockets.iter().map(|socket| socket.inode).collect();
            self.0
                .retain(|inode, whose| *whose != Whose::Other(0) || there.contains(inode));
        }
    }
}

/// The sockets of a service's processes.
#[derive(Debug, Default)]
struct Tree {
    pids: Vec<i32>,
    /// Which of them has a socket open.
    owners: HashMap<u64, i32>,
    /// One whose descriptors must not be read: it changed its user, or its program has file
    /// capabilities.
    closed: Option<i32>,
}

impl Tree {
    fn add(&mut self, pid: i32) {
        if self.pids.contains(&pid) {
            return;
        }
        self.pids.push(pid);
        match sockets_of(pid) {
            Ok(inodes) => {
                for inode in inodes {
                    self.owners.entry(inode).or_insert(pid);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.closed = self.closed.or(Some(pid));
            }
            Err(_) => {} // It ended in the meantime.
        }
    }

    /// The TCP ports on which it listens without having been given them.
    fn elsewhere(&self, listeners: &Listeners, subject: &Subject<'_>) -> Vec<u16> {
        if self.owners.is_empty() {
            return Vec::new();
        }
        let is_given = |port| subject.ports.iter().any(|&(_, given)| given == port);
        let mut elsewhere: Vec<u16> = listeners
            .sockets
            .iter()
            .filter(|socket| socket.protocol == Protocol::Tcp && !is_given(socket.port))
            .filter(|socket| self.owners.contains_key(&socket.inode))
            .map(|socket| socket.port)
            .collect();
        elsewhere.dedup();
        elsewhere
    }
}

#[cfg(test)]
mod tests;
