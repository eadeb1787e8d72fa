//! WHAT IS HAPPENING: guardian, supervisor, one actor a service.

pub mod control;
pub mod logs;
pub mod snapshot;
