//! The printer as the log pump's sink: the terminal of a stack in the foreground.

use std::sync::Arc;

use super::printer::{Delivery, Printer};
use crate::run::logs::{Flow, LogBlock, LogSink};
use crate::run::snapshot::Notice;
use crate::support::name::UnitId;

/// Shows what services print.
#[derive(Debug)]
pub(super) struct Viewer {
    printer: Arc<Printer>,
    /// What the printer had no room for, oldest first.
    pending: std::collections::VecDeque<LogBlock>,
}

impl Viewer {
    /// Shows output by `printer`.
    pub(super) fn new(printer: Arc<Printer>) -> Self {
        Self {
            printer,
            pending: std::collections::VecDeque::new(),
        }
    }

    /// Offers what is pending. `false` when there is still no room.
    fn flush(&mut self) -> bool {
        while let Some(block) = self.pending.pop_front() {
            if let Delivery::Full(block) = self.printer.logs(block) {
                self.pending.push_front(block);
                return false;
            }
        }
        true
    }
}

impl LogSink for Viewer {
    fn wants(&self, unit: &UnitId, _attempt: u32) -> bool {
        self.printer.is_attached(&unit.service)
    }

    fn send(&mut self, block: LogBlock) -> Flow {
        self.pending.push_back(block);
        if self.flush() { Flow::Room } else { Flow::Full }
    }

    async fn room(&mut self) {
        // Nothing is lost when this is dropped: what is pending stays so.
        while !self.flush() {
            self.printer.room().await;
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.printer.notice(notice);
    }
}
