//! What is outside of a batch: ports that nobody should get, and those who have the others.

use std::collections::{BTreeMap, HashSet};

use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;

use super::ledger::{Session, StackPort};
use super::owner::{self, Holder, weight};
use super::problem::LeftOut;
use super::set::{BROWSER_REFUSED, KernelPorts, PortSet, browser_refuses};
use super::sock_diag::{self, Socket};

/// The ports that are not handed out by themselves: excluded, reserved by the administrator, or
/// refused by browsers.
pub(crate) fn never(kernel: &KernelPorts, exclude: &[PortRange]) -> PortSet {
    let ranges = exclude.iter().chain(&kernel.reserved);
    ranges
        .flat_map(|range| range.ports())
        .chain(BROWSER_REFUSED)
        .collect()
}

/// How many ports of `ranges` are among those, and why; `granted` are the numbers of grants.
pub(crate) fn left_out(
    ranges: &[PortRange],
    kernel: &KernelPorts,
    exclude: &[PortRange],
    granted: impl Iterator<Item = u16>,
) -> LeftOut {
    let all: PortSet = ranges.iter().flat_map(|range| range.ports()).collect();
    let granted: PortSet = granted.collect();
    let is_in = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    let mut left_out = LeftOut::default();
    for port in (1..=u16::MAX).filter(|&port| all.contains(port)) {
        if is_in(exclude, port) {
            left_out.excluded += 1;
        } else if is_in(&kernel.reserved, port) {
            left_out.reserved += 1;
        } else if browser_refuses(port) {
            left_out.browsers += 1;
        } else if granted.contains(port) {
            left_out.granted += 1;
        }
    }
    left_out
}

/// Who has ports in `ranges`, lowest port first, in one scan of the machine.
///
/// A hold that the kernel does not show (before Linux 6.8) is told from the ledger.
pub(crate) fn holders_in(
    ranges: &[PortRange],
    session: &Session,
    except: Option<&str>,
) -> Vec<Holder> {
    let mut by_port: BTreeMap<u16, Socket> = BTreeMap::new();
    for socket in sock_diag::all(Protocol::Tcp).unwrap_or_default() {
        if !ranges.iter().any(|range| range.contains(socket.port)) {
            continue;
        }
        let known = by_port.entry(socket.port).or_insert_with(|| socket.clone());
        if weight(socket.state) < weight(known.state) {
            *known = socket;
        }
    }
    let inodes: HashSet<u64> = by_port.values().map(|socket| socket.inode).collect();
    let pids = owner::processes_of(&inodes);
    let seen = by_port.into_values().map(|socket| {
        let stack = session.stack_of(socket.port, except);
        let holder = owner::describe(&socket, pids.get(&socket.inode).copied(), stack);
        (socket.port, holder)
    });
    let mut holders: BTreeMap<u16, Holder> = seen.collect();
    add_unseen(&mut holders, ranges, session.live_ports(except));
    holders.into_values().collect()
}

/// Adds the holds that the ledger knows of and no table has shown.
fn add_unseen(holders: &mut BTreeMap<u16, Holder>, ranges: &[PortRange], live: Vec<StackPort>) {
    let is_asked = |port| ranges.iter().any(|range| range.contains(port));
    for stack in live {
        if is_asked(stack.port) && stack.protocol.has_tcp() {
            holders
                .entry(stack.port)
                .or_insert_with(|| owner::of_ledger(stack));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ports::testing::{key, owner, range};

    use super::*;

    #[test]
    fn a_hold_that_no_table_shows_is_told_from_the_ledger() {
        let stack = |port, protocol| StackPort {
            owner: owner("shop", std::path::Path::new("/shop")),
            key: key("api"),
            protocol,
            port,
            supervisor: i32::try_from(std::process::id()).ok(),
        };
        let live = vec![
            stack(8001, Protocol::Tcp),
            stack(8002, Protocol::Udp),
            stack(9000, Protocol::Tcp),
        ];
        let mut holders = BTreeMap::new();
        add_unseen(&mut holders, &[range("8000-8009")], live);
        let ports: Vec<u16> = holders.keys().copied().collect();
        assert_eq!(ports, [8001]);
        let text = holders[&8001].to_string();
        assert!(
            text.contains("PORT of service `api` in stack `shop`"),
            "{text}"
        );
    }
}
