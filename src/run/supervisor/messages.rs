//! What the loop waits for, besides signals, the client that has started it and the guardian: what comes
//! from tasks of this process, and the next deadline.

use tokio::time::Instant;

use super::hooks::HookEnded;
use super::propose::{Asker, Planned, Plannings, ReplyTx};
use super::{Ended, Supervisor};
use crate::ports::Noted;
use crate::run::control::{CommandReply, Request};
use crate::run::home::Written;
use crate::run::notify::Heard;
use crate::run::outlet::Finding;
use crate::run::probe::Answer;
use crate::run::runner::Happened;

/// Something for the loop.
#[derive(Debug)]
pub(super) enum Message {
    /// A main process has ended.
    Ended(Ended),
    /// A check has an answer.
    Answer(Answer),
    /// A service has said something of itself.
    Heard(Heard),
    /// A hook has ended.
    Hook(HookEnded),
    /// Something happened later than it was asked for.
    Happened(Happened),
    /// Somebody asks for something.
    Request(Request),
    /// Something was found in the output of a unit.
    Finding(Finding),
    /// What takes time beside the loop is done.
    Prepared(Prepared),
    /// A deadline has come.
    Due,
}

/// What was done beside the loop.
#[derive(Debug)]
pub(super) enum Prepared {
    /// A plan was made, or cannot be.
    Planned(Plannings, Asker),
    /// Nobody has wanted a proposal carried out.
    Expired(u64),
    /// The files are as a plan wants them, or cannot be.
    Written(Box<Planned>, Written, Option<ReplyTx<CommandReply>>),
    /// The ledger knows the ports.
    Noted(Noted),
}

impl Supervisor {
    /// The next message. What is not awaited to its end takes nothing.
    pub(super) async fn next_message(&mut self) -> Message {
        let deadline = self.deadline();
        // The runtime's timer counts in milliseconds: what is due already must not wait for it.
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Message::Due;
        }
        tokio::select! {
            biased;
            Some(ended) = self.ended_rx.recv() => Message::Ended(ended),
            // While everything stands still an answer says nothing of a service.
            Some(answer) = self.answer_rx.recv(), if self.frozen_at.is_none() => {
                Message::Answer(answer)
            }
            Some(heard) = self.heard_rx.recv(), if self.frozen_at.is_none() => Message::Heard(heard),
            Some(ended) = self.hook_rx.recv(), if self.frozen_at.is_none() => Message::Hook(ended),
            Some(happened) = self.happened_rx.recv() => Message::Happened(happened),
            Some(prepared) = self.prepared_rx.recv() => Message::Prepared(prepared),
            Some(request) = self.request_rx.recv() => Message::Request(request),
            Some(finding) = self.finding_rx.recv() => Message::Finding(finding),
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                if deadline.is_some() => Message::Due,
        }
    }

    pub(super) fn receive(&mut self, message: Message) {
        match message {
            Message::Ended(ended) => self.ended(ended),
            Message::Answer(answer) => self.answered(answer),
            Message::Heard(heard) => self.heard(heard),
            Message::Hook(ended) => self.hook_ended(ended),
            Message::Happened(happened) => self.happened(happened),
            Message::Request(request) => self.requested(request),
            Message::Finding(finding) => self.found(finding),
            Message::Prepared(Prepared::Planned(planned, asker)) => self.planned(planned, asker),
            Message::Prepared(Prepared::Expired(id)) => self.expired(id),
            Message::Prepared(Prepared::Written(planned, written, reply_tx)) => {
                self.written(planned, written, reply_tx);
            }
            Message::Prepared(Prepared::Noted(noted)) => self.noted = Some(noted),
            Message::Due => self.due(),
        }
    }
}
