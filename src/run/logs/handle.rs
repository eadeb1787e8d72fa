//! How the supervisor speaks to the pump: messages, so that neither holds the other's state.

use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::{mpsc, oneshot};

use super::Expected;
use crate::plan::model::LoggingPlan;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// A handle on the pump. Cheap to clone; the pump ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct PumpHandle {
    message_tx: mpsc::UnboundedSender<Message>,
}

/// What the pump found when it drained an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Whether somebody (a grandchild) still holds a pipe of the attempt open. Its output goes on
    /// to the log, under the attempt that opened the pipe.
    pub is_leaky: bool,
}

#[derive(Debug)]
pub(super) enum Message {
    Register {
        fd: OwnedFd,
        unit: UnitId,
        stream: LogStream,
        attempt: u32,
        limits: LoggingPlan,
        /// Whether it is the service itself that prints.
        is_own: bool,
    },
    Change {
        unit: UnitId,
        expected: Expected,
        limits: LoggingPlan,
    },
    Hurry {
        unit: UnitId,
    },
    Drain {
        unit: UnitId,
        attempt: u32,
        done_tx: oneshot::Sender<Drained>,
    },
    Clear {
        units: Vec<UnitId>,
        done_tx: oneshot::Sender<io::Result<()>>,
    },
    Close {
        unit: UnitId,
    },
}

impl PumpHandle {
    pub(super) fn new(message_tx: mpsc::UnboundedSender<Message>) -> Self {
        Self { message_tx }
    }

    /// Hands over the read end of a pipe (or a terminal's master), which must not block. It is
    /// read until its end, or until [`close`](Self::close). Of the unit's output no more than `limits`
    /// is kept from now on.
    pub fn register(
        &self,
        fd: OwnedFd,
        unit: UnitId,
        stream: LogStream,
        attempt: u32,
        limits: LoggingPlan,
    ) {
        self.tell(Message::Register {
            fd,
            unit,
            stream,
            attempt,
            limits,
            is_own: true,
        });
    }

    /// As [`register`](Self::register), of a command beside the unit, in whose output nothing is looked
    /// for.
    pub fn register_beside(
        &self,
        fd: OwnedFd,
        unit: UnitId,
        stream: LogStream,
        attempt: u32,
        limits: LoggingPlan,
    ) {
        self.tell(Message::Register {
            fd,
            unit,
            stream,
            attempt,
            limits,
            is_own: false,
        });
    }

    /// From now on this is looked for in a unit's output, of which no more is kept than `limits` says.
    pub fn change(&self, unit: UnitId, expected: Expected, limits: LoggingPlan) {
        self.tell(Message::Change {
            unit,
            expected,
            limits,
        });
    }

    /// Somebody has written to a unit: what it answers within the next second is put out at once, also
    /// a line without its end.
    pub fn hurry(&self, unit: UnitId) {
        self.tell(Message::Hurry { unit });
    }

    /// After a process has exited: everything that it printed is in the file, and has been announced,
    /// when the future returns. The request is made at once, whether or not it is awaited. It does
    /// not wait for the end of a pipe that a grandchild holds.
    pub fn drain(
        &self,
        unit: UnitId,
        attempt: u32,
    ) -> impl Future<Output = Drained> + Send + 'static {
        let (done_tx, done_rx) = oneshot::channel();
        self.tell(Message::Drain {
            unit,
            attempt,
            done_tx,
        });
        async move { done_rx.await.unwrap_or_default() }
    }

    /// Removes what these units have logged, of all of them where none is named; what they print later
    /// is logged as ever.
    pub fn clear(
        &self,
        units: Vec<UnitId>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (done_tx, done_rx) = oneshot::channel();
        self.tell(Message::Clear { units, done_tx });
        // Without a pump nothing was removed.
        async move {
            done_rx
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    /// Logs what the unit's pipes hold now, then closes them and its files. Who still writes
    /// gets a `SIGPIPE`.
    pub fn close(&self, unit: UnitId) {
        self.tell(Message::Close { unit });
    }

    fn tell(&self, message: Message) {
        // Without a pump there is nobody left to read; what was handed over is closed.
        drop(self.message_tx.send(message));
    }
}
