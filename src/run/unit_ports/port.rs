//! One port: its hold, and the machine that says what to do to it.

use crate::ports::request::PortKey;
use crate::ports::who::{Holder, SocketRole, reuses_address};
use crate::ports::{Hold, HoldError, Lesson, holder, take_or_reclaim};
use crate::run::handover::{Action, Event, Handover};
use crate::run::reason::PortTrouble;
use crate::run::snapshot::PortState;
use crate::spec::model::Handoff;
use crate::support::protocol::Protocol;
use crate::support::text;

/// One port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) key: PortKey,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
    pub(super) hold: Option<Hold>,
    /// The way in which the file passes it on.
    pub(super) handoff: Option<Handoff>,
    pub(super) handover: Handover,
    /// What the ledger should know.
    pub(super) lessons: Vec<Lesson>,
}

impl Port {
    /// Whether nothing keeps others off it.
    pub(crate) fn is_open(&self) -> bool {
        self.hold.is_none()
    }

    /// How it stands with it.
    pub(crate) fn state(&self) -> &PortState {
        self.handover.state()
    }

    /// Tells the machine what happened and does what it asks for. Fails where the hold cannot be made to
    /// listen: a socket that cannot be changed otherwise keeps its port merely less well.
    pub(super) fn happen(&mut self, event: Event) -> Result<(), PortTrouble> {
        for action in self.handover.on(event) {
            let changed = match (action, &self.hold) {
                (Action::Soften, Some(hold)) => hold.soften(),
                (Action::Harden, Some(hold)) => hold.harden(),
                (Action::EndListening, Some(hold)) => hold.stop_listening(),
                (Action::Listen, Some(hold)) => {
                    hold.listen().map_err(|error| PortTrouble::NoListener {
                        port: self.number,
                        error: error.to_string(),
                    })?;
                    Ok(())
                }
                (Action::Soften | Action::Harden | Action::EndListening | Action::Listen, None) => {
                    Ok(())
                }
                (Action::Drop, _) => {
                    self.hold = None;
                    Ok(())
                }
                (Action::TakeBack, _) => {
                    self.take_back();
                    Ok(())
                }
                (Action::Ask { pid }, _) => {
                    let reuses = reuses_address(pid, self.protocol, self.number);
                    self.happen(Event::Asked(reuses))?;
                    Ok(())
                }
                (Action::Tell(lesson), _) => {
                    self.lessons.push(lesson);
                    Ok(())
                }
            };
            if let Err(error) = changed {
                tracing::warn!(port = self.number, ?action, %error, "the hold was not changed");
            }
        }
        Ok(())
    }

    /// Holds it again, if that is possible.
    pub(super) fn take_back(&mut self) {
        if self.hold.is_some() {
            return;
        }
        match take_or_reclaim(self.protocol, self.number) {
            Ok(hold) => {
                self.hold = Some(hold);
                // Nothing listens now that could not.
                let _ = self.happen(Event::Regained);
            }
            Err(HoldError::Taken) => {}
            Err(error) => {
                let error = text::chain(&error);
                tracing::warn!(port = self.number, error, "the port was not taken back");
            }
        }
    }

    /// Why it is not held. Whoever is there now is shown as the one who took it.
    pub(super) fn not_had(&mut self) -> PortTrouble {
        let port = self.number;
        let who = holder(self.protocol, port);
        if who
            .as_ref()
            .is_some_and(|who| who.role == SocketRole::Leftover)
        {
            return PortTrouble::Leftover { port };
        }
        let bound_to = who
            .as_ref()
            .map_or_else(String::new, |who| who.address.to_string());
        let (pid, command) = name_of(who);
        if !bound_to.is_empty() {
            let stolen = PortState::Stolen {
                pid,
                command: command.clone(),
                bound_to: bound_to.clone(),
            };
            let _ = self.happen(Event::Seen(stolen));
        }
        PortTrouble::Taken {
            port,
            pid,
            command,
            bound_to,
        }
    }

    /// What is wrong with it while its service runs.
    pub(super) fn trouble(&self) -> Option<PortTrouble> {
        PortTrouble::of(self.number, self.state())
    }
}

/// The process of whoever has a port: 0 and empty where it cannot be seen.
pub(super) fn name_of(holder: Option<Holder>) -> (i32, String) {
    let process = holder.and_then(|holder| holder.process);
    process.map_or_else(Default::default, |process| (process.pid, process.command))
}
