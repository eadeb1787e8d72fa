//! WHAT THE USER WROTE: find, read and check `stack.yaml`.
//!
//! [`load`] turns text into a [`StackSpec`] in which every value knows its place, and collects
//! every problem on the way instead of stopping at the first. Nothing is started, resolved or
//! looked up here: variables and placeholders stay in their [`template::Template`]s until `plan`.

pub mod model;
pub mod problem;
pub mod template;

pub use model::{Loaded, StackSpec};
pub use problem::{Problem, Severity, Source, Span, Spanned};
