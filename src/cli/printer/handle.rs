//! The handle that the rest of the program holds, and the loop that keeps the screen as it should be.

use std::cell::{RefCell, RefMut};
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::direct::size_of;
use super::frame::Size;
use super::options::PrinterOptions;
use super::outlet::Target;
use super::page::{Page, World};
use crate::support::clock::unix_millis;

/// Once a stack has ended, a reader that takes nothing for this long is given up: whoever has started it
/// waits for its end. Any write that is taken begins it anew.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Prints everything that a verb says. Saying something does not wait; it is written while
/// [`Printer::run`] waits for the verb's other business.
#[derive(Debug)]
pub struct Printer {
    page: RefCell<Page>,
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
        Self::with(options, streams, world)
    }

    pub(super) fn with(options: PrinterOptions, streams: [OwnedFd; 2], world: World) -> Self {
        Self {
            page: RefCell::new(Page::new(options, streams, world)),
        }
    }

    /// What is said goes here; not to be kept.
    pub fn page(&self) -> RefMut<'_, Page> {
        let mut page = self.page.borrow_mut();
        page.is_touched = true;
        page
    }

    /// Whether more may be said on stdout without keeping much of it in memory.
    pub fn has_room(&self) -> bool {
        self.page.borrow().has_room(Target::Out)
    }

    /// The same for stderr, which does not wait behind a stdout that leads elsewhere.
    pub fn has_room_for_news(&self) -> bool {
        self.page.borrow().has_room(Target::Err)
    }

    /// Returns when there is room again on stdout.
    pub async fn room(&self) {
        self.until(|page| page.has_room(Target::Out)).await;
    }

    /// Returns when there is room again on stderr.
    pub async fn room_for_news(&self) {
        self.until(|page| page.has_room(Target::Err)).await;
    }

    /// Gives up whoever has taken nothing for `patience` while something waits, from `since` on. Returns
    /// once that is somebody.
    pub async fn give_up_stalled(&self, since: Instant, patience: Duration) {
        loop {
            let now = Instant::now();
            let stall = self.page.borrow().outlet.stalls_at(since, patience);
            match stall {
                Some((at, target)) if at <= now => {
                    return self.page.borrow_mut().outlet.give_up(target);
                }
                // Nothing that is said from now on can stall earlier.
                stall => sleep_until(stall.map_or(now + patience, |(at, _)| at).into()).await,
            }
        }
    }

    /// Shows nothing more on stdout: what is said is only counted.
    pub fn give_up(&self) {
        self.page().outlet.give_up(Target::Out);
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

    /// Carries out a verb's work, and prints beside it and until all of it is printed, however long its
    /// reader takes: a pager reads on when its user does.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let outcome = self.beside(work).await;
        self.finish(None).await;
        outcome
    }

    /// Prints beside some work: what it says while it is polled is written while it waits.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                () = self.tend() => {}
            }
        }
    }

    /// The next thing that is to be done to the screen, when it is time. Nothing is lost when the
    /// future is dropped.
    async fn tend(&self) {
        let touched = self.until(|page| page.is_touched);
        let (is_touched, is_written, is_idle, due) = {
            let page = self.page.borrow();
            let is_idle = page.outlet.len(Target::Out) == 0;
            (page.is_touched, page.outlet.is_empty(), is_idle, page.due())
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
                () = self.until(|page| !page.has_room(Target::Out) || page.due().is_none()) => {}
            }
            self.page.borrow_mut().settle();
        } else {
            tokio::select! {
                () = self.write(), if !is_written => {}
                () = is_due => self.page.borrow_mut().settle(),
                () = touched => {}
                () = poll_fn(|cx| self.page.borrow_mut().outlet.poll_closed(cx)), if is_idle => {}
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

    /// Prints what is left. Waits for a slow reader, but not for one that takes nothing for `patience`,
    /// if there is a limit; what is not shown because of that is said on stderr. Nothing is lost when
    /// the future is dropped.
    pub async fn finish(&self, patience: Option<Duration>) {
        let since = Instant::now();
        let stalled = async || match patience {
            Some(patience) => self.give_up_stalled(since, patience).await,
            None => pending().await,
        };
        self.page.borrow_mut().end();
        loop {
            if self.page.borrow_mut().is_all_told() {
                return;
            }
            tokio::select! {
                biased;
                () = self.write() => {}
                () = stalled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
