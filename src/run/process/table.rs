//! The table that the supervisor shares with its guardian: what to stop, and how, should the
//! supervisor die.
//!
//! Anonymous shared memory made before the fork. The supervisor alone writes; the guardian reads
//! only after the supervisor is dead, so the two never meet and plain atomics are enough.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// What the guardian must know of one running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The leader of its session and group.
    pub(crate) pid: i32,
    /// The signal that asks it to stop.
    pub(crate) stop_signal: i32,
    /// How long it may take.
    pub(crate) grace: Duration,
}

#[repr(C)]
struct Slot {
    pid: AtomicI32,
    stop_signal: AtomicI32,
    grace_millis: AtomicU32,
}

/// One slot for each unit, in memory shared over a fork.
#[derive(Debug)]
pub(crate) struct SharedTable {
    slots: NonNull<Slot>,
    count: usize,
}

#[expect(unsafe_code, reason = "memory shared over a fork")]
impl SharedTable {
    /// A table with room for `count` units, all empty. Lives as long as the process.
    pub(crate) fn new(count: usize) -> nix::Result<Self> {
        let bytes = count.max(1) * size_of::<Slot>();
        let length = NonZeroUsize::new(bytes).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice disturbs nothing.
        let memory = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }?;
        Ok(Self {
            slots: memory.cast(),
            count,
        })
    }

    fn slot(&self, index: usize) -> Option<&Slot> {
        // SAFETY: the mapping holds `count` slots, is zeroed by the kernel (a valid `Slot`), is
        // aligned to a page and is never unmapped; the fields are atomics.
        (index < self.count).then(|| unsafe { self.slots.add(index).as_ref() })
    }

    /// Notes that a unit runs.
    pub(crate) fn set(&self, index: usize, row: Row) {
        let Some(slot) = self.slot(index) else { return };
        slot.stop_signal.store(row.stop_signal, Ordering::Relaxed);
        let grace = u32::try_from(row.grace.as_millis()).unwrap_or(u32::MAX);
        slot.grace_millis.store(grace, Ordering::Relaxed);
        slot.pid.store(row.pid, Ordering::Release);
    }

    /// Notes that nothing of a unit is left.
    pub(crate) fn clear(&self, index: usize) {
        if let Some(slot) = self.slot(index) {
            slot.pid.store(0, Ordering::Release);
        }
    }

    /// The units that run.
    pub(crate) fn rows(&self) -> Vec<Row> {
        (0..self.count)
            .filter_map(|index| self.slot(index))
            .filter_map(|slot| {
                let pid = slot.pid.load(Ordering::Acquire);
                (pid > 0).then(|| Row {
                    pid,
                    stop_signal: slot.stop_signal.load(Ordering::Relaxed),
                    grace: Duration::from_millis(slot.grace_millis.load(Ordering::Relaxed).into()),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_seen_until_they_are_cleared() {
        let table = SharedTable::new(3).unwrap();
        let row = Row {
            pid: 41,
            stop_signal: 15,
            grace: Duration::from_secs(10),
        };
        table.set(1, row);
        table.set(7, row);
        assert_eq!(table.rows(), [row]);
        table.clear(1);
        assert!(table.rows().is_empty());
    }
}
