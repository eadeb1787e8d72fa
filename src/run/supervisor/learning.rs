//! Finding out that a server never sets `SO_REUSEADDR`, and what else is worth remembering of ports.
//!
//! `docs/design/handoff.md` has the rules.

use tokio::time::Instant;

use super::Supervisor;
use crate::ports::request::{Owner, PortKey};
use crate::ports::who::{others_on, reuses_address};
use crate::ports::{Ledger, LedgerWarning};
use crate::run::reason::News;
use crate::run::snapshot::{NoticeLevel, Phase};
use crate::run::state::Occurrence;
use crate::run::unit_ports::{Way, Why};
use crate::support::name::UnitId;
use crate::support::protocol::Protocol;

impl Supervisor {
    /// The output of an attempt said that an address is in use.
    pub(super) fn complained(&mut self, id: &UnitId, attempt: u32, line: &str) {
        if let Some(unit) = self.units.get_mut(id) {
            tracing::debug!(service = %unit.label(), attempt, line, "complains about an address");
            unit.ports.note_complaint(attempt, Instant::now());
        }
    }

    /// A server that runs, has complained and does not listen may be kept out by its own hold.
    pub(super) fn suspect_hold(&mut self, id: &UnitId, now: Instant) {
        let unit = &self.units[id];
        let is_late = unit.ports.has_complained(unit.machine.attempt(), now);
        // One that serves somewhere, or is well, has complained about something else.
        let may_be_kept_out = unit.pid.is_some()
            && unit.ports.is_silent()
            && matches!(unit.phase(), Phase::Starting | Phase::Unhealthy);
        if is_late && may_be_kept_out && self.is_hold_in_the_way(id) {
            self.release_hold(id);
        }
    }

    /// Whether all there is to see says that a unit's own hold keeps it from its port.
    pub(super) fn is_hold_in_the_way(&self, id: &UnitId) -> bool {
        let unit = &self.units[id];
        if !unit.ports.has_just_complained(unit.machine.attempt()) {
            return false;
        }
        let mut suspects = unit.ports.suspects().peekable();
        let own = unit.ports.inodes();
        suspects.peek().is_some()
            && suspects.all(|port| {
                others_on(port.protocol, port.number, &own).is_ok_and(|sockets| sockets.is_empty())
            })
    }

    /// Starts a unit again with its ports released, to see whether that helps.
    pub(super) fn release_hold(&mut self, id: &UnitId) {
        let unit = &mut self.units[id];
        let ports = unit.ports.suspects().map(|port| port.number).collect();
        unit.ports.put_on_trial();
        self.notice(Some(id), NoticeLevel::Info, News::ReleasingHold { ports });
        self.happen(id, Occurrence::HoldInTheWay);
    }

    /// A service listens on a port that was released for it: was that what it needed?
    pub(super) fn learn(
        &mut self,
        id: &UnitId,
        key: &PortKey,
        (protocol, port): (Protocol, u16),
        way: Way,
        pid: i32,
    ) {
        let Way::Release(why) = way else {
            return;
        };
        let needs_it = reuses_address(pid, protocol, port) != Some(true);
        if why != Why::Written && !needs_it {
            // A released port is less well kept, so it is for nothing no longer than this attempt.
            self.units[id].ports.acquit(key);
        }
        let key = key.clone();
        match (why, needs_it) {
            (Why::OnTrial, true) => {
                self.tell_ledger(move |ledger, owner| ledger.learn_release(owner, &key));
            }
            (Why::Remembered, false) => {
                self.tell_ledger(move |ledger, owner| ledger.unlearn_release(owner, &key));
            }
            (Why::Written, _) | (Why::OnTrial, false) | (Why::Remembered, true) => {}
        }
    }

    /// A unit has failed for good: ports that it could not even bind while they were released are not
    /// preferred next time.
    pub(super) fn blame_ports(&mut self, id: &UnitId) {
        for port in self.units[id].ports.take_useless() {
            self.tell_ledger(move |ledger, owner| ledger.mark_bad(owner, port));
        }
    }

    /// Notes something in the ledger, beside the loop: its lock may have to be waited for.
    pub(super) fn tell_ledger(
        &self,
        change: impl FnOnce(&Ledger, &Owner) -> Vec<LedgerWarning> + Send + 'static,
    ) {
        let Some((ledger, owner)) = self.memory.clone() else {
            return;
        };
        drop(tokio::task::spawn_blocking(move || {
            for warning in change(&ledger, &owner) {
                tracing::warn!("{warning}");
            }
        }));
    }
}
