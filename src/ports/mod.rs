//! WHICH PORT, AND WHOSE: request, probe, allocate, hold, verify.

pub mod request;
