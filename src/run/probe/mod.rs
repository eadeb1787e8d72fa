//! Looking whether a service is well: over HTTP, TCP, or by a command.
//!
//! A probe that runs in this process is a task that sends its answer; one that is a process of its
//! own is answered for by the reaper. Whether a port belongs to its service is settled before any
//! of them by `supervisor::checks`, so that nobody else's server can answer.

mod http;
mod tcp;

pub(crate) use http::check_http;
pub(crate) use tcp::check_tcp;

/// What a check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The unit that was looked at.
    pub(crate) unit: usize,
    /// The number of the check; an answer that nobody waits for is dropped.
    pub(crate) id: u64,
    /// Nothing on success, else what was seen instead.
    pub(crate) outcome: Result<(), String>,
}

/// The most that is kept of what a check's command prints, in bytes, as the container engine does.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

/// The addresses to try for a host, in order: a server may listen on one family only.
pub(crate) fn addresses(host: &str) -> Vec<String> {
    match host {
        "localhost" | "" => vec!["127.0.0.1".to_owned(), "::1".to_owned()],
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
