//! The table that the supervisor shares with its guardian: what to stop, and how, should the
//! supervisor die.
//!
//! Anonymous shared memory, mapped before the fork. The supervisor alone writes; the guardian reads
//! only after the supervisor is dead, so the two never meet and plain atomics are enough.
//!
//! There is room for far more rows than a stack may have units, so units may come and go while it
//! runs. Memory that nobody has touched does not exist: a page of 4 KiB holds 170 rows, which is
//! what a stack with that many units pays.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use super::facts::Marks;
use crate::support::hash::fnv1a;
use crate::support::name::UnitId;

/// How many rows there is room for.
const ROWS: usize = 65_536;

/// A unit's place in this table and in the lease file, as long as the unit exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(usize);

impl Slot {
    /// The place with this number, from 0; `None` where the table has no room for it.
    pub(crate) fn at(number: usize) -> Option<Self> {
        (number < ROWS).then_some(Self(number))
    }

    /// Its number, from 0.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// What the guardian must know of one running service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The leader of its session and group.
    pub(crate) pid: i32,
    /// The signal that asks it to stop.
    pub(crate) stop_signal: i32,
    /// How long it may take.
    pub(crate) grace: Duration,
    /// Whose it is, so that a process that has left its session is known by the marks in its
    /// environment.
    pub(crate) unit: UnitKey,
}

/// A unit of an instance as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UnitKey(u64);

impl UnitKey {
    /// The key of a unit of the instance with this id.
    pub(crate) fn of(instance: &str, unit: &UnitId) -> Self {
        Self::from(Marks {
            instance: instance.as_bytes(),
            service: unit.service.as_str().as_bytes(),
            replica: unit.replica.to_string().as_bytes(),
        })
    }
}

impl From<Marks<'_>> for UnitKey {
    fn from(marks: Marks<'_>) -> Self {
        // No slash is in any of the three.
        let parts = [marks.instance, marks.service, marks.replica];
        Self(fnv1a(parts.iter().flat_map(|part| part.iter().chain(b"/"))))
    }
}

#[repr(C)]
struct Cell {
    unit: AtomicU64,
    pid: AtomicI32,
    stop_signal: AtomicI32,
    grace_millis: AtomicU32,
}

#[repr(C)]
struct Memory {
    /// How many rows have ever been used.
    used: AtomicUsize,
    cells: [Cell; ROWS],
}

/// A row for each unit, in memory shared over a fork. A clone is the same table.
#[derive(Debug, Clone)]
pub(crate) struct SharedTable {
    memory: NonNull<Memory>,
}

#[expect(unsafe_code, reason = "memory shared over a fork")]
impl SharedTable {
    /// An empty table. Lives as long as the process.
    pub(crate) fn new() -> nix::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Memory>()).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice disturbs nothing.
        let memory = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE,
            )
        }?;
        Ok(Self {
            memory: memory.cast(),
        })
    }

    fn memory(&self) -> &Memory {
        // SAFETY: the mapping has the size of a `Memory`, is zeroed by the kernel (a valid
        // `Memory`), is aligned to a page and is never unmapped; the fields are atomics.
        unsafe { self.memory.as_ref() }
    }

    /// Notes that a unit runs, or with what it is to be stopped from now on.
    pub(crate) fn set(&self, slot: Slot, row: Row) {
        let memory = self.memory();
        let cell = &memory.cells[slot.0];
        cell.unit.store(row.unit.0, Ordering::Relaxed);
        cell.stop_signal.store(row.stop_signal, Ordering::Relaxed);
        let grace = u32::try_from(row.grace.as_millis()).unwrap_or(u32::MAX);
        cell.grace_millis.store(grace, Ordering::Relaxed);
        cell.pid.store(row.pid, Ordering::Release);
        memory.used.fetch_max(slot.0 + 1, Ordering::Release);
    }

    /// Notes that nothing of a unit is left.
    pub(crate) fn clear(&self, slot: Slot) {
        self.memory().cells[slot.0].pid.store(0, Ordering::Release);
    }

    /// The units that run.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        let memory = self.memory();
        let used = memory.used.load(Ordering::Acquire).min(ROWS);
        memory.cells[..used].iter().filter_map(|cell| {
            let pid = cell.pid.load(Ordering::Acquire);
            (pid > 0).then(|| Row {
                pid,
                stop_signal: cell.stop_signal.load(Ordering::Relaxed),
                grace: Duration::from_millis(cell.grace_millis.load(Ordering::Relaxed).into()),
                unit: UnitKey(cell.unit.load(Ordering::Relaxed)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::name::ServiceName;

    fn row(pid: i32) -> Row {
        let service = ServiceName::new("web").unwrap();
        Row {
            pid,
            stop_signal: 15,
            grace: Duration::from_secs(10),
            unit: UnitKey::of("shop-1", &UnitId::first(service)),
        }
    }

    #[test]
    fn rows_are_seen_until_they_are_cleared() {
        let table = SharedTable::new().unwrap();
        let pids = || table.rows().map(|row| row.pid).collect::<Vec<i32>>();
        let (first, last) = (Slot::at(1).unwrap(), Slot::at(ROWS - 1).unwrap());
        table.set(last, row(41));
        assert_eq!(table.rows().collect::<Vec<Row>>(), [row(41)]);
        table.set(first, row(40));
        assert_eq!(pids(), [40, 41]);
        table.clear(last);
        table.set(first, row(42));
        assert_eq!(pids(), [42]);
        assert_eq!(Slot::at(ROWS), None);
    }

    #[test]
    fn a_unit_is_known_by_the_marks_of_its_environment() {
        let key = |environment: &[u8]| Marks::in_environment(environment).map(UnitKey::from);
        let marks = b"STACK_INSTANCE=shop-1\0STACK_SERVICE=web\0STACK_REPLICA=1\0";
        assert_eq!(key(marks), Some(row(1).unit));
        let others = b"STACK_INSTANCE=shop-2\0STACK_SERVICE=web\0STACK_REPLICA=1\0";
        assert_ne!(key(others), Some(row(1).unit));
    }

    #[test]
    fn only_rows_that_are_used_cost_memory() {
        let resident = || {
            let text = fs_err::read_to_string("/proc/self/smaps").unwrap();
            let sizes = text
                .split('\n')
                .skip_while(|line| !line.contains("/dev/zero"));
            let line = sizes.into_iter().find(|line| line.starts_with("Rss:"));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok())
        };
        crate::support::testing::alone(|| {
            let table = SharedTable::new().unwrap();
            for number in 0..100 {
                table.set(Slot::at(number).unwrap(), row(7));
            }
            assert!(table.rows().count() == 100 && resident().is_some_and(|kib| kib <= 8));
        });
    }
}
