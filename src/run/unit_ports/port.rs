//! One port of a unit: how it reaches the service, its hold, and what was seen on it.

use crate::ports::request::PortKey;
use crate::ports::who::SocketRole;
use crate::ports::{Hold, HoldError, take_or_reclaim};
use crate::run::reason::PortTrouble;
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

    /// Why it is not held. Whoever is there now is shown as the one who took it.
    pub(super) fn not_had(&mut self) -> PortTrouble {
        let port = self.number;
        match crate::ports::holder(self.protocol, port) {
            Some(holder) if holder.role == SocketRole::Leftover => PortTrouble::Leftover { port },
            Some(holder) => {
                let process = holder.process;
                let pid = process.as_ref().map_or(0, |process| process.pid);
                let command = process.map_or_else(String::new, |process| process.command);
                let bound_to = holder.address.to_string();
                self.state = PortState::Stolen {
                    pid,
                    command: command.clone(),
                    bound_to: bound_to.clone(),
                };
                PortTrouble::Taken {
                    port,
                    pid,
                    command,
                    bound_to,
                }
            }
            None => PortTrouble::Taken {
                port,
                pid: 0,
                command: String::new(),
                bound_to: String::new(),
            },
        }
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> Option<PortTrouble> {
        let port = self.number;
        match &self.state {
            PortState::Stolen {
                pid,
                command,
                bound_to,
            } => Some(PortTrouble::Taken {
                port,
                pid: *pid,
                command: command.clone(),
                bound_to: bound_to.clone(),
            }),
            PortState::WrongPort { listens_on } => Some(PortTrouble::Elsewhere {
                port,
                listens_on: listens_on.clone(),
            }),
            PortState::Held | PortState::Listening { .. } | PortState::NotListening => None,
        }
    }
}
