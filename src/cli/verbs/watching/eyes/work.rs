//! How much was looked at, for tests that hold it to what there is.

use std::cell::Cell;

thread_local! {
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// So much more was.
pub(in super::super) fn done(more: usize) {
    DONE.set(DONE.get() + more);
}

/// How much was since somebody asked last.
pub(super) fn take() -> usize {
    DONE.take()
}
