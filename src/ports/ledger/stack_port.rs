//! A port of a stack, as others are told of it.

use std::fmt;

use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

/// A port as the ledger knows it: whose it is, and whether that stack runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackPort {
    /// The stack.
    pub owner: Owner,
    /// The service and the name of the port.
    pub key: PortKey,
    /// What travels over it.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Whether the stack runs, and holds it; else it had it last.
    pub is_running: bool,
}

impl fmt::Display for StackPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner {
            project,
            project_dir,
            ..
        } = &self.owner;
        write!(
            f,
            "{} in stack `{project}` ({})",
            self.key,
            project_dir.display()
        )?;
        if self.is_running {
            Ok(())
        } else {
            f.write_str(", which is not running")
        }
    }
}
