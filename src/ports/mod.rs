//! WHICH PORT, AND WHOSE: request, probe, allocate, hold, verify.
//!
//! A batch of [requests](request) becomes a set of [holds](hold): bound sockets that keep each port
//! for its service until the service itself listens, and between its restarts. The sockets are the
//! truth. The [ledger] makes ports sticky and allocation fast, the kernel's
//! [tables](sock_diag) make messages good, and [verification](verify) says whether the service
//! really got its port. `docs/design/ports.md` has the states and the reasons.
//!
//! Everything here is synchronous and takes microseconds to a few milliseconds, but for the scan
//! for a stranger's process (some 10 ms) and a ledger that somebody keeps locked (1 s).
//!
//! [`allocate()`] is called when a stack starts; the library's own interface is [`free_port`],
//! [`free_ports`], [`is_port_free`] and [`grant`].

pub mod allocate;
pub mod descriptors;
pub mod evidence;
pub mod free;
mod glance;
pub mod hold;
mod index;
pub mod ledger;
pub mod owner;
pub mod problem;
pub mod reclaim;
pub mod request;
mod set;
pub mod sock_diag;
mod stranger;
#[path = "system/linux.rs"]
mod system;
pub mod verify;
pub mod who;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use allocate::{Allocation, Batch, allocate};
pub use descriptors::{ensure_descriptors, original_soft_limit};
pub use evidence::{reuses_address, strangers_on};
pub use free::{Grant, free_port, free_ports, grant, is_port_free};
pub use glance::{Glance, glance};
pub use hold::{Hold, HoldError, holds_can_be_soft};
pub use ledger::{Ledger, LedgerOverview, LedgerWarning, StackPort, state_dir};
pub use owner::{Holder, holder};
pub use problem::{Asked, Bad, LeftOut, Occupant, PortError, PortWarning, RangesOf, Refused};
pub use reclaim::take_or_reclaim;
pub use verify::{Known, Listeners, Observed, Subject, observe};
