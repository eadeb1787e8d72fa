//! Which ports a stack gets, and that it keeps them.

mod allocation;
mod keeping;
mod replicas;
mod seeing;
