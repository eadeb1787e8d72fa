//! WHAT IS HAPPENING: guardian, supervisor, one actor a service.

pub mod snapshot;
