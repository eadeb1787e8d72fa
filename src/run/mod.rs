//! WHAT IS HAPPENING: guardian, supervisor, one actor a service.
//!
//! [`launch`] makes the processes, [`supervisor`] is the loop that runs the stack, [`control`] and
//! [`snapshot`] are how it is spoken to and what it tells. `docs/design/supervision.md` has the
//! states and the rules.

mod auxiliary;
mod belongings;
pub mod control;
mod guardian;
pub(crate) mod handover;
pub mod home;
pub mod instance;
pub mod launch;
mod lease;
pub mod leftovers;
pub mod link;
pub mod logs;
pub mod news;
mod notify;
mod outlet;
mod presence;
mod probe;
mod process;
pub mod proposal;
pub mod reason;
pub mod registry;
pub mod rights;
mod runner;
pub mod secrets;
pub mod snapshot;
pub mod socket;
mod state;
pub mod supervisor;
mod unit;
mod unit_ports;
pub mod waits;

pub use guardian::{STROKE, Watch};
pub use lease::LeaseFile;
pub(crate) use process::Group;
pub(crate) use runner::begin_apart;
