//! What a stack tells: changes, and what its services print.

use std::path::PathBuf;

use crate::api::client::{Client, ClientError, EventStream, FollowError, LogFollower};
use crate::api::messages::{Update, code};
use crate::cli::exit::Stop;
use crate::run::logs::{Start, Wanted};
use crate::run::snapshot::Phase;
use crate::support::name::UnitId;

/// How many changes are taken in at once.
const BATCH: usize = 256;

/// What comes in.
pub(super) struct Feed {
    /// Changes; none once there will be no more.
    pub(super) events: Option<EventStream>,
    /// Output; none once all has been shown, or where none is.
    pub(super) logs: Option<LogFollower>,
    /// Changes that wait for the output before them.
    pub(super) held: Vec<Update>,
}

impl Feed {
    /// Begins to listen, to output from `start` on, if at all.
    pub(super) async fn open(
        client: Client,
        (log_dir, wanted): (PathBuf, Wanted),
        start: Option<Start>,
    ) -> Result<Self, Stop> {
        let client = client.for_command();
        let events = match start {
            Some(_) => client.events().await,
            None => client.outcome().await,
        };
        let events = match events {
            Ok(events) => Some(events),
            // It has ended before we could ask: everything in it was short.
            Err(error) if has_gone(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let logs = match start {
            None => None,
            Some(start) => {
                let opened = LogFollower::open(&client, log_dir.clone(), &wanted, start).await;
                Some(match opened {
                    Err(FollowError::Client(error)) if has_gone(&error) => {
                        LogFollower::past(log_dir, &wanted, start)?
                    }
                    opened => opened?,
                })
            }
        };
        Ok(Self {
            events,
            logs,
            held: Vec::new(),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.events.is_none() && self.logs.is_none() && self.held.is_empty()
    }
}

/// The next updates, as many as are there; none of them at the end. `None` where there is no stream.
pub(super) async fn next_updates(
    events: &mut Option<EventStream>,
) -> Option<Result<Vec<Update>, ClientError>> {
    let events = events.as_mut()?;
    let mut updates = match events.next().await {
        Ok(Some(first)) => vec![first],
        Err(error @ ClientError::NotAnswering { .. }) => return Some(Err(error)),
        // However it ended, there is no more.
        Ok(None) | Err(_) => return Some(Ok(Vec::new())),
    };
    while updates.len() < BATCH {
        tokio::select! {
            biased;
            Ok(Some(update)) = events.next() => updates.push(update),
            () = std::future::ready(()) => break,
        }
    }
    Some(Ok(updates))
}

/// The unit of which an update tells that its process has ended.
pub(super) fn ended_attempt(update: &Update) -> Option<UnitId> {
    let Update::Service(service) = update else {
        return None;
    };
    let has_ended = matches!(
        service.phase,
        Phase::Backoff | Phase::Scheduled | Phase::Completed | Phase::Failed | Phase::Stopped
    );
    has_ended.then(|| service.unit())
}

/// Whether a supervisor has gone.
pub(super) fn has_gone(error: &ClientError) -> bool {
    match error {
        ClientError::NotRunning | ClientError::Closed => true,
        ClientError::Refused(body) => body.code == code::GONE,
        ClientError::NotAnswering { .. }
        | ClientError::Version { .. }
        | ClientError::ForeignServer { .. }
        | ClientError::Protocol(_)
        | ClientError::Io(_) => false,
    }
}
