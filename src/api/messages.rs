//! What goes over the control socket, as JSON.
//!
//! Requests are wire types of their own: an older supervisor must be able to refuse what it does
//! not know, so unknown fields are errors there. Answers are the read model of
//! [`crate::run::snapshot`]; a reader ignores the fields that it does not know, so that a newer
//! supervisor may add some. `tests/fixtures/api` holds one file a message, which must parse for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::control::{Command, StackSnapshot};
use crate::run::snapshot::{Event, Notice, ServiceSnapshot};
use crate::support::name::{NameError, ServiceName};

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

/// The body of `POST /v1/commands`. An empty or absent list of services means all of them.
///
/// `down` with no other field is frozen: every future version accepts it and answers 2xx, so that
/// any `stack` can stop what any other one started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "an object with `command`: up, start, stop, restart, down or kill"
)]
pub enum CommandRequest {
    /// See [`Command::Up`].
    Up {
        /// Which services.
        #[serde(default)]
        services: Vec<String>,
        /// Whether dependencies are left alone.
        #[serde(default)]
        no_deps: bool,
    },
    /// See [`Command::Start`].
    Start {
        /// Which services.
        #[serde(default)]
        services: Vec<String>,
    },
    /// See [`Command::Stop`].
    Stop {
        /// Which services.
        #[serde(default)]
        services: Vec<String>,
        /// Overrides every grace period, in milliseconds.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// See [`Command::Restart`].
    Restart {
        /// Which services.
        #[serde(default)]
        services: Vec<String>,
        /// Overrides every grace period, in milliseconds.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// See [`Command::Down`].
    Down {
        /// Overrides every grace period, in milliseconds.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// See [`Command::Kill`]. Braces, so that unknown fields are refused here too.
    Kill {},
}

impl From<&Command> for CommandRequest {
    fn from(command: &Command) -> Self {
        match command {
            Command::Up { services, no_deps } => Self::Up {
                services: texts(services),
                no_deps: *no_deps,
            },
            Command::Start { services } => Self::Start {
                services: texts(services),
            },
            Command::Stop { services, grace } => Self::Stop {
                services: texts(services),
                grace_ms: grace.map(millis),
            },
            Command::Restart { services, grace } => Self::Restart {
                services: texts(services),
                grace_ms: grace.map(millis),
            },
            Command::Down { grace } => Self::Down {
                grace_ms: grace.map(millis),
            },
            Command::Kill => Self::Kill {},
        }
    }
}

/// A text in a request that can be no service's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no name of a service")]
pub struct BadServiceName {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    #[source]
    pub source: NameError,
}

impl TryFrom<CommandRequest> for Command {
    type Error = BadServiceName;

    fn try_from(request: CommandRequest) -> Result<Self, Self::Error> {
        Ok(match request {
            CommandRequest::Up { services, no_deps } => Self::Up {
                services: service_names(&services)?,
                no_deps,
            },
            CommandRequest::Start { services } => Self::Start {
                services: service_names(&services)?,
            },
            CommandRequest::Stop { services, grace_ms } => Self::Stop {
                services: service_names(&services)?,
                grace: grace_ms.map(Duration::from_millis),
            },
            CommandRequest::Restart { services, grace_ms } => Self::Restart {
                services: service_names(&services)?,
                grace: grace_ms.map(Duration::from_millis),
            },
            CommandRequest::Down { grace_ms } => Self::Down {
                grace: grace_ms.map(Duration::from_millis),
            },
            CommandRequest::Kill {} => Self::Kill,
        })
    }
}

fn texts(services: &[ServiceName]) -> Vec<String> {
    services.iter().map(ToString::to_string).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Checks every text; the first bad one is the error.
pub(crate) fn service_names<T: AsRef<str>>(
    texts: &[T],
) -> Result<Vec<ServiceName>, BadServiceName> {
    texts
        .iter()
        .map(|text| {
            ServiceName::new(text.as_ref()).map_err(|source| BadServiceName {
                text: text.as_ref().to_owned(),
                source,
            })
        })
        .collect()
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

/// The body of every answer that is no success.
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
    /// Everything is being stopped already. Status 409.
    pub const DRAINING: &str = "stack::api::draining";
    /// The supervisor has gone while the socket still answers. Status 503.
    pub const GONE: &str = "stack::api::gone";
    /// The supervisor did not answer the server in time. Status 503.
    pub const NOT_ANSWERING: &str = "stack::api::not_answering";
    /// As many follow as may. Status 503.
    pub const TOO_MANY_STREAMS: &str = "stack::api::too_many_streams";
}
