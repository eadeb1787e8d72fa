//! Why a call to a supervisor failed.

use std::io;
use std::time::Duration;

use crate::api::messages::ErrorBody;
use crate::support::duration;

/// Why a call to a supervisor failed. `cli::exit` gives each its exit code.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is not a socket, or nobody listens on it.
    #[error("nothing is running here")]
    NotRunning,
    /// Somebody listens, but did not answer in time.
    #[error("the supervisor did not answer within {}", duration::human(*after))]
    NotAnswering {
        /// The deadline.
        after: Duration,
    },
    /// The supervisor went away in the middle of the call.
    #[error("the supervisor closed the connection")]
    Closed,
    /// The supervisor refused, and said why.
    #[error("{0}")]
    Refused(ErrorBody),
    /// The supervisor speaks another version of the protocol.
    #[error(
        "the supervisor speaks {} of the protocol, this program version {ours}",
        theirs.map_or("an unknown version".to_owned(), |theirs| format!("version {theirs}"))
    )]
    Version {
        /// What this program speaks.
        ours: u32,
        /// What the answer said.
        theirs: Option<u32>,
    },
    /// The socket belongs to somebody else's process.
    #[error("the control socket belongs to a process of another user (uid {uid})")]
    ForeignServer {
        /// The uid of the process.
        uid: u32,
    },
    /// The answer is not what the protocol says.
    #[error("the supervisor's answer cannot be read: {0}")]
    Protocol(String),
    /// The socket cannot be used.
    #[error("the control socket cannot be used")]
    Io(#[source] io::Error),
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NotRunning => Some("start it with `stack up -d`"),
            Self::NotAnswering { .. } => Some(
                "it may be suspended (`fg` in its terminal continues it) or starved; its pid is in \
                 `.stack/<name>/lock`",
            ),
            Self::Closed | Self::ForeignServer { .. } | Self::Io(_) => None,
            Self::Refused(body) => body.hint.as_deref(),
            Self::Version { .. } | Self::Protocol(_) => {
                Some("another version of `stack` started it; `stack down` works across versions")
            }
        }
    }

    /// A failed `connect`: no socket, or one that a dead supervisor left, means that none runs. One
    /// that ends just now resets the connections that it has not accepted.
    pub(super) fn from_connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::ConnectionRefused => Self::NotRunning,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }

    pub(super) fn from_body(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<hyper::Error>() {
            Ok(error) => Self::from(*error),
            Err(other) => Self::Protocol(other.to_string()),
        }
    }
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        // A supervisor that ends takes its connections with it; whether that shows as an early end,
        // a reset or a broken pipe is chance.
        if error.is_parse() {
            Self::Protocol(error.to_string())
        } else {
            Self::Closed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_between_connecting_and_being_accepted_is_an_end_like_any_other() {
        let from = |kind: io::ErrorKind| ClientError::from_connect(kind.into());
        assert!(matches!(
            from(io::ErrorKind::ConnectionReset),
            ClientError::Closed
        ));
        assert!(matches!(
            from(io::ErrorKind::ConnectionRefused),
            ClientError::NotRunning
        ));
        assert!(matches!(
            from(io::ErrorKind::PermissionDenied),
            ClientError::Io(_)
        ));
    }
}
