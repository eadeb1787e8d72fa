//! `stack` runs every process of a project from one `stack.yaml`.

pub mod cli;
pub mod dotenv;
pub mod ports;
pub mod run;
pub mod spec;
pub mod support;
