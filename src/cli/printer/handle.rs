//! The handle that the rest of the program holds.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use console::Term;

use super::direct::size_of;
use super::frame::Size;
use super::options::PrinterOptions;
use super::queue::{CAPACITY, Delivery, Failure, Item, PATIENCE, Shared};
use super::sink::{LARGE, Raw, Sink};
use super::worker::{Worker, World};
use crate::run::control::StackSnapshot;
use crate::run::logs::LogBlock;
use crate::run::snapshot::{Event, Notice};
use crate::support::clock::unix_millis;
use crate::support::name::{ServiceName, UnitId};

/// Prints everything that the program says. Share it by reference or [`Arc`]; no method waits for
/// a terminal but [`Printer::finish`], which has an end.
#[derive(Debug)]
pub struct Printer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    attach: Option<HashSet<ServiceName>>,
}

impl Printer {
    /// Starts the printer's thread. It inherits the caller's signal mask.
    ///
    /// Fails if the system gives no thread.
    pub fn start(options: PrinterOptions) -> io::Result<Self> {
        let (out, err) = (Raw(io::stdout()), Raw(io::stderr()));
        let largest = [out.largest_write(), err.largest_write()];
        let world = World {
            now: unix_millis,
            size: terminal_size,
        };
        Self::start_with(
            options,
            [Box::new(out), Box::new(err)],
            largest,
            world,
            (CAPACITY, PATIENCE),
        )
    }

    /// Starts the printer on other streams, for benchmarks.
    #[doc(hidden)]
    pub fn start_on(
        options: PrinterOptions,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let world = World {
            now: unix_millis,
            size: terminal_size,
        };
        let limits = (CAPACITY, PATIENCE);
        Self::start_with(options, [stdout, stderr], [LARGE, LARGE], world, limits)
    }

    pub(super) fn start_with(
        options: PrinterOptions,
        streams: [Box<dyn Write + Send>; 2],
        largest: [usize; 2],
        world: World,
        (capacity, patience): (usize, Duration),
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(options.policy(), capacity, patience));
        let attach = options.attach.clone().map(HashSet::from_iter);
        let thread_shared = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("printer".to_owned())
            .spawn(move || {
                let _end = End(Arc::clone(&thread_shared));
                let [out, err] = streams;
                let out = Sink::new(out, largest[0], Arc::clone(&thread_shared));
                let err = Sink::new(err, largest[1], Arc::clone(&thread_shared));
                // Made here, so that the caller does not pay for it.
                Worker::new(options, out, err, thread_shared, world).run();
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            attach,
        })
    }

    /// Prints what changed, as far as it is worth it.
    pub fn event(&self, event: &Event) {
        self.shared.send(|queue| queue.push_event(event.clone()));
    }

    /// Prints output of a unit, if its service is one whose output is shown.
    pub fn logs(&self, block: LogBlock) -> Delivery {
        let is_shown = self.is_attached(&block.unit.service);
        self.shared.offer(block, is_shown)
    }

    /// Returns when [`Printer::logs`] has room again, or when waiting for the reader of stdout has
    /// no point: it took nothing for a second, or it is gone.
    pub async fn room(&self) {
        self.shared.room().await;
    }

    /// Whether the output of a service is shown.
    pub fn is_attached(&self, service: &ServiceName) -> bool {
        self.attach
            .as_ref()
            .is_none_or(|attach| attach.contains(service))
    }

    /// Prints a notice.
    pub fn notice(&self, notice: Notice) {
        self.shared
            .send(|queue| queue.push_event(Event::Notice(notice)));
    }

    /// Makes units known that were not at the start. Of a service of which there are several, the
    /// names are shown with their numbers.
    pub fn introduce(&self, units: Vec<UnitId>) {
        self.shared.send(|queue| queue.append(Item::Units(units)));
    }

    /// Prints data on stdout: one line, or several with their ends.
    pub fn line_out(&self, text: impl Into<String>) {
        let text = text.into();
        self.shared.send(|queue| queue.append(Item::Out(text)));
    }

    /// Prints a message on stderr: one line, or several with their ends.
    pub fn line_err(&self, text: impl Into<String>) {
        let text = text.into();
        self.shared.send(|queue| queue.append(Item::Err(text)));
    }

    /// Prints a message of several lines that was made for a person; JSON progress leaves it to
    /// the events.
    pub fn message(&self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.line_err(text);
        }
    }

    /// Prints every service with its address, where `.env` is, and how to stop.
    pub fn summary(&self, stack: &StackSnapshot) {
        let stack = Box::new(stack.clone());
        self.shared.send(|queue| queue.append(Item::Summary(stack)));
    }

    /// Prints why a service failed, and its last lines. Meant to come last, after the summary.
    pub fn failure(&self, failure: Failure) {
        let item = Item::Failure(Box::new(failure));
        self.shared.send(|queue| queue.append(item));
    }

    /// Notes that all of it is being stopped, so that how each service goes is no news.
    pub fn draining(&self) {
        self.shared.send(|queue| queue.append(Item::Draining));
    }

    /// Whether nobody reads stdout any more. What services print is accepted and thrown away then.
    pub fn is_output_gone(&self) -> bool {
        self.shared.is_output_gone()
    }

    /// Whether something could not be written to stdout though its reader is there: a full disk.
    pub fn has_output_failed(&self) -> bool {
        self.shared.has_output_failed()
    }

    /// Prints what is left and ends the thread. Waits for a slow reader, but not for one that
    /// takes nothing for a second: the thread is left to itself then. Returns whether everything
    /// was printed. What is offered afterwards is not.
    pub fn finish(&self) -> bool {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.take() else {
            return true;
        };
        // A panic of the thread has been reported by itself.
        self.shared.close() && thread.join().is_ok()
    }
}

impl Drop for Printer {
    /// What was said before an early return must not be lost.
    fn drop(&mut self) {
        self.finish();
    }
}

/// Tells those who wait that the thread has ended, however it did.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set_finished();
    }
}

/// The size of the terminal behind stderr, or that of the classic one where there is none.
fn terminal_size() -> Size {
    let (rows, columns) = size_of(&Term::stderr()).unwrap_or((24, 80));
    Size { columns, rows }
}

#[cfg(test)]
mod tests;
