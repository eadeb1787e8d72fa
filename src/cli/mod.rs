//! THE TERMINAL: arguments, one file a verb, diagnostics, exit codes, and the one place that
//! prints.

pub mod args;
pub mod diagnostics;
pub mod exit;
pub mod printer;
pub mod style;
pub mod table;
