//! How a port passes between its hold and its service: one pure machine.
//!
//! The note with the same tables in words is `docs/design/handoff.md`. [`Handover`] is the machine of
//! one port: what happened comes in as an [`Event`], what is to be done to the hold goes out as
//! [`Action`]s, which `unit_ports` carries out. [`judge`] looks at all ports of a unit together, and
//! says what an attempt's complaint about an address comes to.

mod judge;

use crate::ports::{Lesson, PortState};
use crate::spec::model::Handoff;

pub(crate) use judge::{Complaint, NamedAddress, Verdict, judge};

/// How a port reaches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The hold goes soft, and the server binds beside it.
    Reuse(Learning),
    /// The hold is dropped before the service is executed.
    Release(Why),
    /// The hold listens and is passed.
    Fd,
}

/// Whether it may turn out that a server does not bind beside its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learning {
    /// It may.
    Open,
    /// It has been found out in this run: the hold was not in its way.
    Done,
    /// The file says that it does, and is taken at its word.
    Barred,
}

/// Why a hold is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The file says so.
    Written,
    /// An earlier run has learned it.
    Remembered,
    /// The server seems to need it; this attempt shows whether that is so.
    Tried,
}

/// Where a port stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the service runs.
    Idle,
    /// An attempt runs, and the port is open for it.
    Open(Attempt),
    /// The attempt was told to stop.
    Closing(Attempt),
    /// Its main process has ended; the end is not judged yet.
    Over(Attempt),
}

/// What was seen of a port in one attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Attempt {
    /// Whether the service has listened on it.
    has_listened: bool,
    /// Whether somebody else was seen on it.
    is_contested: bool,
}

/// What happens to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its service is about to be executed.
    Execute,
    /// The service is told to stop.
    Stop,
    /// The main process has ended, or was not executed after all.
    Ended,
    /// The service has ended by itself, which was judged.
    Judged {
        /// Whether it complained about this very port.
        is_blamed: bool,
    },
    /// The end was taken in.
    Settled,
    /// The unit is at rest: nothing starts it again by itself.
    Rest,
    /// The hold was taken again.
    Regained,
    /// It was looked at.
    Seen(PortState),
    /// The socket on which the service listens was asked whether it has `SO_REUSEADDR`; nothing where it
    /// could not be.
    Asked(Option<bool>),
    /// Its hold is in the way: the next attempt finds it released.
    InTheWay,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// To the hold: let those bind that set `SO_REUSEADDR`.
    Soften,
    /// To the hold: let nobody bind.
    Harden,
    /// To the hold: listen, for the service that takes it over.
    Listen,
    /// To the hold: listen no more; waiting clients are reset.
    EndListening,
    /// Let the hold go.
    Drop,
    /// Hold the port again, if that is possible.
    TakeBack,
    /// Ask the socket of this process whether it has `SO_REUSEADDR`.
    Ask {
        /// The process.
        pid: i32,
    },
    /// Tell the ledger.
    Tell(Lesson),
}

/// The machine of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    way: Way,
    stage: Stage,
    is_held: bool,
    /// Whether the hold listens for the service that takes it over.
    listens: bool,
    /// Whether the last attempt could not bind the port though it was released.
    is_useless: bool,
    seen: PortState,
}

impl Handover {
    /// `handoff` is what the file says; `is_remembered`, whether an earlier run has learned that the
    /// hold is to be released.
    pub(crate) fn new(handoff: Option<Handoff>, is_remembered: bool, is_held: bool) -> Self {
        Self {
            way: match handoff {
                Some(Handoff::Fd) => Way::Fd,
                Some(Handoff::Release) => Way::Release(Why::Written),
                Some(Handoff::Reuse) => Way::Reuse(Learning::Barred),
                None if is_remembered => Way::Release(Why::Remembered),
                None => Way::Reuse(Learning::Open),
            },
            stage: Stage::Idle,
            is_held,
            listens: false,
            is_useless: false,
            seen: PortState::Held,
        }
    }

    /// How it stands with the port, as everybody is told.
    pub(crate) fn state(&self) -> &PortState {
        &self.seen
    }

    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether the service takes the hold over.
    pub(crate) fn is_passed(&self) -> bool {
        self.way == Way::Fd
    }

    pub(crate) fn is_stolen(&self) -> bool {
        matches!(self.seen, PortState::Stolen { .. })
    }

    /// Whether the service has listened on it in the present or last attempt.
    pub(crate) fn has_listened(&self) -> bool {
        self.attempt().has_listened
    }

    /// Whether the port is of no use to its service, as it could not bind it though nobody was in the
    /// way. Told once.
    pub(crate) fn take_useless(&mut self) -> bool {
        std::mem::take(&mut self.is_useless)
    }

    fn attempt(&self) -> Attempt {
        match self.stage {
            Stage::Idle => Attempt::default(),
            Stage::Open(attempt) | Stage::Closing(attempt) | Stage::Over(attempt) => attempt,
        }
    }

    /// Takes in what happened and says what to do about it, in this order.
    pub(crate) fn on(&mut self, event: Event) -> Vec<Action> {
        match (self.stage, event) {
            // Without a hold nothing is executed: see `UnitPorts::open`.
            (Stage::Idle | Stage::Over(_), Event::Execute) if !self.is_held => vec![],
            (Stage::Idle | Stage::Over(_), Event::Execute) => {
                self.stage = Stage::Open(Attempt::default());
                self.seen = PortState::NotListening;
                match self.way {
                    Way::Reuse(_) => vec![Action::Soften],
                    Way::Release(_) => {
                        self.is_held = false;
                        vec![Action::Drop]
                    }
                    Way::Fd => {
                        self.listens = true;
                        vec![Action::Listen]
                    }
                }
            }
            (Stage::Open(_) | Stage::Closing(_), Event::Execute) => vec![],

            (Stage::Open(attempt), Event::Stop) => {
                self.stage = Stage::Closing(attempt);
                match self.way {
                    // Nobody new is let in beside it; what listens already is not disturbed.
                    Way::Reuse(_) | Way::Release(_) if self.is_held => vec![Action::Harden],
                    Way::Reuse(_) | Way::Release(_) | Way::Fd => vec![],
                }
            }
            (Stage::Idle | Stage::Closing(_) | Stage::Over(_), Event::Stop) => vec![],

            (Stage::Open(attempt) | Stage::Closing(attempt), Event::Ended) => {
                self.stage = Stage::Over(attempt);
                self.rest();
                self.keep()
            }
            (Stage::Idle | Stage::Over(_), Event::Ended) => self.keep(),

            (Stage::Over(attempt), Event::Judged { is_blamed }) => {
                if let (Way::Release(why), false) = (self.way, attempt.has_listened) {
                    self.is_useless |= is_blamed;
                    // A crash loop must not go on with a port that anybody can have.
                    if why == Why::Tried {
                        self.way = Way::Reuse(Learning::Done);
                    }
                }
                vec![]
            }
            (Stage::Idle | Stage::Open(_) | Stage::Closing(_), Event::Judged { .. }) => vec![],

            (Stage::Idle | Stage::Over(_), Event::Settled) => {
                self.stage = Stage::Idle;
                self.rest();
                vec![]
            }
            (Stage::Open(_) | Stage::Closing(_), Event::Settled) => vec![],

            (Stage::Idle | Stage::Over(_), Event::Rest) if self.listens => {
                self.listens = false;
                vec![Action::EndListening]
            }
            (Stage::Idle | Stage::Over(_) | Stage::Open(_) | Stage::Closing(_), Event::Rest) => {
                vec![]
            }

            (Stage::Idle | Stage::Over(_), Event::Regained) => {
                self.is_held = true;
                self.rest();
                vec![]
            }
            // Beside its server no hold can be had, and none is wanted.
            (Stage::Open(_) | Stage::Closing(_), Event::Regained) => vec![],

            (Stage::Idle, Event::Seen(state)) => {
                let actions = self.theft(&state);
                self.seen = state;
                self.rest();
                actions
            }
            (
                Stage::Open(mut attempt) | Stage::Closing(mut attempt) | Stage::Over(mut attempt),
                Event::Seen(state),
            ) => {
                let mut actions = self.theft(&state);
                attempt.is_contested |= matches!(state, PortState::Stolen { .. });
                if let PortState::Listening { pid, .. } = state
                    && !attempt.has_listened
                {
                    attempt.has_listened = true;
                    self.is_useless = false;
                    match self.way {
                        Way::Release(Why::Remembered | Why::Tried) => {
                            actions.push(Action::Ask { pid });
                        }
                        Way::Reuse(_) | Way::Release(Why::Written) | Way::Fd => {}
                    }
                }
                self.stage = match self.stage {
                    Stage::Closing(_) => Stage::Closing(attempt),
                    Stage::Over(_) => Stage::Over(attempt),
                    Stage::Open(_) | Stage::Idle => Stage::Open(attempt),
                };
                self.seen = state;
                actions
            }

            (_, Event::Asked(reuses)) => match (self.way, reuses) {
                // A released port is less well kept, so it is for nothing no longer than this attempt.
                (Way::Release(Why::Remembered), Some(true)) => {
                    self.way = Way::Reuse(Learning::Done);
                    vec![Action::Tell(Lesson::Reuse)]
                }
                (Way::Release(Why::Tried), Some(true)) => {
                    self.way = Way::Reuse(Learning::Done);
                    vec![]
                }
                (Way::Release(Why::Tried), Some(false) | None) => {
                    self.way = Way::Release(Why::Remembered);
                    vec![Action::Tell(Lesson::Release)]
                }
                (Way::Release(Why::Remembered), Some(false) | None)
                | (Way::Release(Why::Written) | Way::Reuse(_) | Way::Fd, _) => vec![],
            },

            (_, Event::InTheWay) => {
                match self.way {
                    Way::Reuse(Learning::Open) => self.way = Way::Release(Why::Tried),
                    Way::Reuse(Learning::Done | Learning::Barred) | Way::Release(_) | Way::Fd => {}
                }
                vec![]
            }
        }
    }

    /// Nothing of the service may be let in any more, nor anybody else.
    fn keep(&self) -> Vec<Action> {
        match (self.is_held, self.way) {
            (false, _) => vec![Action::TakeBack],
            // It listens on, and nobody else can; one that its server has shut down listens again.
            (true, Way::Fd) if self.listens => vec![Action::Listen],
            (true, Way::Fd | Way::Reuse(_) | Way::Release(_)) => vec![Action::Harden],
        }
    }

    /// Nothing of the service runs: what is to be told is whether it is held, but for a theft, which
    /// stays in view until it is over.
    fn rest(&mut self) {
        if !self.is_stolen() {
            self.seen = if self.is_held {
                PortState::Held
            } else {
                PortState::NotListening
            };
        }
    }

    fn theft(&self, state: &PortState) -> Vec<Action> {
        let is_new = matches!(state, PortState::Stolen { .. }) && !self.is_stolen();
        if is_new {
            vec![Action::Tell(Lesson::Stolen)]
        } else {
            vec![]
        }
    }

    /// Whether its own hold may have kept the server out in this attempt.
    fn is_suspect(&self, learning: Learning) -> bool {
        let attempt = self.attempt();
        self.way == Way::Reuse(learning) && !attempt.has_listened && !attempt.is_contested
    }
}

#[cfg(test)]
mod tests;
