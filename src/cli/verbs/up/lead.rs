//! What the client has in hand of the stack that it has started: guardian and supervisor.

use std::io;

use nix::sys::signal::Signal;

use crate::cli::exit::{ExitCode, Stop};
use crate::run::launch::{Child, GuardianEnd, Signals};
use crate::run::link::{ClientEnd, LastWord};

/// The two processes below the client.
pub(super) struct Lead {
    child: Child,
    link: ClientEnd,
    /// How the supervisor ended, once it has.
    word: Option<LastWord>,
    /// How the guardian ended, once it has.
    end: Option<GuardianEnd>,
    child_ended: Signals,
}

impl Lead {
    /// Must be called within a runtime.
    pub(super) fn new(child: Child) -> io::Result<Self> {
        Ok(Self {
            link: ClientEnd::new(child.link.try_clone()?)?,
            child,
            word: None,
            end: None,
            child_ended: Signals::install(&[Signal::SIGCHLD])?,
        })
    }

    /// Returns when one of the two has ended: with what to say about that, if anything.
    pub(super) async fn next_end(&mut self) -> Option<&'static str> {
        if self.word.is_some() {
            while self.end.is_none() {
                self.child_ended.next().await;
                self.end = self.child.end();
            }
        } else {
            self.word = Some(self.link.last_word().await);
            // The news of the guardian's end may have come before.
            self.end = self.child.end();
            if self.word == Some(LastWord::Nothing) && self.end.is_none() {
                return Some("error: the supervisor was killed; its guardian stops all services");
            }
        }
        None
    }

    /// Whether both have ended.
    pub(super) fn is_over(&self) -> bool {
        self.word.is_some() && self.end.is_some()
    }

    /// Whether both were killed, so that nobody is left to stop anything.
    pub(super) fn has_lost_both(&self) -> bool {
        self.word == Some(LastWord::Nothing) && self.end == Some(GuardianEnd::Killed)
    }

    /// Why the supervisor could not begin, if that is how it ended.
    pub(super) fn could_not_begin(&self) -> Option<Stop> {
        match &self.word {
            Some(LastWord::Failed(_)) => self.outcome().err(),
            Some(LastWord::Ended(_) | LastWord::Nothing) | None => None,
        }
    }

    /// The exit code of the whole, or what went wrong.
    pub(super) fn outcome(&self) -> Result<ExitCode, Stop> {
        let message = match (&self.word, self.end) {
            (Some(LastWord::Ended(_)), Some(GuardianEnd::Killed)) => {
                "the guardian was killed; all services have been stopped"
            }
            (Some(LastWord::Ended(code)), _) => return Ok(ExitCode::Own(*code)),
            (Some(LastWord::Failed(message)), _) => {
                return Err(Stop {
                    code: ExitCode::Failed,
                    message: message.clone(),
                });
            }
            (_, Some(GuardianEnd::Code(0))) => {
                "the supervisor was killed; all services have been stopped"
            }
            (_, Some(GuardianEnd::Code(_))) => {
                "the supervisor was killed, and not every process could be stopped"
            }
            (_, Some(GuardianEnd::Killed) | None) => {
                "supervisor and guardian were killed; `stack down` looks for what they have left"
            }
        };
        Err(Stop::new(ExitCode::Failed, message, None))
    }

    /// Passes a signal on; `false` where no guardian is left to take it.
    pub(super) fn signal(&mut self, signal: Signal) -> bool {
        if self.end.is_none() {
            self.end = self.child.end();
        }
        let has_guardian = self.end.is_none();
        if has_guardian {
            self.child.signal(signal);
        }
        has_guardian
    }

    /// Has services and timers stand still while `pause` lasts.
    pub(super) async fn freeze_while(&mut self, pause: impl FnOnce()) {
        self.link.freeze().await;
        pause();
        self.link.thaw().await;
    }
}
