//! WHICH PORT, AND WHOSE: request, probe, allocate, hold, verify.
//!
//! A batch of [requests](request) becomes a set of [holds](hold): bound sockets that keep each port
//! for its service until the service itself listens, and between its restarts. The sockets are the
//! truth. The [ledger] makes ports sticky and allocation fast, the kernel's
//! [tables](sockets) say [who] is on a port and whether a service really got its own.
//! `docs/design/ports.md` has the states and the reasons.
//!
//! Everything here is synchronous and takes microseconds to a few milliseconds, but for the look
//! at every process of the machine (some 10 ms) and a ledger that somebody keeps locked (1 s).
//!
//! [`allocate()`] is called when a stack starts; the library's own interface is [`free_port`],
//! [`free_ports`], [`is_port_free`] and [`grant`].

pub mod allocate;
mod choice;
pub mod descriptors;
pub mod free;
pub mod hold;
pub mod ledger;
mod numbers;
pub mod problem;
mod processes;
pub mod reclaim;
pub mod request;
pub mod sockets;
pub mod who;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use allocate::{Allocation, Batch, Running, allocate};
pub use descriptors::{ensure_descriptors, original_soft_limit};
pub use free::{Grant, free_port, free_ports, grant, is_port_free};
pub use hold::{Hold, HoldError};
pub use ledger::{Bad, Ledger, LedgerOverview, LedgerWarning, Lesson, Noted, StackPort, state_dir};
pub use numbers::PortTraits;
pub use problem::{Asked, LeftOut, Occupant, PortError, PortWarning, RangesOf, Refused};
pub use processes::PortProcess;
pub use reclaim::take_or_reclaim;
pub use who::{
    Holder, Known, Listeners, PortState, ProcessName, Stranger, Subject, answering, holder,
    observe, strangers,
};
