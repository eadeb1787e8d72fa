//! What a batch of ports is asked for, in the allocator's own words.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::support::name::{PortName, ServiceName};
use crate::support::protocol::Protocol;

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortKey {
    /// Whose it is.
    pub service: ServiceName,
    /// Which replica of the service, from 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub replica: u32,
    /// Its name there.
    pub name: PortName,
}

impl PortKey {
    /// The port `name` of a replica of a service.
    pub fn new(service: &ServiceName, replica: u32, name: &PortName) -> Self {
        Self {
            service: service.clone(),
            replica,
            name: name.clone(),
        }
    }
}

impl fmt::Display for PortKey {
    /// As messages call it: ``PORT of service `web` ``, with the number of any replica but the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.replica {
            1 => write!(f, "{} of service `{}`", self.name, self.service),
            replica => write!(
                f,
                "{} of replica {replica} of service `{}`",
                self.name, self.service
            ),
        }
    }
}

/// What a ledger of before replicas means.
fn first() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's `skip_serializing_if` wants"
)]
fn is_first(replica: &u32) -> bool {
    *replica == 1
}

pub use crate::support::port_range::{Pool, PortWant as Want};

/// A port that somebody asked for by name, stronger than what the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The port.
    pub port: u16,
    /// Where it came from, for messages: `API_PORT in the environment`.
    pub origin: String,
}

/// One line of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// For whom.
    pub key: PortKey,
    /// What travels over it.
    pub protocol: Protocol,
    /// What the file asks for.
    pub want: Want,
    /// What the caller asks for, if anything.
    pub wish: Option<Wish>,
}

/// The stack that asks: the ledger's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The instance's id (name and a hash of the directory).
    pub instance: String,
    /// The project's name.
    pub project: String,
    /// The canonical project directory.
    pub project_dir: PathBuf,
}
