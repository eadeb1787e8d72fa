//! WHAT IS HAPPENING: guardian, supervisor, one actor a service.

pub mod control;
pub mod logs;
mod process;
mod state;
pub mod snapshot;
