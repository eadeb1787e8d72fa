//! Looking after the units' ports: who listens, whose fault it is, what follows from it.
//!
//! `docs/design/handoff.md` has the rules.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

use super::{Child, Supervisor};
use crate::ports::{Listeners, Subject, observe};
use crate::run::process::ancestors;
use crate::run::snapshot::{Phase, PortState};
use crate::run::state::Occurrence;
use crate::support::protocol::Protocol;

/// How often everything is looked at that nobody asks about. A look costs the kernel's table of
/// listeners and little else: 0.9 ms for a hundred services among three thousand sockets of others
/// (measured), a ten-thousandth of the time.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How soon everything is looked at after a theft: where one port is stolen others may be.
const SWEEP_AFTER_THEFT: Duration = Duration::from_secs(1);

impl Supervisor {
    /// When everything is to be looked at next; never while nothing that runs has a port.
    pub(super) fn sweep_due(&self) -> Option<Instant> {
        (0..self.units.len())
            .any(|index| self.is_observable(index))
            .then_some(self.next_sweep)
    }

    /// Looks at the ports of everything that runs, once in a while.
    pub(super) fn sweep_if_due(&mut self, now: Instant) {
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.observe_everything(now);
        }
    }

    /// Looks at the ports of everything that runs, and of what does not as far as it is uncertain.
    pub(super) fn observe_everything(&mut self, now: Instant) {
        let uncertain =
            |index: &usize| self.is_cared_for(*index) && self.units[*index].ports.is_uncertain();
        let down: Vec<usize> = (0..self.units.len()).filter(uncertain).collect();
        self.care_for(&down, now);
        let indices: Vec<usize> = (0..self.units.len())
            .filter(|&index| self.is_observable(index))
            .collect();
        let Some(listeners) = self.listeners(&indices) else {
            return;
        };
        for index in indices {
            self.observe_in(&listeners, index, now);
            self.doubt_health(index, now);
        }
    }

    /// Looks who listens on a unit's ports.
    pub(super) fn observe(&mut self, index: usize, now: Instant) {
        if self.is_observable(index)
            && let Some(listeners) = self.listeners(&[index])
        {
            self.observe_in(&listeners, index, now);
            self.doubt_health(index, now);
        }
    }

    /// Whether there is anything to look at. What is being stopped falls apart: what is left of it
    /// would look like a thief.
    fn is_observable(&self, index: usize) -> bool {
        let unit = &self.units[index];
        !unit.ports.is_empty() && unit.pid.is_some() && unit.phase() != Phase::Stopping
    }

    /// Whether nothing of a unit runs, so that each of its ports should be held. In the end nobody
    /// cares any more: the sockets go with this process.
    fn is_cared_for(&self, index: usize) -> bool {
        let unit = &self.units[index];
        unit.pid.is_none() && unit.phase() != Phase::Stopping && self.drain.is_none()
    }

    /// When somebody's ports are to be cared for.
    pub(super) fn care_due(&self) -> Option<Instant> {
        (0..self.units.len())
            .filter(|&index| self.is_cared_for(index))
            .filter_map(|index| self.units[index].ports.care_due())
            .min()
    }

    /// Sees to it that the ports of what is down are held, and tells who else has one.
    pub(super) fn care_if_due(&mut self, now: Instant) {
        let is_due = |index: &usize| {
            self.is_cared_for(*index)
                && self.units[*index]
                    .ports
                    .care_due()
                    .is_some_and(|due| due <= now)
        };
        let due: Vec<usize> = (0..self.units.len()).filter(is_due).collect();
        self.care_for(&due, now);
    }

    fn care_for(&mut self, indices: &[usize], now: Instant) {
        for &index in indices {
            self.units[index].ports.hold_all();
        }
        let listeners = self.listeners(indices);
        for &index in indices {
            if let Some(listeners) = &listeners {
                self.observe_in(listeners, index, now);
            }
            self.units[index].ports.settle(now);
            self.units[index].is_dirty = true;
        }
    }

    /// The kernel's table, as far as these units need it.
    fn listeners(&self, indices: &[usize]) -> Option<Listeners> {
        let protocols = indices
            .iter()
            .map(|&index| self.units[index].ports.protocol());
        let protocol =
            protocols.reduce(|one, other| if one == other { one } else { Protocol::Both })?;
        match Listeners::read(protocol) {
            Ok(listeners) => Some(listeners),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not tell who listens");
                None
            }
        }
    }

    fn observe_in(&mut self, listeners: &Listeners, index: usize, now: Instant) {
        let numbers = self.units[index].ports.numbers();
        let holds = self.units[index].ports.inodes();
        let mut known = std::mem::take(&mut self.units[index].ports.known);
        let subject = Subject {
            ports: &numbers,
            holds: &holds,
            main: self.living_main(index).unwrap_or(0),
        };
        let this = RefCell::new(&mut *self);
        let rest = || {
            let mut this = this.borrow_mut();
            // Who left its tree by a double fork is known to be of it by its mark.
            this.find_strays(None);
            this.tree_of(index)
        };
        let is_own = |pid| this.borrow().is_ours_and_no_other_units(pid, index);
        let observed = observe(listeners, &subject, &mut known, rest, is_own);
        self.units[index].ports.known = known;
        self.take_in(index, observed, now);
    }

    /// Whether a process hangs below this one without being in the tree of another unit that runs: a
    /// daemon that has wiped its environment and leads a session of its own is of the unit on whose
    /// port it listens.
    fn is_ours_and_no_other_units(&self, pid: i32, index: usize) -> bool {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        ancestors(pid)
            .find_map(|pid| match self.children.get(&pid) {
                Some(Child::Main { unit }) => Some(*unit == index),
                Some(Child::Probe { .. }) => Some(false),
                None => (pid == own).then_some(true),
            })
            .unwrap_or(false)
    }

    /// Takes in what was seen on a unit's ports.
    fn take_in(&mut self, index: usize, observed: Vec<PortState>, now: Instant) {
        let unit = &mut self.units[index];
        let mut stolen = Vec::new();
        let mut won = Vec::new();
        let mut is_changed = false;
        for (port, state) in unit.ports.iter_mut().zip(observed) {
            if let PortState::Listening { pid, .. } = state
                && !port.has_listened
            {
                port.has_listened = true;
                port.is_useless = false;
                won.push((port.key.clone(), port.protocol, port.number, port.way, pid));
            }
            let was_stolen = matches!(port.state, PortState::Stolen { .. });
            if matches!(state, PortState::Stolen { .. }) {
                port.is_contested = true;
                if !was_stolen {
                    stolen.push(port.number);
                }
            }
            is_changed |= port.state != state;
            port.state = state;
        }
        unit.is_dirty |= is_changed;
        match (unit.ports.trouble(), unit.ports.astray_since) {
            (Some(trouble), None) => {
                unit.ports.astray_since = Some(now);
                // The snapshot tells it to whoever watches.
                tracing::warn!(service = %unit.label(), "{trouble}");
            }
            (None, Some(_)) => unit.ports.astray_since = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
        if !stolen.is_empty() {
            self.next_sweep = self.next_sweep.min(now + SWEEP_AFTER_THEFT);
        }
        for port in stolen {
            self.tell_ledger(move |ledger, owner| ledger.note_stolen(owner, port));
        }
        for (key, protocol, port, way, pid) in won {
            self.learn(index, &key, (protocol, port), way, pid);
        }
        self.suspect_hold(index, now);
    }

    /// Ends the listening for units that are down and will not come up by themselves. One that is
    /// down for a restart is on its way up again, and its clients wait for it.
    pub(super) fn rest_ports(&mut self) {
        for index in 0..self.units.len() {
            if self.units[index].phase().is_at_rest() && !self.is_restarting(index) {
                self.units[index].ports.close();
            }
        }
    }

    /// A service whose port was stolen, or which has moved to another one, is not healthy, whatever
    /// its last check said.
    pub(super) fn doubt_health(&mut self, index: usize, now: Instant) {
        let unit = &mut self.units[index];
        let Some(trouble) = unit.ports.trouble() else {
            return;
        };
        if unit.phase() != Phase::Healthy {
            return;
        }
        if let Some(health) = &mut unit.health {
            health.lose(now);
        }
        unit.last_answer = Some(trouble);
        self.happen(index, Occurrence::FailedChecks);
    }

    pub(super) fn all_ports_listen(&self, index: usize) -> Result<(), String> {
        let silent = self.units[index]
            .ports
            .iter()
            .find(|port| !matches!(port.state, PortState::Listening { .. }));
        match silent {
            None => Ok(()),
            Some(port) => Err(format!("nothing listens on port {} yet", port.number)),
        }
    }

    /// A unit that runs has ended by itself: looks for a thief, and whether its own hold was in its
    /// way, before the end is judged.
    pub(super) fn look_after_end(&mut self, index: usize) {
        let unit = &self.units[index];
        let has_run = unit.phase().is_alive() && unit.phase() != Phase::Stopping;
        if unit.ports.is_empty() || !has_run {
            return;
        }
        let now = Instant::now();
        if let Some(listeners) = self.listeners(&[index]) {
            self.observe_in(&listeners, index, now);
        }
        let unit = &mut self.units[index];
        let has_complained = unit.ports.has_just_complained(unit.machine.attempt());
        unit.ports.end_trial(has_complained);
        if let Some(theft) = unit.ports.theft() {
            self.happen(index, Occurrence::InTrouble(theft));
        } else if self.is_hold_in_the_way(index) {
            self.release_hold(index);
        } else if has_complained && let Some(port) = self.units[index].ports.kept_out() {
            let message = format!(
                "it cannot bind port {port} while the port is held for it; if its server does not set \
                 SO_REUSEADDR, write `handoff: release`"
            );
            self.happen(index, Occurrence::InTrouble(message));
        }
    }

    /// Before a unit is executed beside a thief who was seen: is he still there?
    pub(super) fn look_before_start(&mut self, index: usize) -> Option<String> {
        self.units[index].ports.theft()?;
        let listeners = self.listeners(&[index])?;
        self.observe_in(&listeners, index, Instant::now());
        self.units[index].ports.theft()
    }
}
