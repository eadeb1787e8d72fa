//! Looking whether a service is well over HTTP or TCP.
//!
//! A probe is a task that sends its [`Answer`]; a command that is a check is `run::auxiliary`'s. Whether
//! a port belongs to its service is settled before any of them by `supervisor::checks`, so that nobody
//! else's server can answer.

use super::reason::CheckFailure;
use crate::support::name::UnitId;

mod http;
mod tcp;

pub(crate) use http::check_http;
pub(crate) use tcp::check_tcp;

/// What a check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The unit that was looked at.
    pub(crate) unit: UnitId,
    /// The number of the check; an answer that nobody waits for is dropped.
    pub(crate) id: u64,
    /// Nothing on success, else what was seen instead.
    pub(crate) outcome: Result<(), CheckFailure>,
}

/// The addresses to try for a host, in order: a server may listen on one family only.
pub(crate) fn addresses(host: &str) -> Vec<String> {
    match host {
        host if host.is_empty() || host == "localhost" || host.ends_with(".localhost") => {
            vec!["127.0.0.1".to_owned(), "::1".to_owned()]
        }
        "0.0.0.0" => vec!["127.0.0.1".to_owned()],
        "::" => vec!["::1".to_owned(), "127.0.0.1".to_owned()],
        other => vec![
            other
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
        ],
    }
}
