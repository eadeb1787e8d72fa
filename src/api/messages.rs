//! What goes over the control socket, as JSON.
//!
//! The body of a request is a [`Command`](crate::run::control::Command): an older supervisor must be
//! able to refuse what it does not know, so unknown fields are errors there. Answers are the read
//! model of [`crate::run::snapshot`]; a reader ignores the fields that it does not know, so that a
//! newer supervisor may add some. `tests/fixtures/api` holds one file a message, which must parse for ever.

use serde::{Deserialize, Serialize};

use crate::run::control::StackSnapshot;
use crate::run::news::{Event, Notice};
use crate::run::snapshot::ServiceSnapshot;
use crate::support::name::ServiceName;

pub use crate::run::control::CommandReply;

/// The version of the protocol: the `1` of `/v1`.
pub const API_VERSION: u32 = 1;

/// The header of every answer that says which version of the protocol the server speaks.
pub const VERSION_HEADER: &str = "stack-api-version";

/// The answer of `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The version of the protocol.
    pub api: u32,
    /// The version of the program.
    pub stack: String,
}

impl VersionInfo {
    /// What this program is.
    pub fn current() -> Self {
        Self {
            api: API_VERSION,
            stack: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Update {
    /// The state of everything: the first line, and again after `lagged`.
    Snapshot {
        /// The state.
        stack: Box<StackSnapshot>,
    },
    /// A service's snapshot changed.
    Service(Box<ServiceSnapshot>),
    /// A decision worth a line.
    Notice(Notice),
    /// Everything has ended and the supervisor goes: the last line.
    Ended {
        /// The names of the services that failed for good.
        failed: Vec<ServiceName>,
    },
    /// The client was too slow for this many events; a fresh snapshot follows.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl From<Event> for Update {
    fn from(event: Event) -> Self {
        match event {
            Event::Service(snapshot) => Self::Service(snapshot),
            Event::Notice(notice) => Self::Notice(notice),
            Event::Ended { failed } => Self::Ended { failed },
        }
    }
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ErrorBody {
    /// The stable code, such as `stack::api::unknown_service`; see [`code`].
    pub code: String,
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The codes of [`ErrorBody::code`].
pub mod code {
    /// The request is no HTTP, no JSON, or has an unknown field. Status 400.
    pub const BAD_REQUEST: &str = "stack::api::bad_request";
    /// No such endpoint. Status 404.
    pub const UNKNOWN_ENDPOINT: &str = "stack::api::unknown_endpoint";
    /// A version of the protocol that this server does not speak. Status 404.
    pub const UNKNOWN_VERSION: &str = "stack::api::unknown_version";
    /// The endpoint exists, but not for this method. Status 405.
    pub const WRONG_METHOD: &str = "stack::api::wrong_method";
    /// The body did not arrive in time. Status 408.
    pub const TOO_SLOW: &str = "stack::api::too_slow";
    /// The body is too large. Status 413.
    pub const TOO_LARGE: &str = "stack::api::too_large";
    /// No such service in the running stack. Status 404.
    pub const UNKNOWN_SERVICE: &str = "stack::api::unknown_service";
    /// The standard input of a service is closed. Status 409.
    pub const NO_INPUT: &str = "stack::api::no_input";
    /// Nothing of a service runs. Status 409.
    pub const NOT_UP: &str = "stack::api::not_up";
    /// Everything is being stopped already. Status 409.
    pub const DRAINING: &str = "stack::api::draining";
    /// Everything stands still until its terminal continues it. Status 409.
    pub const SUSPENDED: &str = "stack::api::suspended";
    /// What would be stopped is in another file, with which the stack was started. Status 409.
    pub const WOULD_ORPHAN: &str = "stack::api::would_orphan";
    /// Another command has changed the stack since this was proposed. Status 409.
    pub const OVERTAKEN: &str = "stack::api::overtaken";
    /// The files that were sent have mistakes. Status 422.
    pub const MISTAKES: &str = "stack::api::mistakes";
    /// Ports that are new cannot be had. Status 409.
    pub const NO_PORTS: &str = "stack::api::no_ports";
    /// The `.env` cannot be written, so that nothing was changed. Status 500.
    pub const NOT_WRITTEN: &str = "stack::api::not_written";
    /// The logs could not be removed. Status 500.
    pub const LOGS_NOT_CLEARED: &str = "stack::api::logs_not_cleared";
    /// The supervisor has gone while the socket still answers. Status 503.
    pub const GONE: &str = "stack::api::gone";
    /// The supervisor did not answer the server in time. Status 503.
    pub const NOT_ANSWERING: &str = "stack::api::not_answering";
    /// As many follow as may. Status 503.
    pub const TOO_MANY_STREAMS: &str = "stack::api::too_many_streams";
}
