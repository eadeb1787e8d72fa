//! THE TERMINAL: arguments, verbs and everything that is printed.

pub mod diagnostics;
