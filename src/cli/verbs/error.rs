//! Why a verb could not do its work.

use std::io;
use std::path::PathBuf;

use crate::api::client::{ClientError, FollowError};
use crate::cli::exit::ExitCode;
use crate::dotenv::EntryError;
use crate::support::name::{PortName, ServiceName};
use crate::support::text;

/// Why a verb could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// The supervisor cannot be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The supervisor has confirmed the end, but does not go.
    #[error("the supervisor (pid {pid}) does not end")]
    DoesNotEnd {
        /// Its pid; 0 where it is not known.
        pid: i32,
    },
    /// Processes that could not be ended.
    #[error("{} left over: pid {}", if pids.len() == 1 { "a process is" } else { "processes are" }, text::list(pids))]
    LeftOver {
        /// Their pids.
        pids: Vec<i32>,
    },
    /// There is no service of that name.
    #[error("there is no service `{name}`")]
    UnknownService {
        /// The name as given.
        name: ServiceName,
        /// What may have been meant.
        hint: String,
    },
    /// The file has the service, but the stack has no replica of it.
    #[error("service `{service}` has no replica in this stack")]
    NoReplica {
        /// The service.
        service: ServiceName,
    },
    /// The service has no port of that name.
    #[error("service `{service}` has no port `{name}`")]
    UnknownPort {
        /// The service.
        service: ServiceName,
        /// The name as given.
        name: PortName,
        /// The names that there are.
        known: Vec<PortName>,
    },
    /// The service has no replica of that number.
    #[error("service `{service}` has no replica {replica}")]
    UnknownReplica {
        /// The service.
        service: ServiceName,
        /// The number as given.
        replica: u32,
        /// How many it has.
        count: u32,
    },
    /// The service has several ports, none of which is called `PORT`.
    #[error("service `{service}` has several ports")]
    WhichPort {
        /// The service.
        service: ServiceName,
        /// Their names.
        known: Vec<PortName>,
    },
    /// The service has no port at all.
    #[error("service `{service}` has no port")]
    NoPort {
        /// The service.
        service: ServiceName,
    },
    /// A value cannot be written in the format that was asked for.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// What the last supervisor left cannot be read.
    #[error("`{}` cannot be read", path.display())]
    LastState {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log files cannot be read.
    #[error("the logs cannot be read")]
    Logs(#[source] io::Error),
    /// The state cannot be written as JSON.
    #[error("the state cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The lock of the instance cannot be used.
    #[error("the lock cannot be used")]
    Lock(#[source] io::Error),
}

impl From<FollowError> for VerbError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Client(error) => Self::Client(error),
            FollowError::Logs(error) => Self::Logs(error),
        }
    }
}

impl VerbError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::DoesNotEnd { .. } => "stack::cli::does_not_end",
            Self::LeftOver { .. } => "stack::cli::left_over",
            Self::UnknownService { .. } => "stack::cli::unknown_service",
            Self::NoReplica { .. } => "stack::cli::no_replica",
            Self::UnknownPort { .. } => "stack::cli::unknown_port",
            Self::UnknownReplica { .. } => "stack::cli::unknown_replica",
            Self::WhichPort { .. } => "stack::cli::which_port",
            Self::NoPort { .. } => "stack::cli::no_port",
            Self::Entry(_) => "stack::cli::entry",
            Self::LastState { .. } => "stack::cli::last_state",
            Self::Logs(_) => "stack::cli::logs",
            Self::Json(_) => "stack::cli::json",
            Self::Lock(_) => "stack::cli::lock",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint().map(str::to_owned),
            Self::UnknownService { hint, .. } => Some(hint.clone()),
            Self::NoReplica { .. } => Some(
                "`replicas` or `stack up --scale` gives it some, after `stack down`".to_owned(),
            ),
            Self::UnknownPort { known, .. } if known.is_empty() => None,
            Self::UnknownPort { known, .. } => Some(format!("its ports: {}", text::list(known))),
            Self::UnknownReplica { count: 1, .. } => Some("it has one, `--index 1`".to_owned()),
            Self::UnknownReplica { count, .. } => Some(format!("its replicas are 1 to {count}")),
            Self::WhichPort { service, known } => Some(format!(
                "name one: `stack port {service} {}`",
                text::list(known).replace(", ", "|")
            )),
            Self::NoPort { .. } => Some("declare one by `$<PORT:auto>`".to_owned()),
            Self::DoesNotEnd { .. }
            | Self::LeftOver { .. }
            | Self::Entry(_)
            | Self::LastState { .. }
            | Self::Logs(_)
            | Self::Json(_)
            | Self::Lock(_) => None,
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Client(error) => error.into(),
            Self::DoesNotEnd { .. } => ExitCode::NotAnswering,
            Self::UnknownService { .. }
            | Self::NoReplica { .. }
            | Self::UnknownPort { .. }
            | Self::UnknownReplica { .. }
            | Self::WhichPort { .. }
            | Self::NoPort { .. } => ExitCode::Usage,
            Self::LeftOver { .. }
            | Self::Entry(_)
            | Self::LastState { .. }
            | Self::Logs(_)
            | Self::Json(_)
            | Self::Lock(_) => ExitCode::Failed,
        }
    }
}
