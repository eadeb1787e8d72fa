//! THE TERMINAL: arguments, one file a verb, exit codes.

pub mod args;
pub mod exit;
