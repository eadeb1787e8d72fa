//! THE TERMINAL: arguments, one file a verb, diagnostics, exit codes, and all that is printed.

pub mod args;
pub mod diagnostics;
pub mod exit;
pub mod verbs;
