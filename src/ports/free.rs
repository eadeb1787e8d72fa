//! Free ports for anybody: the library's own interface, and what `stack ports free` does.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::port_range::PortRange;

use super::allocate::stopped;
use super::descriptors::ensure_descriptors;
use super::hold::{Hold, HoldError};
use super::ledger::{Ledger, LedgerWarning, Session};
use super::numbers::{self, KernelPorts};
use super::problem::{PortError, RangesOf};
use super::who::holders_in;

/// Whether nothing at all is on TCP `port`, on any address. An answer for this instant only:
/// whoever wants the port should take a [`Hold`].
pub fn is_port_free(port: u16) -> bool {
    Hold::take(port).is_ok()
}

/// The lowest free port of `range`, held until the guard is dropped.
pub fn free_port(range: PortRange) -> Result<Hold, PortError> {
    let mut holds = free_ports(1, range)?;
    // As many come back as were asked for.
    Ok(holds.swap_remove(0))
}

/// The lowest `count` free ports of `range`, each held until its guard is dropped; all or none.
///
/// Ports that the administrator reserved or that browsers refuse are left out.
pub fn free_ports(count: usize, range: PortRange) -> Result<Vec<Hold>, PortError> {
    let kernel = KernelPorts::read();
    let never = numbers::never(&kernel, &[]);
    take(count, range.ports().filter(|&port| !never.contains(port)))?.map_err(|found| {
        PortError::Exhausted {
            ranges: vec![range],
            wanted: count,
            found,
            ranges_of: RangesOf::Option,
            left_out: numbers::left_out(&[range], &kernel, &[], std::iter::empty()),
            holders: Vec::new(),
        }
    })
}

/// Numbers for a caller that cannot keep a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The numbers, in the order in which they were found. Nobody holds them.
    pub ports: Vec<u16>,
    /// What is wrong with the ledger. If anything is, a second caller may get the same numbers.
    pub warnings: Vec<LedgerWarning>,
}

/// Finds `count` free ports in `ranges` and leaves them to the caller for two minutes: no other
/// grant and no stack takes them by itself in that time.
///
/// The ports of stacks that run are left out; those that a stack had last come last.
pub fn grant(count: usize, ranges: &[PortRange], ledger: &Ledger) -> Result<Grant, PortError> {
    let mut session = Session::begin(ledger, None);
    let kernel = KernelPorts::read();
    let mut never = numbers::never(&kernel, &[]);
    never.extend(session.held().map(|(_, port)| port));
    never.extend(session.granted());

    let mut all: Vec<u16> = ranges
        .iter()
        .flat_map(|range| range.ports())
        .filter(|&port| !never.contains(port))
        .collect();
    if !session.is_locked() && !all.is_empty() {
        // Nobody will see what is noted now, so two callers at once must be kept apart by luck.
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos() as usize);
        let middle = (nanos / 1000 + std::process::id() as usize * 31) % all.len();
        all.rotate_left(middle);
    }
    let mut kept = session.kept();
    let (last, first): (Vec<u16>, Vec<u16>) =
        all.into_iter().partition(|&port| kept.contains(port));
    let useless = kept.useless();
    session.forget(useless);
    let holds = match take(count, first.into_iter().chain(last))? {
        Ok(holds) => holds,
        Err(found) => {
            session.unlock();
            return Err(PortError::Exhausted {
                holders: holders_in(ranges, &session),
                ranges_of: RangesOf::Option,
                left_out: numbers::left_out(ranges, &kernel, &[], session.granted()),
                ranges: ranges.to_vec(),
                wanted: count,
                found,
            });
        }
    };
    let ports: Vec<u16> = holds.iter().map(Hold::port).collect();
    session.grant(ports.clone());
    session.unlock();
    let warnings = session.into_warnings();
    Ok(Grant { ports, warnings })
}

/// Holds `count` of `candidates`; the inner error says how many there were.
fn take(
    count: usize,
    candidates: impl Iterator<Item = u16>,
) -> Result<Result<Vec<Hold>, usize>, PortError> {
    ensure_descriptors(count);
    let mut holds = Vec::new();
    for port in candidates {
        if holds.len() == count {
            break;
        }
        match Hold::take(port) {
            Ok(hold) => holds.push(hold),
            Err(HoldError::Taken | HoldError::Denied) => {}
            Err(error @ (HoldError::TooManyFiles(_) | HoldError::System(_))) => {
                return Err(stopped(port, error, count));
            }
        }
    }
    Ok(if holds.len() == count {
        Ok(holds)
    } else {
        Err(holds.len())
    })
}
