//! WHAT THE USER WROTE: find, read and check `stack.yaml`.
//!
//! [`find`] says which files are meant. [`load()`] turns their bytes into a [`StackSpec`] in which every
//! value knows its place, and collects every problem on the way instead of stopping at the first.
//! Nothing is started here. Variables get their values from a [`Scope`], each text by the file in
//! which it stands; placeholders stay in their [`template::Template`]s until `plan`.
//!
//! The way of a file: bytes → `text` (encoding, size) → `load` (YAML events to a `tree` with
//! places, aliases and `<<`) → `visit/files.rs` and `merge` (all files to one tree) → `visit` (tree
//! to spec, key by key, by the table in `visit/keys.rs`).

pub mod find;
pub mod model;
pub mod problem;
pub mod template;

pub(crate) mod code;
mod extent;
mod load;
mod merge;
mod merge_keys;
mod position;
mod scalar;
mod syntax;
mod text;
mod texts;
mod tree;
mod visit;
mod written;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use load::{Scope, load, written};
pub use model::{Loaded, StackSpec};
pub use problem::{Home, Problem, Severity, Source, Span, Spanned};
pub use template::VariableUse;
pub use visit::{KeyDoc, Section, reference};
pub use written::{Written, WrittenLine};
