//! Descriptors with low numbers, in which a child finds what it is given.
//!
//! A process that is cloned with a table of its own gets a copy of every descriptor of its parent,
//! and closes them one by one when it executes. A supervisor of 3,000 services has 6,000, so that
//! starting them all grew with the square. A child that shares the table instead, and then
//! makes its own of the low end alone, copies what is there: the slots, and what was open before them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::dup3;

/// Standard input, output and error, and a few sockets to take over.
const COUNT: usize = 8;

/// The slots; between two starts they all lead to `/dev/null`.
#[derive(Debug)]
pub(super) struct Slots(Vec<OwnedFd>);

impl Slots {
    /// Takes the lowest numbers that are free, so this is called before much else is open.
    pub(super) fn new(null: &OwnedFd) -> std::io::Result<Self> {
        let slots = std::iter::repeat_with(|| null.try_clone()).take(COUNT);
        slots.collect::<Result<_, _>>().map(Self)
    }

    /// Puts copies of these into slots. Returns the numbers of the slots, and the first number that is
    /// above all of them; `None` where there are not enough.
    pub(super) fn fill(&mut self, given: &[BorrowedFd<'_>]) -> Option<(Vec<i32>, u32)> {
        if given.len() > self.0.len() {
            return None;
        }
        let mut numbers = Vec::new();
        for (slot, given) in self.0.iter_mut().zip(given) {
            dup3(given, slot, OFlag::O_CLOEXEC).ok()?;
            numbers.push(slot.as_raw_fd());
        }
        let last = numbers.iter().copied().max().unwrap_or(0);
        Some((numbers, last.cast_unsigned() + 1))
    }

    /// Lets go of what was put into the slots.
    pub(super) fn empty(&mut self, null: &OwnedFd) {
        for slot in &mut self.0 {
            // A slot that kept the end of a pipe would keep its reader from the end of file.
            if dup3(null.as_fd(), slot, OFlag::O_CLOEXEC).is_err() {
                self.0.clear();
                return;
            }
        }
    }
}
