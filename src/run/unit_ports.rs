//! The ports of a unit: their holds, and the machines that say what to do to them.
//!
//! The shell around [`handover`](super::handover): it hands the machines what happens, and does to the
//! sockets what they ask for. `supervisor::ports` looks at the kernel's tables.

mod port;

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::time::Instant;

use super::handover::{Complaint, Event, Handover, NamedAddress, Verdict, judge};
use super::reason::PortTrouble;
use super::snapshot::PortState;
use crate::plan::model::UnitPlan;
use crate::ports::request::PortKey;
use crate::ports::who::others_on;
use crate::ports::{Hold, Known, Lesson, holder};
use crate::support::protocol::Protocol;
use port::name_of;

pub(crate) use port::Port;

/// How long a server that complained may take to listen all the same, before it is taken at its
/// word.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

/// How soon a port that could not be held is tried again; the pause doubles.
const FIRST_CARE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const LAST_CARE: Duration = Duration::from_secs(10);

/// The ports of one unit, in the order of the file.
#[derive(Debug)]
pub(crate) struct UnitPorts {
    ports: Vec<Port>,
    /// Whose the sockets on them are, as far as it was found out in this attempt.
    pub(crate) known: Known,
    /// Since when one has been seen taken, or another one in its place.
    wrong_since: Option<Instant>,
    /// What the attempt with this number said about an address that it could not have, and since when.
    complaint: Option<(u32, Instant, Complaint)>,
    /// What that came to, where it runs on all the same.
    in_use: Option<PortTrouble>,
    /// When it is to be seen to that every port is held while nothing of the service runs, and how
    /// long it is waited after that.
    care: Option<(Instant, Duration)>,
}

impl UnitPorts {
    /// The ports of a plan with their holds. `remembered` are the keys whose servers are known to
    /// need the hold to be released.
    pub(crate) fn new(
        plan: &UnitPlan,
        take_hold: impl FnMut(&PortKey) -> Option<Hold>,
        remembered: &HashSet<PortKey>,
    ) -> Self {
        let mut ports = Self {
            ports: Vec::new(),
            known: Known::default(),
            wrong_since: None,
            complaint: None,
            in_use: None,
            care: None,
        };
        ports.become_those_of(plan, take_hold, remembered);
        ports
    }

    /// Becomes the ports of another plan, as nothing of the service runs. What has the same number and
    /// the same way of passing it on stays as it is; the holds of those that are not in the plan end.
    pub(crate) fn become_those_of(
        &mut self,
        plan: &UnitPlan,
        mut take_hold: impl FnMut(&PortKey) -> Option<Hold>,
        remembered: &HashSet<PortKey>,
    ) {
        let mut old = std::mem::take(&mut self.ports);
        let ports = plan.ports.iter().map(|port| {
            let key = PortKey::new(&plan.service, plan.replica, &port.name);
            let is_same = |old: &Port| {
                (&old.key, old.protocol, old.number) == (&key, port.protocol, port.port)
            };
            // Under another name it is the same socket.
            let is_alike = |old: &Port| (old.protocol, old.number) == (port.protocol, port.port);
            let place = old
                .iter()
                .position(is_same)
                .or_else(|| old.iter().position(is_alike));
            let same = place.map(|place| old.remove(place));
            let hold = match same {
                Some(same) if same.handoff == plan.handoff && same.key == key => return same,
                Some(same) => {
                    // It may have listened for a server that took it over.
                    if let Some(Err(error)) = same.hold.as_ref().map(Hold::stop_listening) {
                        tracing::warn!(port = same.number, %error, "the hold was not changed");
                    }
                    same.hold
                }
                None => take_hold(&key),
            };
            let is_remembered = remembered.contains(&key);
            Port {
                handover: Handover::new(plan.handoff, is_remembered, hold.is_some()),
                handoff: plan.handoff,
                hold,
                lessons: Vec::new(),
                protocol: port.protocol,
                number: port.port,
                key,
            }
        });
        self.ports = ports.collect();
        self.known.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    /// The port at a place of the plan.
    pub(crate) fn get(&self, place: usize) -> Option<&Port> {
        self.ports.get(place)
    }

    /// Protocols and numbers.
    pub(crate) fn numbers(&self) -> Vec<(Protocol, u16)> {
        let ports = self.ports.iter();
        ports.map(|port| (port.protocol, port.number)).collect()
    }

    /// What any of them needs to be looked for.
    pub(crate) fn protocol(&self) -> Protocol {
        let has = |part: fn(Protocol) -> bool| self.ports.iter().any(|port| part(port.protocol));
        match (has(Protocol::has_tcp), has(Protocol::has_udp)) {
            (_, false) => Protocol::Tcp,
            (false, true) => Protocol::Udp,
            (true, true) => Protocol::Both,
        }
    }

    /// The inodes of the holds.
    pub(crate) fn inodes(&self) -> Vec<u64> {
        let holds = self.ports.iter().filter_map(|port| port.hold.as_ref());
        holds.flat_map(Hold::inodes).collect()
    }

    /// What the ledger should know of which port, each told once.
    pub(crate) fn take_lessons(&mut self) -> Vec<(PortKey, u16, Lesson)> {
        let mut lessons = Vec::new();
        for port in &mut self.ports {
            let of_port = port.lessons.drain(..);
            lessons.extend(of_port.map(|lesson| (port.key.clone(), port.number, lesson)));
        }
        lessons
    }

    /// Tells all of them what happened.
    fn happen(&mut self, event: &Event) {
        for port in &mut self.ports {
            if let Err(trouble) = port.happen(event.clone()) {
                tracing::warn!(?trouble, "the listener was not kept");
            }
        }
    }

    /// The main process has ended: keeps everybody else off, at once.
    pub(crate) fn keep(&mut self) {
        self.happen(&Event::Ended);
    }

    /// It is being stopped: nobody new is let in beside it. What listens already is not disturbed.
    pub(crate) fn shut(&mut self) {
        self.happen(&Event::Stop);
    }

    /// None of the service will be started by itself: clients are refused from now on.
    pub(crate) fn close(&mut self) {
        self.happen(&Event::Rest);
    }

    /// When [`Self::hold_all`] is due while nothing of the service runs.
    pub(crate) fn care_due(&self) -> Option<Instant> {
        self.care.map(|(due, _)| due)
    }

    /// Holds again what is not held. To be followed by [`Self::settle`], once it was looked at who
    /// else is there.
    pub(crate) fn hold_all(&mut self) {
        for port in &mut self.ports {
            port.take_back();
        }
    }

    /// Nothing of the service runs, and its ports were looked at: what is not held, or has somebody else
    /// beside it, is looked at again later.
    pub(crate) fn settle(&mut self, now: Instant) {
        let is_well = |port: &Port| port.handover.is_held() && !port.handover.is_stolen();
        let pause = self.care.map_or(FIRST_CARE, |(_, pause)| pause);
        let is_well = self.ports.iter().all(is_well);
        self.care = (!is_well).then(|| (now + pause, (pause * 2).min(LAST_CARE)));
    }

    /// Whether there is more to see than that everything is held.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.care.is_some()
    }

    /// Makes the ports ready for the service that is executed next: here the one window opens in
    /// which somebody else could take one. Gives back why they are not.
    pub(crate) fn open(&mut self) -> Result<(), PortTrouble> {
        self.hold_all();
        if let Some(port) = self.ports.iter_mut().find(|port| port.hold.is_none()) {
            return Err(port.not_had());
        }
        for port in &mut self.ports {
            port.happen(Event::Execute)?;
        }
        Ok(())
    }

    /// The listening sockets that the service takes over, with their names.
    pub(crate) fn passed(&self) -> Vec<(BorrowedFd<'_>, &str)> {
        self.ports
            .iter()
            .filter(|port| port.handover.is_passed())
            .filter_map(|port| Some((port.hold.as_ref()?, port.key.name.as_str())))
            .flat_map(|(hold, name)| hold.sockets().map(move |socket| (socket, name)))
            .collect()
    }

    /// A new attempt was executed.
    pub(crate) fn note_executed(&mut self) {
        self.known.clear();
        self.wrong_since = None;
        self.complaint = None;
        self.in_use = None;
        self.care = None;
    }

    /// The attempt is over. Its ports are looked at once nothing of it is left.
    pub(crate) fn note_ended(&mut self, now: Instant) {
        self.happen(&Event::Settled);
        self.care = (!self.ports.is_empty()).then_some((now, FIRST_CARE));
    }

    /// The ports were looked at; says whether anything is different from before.
    pub(crate) fn note_seen(&mut self, states: Vec<PortState>, now: Instant) -> bool {
        let before: Vec<PortState> = self.ports.iter().map(|port| port.state().clone()).collect();
        for (port, state) in self.ports.iter_mut().zip(states) {
            let _ = port.happen(Event::Seen(state));
        }
        match (self.trouble(), self.wrong_since) {
            (Some(trouble), None) => {
                self.wrong_since = Some(now);
                // The snapshot tells it to whoever watches.
                tracing::warn!(?trouble, "a port is not as it should be");
            }
            (None, Some(_)) => self.wrong_since = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.ports.iter().map(Port::state).ne(&before)
    }

    /// The output of an attempt said that an address is in use, and named these.
    pub(crate) fn note_complaint(&mut self, attempt: u32, named: &[NamedAddress], now: Instant) {
        let known = self.complaint.take().filter(|(of, _, _)| *of == attempt);
        let (_, since, mut complaint) = known.unwrap_or((attempt, now, Complaint::default()));
        complaint.add(named);
        self.complaint = Some((attempt, since, complaint));
    }

    /// Whether `attempt` has complained, long enough ago to mean it, and listens on none of its ports.
    pub(crate) fn is_kept_out(&self, attempt: u32, now: Instant) -> bool {
        let complaint = self.complaint.as_ref();
        complaint.is_some_and(|(of, since, _)| *of == attempt && now >= *since + SECOND_THOUGHTS)
            && self.ports.iter().all(|port| !port.handover.has_listened())
    }

    /// What an attempt comes to as far as its ports go.
    pub(crate) fn judge(&self, attempt: u32) -> Verdict {
        let complaint = self.complaint.as_ref().filter(|(of, _, _)| *of == attempt);
        let complaint = complaint.map(|(_, _, complaint)| complaint);
        let ports: Vec<_> = self
            .ports
            .iter()
            .map(|port| (port.number, &port.handover))
            .collect();
        let own = self.inodes();
        judge(&ports, complaint, |place| {
            let port = &self.ports[place];
            others_on(port.protocol, port.number, &own).is_ok_and(|others| others.is_empty())
        })
    }

    /// The attempt has ended by itself, and its end was judged.
    pub(crate) fn note_judged(&mut self, attempt: u32) {
        let complaint = self.complaint.as_ref().filter(|(of, _, _)| *of == attempt);
        let blamed = complaint.map(|(_, _, complaint)| complaint.own(&self.own_numbers()));
        let blamed = blamed.unwrap_or_default();
        for port in &mut self.ports {
            let is_blamed = blamed.contains(&port.number);
            let _ = port.happen(Event::Judged { is_blamed });
        }
    }

    fn own_numbers(&self) -> Vec<u16> {
        self.ports.iter().map(|port| port.number).collect()
    }

    /// The holds at these places are in the way: the next attempt finds them released. Gives back their
    /// numbers.
    pub(crate) fn release(&mut self, places: &[usize]) -> Vec<u16> {
        let mut numbers = Vec::new();
        for &place in places {
            let port = &mut self.ports[place];
            numbers.push(port.number);
            let _ = port.happen(Event::InTheWay);
        }
        numbers
    }

    /// The unit has failed for good: ports that were of no use to it are not preferred next time.
    pub(crate) fn note_failed(&mut self) {
        for port in &mut self.ports {
            if port.handover.take_useless() {
                port.lessons.push(Lesson::Useless);
            }
        }
    }

    /// What is wrong where a server could not have an address. Looks at every process of the machine for
    /// who has it; this one holds what its services are to have, and is in nobody's way.
    pub(crate) fn in_use(&self, NamedAddress { address, port }: NamedAddress) -> PortTrouble {
        let (pid, command) = name_of(holder(Protocol::Tcp, port));
        let (pid, command) = if pid.unsigned_abs() == std::process::id() {
            Default::default()
        } else {
            (pid, command)
        };
        PortTrouble::InUse {
            address: address.as_ref().map_or_else(String::new, IpAddr::to_string),
            port,
            pid,
            command,
            own: self.own_numbers(),
        }
    }

    /// The same where it did not say which.
    pub(crate) fn in_use_somewhere(&self) -> PortTrouble {
        PortTrouble::InUseSomewhere {
            own: self.own_numbers(),
        }
    }

    /// It runs on though it could not have an address.
    pub(crate) fn note_in_use(&mut self, trouble: PortTrouble) {
        self.in_use = Some(trouble);
    }

    /// What it said about an address that it could not have, if it runs on without.
    pub(crate) fn said_in_use(&self) -> Option<&PortTrouble> {
        self.in_use.as_ref()
    }

    /// Since when one has been seen taken, or another one in its place.
    pub(crate) fn wrong_since(&self) -> Option<Instant> {
        self.wrong_since
    }

    /// What is wrong with a port while its service runs.
    pub(crate) fn trouble(&self) -> Option<PortTrouble> {
        self.ports.iter().find_map(Port::trouble)
    }

    /// Who has taken a port.
    pub(crate) fn theft(&self) -> Option<PortTrouble> {
        let mut stolen = self.ports.iter().filter(|port| port.handover.is_stolen());
        stolen.find_map(Port::trouble)
    }

    /// Moves every time by `gap`: the clock stood still for the user.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.wrong_since = self.wrong_since.map(|since| since + gap);
        self.care = self.care.map(|(due, pause)| (due + gap, pause));
        if let Some((_, since, _)) = &mut self.complaint {
            *since += gap;
        }
    }
}
