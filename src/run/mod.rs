//! WHAT IS HAPPENING: guardian, supervisor, one actor a service.

pub mod control;
mod guardian;
pub mod instance;
mod lease;
pub mod leftovers;
pub mod logs;
mod process;
mod state;
pub mod snapshot;
