//! Looking after the units' ports: who listens, whose fault it is, what follows from it.
//!
//! `docs/design/handoff.md` has the rules.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::ports::{Listeners, Subject, observe};
use crate::run::reason::{CheckFailure, PortTrouble};
use crate::run::snapshot::{Phase, PortState};
use crate::run::state::Occurrence;
use crate::support::name::UnitId;
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
        let has_ports = !self.port_owners.is_empty() && !self.busy.is_empty();
        has_ports.then_some(self.next_sweep)
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
        let all = || self.units.keys().cloned();
        let is_uncertain =
            |id: &UnitId| self.is_cared_for(id) && self.units[id].ports.is_uncertain();
        let down: Vec<UnitId> = all().filter(is_uncertain).collect();
        let up: Vec<UnitId> = all().filter(|id| self.is_observable(id)).collect();
        self.care_for(&down, now);
        let Some(listeners) = self.listeners(&up) else {
            return;
        };
        for id in &up {
            self.observe_in(&listeners, id, now);
            self.doubt_health(id, now);
        }
    }

    /// Looks who listens on a unit's ports.
    pub(super) fn observe(&mut self, id: &UnitId, now: Instant) {
        if self.is_observable(id)
            && let Some(listeners) = self.listeners(std::slice::from_ref(id))
        {
            self.observe_in(&listeners, id, now);
            self.doubt_health(id, now);
        }
    }

    /// Whether there is anything to look at. What is being stopped falls apart: what is left of it
    /// would look like a thief.
    fn is_observable(&self, id: &UnitId) -> bool {
        let unit = &self.units[id];
        !unit.ports.is_empty() && unit.pid.is_some() && unit.phase() != Phase::Stopping
    }

    /// Whether nothing of a unit runs, so that each of its ports should be held. In the end nobody
    /// cares any more: the sockets go with this process.
    fn is_cared_for(&self, id: &UnitId) -> bool {
        let unit = &self.units[id];
        unit.pid.is_none() && unit.phase() != Phase::Stopping && self.ending.is_none()
    }

    /// When it is to be seen to that a unit's ports are held.
    pub(super) fn care_due(&self, id: &UnitId) -> Option<Instant> {
        let due = self.units[id].ports.care_due()?;
        self.is_cared_for(id).then_some(due)
    }

    /// Sees to it that the ports of what is down are held, and tells who else has one.
    pub(super) fn care_for(&mut self, ids: &[UnitId], now: Instant) {
        for id in ids {
            self.units[id].ports.hold_all();
        }
        let listeners = self.listeners(ids);
        for id in ids {
            if let Some(listeners) = &listeners {
                self.observe_in(listeners, id, now);
            }
            self.units[id].ports.settle(now);
            self.mark(id);
        }
    }

    /// The kernel's table, as far as these units need it.
    fn listeners(&self, ids: &[UnitId]) -> Option<Listeners> {
        let protocols = ids.iter().map(|id| self.units[id].ports.protocol());
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

    fn observe_in(&mut self, listeners: &Listeners, id: &UnitId, now: Instant) {
        let numbers = self.units[id].ports.numbers();
        let holds = self.units[id].ports.inodes();
        let mut known = std::mem::take(&mut self.units[id].ports.known);
        let subject = Subject {
            ports: &numbers,
            holds: &holds,
            main: self.runner.main_process(id).unwrap_or(0),
        };
        let runner = RefCell::new(&mut self.runner);
        let is_pending = self.units[id].phase() == Phase::Pending;
        let rest = || {
            if is_pending {
                Vec::new()
            } else {
                runner.borrow_mut().processes(id)
            }
        };
        let is_own = |pid| runner.borrow().is_of_no_other(pid, id);
        let observed = observe(listeners, &subject, &mut known, rest, is_own);
        self.units[id].ports.known = known;
        self.take_in(id, observed, now);
    }

    /// Takes in what was seen on a unit's ports.
    fn take_in(&mut self, id: &UnitId, observed: Vec<PortState>, now: Instant) {
        let unit = &mut self.units[id];
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
        unit.ports.note_trouble(now);
        if is_changed {
            self.touch(id);
        }
        if !stolen.is_empty() {
            self.next_sweep = self.next_sweep.min(now + SWEEP_AFTER_THEFT);
        }
        for port in stolen {
            self.tell_ledger(move |ledger, owner| ledger.note_stolen(owner, port));
        }
        for (key, protocol, port, way, pid) in won {
            self.learn(id, &key, (protocol, port), way, pid);
        }
        self.suspect_hold(id, now);
    }

    /// A service whose port was stolen, or which has moved to another one, is not healthy, whatever
    /// its last check said.
    pub(super) fn doubt_health(&mut self, id: &UnitId, now: Instant) {
        let unit = &mut self.units[id];
        let Some(trouble) = unit.ports.trouble() else {
            return;
        };
        if unit.phase() != Phase::Healthy {
            return;
        }
        if let Some(health) = &mut unit.health {
            health.lose(now);
        }
        unit.last_answer = Some(CheckFailure::Port { trouble });
        self.happen(id, Occurrence::FailedChecks);
    }

    pub(super) fn all_ports_listen(&self, id: &UnitId) -> Result<(), CheckFailure> {
        let silent = self.units[id]
            .ports
            .iter()
            .find(|port| !matches!(port.state, PortState::Listening { .. }));
        match silent {
            None => Ok(()),
            Some(port) => Err(CheckFailure::NotListening {
                unit: None,
                port: port.number,
            }),
        }
    }

    /// A unit that runs has ended by itself: looks for a thief, and whether its own hold was in its
    /// way, before the end is judged.
    pub(super) fn look_after_end(&mut self, id: &UnitId) {
        let unit = &self.units[id];
        let has_run = unit.phase().is_alive() && unit.phase() != Phase::Stopping;
        if unit.ports.is_empty() || !has_run {
            return;
        }
        let now = Instant::now();
        if let Some(listeners) = self.listeners(std::slice::from_ref(id)) {
            self.observe_in(&listeners, id, now);
        }
        let unit = &mut self.units[id];
        let has_complained = unit.ports.has_just_complained(unit.machine.attempt());
        unit.ports.end_trial(has_complained);
        if let Some(theft) = unit.ports.theft() {
            self.happen(id, Occurrence::InTrouble(theft));
        } else if self.is_hold_in_the_way(id) {
            self.release_hold(id);
        } else if has_complained && let Some(port) = self.units[id].ports.kept_out() {
            self.happen(id, Occurrence::InTrouble(PortTrouble::KeptOut { port }));
        }
    }

    /// Before a unit is executed beside a thief who was seen: is he still there?
    pub(super) fn look_before_start(&mut self, id: &UnitId) -> Option<PortTrouble> {
        self.units[id].ports.theft()?;
        let listeners = self.listeners(std::slice::from_ref(id))?;
        self.observe_in(&listeners, id, Instant::now());
        self.units[id].ports.theft()
    }
}
