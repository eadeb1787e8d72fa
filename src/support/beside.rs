//! Work that may block, beside an event loop.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The threads that do it. Dropping this waits for them.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    threads: Vec<JoinHandle<()>>,
}

impl Beside {
    /// Does `job` on a thread of its own, or at once where no thread can be made.
    pub(crate) fn run(&mut self, job: impl Fn() + Send + Sync + 'static) {
        self.threads.retain(|thread| !thread.is_finished());
        let job = Arc::new(job);
        let same = Arc::clone(&job);
        match Builder::new().spawn(move || same()) {
            Ok(thread) => self.threads.push(thread),
            Err(_) => job(),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic was reported by the thread itself.
            drop(thread.join());
        }
    }
}
