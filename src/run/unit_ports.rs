//! The ports of a unit: what keeps them, how they reach the service, what was seen on them.
//!
//! The rules are in `docs/design/handoff.md`. This is the state and what can be done to it without
//! looking at anything else; `supervisor::ports` looks at the kernel's tables and decides.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::PortState;
use crate::plan::model::UnitPlan;
use crate::ports::request::PortKey;
use crate::ports::{Hold, HoldError, Known, holds_can_be_soft, take_or_reclaim};
use crate::spec::model::Handoff;
use crate::support::protocol::Protocol;
use crate::support::text;

/// How long a server that complained may take to listen all the same, before it is taken at its
/// word.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

/// How a port reaches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The hold goes soft.
    Reuse {
        /// Whether it may turn out that the server needs another way.
        may_learn: bool,
    },
    /// The hold is dropped.
    Release(Why),
    /// The hold listens and is passed.
    Fd,
}

/// Why a hold is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The file says so, or there is no other way on this system.
    Written,
    /// An earlier run has learned it.
    Remembered,
    /// The server seems to need it; it is being found out.
    OnTrial,
}

/// One port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) key: PortKey,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
    pub(crate) way: Way,
    /// What is known of it.
    pub(crate) state: PortState,
    /// Whether the service has listened on it in the present attempt.
    pub(crate) has_listened: bool,
    /// Whether somebody else was seen on it in this attempt.
    pub(crate) is_contested: bool,
    hold: Option<Hold>,
}

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
    /// Since when one has been seen stolen or another one in its place.
    pub(crate) astray_since: Option<Instant>,
    complaint: Option<Complaint>,
    /// Whether [`Self::open`] was called since the last [`Self::rest`].
    is_open: bool,
}

/// Why a unit cannot be executed for the sake of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// What and why.
    pub(crate) message: String,
    /// Whether it may be otherwise soon.
    pub(crate) is_temporary: bool,
}

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
                Some(Handoff::Reuse) | None if !holds_can_be_soft() => Way::Release(Why::Written),
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
                key,
            }
        });
        Self {
            ports: ports.collect(),
            known: Known::default(),
            astray_since: None,
            complaint: None,
            is_open: false,
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
        for port in &mut self.ports {
            match port.way {
                Way::Reuse { .. } | Way::Release(_) => {
                    port.harden();
                    port.take_back();
                }
                // It listens on, and nobody else can.
                Way::Fd => {}
            }
        }
    }

    /// Nothing of the service is left, and none of it will be started by itself.
    pub(crate) fn rest(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        for port in &mut self.ports {
            if port.way == Way::Fd
                && let Some(hold) = &port.hold
                && let Err(error) = hold.stop_listening()
            {
                tracing::warn!(port = port.number, %error, "the listener was not closed");
            }
            port.take_back();
            port.harden();
            if !matches!(port.state, PortState::Stolen { .. }) {
                port.state = PortState::Held;
            }
        }
    }

    /// Makes the ports ready for the service that is executed next: here the one window opens in
    /// which somebody else could take one. Gives back why they are not.
    pub(crate) fn open(&mut self) -> Result<(), NotReady> {
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
                Way::Fd => hold.listen().map_err(|error| NotReady {
                    message: format!("port {} cannot be listened on: {error}", port.number),
                    is_temporary: true,
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
        self.astray_since = None;
        self.complaint = None;
        for port in &mut self.ports {
            port.state = PortState::NotListening;
            port.has_listened = false;
            port.is_contested = false;
        }
    }

    /// The attempt is over. A thief that was seen stays in view: he is why.
    pub(crate) fn note_ended(&mut self) {
        for port in &mut self.ports {
            if !matches!(port.state, PortState::Stolen { .. }) {
                port.state = PortState::Held;
            }
        }
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

    /// The server of a port can be let in beside its hold after all.
    pub(crate) fn acquit(&mut self, key: &PortKey) {
        for port in self.ports.iter_mut().filter(|port| port.key == *key) {
            port.way = Way::Reuse { may_learn: false };
        }
    }

    /// What is wrong with a port while it runs: `it listens on 5173 instead of 8003`.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.ports.iter().find_map(Port::trouble)
    }

    /// A theft, in words.
    pub(crate) fn theft(&self) -> Option<String> {
        self.ports
            .iter()
            .filter(|port| matches!(port.state, PortState::Stolen { .. }))
            .find_map(Port::trouble)
    }

    /// Moves every time by `gap`: the clock stood still for the user.
    pub(crate) fn shift(&mut self, gap: Duration) {
        self.astray_since = self.astray_since.map(|since| since + gap);
        if let Some(complaint) = &mut self.complaint {
            complaint.since += gap;
        }
    }
}

impl Port {
    /// Whether its own hold may be in the way.
    fn is_suspect(&self) -> bool {
        let may_learn = self.way == Way::Reuse { may_learn: true };
        may_learn && !self.has_listened && !self.is_contested
    }

    fn harden(&self) {
        if let Some(hold) = &self.hold
            && let Err(error) = hold.harden()
        {
            tracing::warn!(service = %self.key.service, port = self.number, %error, "hold not hardened");
        }
    }

    /// Takes a released port again, if it can be had.
    fn take_back(&mut self) {
        if self.hold.is_none() {
            match take_or_reclaim(self.protocol, self.number) {
                Ok(hold) => self.hold = Some(hold),
                Err(HoldError::Taken) => {}
                Err(error) => {
                    tracing::warn!(
                        port = self.number,
                        error = text::chain(&error),
                        "port not taken back"
                    );
                }
            }
        }
    }

    /// Why it is not held. Whoever is there now is the thief whom everybody is shown.
    fn not_had(&mut self) -> NotReady {
        let number = self.number;
        let who = crate::ports::holder(number, None);
        let message = match &who {
            Some(holder) => format!("port {number} was taken by {holder}"),
            None => format!("port {number} was taken"),
        };
        if let Some(holder) = who.filter(|holder| !holder.state.is_leftover()) {
            self.state = PortState::Stolen {
                pid: holder.pid,
                command: holder.command,
                bound_to: holder.address.to_string(),
            };
        }
        NotReady {
            message,
            is_temporary: true,
        }
    }

    /// What is wrong with it.
    fn trouble(&self) -> Option<String> {
        let number = self.number;
        match &self.state {
            PortState::Stolen {
                pid,
                command,
                bound_to,
            } => {
                let place = match bound_to.as_str() {
                    "" => String::new(),
                    address => format!(" on {address}"),
                };
                Some(if *pid > 0 {
                    format!(
                        "port {number} was taken by another process{place}: pid {pid} ({command})"
                    )
                } else {
                    format!("port {number} was taken by a process that cannot be seen{place}")
                })
            }
            PortState::WrongPort { listens_on } => {
                let others = text::list(listens_on);
                Some(format!("it listens on {others} instead of {number}"))
            }
            PortState::Held | PortState::Listening { .. } | PortState::NotListening => None,
        }
    }
}
