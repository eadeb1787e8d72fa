//! What is to be printed and has not been yet: bounded in bytes, with a policy for when it is full.
//!
//! [`Queue`] is plain data, without lock and clock; [`Shared`] is how two threads use it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::run::control::StackSnapshot;
use crate::run::logs::LogBlock;
use crate::run::snapshot::{Event, ServiceSnapshot};
use crate::support::name::UnitId;

mod shared;

pub(super) use shared::Shared;

/// How much output may wait for a slow reader.
pub(super) const CAPACITY: usize = 8 * 1024 * 1024;

/// How much the printer takes at once, so that what it works on stays small beside the queue.
pub(super) const BATCH: usize = 256 * 1024;

/// Without any progress for this long, a reader counts as stalled.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What an item that is no log block is taken to weigh, beside its text.
const ITEM_WEIGHT: usize = 512;

/// How much of a unit's last line is kept for the live region.
const MAX_LAST_LINE: usize = 512;

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
    /// All of it is being stopped.
    Draining,
    /// A service that failed.
    Failure(Box<Failure>),
    /// What was not printed because the reader was too slow.
    Dropped(Dropped),
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
    fn weight(&self) -> usize {
        match self {
            Self::Logs(block) => block.bytes.len() + ITEM_WEIGHT,
            Self::Out(text) | Self::Err(text) => text.len() + ITEM_WEIGHT,
            Self::Units(_)
            | Self::Event(_)
            | Self::Summary(_)
            | Self::Draining
            | Self::Failure(_)
            | Self::Dropped(_) => 2 * ITEM_WEIGHT,
        }
    }
}

/// What is done with log blocks when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// A person reads: what does not fit is dropped and counted.
    Drop,
    /// A program or a file reads: the caller waits, until the reader counts as stalled.
    Wait,
}

/// What became of a block of output.
#[derive(Debug)]
#[must_use]
pub enum Delivery {
    /// It will be printed, or counted among what was not.
    Accepted,
    /// There is no room: here it is again; wait for [`super::Printer::room`] and offer it anew.
    Full(LogBlock),
}

/// Counts of what was not printed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Lines by unit, in the order in which the first of each was dropped.
    pub(super) lines: Vec<(UnitId, u64)>,
    /// Changes and notices.
    pub(super) events: u64,
}

impl Dropped {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.events == 0
    }

    fn count(&mut self, block: &LogBlock) {
        let ends = memchr::memchr_iter(b'\n', &block.bytes).count();
        // A partial line is counted when its end comes; a last one without an end never would be.
        let lines = u64::try_from(ends).unwrap_or(u64::MAX);
        match self.lines.iter_mut().find(|(unit, _)| *unit == block.unit) {
            Some((_, count)) => *count = count.saturating_add(lines),
            None => self.lines.push((block.unit.clone(), lines)),
        }
    }
}

/// The queue itself: plain data, no lock, no clock.
#[derive(Debug)]
pub(super) struct Queue {
    policy: Policy,
    capacity: usize,
    items: VecDeque<Item>,
    /// The weight of `items` and of what the printer has taken and not finished.
    weight: usize,
    /// The weight of what the printer has taken and not finished.
    weight_taken: usize,
    dropped: Dropped,
    /// Whether blocks are dropped until half of the queue has been printed: without this
    /// hysteresis there would be a note about dropped lines after every other block.
    is_dropping: bool,
    /// The progress at which the reader was found to be stalled.
    stalled_at: Option<u64>,
    /// Whether the printer wants to know the last lines of units, for the live region.
    wants_last_lines: bool,
    last_lines: HashMap<UnitId, Vec<u8>>,
    /// The weight at which the printer wants to be woken, while it sleeps.
    wake_at: Option<usize>,
    life: Life,
}

/// How far the printer is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// It ends when everything is printed.
    Closing,
    /// Its thread has ended.
    Finished,
}

impl Queue {
    pub(super) fn new(policy: Policy, capacity: usize) -> Self {
        Self {
            policy,
            capacity,
            items: VecDeque::new(),
            weight: 0,
            weight_taken: 0,
            dropped: Dropped::default(),
            is_dropping: false,
            stalled_at: None,
            wants_last_lines: false,
            last_lines: HashMap::new(),
            wake_at: None,
            life: Life::Open,
        }
    }

    /// Whether a caller that was told to wait may go on.
    pub(super) fn has_room(&self) -> bool {
        self.weight <= self.capacity / 2
    }

    /// Takes a block, or gives it back. `progress` is how often the reader has taken something.
    pub(super) fn offer(&mut self, block: LogBlock, progress: u64) -> Delivery {
        if self
            .stalled_at
            .is_some_and(|stalled_at| stalled_at != progress)
        {
            self.stalled_at = None;
        }
        self.is_dropping = match (self.policy, self.stalled_at) {
            (Policy::Wait, None) => false,
            (Policy::Drop, _) | (Policy::Wait, Some(_)) => {
                let weight = block.bytes.len() + ITEM_WEIGHT;
                if self.is_dropping {
                    !self.has_room()
                } else {
                    // A block that is larger than the whole queue must still get through.
                    self.weight > 0 && self.weight + weight > self.capacity
                }
            }
        };
        if self.is_dropping {
            self.dropped.count(&block);
            return Delivery::Accepted;
        }
        let weight = block.bytes.len() + ITEM_WEIGHT;
        if self.weight > 0 && self.weight + weight > self.capacity {
            return Delivery::Full(block);
        }
        self.note_dropped();
        self.append(Item::Logs(block));
        Delivery::Accepted
    }

    /// Takes a change. These are few and small; they are dropped only when twice the queue's
    /// capacity is waiting, as a stack that crash-loops before a stalled terminal must not eat
    /// the memory.
    pub(super) fn push_event(&mut self, event: Event) {
        if self.weight > self.capacity * 2 {
            self.dropped.events += 1;
        } else {
            self.append(Item::Event(event));
        }
    }

    /// Takes what is never dropped: what a command was asked for, and why it failed.
    pub(super) fn append(&mut self, item: Item) {
        self.weight += item.weight();
        self.items.push_back(item);
    }

    /// The note about what was dropped goes where it would have stood.
    fn note_dropped(&mut self) {
        if !self.dropped.is_empty() {
            let dropped = std::mem::take(&mut self.dropped);
            self.append(Item::Dropped(dropped));
        }
    }

    /// The batch that was handed out last is printed.
    pub(super) fn finish_batch(&mut self) {
        self.weight -= std::mem::take(&mut self.weight_taken);
    }

    /// Hands out the next items, at least one if there are any.
    pub(super) fn take(&mut self) -> Vec<Item> {
        if self.items.is_empty() {
            // All that was accepted is on the screen: time to say what is missing.
            self.note_dropped();
            self.is_dropping = false;
        }
        let mut batch = Vec::new();
        while self.weight_taken < BATCH
            && let Some(item) = self.items.pop_front()
        {
            self.weight_taken += item.weight();
            batch.push(item);
        }
        batch
    }

    /// Whether there is anything to print.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.dropped.is_empty()
    }

    fn close(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Closing;
        }
    }

    fn is_closing(&self) -> bool {
        self.life != Life::Open
    }

    fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }

    /// The reader has taken nothing for too long.
    pub(super) fn mark_stalled(&mut self, progress: u64) {
        self.stalled_at = Some(progress);
    }

    /// Whether blocks are dropped because of the reader.
    fn is_stalled(&self, progress: u64) -> bool {
        self.stalled_at == Some(progress)
    }

    /// Forgets all log blocks: nobody reads them any more.
    pub(super) fn discard_logs(&mut self) {
        self.items.retain(|item| !matches!(item, Item::Logs(_)));
        self.weight = self.items.iter().map(Item::weight).sum::<usize>() + self.weight_taken;
        self.dropped.lines.clear();
    }

    /// Hands out the last lines that came since, and says whether more are wanted.
    pub(super) fn take_last_lines(&mut self, wants_more: bool) -> HashMap<UnitId, Vec<u8>> {
        self.wants_last_lines = wants_more;
        std::mem::take(&mut self.last_lines)
    }

    /// Remembers the last line that a unit printed.
    pub(super) fn note_last_line(&mut self, unit: &UnitId, bytes: &Bytes) {
        if !self.wants_last_lines {
            return;
        }
        let text = bytes.trim_ascii_end();
        let start = memchr::memrchr2(b'\n', b'\r', text).map_or(0, |end| end + 1);
        let line = &text[start..];
        if line.is_empty() {
            return;
        }
        let line = &line[..line.len().min(MAX_LAST_LINE)];
        let kept = self.last_lines.entry(unit.clone()).or_default();
        kept.clear();
        kept.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests;
