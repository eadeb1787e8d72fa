//! Looking after the units' ports: who listens, whose fault it is, what follows from it.
//!
//! `docs/design/handoff.md` has the rules, `run::handover` the machine of a port.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::ports::{Lesson, Listeners, PortState, Subject, observe};
use crate::run::handover::{NamedAddress, Verdict};
use crate::run::news::News;
use crate::run::news::NoticeLevel;
use crate::run::reason::{CheckFailure, PortTrouble};
use crate::run::snapshot::Phase;
use crate::run::state::Occurrence;
use crate::support::name::UnitId;
use crate::support::protocol::Protocol;

/// How often everything is looked at that nobody asks about. A look costs the kernel's table of
/// listeners and little else: 0.9 ms for a hundred services among three thousand sockets of others
/// (measured), a ten-thousandth of the time.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How soon everything is looked at after a theft: where one port is stolen others may be.
const SWEEP_AFTER_THEFT: Duration = Duration::from_secs(1);

/// For how many times as long as it took a table is good enough for who looks again and again.
const GOOD_FOR: u32 = 10;

/// How new a table has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Of this turn of the loop.
    ThisTurn,
    /// So young that all looks together take a tenth of the time, however many services start.
    Recent,
}

/// The kernel's table of listeners, as it was read last.
#[derive(Debug, Default)]
pub(super) struct Tables {
    turn: u64,
    last: Option<Table>,
}

#[derive(Debug)]
struct Table {
    turn: u64,
    protocol: Protocol,
    read_at: Instant,
    took: Duration,
    listeners: Rc<Listeners>,
}

impl Tables {
    /// What was read before this is of an earlier turn.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    fn get(&self, protocol: Protocol, age: Age, now: Instant) -> Option<Rc<Listeners>> {
        let last = self.last.as_ref()?;
        let has_all = last.protocol == Protocol::Both || last.protocol == protocol;
        let is_new_enough = match age {
            Age::ThisTurn => last.turn == self.turn,
            Age::Recent => {
                last.turn == self.turn || now < last.read_at + last.took + last.took * GOOD_FOR
            }
        };
        (has_all && is_new_enough).then(|| Rc::clone(&last.listeners))
    }

    fn put(
        &mut self,
        protocol: Protocol,
        read_at: Instant,
        took: Duration,
        listeners: Listeners,
    ) -> Rc<Listeners> {
        let listeners = Rc::new(listeners);
        self.last = Some(Table {
            turn: self.turn,
            protocol,
            read_at,
            took,
            listeners: Rc::clone(&listeners),
        });
        listeners
    }
}

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
        for id in &up {
            self.observe_at(id, Age::ThisTurn, now);
            self.doubt_health(id, now);
        }
    }

    /// Looks who listens on a unit's ports.
    pub(super) fn observe(&mut self, id: &UnitId, now: Instant) {
        if self.is_observable(id) {
            self.observe_at(id, Age::Recent, now);
            self.doubt_health(id, now);
        }
    }

    /// Whether there is anything to look at. What is being stopped falls apart: what is left of it
    /// would look like somebody else's.
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
        for id in ids {
            self.observe_at(id, Age::ThisTurn, now);
            self.units[id].ports.settle(now);
            self.mark(id);
        }
    }

    /// The kernel's table of a protocol.
    pub(super) fn listeners(&mut self, protocol: Protocol, age: Age) -> Option<Rc<Listeners>> {
        let start = Instant::now();
        if let Some(listeners) = self.tables.get(protocol, age, start) {
            return Some(listeners);
        }
        match Listeners::read(protocol) {
            Ok(listeners) => Some(self.tables.put(protocol, start, start.elapsed(), listeners)),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not tell who listens");
                None
            }
        }
    }

    /// Takes in what is on a unit's ports.
    fn observe_at(&mut self, id: &UnitId, age: Age, now: Instant) {
        let protocol = self.units[id].ports.protocol();
        if let Some(listeners) = self.listeners(protocol, age) {
            let states = self.states_in(&listeners, id);
            self.take_in(id, states, now);
        }
    }

    fn states_in(&mut self, listeners: &Listeners, id: &UnitId) -> Vec<PortState> {
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
        let states = observe(listeners, &subject, &mut known, rest, is_own);
        self.units[id].ports.known = known;
        states
    }

    fn take_in(&mut self, id: &UnitId, states: Vec<PortState>, now: Instant) {
        let unit = &mut self.units[id];
        if unit.ports.note_seen(states, now) {
            self.touch(id);
        }
        self.teach_ledger(id, now);
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
        self.find_unhealthy(id);
    }

    pub(super) fn all_ports_listen(&self, id: &UnitId) -> Result<(), CheckFailure> {
        let ports = &self.units[id].ports;
        let silent = ports
            .iter()
            .find(|port| !matches!(port.state(), PortState::Listening { .. }));
        match (silent, ports.said_in_use()) {
            (None, _) => Ok(()),
            (Some(_), Some(trouble)) => Err(CheckFailure::Port {
                trouble: trouble.clone(),
            }),
            (Some(port), None) => Err(CheckFailure::NotListening {
                unit: None,
                port: port.number,
            }),
        }
    }

    /// A unit that runs has ended by itself: looks whether somebody has its port, or its own hold was in
    /// its way, before the end is judged. `is_success` is what its code says.
    pub(super) fn look_after_end(&mut self, id: &UnitId, is_success: bool) {
        let unit = &self.units[id];
        let has_run = unit.phase().is_alive() && unit.phase() != Phase::Stopping;
        if unit.ports.is_empty() || !has_run {
            return;
        }
        self.observe_at(id, Age::ThisTurn, Instant::now());
        let unit = &mut self.units[id];
        let attempt = unit.machine.attempt();
        let verdict = unit.ports.judge(attempt);
        unit.ports.note_judged(attempt);
        let trouble = match verdict {
            Verdict::Nothing => None,
            Verdict::Taken => unit.ports.theft(),
            Verdict::InTheWay(places) => return self.release_holds(id, &places),
            Verdict::KeptOut(place) => unit
                .ports
                .get(place)
                .map(|port| PortTrouble::KeptOut { port: port.number }),
            // What a server that is content said about an address is not trouble.
            Verdict::InUse(_) | Verdict::InUseSomewhere if is_success => None,
            Verdict::InUse(named) => Some(unit.ports.in_use(named)),
            Verdict::InUseSomewhere => Some(unit.ports.in_use_somewhere()),
        };
        if let Some(trouble) = trouble {
            self.happen(id, Occurrence::InTrouble(trouble));
        }
    }

    /// Before a unit is executed beside somebody who was seen on its port: is he still there?
    pub(super) fn look_before_start(&mut self, id: &UnitId) -> Option<PortTrouble> {
        self.units[id].ports.theft()?;
        self.observe_at(id, Age::ThisTurn, Instant::now());
        self.units[id].ports.theft()
    }

    /// The output of an attempt said that an address is in use.
    pub(super) fn complained(&mut self, id: &UnitId, attempt: u32, named: &[NamedAddress]) {
        if let Some(unit) = self.units.get_mut(id) {
            tracing::debug!(service = %unit.label(), attempt, ?named, "complains about an address");
            unit.ports.note_complaint(attempt, named, Instant::now());
        }
    }

    /// A server that runs, has complained and does not listen may be kept out by its own hold.
    fn suspect_hold(&mut self, id: &UnitId, now: Instant) {
        let unit = &mut self.units[id];
        let attempt = unit.machine.attempt();
        // One that serves somewhere, or is well, has complained about something else.
        let may_be = unit.pid.is_some()
            && unit.ports.said_in_use().is_none()
            && matches!(unit.phase(), Phase::Starting | Phase::Unhealthy)
            && unit.ports.is_kept_out(attempt, now);
        if !may_be {
            return;
        }
        match unit.ports.judge(attempt) {
            Verdict::InTheWay(places) => self.release_holds(id, &places),
            Verdict::InUse(named) => {
                let trouble = unit.ports.in_use(named);
                unit.ports.note_in_use(trouble);
            }
            Verdict::InUseSomewhere => {
                let trouble = unit.ports.in_use_somewhere();
                unit.ports.note_in_use(trouble);
            }
            Verdict::Nothing | Verdict::Taken | Verdict::KeptOut(_) => {}
        }
    }

    /// Starts a unit again with its ports released, to see whether that helps.
    fn release_holds(&mut self, id: &UnitId, places: &[usize]) {
        let ports = self.units[id].ports.release(places);
        self.notice(Some(id), NoticeLevel::Info, News::ReleasingHold { ports });
        self.happen(id, Occurrence::HoldInTheWay);
    }

    /// A unit has failed for good.
    pub(super) fn blame_ports(&mut self, id: &UnitId) {
        self.units[id].ports.note_failed();
        self.teach_ledger(id, Instant::now());
    }

    /// Notes in the ledger what turned out about a unit's ports.
    fn teach_ledger(&mut self, id: &UnitId, now: Instant) {
        for (key, port, lesson) in self.units[id].ports.take_lessons() {
            if lesson == Lesson::Stolen {
                self.next_sweep = self.next_sweep.min(now + SWEEP_AFTER_THEFT);
            }
            let Some((ledger, owner)) = self.memory.clone() else {
                continue;
            };
            // The ledger's lock may have to be waited for.
            self.beside.run(move || {
                for warning in ledger.learn(&owner, &key, port, lesson) {
                    tracing::warn!("{warning}");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the table is read by so many looks, one each `pause`, when a reading takes a millisecond.
    fn readings(looks: u32, pause: Duration, age: Age, is_one_turn: bool) -> u32 {
        let took = Duration::from_millis(1);
        let mut tables = Tables::default();
        let mut now = Instant::now();
        let mut readings = 0;
        for _ in 0..looks {
            if !is_one_turn {
                tables.begin_turn();
            }
            if tables.get(Protocol::Tcp, age, now).is_none() {
                readings += 1;
                tables.put(Protocol::Tcp, now, took, Listeners::default());
            }
            now += pause;
        }
        readings
    }

    #[test]
    fn one_reading_serves_a_turn_and_many_that_start_cost_a_tenth_of_the_time() {
        let pause = Duration::from_micros(500);
        for age in [Age::ThisTurn, Age::Recent] {
            assert_eq!(readings(1000, pause, age, true), 1);
        }
        assert_eq!(readings(1000, pause, Age::ThisTurn, false), 1000);
        let seldom = readings(1000, pause, Age::Recent, false);
        assert!((40..50).contains(&seldom), "{seldom}");
        // Who looks now and then reads each time.
        let now_and_then = Duration::from_millis(50);
        assert_eq!(readings(10, now_and_then, Age::Recent, false), 10);
    }

    #[test]
    fn a_table_of_one_protocol_says_nothing_of_the_other() {
        let mut tables = Tables::default();
        let now = Instant::now();
        let mut knows = |read: Protocol, wanted: Protocol| {
            tables.put(read, now, Duration::ZERO, Listeners::default());
            tables.get(wanted, Age::ThisTurn, now).is_some()
        };
        assert!(knows(Protocol::Tcp, Protocol::Tcp));
        assert!(!knows(Protocol::Tcp, Protocol::Both) && !knows(Protocol::Tcp, Protocol::Udp));
        assert!(knows(Protocol::Both, Protocol::Tcp) && knows(Protocol::Both, Protocol::Udp));
    }
}
