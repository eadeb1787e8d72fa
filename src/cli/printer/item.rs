//! What is to be printed, on its way from the caller's thread to the printer's.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::run::control::StackSnapshot;
use crate::run::logs::LogBlock;
use crate::run::snapshot::{Event, ServiceSnapshot};
use crate::support::name::UnitId;

/// From this many bytes on, who has a choice waits before it gives more.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// Without any progress for this long, a reader counts as stalled.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What an item is taken to weigh, beside its text.
const ITEM_WEIGHT: usize = 512;

/// Something to print.
#[derive(Debug)]
pub(super) enum Item {
    /// Output of a unit.
    Logs(LogBlock),
    /// More units than were known at the start.
    Units(Vec<UnitId>),
    /// A change.
    Event(Event),
    /// Data of a command, for stdout.
    Out(String),
    /// A message of a command, for stderr.
    Err(String),
    /// Everything is up, or as far up as it gets.
    Summary(Box<StackSnapshot>),
    /// All of it is being stopped; whether another Ctrl-C here would kill it.
    Draining(bool),
    /// A service that failed.
    Failure(Box<Failure>),
    /// Nothing more will come.
    End,
}

/// A service that failed, with what there is to know about it.
#[derive(Debug)]
pub struct Failure {
    /// Its last state.
    pub service: ServiceSnapshot,
    /// The last lines that it printed.
    pub tail: Vec<String>,
    /// The services, or replicas, that were not started because of it, as they are shown.
    pub blocked: Vec<String>,
}

impl Item {
    pub(super) fn weight(&self) -> usize {
        ITEM_WEIGHT
            + match self {
                Self::Logs(block) => block.bytes.len(),
                Self::Out(text) | Self::Err(text) => text.len(),
                Self::Units(_)
                | Self::Event(_)
                | Self::Summary(_)
                | Self::Draining(_)
                | Self::Failure(_)
                | Self::End => 0,
            }
    }
}

/// How far the printer is, as both threads see it.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The weight of what was given to the printer and is not printed yet.
    pending: AtomicUsize,
    /// Counts the writes that a reader has taken.
    progress: AtomicU64,
    /// Whether nobody reads stdout any more.
    is_output_gone: AtomicBool,
    /// Whether that is a failure of ours, and not the reader's choice.
    has_output_failed: AtomicBool,
    /// Rung when there is room again.
    room: Notify,
}

impl Flow {
    pub(super) fn add(&self, weight: usize) {
        self.pending.fetch_add(weight, Ordering::Relaxed);
    }

    /// So much has been printed, or will never be.
    pub(super) fn remove(&self, weight: usize) {
        let before = self.pending.fetch_sub(weight, Ordering::Relaxed);
        if before > CAPACITY / 2 && before - weight <= CAPACITY / 2 {
            self.room.notify_waiters();
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        self.pending() < CAPACITY
    }

    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The reader has taken something.
    pub(super) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_output_gone(&self) -> bool {
        self.is_output_gone.load(Ordering::Relaxed)
    }

    /// Nobody reads stdout any more: what services print is thrown away from now on.
    pub(super) fn set_output_gone(&self) {
        self.is_output_gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_output_failed(&self) -> bool {
        self.has_output_failed.load(Ordering::Relaxed)
    }

    /// Stdout cannot be written, though somebody wants it.
    pub(super) fn set_output_failed(&self) {
        self.has_output_failed.store(true, Ordering::Relaxed);
    }

    /// Returns when half of what may wait has been printed, or when the reader has taken nothing for
    /// `patience`.
    pub(super) async fn room(&self, patience: Duration) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            // Registers before looking, so that no ring falls between looking and waiting.
            notified.as_mut().enable();
            if self.pending() <= CAPACITY / 2 {
                return;
            }
            let progress = self.progress();
            let is_late = tokio::time::timeout(patience, notified).await.is_err();
            if is_late && self.progress() == progress {
                return;
            }
        }
    }
}
