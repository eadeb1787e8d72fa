//! The handle that the rest of the program holds.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use console::Term;

use super::direct::size_of;
use super::frame::Size;
use super::item::{Failure, Flow, Item, PATIENCE};
use super::options::PrinterOptions;
use super::sink::{LARGE, Raw, Sink};
use super::worker::{Worker, World};
use crate::run::control::StackSnapshot;
use crate::run::logs::LogBlock;
use crate::run::snapshot::{Event, Notice};
use crate::support::clock::unix_millis;
use crate::support::name::UnitId;

/// Prints everything that the program says. Share it by reference or [`Arc`]; no method waits for
/// a terminal but [`Printer::finish`], which has an end.
#[derive(Debug)]
pub struct Printer {
    way: Way,
    flow: Arc<Flow>,
    patience: Duration,
}

/// How what is said gets to the worker.
#[derive(Debug)]
enum Way {
    /// It has a thread of its own.
    Thread {
        item_tx: Sender<Item>,
        /// Until it has been waited for: closed when the thread has ended.
        thread: Mutex<Option<(Receiver<()>, JoinHandle<()>)>>,
    },
    /// The system gives no thread: whoever says something prints it, and waits as long as that
    /// takes.
    Direct(Mutex<Box<Worker>>),
}

impl Printer {
    /// Starts the printer on the standard streams.
    pub fn start(options: PrinterOptions) -> Self {
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
            PATIENCE,
        )
    }

    /// Starts the printer on other streams, for benchmarks.
    #[doc(hidden)]
    pub fn start_on(
        options: PrinterOptions,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Self {
        let world = World {
            now: unix_millis,
            size: terminal_size,
        };
        Self::start_with(options, [stdout, stderr], [LARGE, LARGE], world, PATIENCE)
    }

    pub(super) fn start_with(
        options: PrinterOptions,
        streams: [Box<dyn Write + Send>; 2],
        largest: [usize; 2],
        world: World,
        patience: Duration,
    ) -> Self {
        let flow = Arc::new(Flow::default());
        let [out, err] = streams;
        let out = Sink::new(out, largest[0], Arc::clone(&flow));
        let err = Sink::new(err, largest[1], Arc::clone(&flow));
        let worker = Worker::new(options, out, err, Arc::clone(&flow), world);
        Self {
            way: Way::new(worker),
            flow,
            patience,
        }
    }

    fn send(&self, item: Item) {
        match &self.way {
            Way::Thread { item_tx, .. } => {
                let weight = item.weight();
                self.flow.add(weight);
                // A thread that has ended prints nothing more.
                if item_tx.send(item).is_err() {
                    self.flow.remove(weight);
                }
            }
            Way::Direct(worker) => {
                let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
                worker.print_all(vec![item]);
            }
        }
    }

    /// Prints what changed, as far as it is worth it.
    pub fn event(&self, event: &Event) {
        self.send(Item::Event(event.clone()));
    }

    /// Prints output of a unit. Whoever has more waits for [`Printer::room`] where there is none.
    pub fn logs(&self, block: LogBlock) {
        self.send(Item::Logs(block));
    }

    /// Whether more may be given without keeping much of it in memory.
    pub fn has_room(&self) -> bool {
        self.flow.has_room()
    }

    /// Returns when there is room again, or when a reader has taken nothing for a second, so that
    /// the caller may look whether waiting has a point.
    pub async fn room(&self) {
        self.flow.room(self.patience).await;
    }

    /// Prints a notice.
    pub fn notice(&self, notice: Notice) {
        self.send(Item::Event(Event::Notice(notice)));
    }

    /// Makes units known that were not at the start. Of a service of which there are several, the
    /// names are shown with their numbers.
    pub fn introduce(&self, units: Vec<UnitId>) {
        self.send(Item::Units(units));
    }

    /// Prints data on stdout: one line, or several with their ends.
    pub fn line_out(&self, text: impl Into<String>) {
        self.send(Item::Out(text.into()));
    }

    /// Prints a message on stderr: one line, or several with their ends.
    pub fn line_err(&self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.send(Item::Err(text));
        }
    }

    /// Prints every service with its address, where `.env` is, and how to stop.
    pub fn summary(&self, stack: &StackSnapshot) {
        self.send(Item::Summary(Box::new(stack.clone())));
    }

    /// Prints why a service failed, and its last lines. Meant to come last, after the summary.
    pub fn failure(&self, failure: Failure) {
        self.send(Item::Failure(Box::new(failure)));
    }

    /// Notes that all of it is being stopped, so that how each service goes is no news; and whether
    /// that was a Ctrl-C here, after which another one kills.
    pub fn draining(&self, is_by_stroke: bool) {
        self.send(Item::Draining(is_by_stroke));
    }

    /// Whether nobody reads stdout any more. What services print is accepted and thrown away then.
    pub fn is_output_gone(&self) -> bool {
        self.flow.is_output_gone()
    }

    /// Whether something could not be written to stdout though its reader is there: a full disk.
    pub fn has_output_failed(&self) -> bool {
        self.flow.has_output_failed()
    }

    /// Prints what is left and ends the thread. Waits for a slow reader, but not for one that
    /// takes nothing for a second: the thread is left to itself then. Returns whether everything
    /// was printed. What is said afterwards is not.
    pub fn finish(&self) -> bool {
        self.send(Item::End);
        let Way::Thread { thread, .. } = &self.way else {
            return true;
        };
        let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((end_rx, thread)) = thread.take() else {
            return true;
        };
        let mut progress = self.flow.progress();
        while end_rx.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout) {
            let before = std::mem::replace(&mut progress, self.flow.progress());
            if progress == before {
                return false;
            }
        }
        // A panic of the thread has been reported by itself.
        thread.join().is_ok()
    }
}

impl Drop for Printer {
    /// What was said before an early return must not be lost.
    fn drop(&mut self) {
        self.finish();
    }
}

impl Way {
    fn new(worker: Worker) -> Self {
        // Where no thread is to be had, the worker must still be there: it is handed over later.
        let (worker_tx, worker_rx) = mpsc::channel::<Worker>();
        let (item_tx, item_rx) = mpsc::channel();
        let (end_tx, end_rx) = mpsc::channel();
        let work = move || {
            let _end = end_tx;
            if let Ok(worker) = worker_rx.recv() {
                worker.run(&item_rx);
            }
        };
        let thread = thread::Builder::new()
            .name("printer".to_owned())
            .spawn(work);
        match thread {
            Ok(thread) => {
                // It waits for nothing else.
                drop(worker_tx.send(worker));
                let thread = Mutex::new(Some((end_rx, thread)));
                Self::Thread { item_tx, thread }
            }
            Err(_) => Self::Direct(Mutex::new(Box::new(worker))),
        }
    }
}

/// The size of the terminal behind stderr, or that of the classic one where there is none.
fn terminal_size() -> Size {
    let (rows, columns) = size_of(&Term::stderr()).unwrap_or((24, 80));
    Size { columns, rows }
}

#[cfg(test)]
mod tests;
