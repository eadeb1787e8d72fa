//! Who answers on a port that was given to nobody here: for health checks of a port that somebody
//! wrote into the file.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Listeners, ProcessName};
use crate::ports::processes::{descends, owners_of};
use crate::ports::sockets::Socket;
use crate::support::protocol::Protocol;

/// A TCP listener that belongs to none of the processes that were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Which socket it is, and who created it.
    socket: (u64, u32),
    /// The address to which it is bound.
    pub address: IpAddr,
    /// A process that has it open, where one can be seen.
    pub process: Option<ProcessName>,
}

/// The TCP listeners on `port` that neither a process of `own` nor a descendant of one has open. Where
/// anybody listens, this costs a look at every process of the machine.
pub fn strangers(listeners: &Listeners, port: u16, own: &[i32]) -> Vec<Stranger> {
    let sockets: Vec<&Socket> = listeners.on(port, Protocol::Tcp).collect();
    let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let owners = owners_of(&inodes);
    let stranger = |socket: &Socket| {
        let pids = owners.get(&socket.inode).map_or(&[][..], Vec::as_slice);
        let is_own = pids.iter().any(|&pid| descends(pid, own));
        (!is_own).then(|| Stranger {
            socket: (socket.inode, socket.uid),
            address: socket.address,
            process: pids.first().map(|&pid| ProcessName::of(pid)),
        })
    };
    sockets.into_iter().filter_map(stranger).collect()
}

/// Which of `strangers` may answer whoever connects to a port at the first of `addresses` at which
/// anybody listens.
pub fn answering<'a>(
    strangers: &'a [Stranger],
    listeners: &Listeners,
    addresses: impl IntoIterator<Item = IpAddr>,
    port: u16,
) -> Option<&'a Stranger> {
    let mut reached = addresses
        .into_iter()
        .map(|address| listeners.reached(address, port));
    let first = reached.find(|sockets| !sockets.is_empty())?;
    strangers.iter().find(|stranger| {
        let mut sockets = first.iter();
        sockets.any(|socket| (socket.inode, socket.uid) == stranger.socket)
    })
}

impl Listeners {
    /// The TCP listeners that the kernel may give a connection to `address`: those that are bound to
    /// it, else those that are bound to every address.
    fn reached(&self, address: IpAddr, port: u16) -> Vec<&Socket> {
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let bound_to = |wanted: IpAddr| -> Vec<&Socket> {
            let sockets = self.on(port, Protocol::Tcp);
            sockets.filter(|socket| socket.address == wanted).collect()
        };
        let wanted = [Some(address), address.is_ipv4().then_some(v4), Some(v6)];
        let mut sockets = wanted.into_iter().flatten().map(bound_to);
        sockets.find(|found| !found.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::testing::{Helper, in_own_network, listener};

    fn listeners() -> Listeners {
        Listeners::read(Protocol::Tcp).unwrap()
    }

    /// Who of `strangers` answers at these addresses, by the address to which it is bound.
    fn answers(strangers: &[Stranger], addresses: &[&str]) -> Option<String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        let stranger = answering(strangers, &listeners(), addresses, 8000)?;
        Some(stranger.address.to_string())
    }

    #[test]
    fn a_listener_is_a_stranger_unless_a_process_of_ours_has_it() {
        in_own_network(|| {
            let address = ("STACK_TEST_LISTEN", "127.0.0.1:8000");
            let mut helper =
                Helper::start("ports::who::service::tests::helper_listens", &[address]);
            helper.hear("ready:");
            let me = i32::try_from(std::process::id()).unwrap();
            assert_eq!(strangers(&listeners(), 8000, &[me]), []);
            assert_eq!(strangers(&listeners(), 8001, &[]), []);
            let seen = strangers(&listeners(), 8000, &[]);
            let process = seen[0].process.as_ref().unwrap();
            assert_eq!(process.pid, helper.pid());
        });
    }

    #[test]
    fn the_first_address_at_which_anybody_listens_answers() {
        in_own_network(|| {
            let both = ["127.0.0.1", "::1"];
            let wide = listener("0.0.0.0:8000");
            let known = strangers(&listeners(), 8000, &[]);
            assert_eq!(answers(&known, &both).as_deref(), Some("0.0.0.0"));
            assert_eq!(answers(&known, &["::1"]), None);
            drop(wide);
            let _stranger = listener("[::1]:8000");
            let known = strangers(&listeners(), 8000, &[]);
            assert_eq!(answers(&known, &both).as_deref(), Some("::1"));
            // Whoever comes later is none, and asked first.
            let _service = listener("127.0.0.1:8000");
            assert_eq!(answers(&known, &both), None);
            assert_eq!(answers(&known, &["::1"]).as_deref(), Some("::1"));
        });
    }

    #[test]
    fn another_socket_at_the_same_address_is_another_listener() {
        in_own_network(|| {
            let first = listener("127.0.0.1:8000");
            let known = strangers(&listeners(), 8000, &[]);
            drop(first);
            let _second = listener("127.0.0.1:8000");
            assert_eq!(answers(&known, &["127.0.0.1"]), None);
        });
    }
}
