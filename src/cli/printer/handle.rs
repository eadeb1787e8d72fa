//! The handle that the rest of the program holds, and the loop that keeps the screen as it should be.

use std::cell::{RefCell, RefMut};
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep_until, timeout};

use super::direct::size_of;
use super::frame::Size;
use super::options::PrinterOptions;
use super::outlet::Target;
use super::page::{Page, World};
use crate::support::clock::unix_millis;

/// Without any progress for this long, a reader counts as stalled.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// How much may wait to be written: whoever has a choice says no more until some of it has been.
const CAPACITY: usize = 256 * 1024;

/// Prints everything that a verb says. Saying something does not wait; it is written while
/// [`Printer::run`] waits for the verb's other business.
#[derive(Debug)]
pub struct Printer {
    page: RefCell<Page>,
    patience: Duration,
}

impl Printer {
    /// A printer on the standard streams.
    pub fn new(options: PrinterOptions) -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Self::on(options, [stdout, stderr]))
    }

    /// A printer on other streams, for benchmarks.
    #[doc(hidden)]
    pub fn on(options: PrinterOptions, streams: [OwnedFd; 2]) -> Self {
        let world = World {
            now: unix_millis,
            size: || size_of(&console::Term::stderr()).unwrap_or(Size::CLASSIC),
        };
        Self::with(options, streams, world, PATIENCE)
    }

    pub(super) fn with(
        options: PrinterOptions,
        streams: [OwnedFd; 2],
        world: World,
        patience: Duration,
    ) -> Self {
        Self {
            page: RefCell::new(Page::new(options, streams, world)),
            patience,
        }
    }

    /// What is said goes here; not to be kept.
    pub fn page(&self) -> RefMut<'_, Page> {
        let mut page = self.page.borrow_mut();
        page.is_touched = true;
        page
    }

    /// Whether more may be said without keeping much of it in memory.
    pub fn has_room(&self) -> bool {
        self.page.borrow().outlet.len() < CAPACITY
    }

    /// Returns when there is room again.
    pub async fn room(&self) {
        self.until(|page| page.outlet.len() < CAPACITY).await;
    }

    /// Whether nobody reads stdout any more. What is printed there is thrown away then.
    pub fn is_output_gone(&self) -> bool {
        self.page.borrow().outlet.is_gone(Target::Out)
    }

    /// Returns once nobody reads stdout any more.
    pub async fn output_gone(&self) {
        self.until(|page| page.outlet.is_gone(Target::Out)).await;
    }

    /// Whether something could not be written to stdout though its reader is there: a full disk.
    pub fn has_output_failed(&self) -> bool {
        self.page.borrow().outlet.fault(Target::Out).is_some()
    }

    /// Carries out a verb's work, and prints beside it and until all of it is printed: what the work
    /// says while it is polled is written while it waits.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                () = self.tend() => {}
            }
        };
        self.finish().await;
        outcome
    }

    /// The next thing that is to be done to the screen, when it is time. Nothing is lost when the
    /// future is dropped.
    async fn tend(&self) {
        let touched = self.until(|page| page.is_touched);
        let (is_touched, is_written, due) = {
            let page = self.page.borrow();
            (page.is_touched, page.outlet.is_empty(), page.due())
        };
        let is_due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        if is_touched {
            // What comes in quick succession is printed in one go.
            tokio::select! {
                () = is_due, if due.is_some() => {}
                () = self.until(|page| page.outlet.len() >= CAPACITY || page.due().is_none()) => {}
            }
            self.page.borrow_mut().settle();
        } else if !is_written {
            tokio::select! {
                () = self.write() => {}
                () = touched => {}
            }
        } else {
            tokio::select! {
                () = is_due => self.page.borrow_mut().settle(),
                () = touched => {}
                () = poll_fn(|cx| self.page.borrow_mut().outlet.poll_closed(cx)) => {}
            }
        }
    }

    async fn write(&self) {
        poll_fn(|cx| self.page.borrow_mut().outlet.poll_write(cx)).await;
        self.page.borrow_mut().tell_fault();
    }

    /// Returns once something holds, which whoever runs beside this brings about.
    async fn until(&self, holds: impl Fn(&Page) -> bool) {
        poll_fn(|_| {
            if holds(&self.page.borrow()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Prints what is left. Waits for a slow reader, but not for one that takes nothing for a
    /// second. Returns whether everything was printed.
    pub(super) async fn finish(&self) -> bool {
        self.page.borrow_mut().end();
        while !self.page.borrow().outlet.is_empty() {
            if timeout(self.patience, self.write()).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
