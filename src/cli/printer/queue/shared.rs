//! The queue behind a lock, and the ways to wait for it.
//!
//! A monitor between two threads: the caller's, which must never wait for a terminal, and the
//! printer's, which does little else. Nothing is written while the lock is held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{BATCH, Delivery, Item, Life, Policy, Queue};
use crate::run::logs::LogBlock;
use crate::support::name::UnitId;

/// The queue, shared between the caller's thread and the printer's.
#[derive(Debug)]
pub(in crate::cli::printer) struct Shared {
    queue: Mutex<Queue>,
    /// Rung for the printer's thread: there is something to do.
    work: Condvar,
    /// Rung for `finish`: everything is printed.
    finished: Condvar,
    /// Rung for `room`.
    room: Notify,
    /// Counts the writes that a reader has taken.
    progress: AtomicU64,
    /// Whether nobody reads stdout any more.
    is_output_gone: AtomicBool,
    /// Whether that is a failure of ours, and not the reader's choice.
    has_output_failed: AtomicBool,
    /// See [`super::PATIENCE`].
    patience: Duration,
}

impl Shared {
    pub(in crate::cli::printer) fn new(
        policy: Policy,
        capacity: usize,
        patience: Duration,
    ) -> Self {
        Self {
            patience,
            queue: Mutex::new(Queue::new(policy, capacity)),
            work: Condvar::new(),
            finished: Condvar::new(),
            room: Notify::new(),
            progress: AtomicU64::new(0),
            is_output_gone: AtomicBool::new(false),
            has_output_failed: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent after every statement, so a panic elsewhere does not spoil it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The reader has taken something.
    pub(in crate::cli::printer) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::cli::printer) fn is_output_gone(&self) -> bool {
        self.is_output_gone.load(Ordering::Relaxed)
    }

    pub(in crate::cli::printer) fn has_output_failed(&self) -> bool {
        self.has_output_failed.load(Ordering::Relaxed)
    }

    /// Stdout cannot be written, though somebody wants it.
    pub(in crate::cli::printer) fn set_output_failed(&self) {
        self.has_output_failed.store(true, Ordering::Relaxed);
    }

    /// Changes the queue, and wakes the printer if that is what it sleeps for.
    pub(in crate::cli::printer) fn send<R>(&self, change: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.lock();
        let result = change(&mut queue);
        let is_due = queue.is_closing()
            || !queue.is_empty() && queue.wake_at.is_some_and(|at| queue.weight >= at);
        if is_due {
            queue.wake_at = None;
        }
        drop(queue);
        if is_due {
            self.work.notify_one();
        }
        result
    }

    /// Offers a block; `is_shown` says whether its text is to be printed.
    pub(in crate::cli::printer) fn offer(&self, block: LogBlock, is_shown: bool) -> Delivery {
        self.send(|queue| {
            queue.note_last_line(&block.unit, &block.bytes);
            if !is_shown || self.is_output_gone() {
                return Delivery::Accepted;
            }
            queue.offer(block, self.progress())
        })
    }

    /// Returns when there is room, or nobody is left to wait for.
    pub(in crate::cli::printer) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            // Registers before looking, so that no ring falls between looking and waiting.
            notified.as_mut().enable();
            let progress = self.progress();
            {
                let queue = self.lock();
                if queue.has_room()
                    || queue.is_stalled(progress)
                    || queue.is_finished()
                    || self.is_output_gone()
                {
                    return;
                }
            }
            let is_patience_over = tokio::time::timeout(self.patience, notified).await.is_err();
            if is_patience_over && self.progress() == progress {
                self.lock().mark_stalled(progress);
            }
        }
    }

    /// The next items for the printer, as what it got before is printed. Waits until there are
    /// some, or until `deadline`; `None` says that there will be no more. Until `gather_until` items
    /// are left to come together, up to a batch.
    pub(in crate::cli::printer) fn next(
        &self,
        deadline: Option<Instant>,
        gather_until: Option<Instant>,
    ) -> Option<Vec<Item>> {
        let mut queue = self.lock();
        queue.finish_batch();
        if queue.has_room() {
            self.room.notify_waiters();
        }
        loop {
            let now = Instant::now();
            let gather_until = gather_until
                .filter(|&until| now < until && queue.weight < BATCH && !queue.is_closing());
            if !queue.is_empty() && gather_until.is_none() {
                return Some(queue.take());
            }
            if queue.is_empty() && queue.is_closing() {
                return None;
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Some(Vec::new());
            }
            let until = match gather_until {
                Some(until) if !queue.is_empty() => {
                    Some(deadline.map_or(until, |at| at.min(until)))
                }
                Some(_) | None => deadline,
            };
            queue.wake_at = Some(if queue.is_empty() { 0 } else { BATCH });
            queue = wait(&self.work, queue, until);
            queue.wake_at = None;
        }
    }

    /// The last lines that units printed; see [`Queue::take_last_lines`].
    pub(in crate::cli::printer) fn take_last_lines(
        &self,
        wants_more: bool,
    ) -> HashMap<UnitId, Vec<u8>> {
        self.lock().take_last_lines(wants_more)
    }

    /// Nobody reads stdout any more: what services print is thrown away from now on.
    pub(in crate::cli::printer) fn set_output_gone(&self) {
        self.is_output_gone.store(true, Ordering::Relaxed);
        self.lock().discard_logs();
        self.room.notify_waiters();
    }

    /// The printer's thread ends.
    pub(in crate::cli::printer) fn set_finished(&self) {
        self.lock().life = Life::Finished;
        self.finished.notify_all();
        self.room.notify_waiters();
    }

    /// Lets the printer end when everything is printed, and waits for that as long as somebody
    /// reads. Returns whether all was printed.
    pub(in crate::cli::printer) fn close(&self) -> bool {
        self.send(Queue::close);
        let mut queue = self.lock();
        let mut progress = self.progress();
        let mut deadline = Instant::now() + self.patience;
        while !queue.is_finished() {
            let now = Instant::now();
            if self.progress() != progress {
                progress = self.progress();
                deadline = now + self.patience;
            } else if now >= deadline {
                return false;
            }
            queue = wait(&self.finished, queue, Some(deadline));
        }
        true
    }
}

fn wait<'a>(
    condition: &Condvar,
    queue: MutexGuard<'a, Queue>,
    until: Option<Instant>,
) -> MutexGuard<'a, Queue> {
    match until {
        None => condition
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner),
        Some(until) => {
            let timeout = until.saturating_duration_since(Instant::now());
            let waited = condition.wait_timeout(queue, timeout);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
