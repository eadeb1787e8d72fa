//! THE TERMINAL: arguments, one file a verb, and the one place that prints.

pub mod printer;
pub mod style;
pub mod table;
