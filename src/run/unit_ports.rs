//! The ports of a unit: what keeps them, how they reach the service, what was seen on them.
//!
//! The rules are in `docs/design/handoff.md`. This is the state and what can be done to it without
//! looking at anything else; `supervisor::ports` looks at the kernel's tables and decides.

mod port;

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use port::{Port, Way, Why};

use super::reason::PortTrouble;
use super::snapshot::PortState;
use crate::plan::model::UnitPlan;
use crate::ports::request::PortKey;
use crate::ports::{Hold, Known};
use crate::spec::model::Handoff;
use crate::support::protocol::Protocol;

/// How long a server that complained may take to listen all the same, before it is taken at its
/// word.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

/// What a server said about an address that it could not have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    attempt: u32,
    since: Instant,
}

/// The ports of one unit, in the order of the file.
#[derive(Debug)]
pub(crate) struct UnitPorts {
    ports: Vec<Port>,
    /// Whose the sockets on them are, as far as it was found out in this attempt.
    pub(crate) known: Known,
    /// Since when one has been seen taken, or another one in its place.
    wrong_since: Option<Instant>,
    complaint: Option<Complaint>,
    /// Whether [`Self::open`] was called since the last [`Self::close`].
    is_open: bool,
    /// When it is to be seen to that every port is held while nothing of the service runs, and how
    /// long it is waited after that.
    care: Option<(Instant, Duration)>,
}

/// How soon a port that could not be held is tried again; the pause doubles.
const FIRST_CARE: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const LAST_CARE: Duration = Duration::from_secs(10);

impl UnitPorts {
    /// The ports of a plan with their holds. `remembered` are the keys whose servers are known to
    /// need the hold to be released.
    pub(crate) fn new(
        plan: &UnitPlan,
        mut take_hold: impl FnMut(&PortKey) -> Option<Hold>,
        remembered: &HashSet<PortKey>,
    ) -> Self {
        let ports = plan.ports.iter().map(|port| {
            let key = PortKey {
                service: plan.service.clone(),
                replica: plan.replica,
                name: port.name.clone(),
            };
            let way = match plan.handoff {
                Some(Handoff::Fd) => Way::Fd,
                Some(Handoff::Release) => Way::Release(Why::Written),
                Some(Handoff::Reuse) => Way::Reuse { may_learn: false },
                None if remembered.contains(&key) => Way::Release(Why::Remembered),
                None => Way::Reuse { may_learn: true },
            };
            Port {
                hold: take_hold(&key),
                protocol: port.protocol,
                number: port.port,
                way,
                state: PortState::Held,
                has_listened: false,
                is_contested: false,
                is_useless: false,
                key,
            }
        });
        Self {
            ports: ports.collect(),
            known: Known::default(),
            wrong_since: None,
            complaint: None,
            is_open: false,
            care: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.ports.iter_mut()
    }

    /// The port at a place of the plan.
    pub(crate) fn get(&self, place: usize) -> Option<&Port> {
        self.ports.get(place)
    }

    /// Protocols and numbers.
    pub(crate) fn numbers(&self) -> Vec<(Protocol, u16)> {
        self.ports
            .iter()
            .map(|port| (port.protocol, port.number))
            .collect()
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

    /// The main process has ended: keeps everybody else off, at once. A socket that cannot be
    /// changed keeps its port merely less well.
    pub(crate) fn keep(&mut self) {
        let is_open = self.is_open;
        for port in &mut self.ports {
            match (port.way, &port.hold) {
                // It listens on, and nobody else can; one that its server has shut down listens
                // again.
                (Way::Fd, Some(hold)) if is_open => {
                    if let Err(error) = hold.listen() {
                        tracing::warn!(port = port.number, %error, "the listener was not kept");
                    }
                }
                (Way::Fd | Way::Reuse { .. } | Way::Release(_), _) => port.harden(),
            }
            port.take_back();
        }
    }

    /// It is being stopped: nobody new is let in beside it. What listens already is not disturbed.
    pub(crate) fn shut(&self) {
        for port in &self.ports {
            match port.way {
                Way::Reuse { .. } => port.harden(),
                Way::Release(_) | Way::Fd => {}
            }
        }
    }

    /// None of the service will be started by itself: clients are refused from now on.
    pub(crate) fn close(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        for port in self.ports.iter().filter(|port| port.way == Way::Fd) {
            if let Some(hold) = &port.hold
                && let Err(error) = hold.stop_listening()
            {
                tracing::warn!(port = port.number, %error, "the listener was not closed");
            }
        }
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

    /// Nothing of the service runs, and its ports were looked at: what is held is shown as that, and
    /// what is not is tried again later.
    pub(crate) fn settle(&mut self, now: Instant) {
        let mut is_well = true;
        for port in &mut self.ports {
            match &port.state {
                // He may go, and then the port is held.
                PortState::Stolen { .. } => is_well = false,
                PortState::Held
                | PortState::Listening { .. }
                | PortState::NotListening
                | PortState::WrongPort { .. } => {
                    port.state = if port.hold.is_some() {
                        PortState::Held
                    } else {
                        is_well = false;
                        PortState::NotListening
                    };
                }
            }
        }
        let pause = self.care.map_or(FIRST_CARE, |(_, pause)| pause);
        self.care = (!is_well).then(|| (now + pause, (pause * 2).min(LAST_CARE)));
    }

    /// Whether there is more to see than that everything is held.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.care.is_some()
    }

    /// Makes the ports ready for the service that is executed next: here the one window opens in
    /// which somebody else could take one. Gives back why they are not.
    pub(crate) fn open(&mut self) -> Result<(), PortTrouble> {
        self.is_open = true;
        for port in &mut self.ports {
            port.take_back();
            let Some(hold) = &port.hold else {
                return Err(port.not_had());
            };
            match port.way {
                Way::Reuse { .. } => {
                    if let Err(error) = hold.soften() {
                        tracing::warn!(port = port.number, %error, "hold not softened");
                    }
                }
                Way::Release(_) => {}
                Way::Fd => hold.listen().map_err(|error| PortTrouble::NoListener {
                    port: port.number,
                    error: error.to_string(),
                })?,
            }
        }
        // Only now that nothing can go wrong any more.
        for port in &mut self.ports {
            if let Way::Release(_) = port.way {
                port.hold = None;
            }
        }
        Ok(())
    }

    /// The listening sockets that the service takes over, with their names.
    pub(crate) fn passed(&self) -> Vec<(BorrowedFd<'_>, &str)> {
        self.ports
            .iter()
            .filter(|port| port.way == Way::Fd)
            .filter_map(|port| Some((port.hold.as_ref()?, port.key.name.as_str())))
            .flat_map(|(hold, name)| hold.sockets().map(move |socket| (socket, name)))
            .collect()
    }

    /// A new attempt was executed.
    pub(crate) fn note_executed(&mut self) {
        self.known.clear();
        self.wrong_since = None;
        self.complaint = None;
        self.care = None;
        for port in &mut self.ports {
            port.state = PortState::NotListening;
            port.has_listened = false;
            port.is_contested = false;
        }
    }

    /// The attempt is over. Its ports are looked at once nothing of it is left.
    pub(crate) fn note_ended(&mut self, now: Instant) {
        for port in &mut self.ports {
            if !matches!(port.state, PortState::Stolen { .. }) {
                port.state = PortState::Held;
            }
        }
        self.care = Some((now, FIRST_CARE));
    }

    /// The attempt's output said that an address is in use.
    pub(crate) fn note_complaint(&mut self, attempt: u32, now: Instant) {
        if self
            .complaint
            .as_ref()
            .is_none_or(|known| known.attempt != attempt)
        {
            self.complaint = Some(Complaint {
                attempt,
                since: now,
            });
        }
    }

    /// Whether `attempt` has complained, and long enough ago to mean it.
    pub(crate) fn has_complained(&self, attempt: u32, now: Instant) -> bool {
        self.complaint.as_ref().is_some_and(|complaint| {
            complaint.attempt == attempt && now >= complaint.since + SECOND_THOUGHTS
        })
    }

    /// Whether `attempt` has complained at all.
    pub(crate) fn has_just_complained(&self, attempt: u32) -> bool {
        self.complaint
            .as_ref()
            .is_some_and(|complaint| complaint.attempt == attempt)
    }

    /// The ports in whose way their own hold may be: the service may learn, has not listened on
    /// them, and nobody else was seen there.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.is_suspect())
    }

    /// Releases the suspects' holds from the next attempt on, to see whether that helps.
    pub(crate) fn put_on_trial(&mut self) {
        for port in &mut self.ports {
            if port.is_suspect() {
                port.way = Way::Release(Why::OnTrial);
            }
        }
    }

    /// An attempt has ended over its address: a trial has shown nothing, and a released port that
    /// the service never listened on may be of no use to it. A crash loop must not go on with ports
    /// that anybody can have.
    pub(crate) fn end_trial(&mut self, has_complained: bool) {
        for port in self.ports.iter_mut().filter(|port| !port.has_listened) {
            if let Way::Release(why) = port.way {
                port.is_useless |= has_complained;
                if why == Why::OnTrial {
                    port.way = Way::Reuse { may_learn: false };
                }
            }
        }
    }

    /// Whether the service listens on none of its ports in this attempt, and never did.
    pub(crate) fn is_silent(&self) -> bool {
        self.ports.iter().all(|port| !port.has_listened)
    }

    /// The ports that have turned out to be of no use, each told once.
    pub(crate) fn take_useless(&mut self) -> Vec<u16> {
        self.ports
            .iter_mut()
            .filter_map(|port| std::mem::take(&mut port.is_useless).then_some(port.number))
            .collect()
    }

    /// A port whose hold keeps the service out although the file wants it so.
    pub(crate) fn kept_out(&self) -> Option<u16> {
        let is_so = |port: &&Port| {
            port.way == (Way::Reuse { may_learn: false })
                && !port.has_listened
                && !port.is_contested
        };
        self.ports.iter().find(is_so).map(|port| port.number)
    }

    /// The server of a port can be let in beside its hold after all.
    pub(crate) fn acquit(&mut self, key: &PortKey) {
        for port in self.ports.iter_mut().filter(|port| port.key == *key) {
            port.way = Way::Reuse { may_learn: false };
        }
    }

    /// Since when one has been seen taken, or another one in its place.
    pub(crate) fn wrong_since(&self) -> Option<Instant> {
        self.wrong_since
    }

    /// The ports were looked at: notes whether something is wrong with one.
    pub(crate) fn note_trouble(&mut self, now: Instant) {
        match (self.trouble(), self.wrong_since) {
            (Some(trouble), None) => {
                self.wrong_since = Some(now);
                // The snapshot tells it to whoever watches.
                tracing::warn!(?trouble, "a port is not as it should be");
            }
            (None, Some(_)) => self.wrong_since = None,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// What is wrong with a port while its service runs.
    pub(crate) fn trouble(&self) -> Option<PortTrouble> {
        self.ports.iter().find_map(Port::trouble)
    }

    /// Who has taken a port.
    pub(crate) fn theft(&self) -> Option<PortTrouble> {
        self.ports
            .iter()
            .filter(|port| matches!(port.state, PortState::Stolen { .. }))
            .find_map(Port::trouble)
    }

    /// Moves every time by `gap`: the clock stood still for the user.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.wrong_since = self.wrong_since.map(|since| since + gap);
        self.care = self.care.map(|(due, pause)| (due + gap, pause));
        if let Some(complaint) = &mut self.complaint {
            complaint.since += gap;
        }
    }
}
