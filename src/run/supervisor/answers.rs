//! Whose the answer to a check is.
//!
//! An answer from a foreign server counts for nothing. Of the stack's own ports the owner of the
//! listening socket settles it, before anybody is asked anything. Of a port that somebody wrote into the
//! file nobody can say whose it should be, but who listened there before the service was executed is
//! not the service.

use std::net::IpAddr;

use nix::unistd::getpid;
use tokio::time::Instant;

use super::Supervisor;
use super::ports::Age;
use crate::plan::model::ProbePlan;
use crate::ports::{answering, strangers};
use crate::run::probe::addresses;
use crate::run::process::session_of;
use crate::run::reason::CheckFailure;
use crate::run::snapshot::PortState;
use crate::run::unit_ports::Port;
use crate::spec::model::Answerer;
use crate::support::name::UnitId;
use crate::support::protocol::Protocol;

impl Supervisor {
    /// Where to ask for a port. One of the stack's own ports is asked only where the service that
    /// it was given to listens.
    pub(super) fn where_to_ask(
        &mut self,
        id: &UnitId,
        host: &str,
        port: u16,
    ) -> Result<String, CheckFailure> {
        let Some((owner, place)) = self.port_owners.get(&port).cloned() else {
            self.refuse_strangers(id, host, port)?;
            return Ok(host.to_owned());
        };
        if !is_local(host) {
            return Ok(host.to_owned());
        }
        if owner != *id {
            self.observe(&owner, Instant::now());
        }
        let owner = &self.units[&owner];
        match owner.ports.get(place).map(Port::state) {
            Some(PortState::Listening { bound_to, .. }) => Ok(match (host, bound_to.as_str()) {
                // A host that the user named is asked as named.
                ("localhost" | "", "0.0.0.0" | "127.0.0.1") => "127.0.0.1".to_owned(),
                ("localhost" | "", "::") => "localhost".to_owned(),
                ("localhost" | "", listening) => listening.to_owned(),
                (named, _) => named.to_owned(),
            }),
            None
            | Some(
                PortState::Held
                | PortState::NotListening
                | PortState::Stolen { .. }
                | PortState::WrongPort { .. },
            ) => Err(CheckFailure::NotListening {
                unit: Some(owner.unit_ref()),
                port,
            }),
        }
    }

    /// Which port of this machine a unit's check asks that is none of the stack's, if it matters who
    /// answers.
    fn asks_outside(&self, id: &UnitId) -> Option<u16> {
        let health = self.units[id].plan.health.as_ref()?;
        let (host, port) = target(&health.probe)?;
        let matters = health.listener == Answerer::New
            && is_local(host)
            && !self.port_owners.contains_key(&port);
        matters.then_some(port)
    }

    /// Whether the kernel vouches for a unit's answers: what it says itself, and those of a port that was given to it, which is
    /// asked only while it listens there itself.
    pub(super) fn is_answer_its_own(&self, id: &UnitId) -> bool {
        let Some(health) = &self.units[id].plan.health else {
            return true;
        };
        if matches!(
            health.probe,
            ProbePlan::Log { .. } | ProbePlan::Notify { .. }
        ) {
            return true;
        }
        target(&health.probe).is_some_and(|(host, port)| {
            let owner = self.port_owners.get(&port);
            is_local(host) && owner.is_some_and(|(owner, _)| owner == id)
        })
    }

    /// Whether a port of a unit is served from another session than its main process's. So does a
    /// server in the background, whose starter waits until it serves and then ends (`pg_ctl start`).
    pub(super) fn is_served_from_elsewhere(&self, id: &UnitId) -> bool {
        let main = self.runner.main_process(id);
        let is_elsewhere = |port: &Port| match port.state() {
            PortState::Listening { pid, .. } => {
                session_of(*pid).is_some_and(|session| main.is_some_and(|main| main != session))
            }
            PortState::Held
            | PortState::NotListening
            | PortState::Stolen { .. }
            | PortState::WrongPort { .. } => false,
        };
        let unit = self.units.get(id);
        unit.is_some_and(|unit| unit.ports.iter().any(is_elsewhere))
    }

    /// Notes who listens where a unit's check asks, while nothing of the unit runs.
    pub(super) fn note_strangers(&mut self, id: &UnitId) {
        let asked = self.asks_outside(id);
        let listeners = asked.and_then(|_| self.listeners(Protocol::Tcp, Age::ThisTurn));
        self.units[id].strangers = match (asked, listeners) {
            (Some(port), Some(listeners)) => strangers(&listeners, port, &[getpid().as_raw()]),
            (None, _) | (_, None) => Vec::new(),
        };
    }

    /// Fails where who answers a unit's check was there before the unit.
    fn refuse_strangers(&mut self, id: &UnitId, host: &str, port: u16) -> Result<(), CheckFailure> {
        if self.units[id].strangers.is_empty() {
            return Ok(());
        }
        let Some(listeners) = self.listeners(Protocol::Tcp, Age::Recent) else {
            return Ok(());
        };
        let addresses = addresses(host).into_iter();
        let addresses = addresses.filter_map(|address| address.parse().ok());
        let known = &self.units[id].strangers;
        match answering(known, &listeners, addresses, port) {
            Some(stranger) => Err(CheckFailure::Stranger {
                port,
                bound_to: stranger.address.to_string(),
                process: stranger.process.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Which host and port a check asks, where it asks any.
fn target(probe: &ProbePlan) -> Option<(&str, u16)> {
    match probe {
        ProbePlan::Http(http) => Some((&http.host, http.port)),
        ProbePlan::Tcp { host, port } => Some((host, *port)),
        ProbePlan::Command(_) | ProbePlan::Log { .. } | ProbePlan::Notify { .. } => None,
    }
}

/// Whether a host is this machine, reached over the loopback.
fn is_local(host: &str) -> bool {
    let is_loopback = |address: &String| {
        let address = address.parse::<IpAddr>();
        address.is_ok_and(|address| address.is_loopback())
    };
    addresses(host).iter().all(is_loopback)
}
