//! One port of a unit: how it reaches the service, its hold, and what was seen on it.

use crate::ports::request::PortKey;
use crate::ports::who::SocketRole;
use crate::ports::{Hold, HoldError, take_or_reclaim};
use crate::run::snapshot::PortState;
use crate::support::protocol::Protocol;
use crate::support::text;

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
    /// Whether the last attempt could not bind it although it was released.
    pub(crate) is_useless: bool,
    pub(super) hold: Option<Hold>,
}

/// Why a unit cannot be executed for the sake of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// What and why.
    pub(crate) message: String,
    /// Whether it may be otherwise soon.
    pub(crate) is_temporary: bool,
}

impl Port {
    /// Whether its own hold may be in the way.
    pub(super) fn is_suspect(&self) -> bool {
        let may_learn = self.way == Way::Reuse { may_learn: true };
        may_learn && !self.has_listened && !self.is_contested
    }

    pub(super) fn harden(&self) {
        if let Some(hold) = &self.hold
            && let Err(error) = hold.harden()
        {
            tracing::warn!(service = %self.key.service, port = self.number, %error, "hold not hardened");
        }
    }

    /// Takes a released port again, if it can be had.
    pub(super) fn take_back(&mut self) {
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
    pub(super) fn not_had(&mut self) -> NotReady {
        let number = self.number;
        let who = crate::ports::holder(self.protocol, number, None);
        let message = match &who {
            Some(holder) if holder.role == SocketRole::Leftover => {
                format!("port {number} cannot be bound yet, for {holder}")
            }
            Some(holder) => format!("port {number} was taken by {holder}"),
            None => format!("port {number} was taken"),
        };
        if let Some(holder) = who.filter(|holder| holder.role != SocketRole::Leftover) {
            self.state = PortState::Stolen {
                pid: holder.process.as_ref().map_or(0, |process| process.pid),
                command: holder
                    .process
                    .map_or_else(|| "unknown".to_owned(), |process| process.command),
                bound_to: holder.address.to_string(),
            };
        }
        NotReady {
            message,
            is_temporary: true,
        }
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> Option<String> {
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
