//! The two answers without an end: events, and how far output has come.
//!
//! Each makes its next piece only when the client has taken the one before. So a slow client holds
//! up nobody but itself.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use super::Shared;
use super::reply::{Failure, answer};
use crate::api::messages::{Update, code};
use crate::run::control::{Controller, StackSnapshot};
use crate::run::logs::{LogNews, Viewer};
use crate::run::news::Event;
use crate::run::snapshot::ServiceSnapshot;

/// How long a viewer is told nothing after it was told something, so that many single lines are
/// not many messages.
const PAUSE: Duration = Duration::from_millis(10);

/// From how many bytes on a piece of events is sent though there are more: many events in one piece
/// cost a client far less than each in its own.
const PIECE: usize = 64 * 1024;

/// One of the places for streams, given back when dropped.
pub(super) type StreamPlace = OwnedSemaphorePermit;

/// Takes one of `places`.
pub(super) fn take_place(places: &Arc<Semaphore>) -> Result<StreamPlace, Failure> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code::TOO_MANY_STREAMS,
            "too many clients follow this stack already",
        )
        .with_hint("end one of them (`stack logs -f`, for one)")
    })
}

/// The answer of `GET /v1/events`: `snapshot`, then everything from `events`, of which so many may be
/// older.
///
/// What was queued before the snapshot was taken is told as well, but not the states that the
/// snapshot is ahead of: nobody sees a service go backwards.
pub(super) fn events(
    shared: Shared,
    snapshot: StackSnapshot,
    (events, older): (broadcast::Receiver<Event>, usize),
    place: StreamPlace,
) -> Response {
    let first = lines(&[Update::Snapshot {
        stack: Box::new(snapshot.clone()),
    }]);
    let source = EventSource {
        older,
        events,
        closing: shared.closing,
        controller: shared.controller,
        snapshot: Some(snapshot),
        is_over: false,
        _place: place,
    };
    stream(Some(first), source, EventSource::next)
}

/// The answer of `GET /v1/logs`: how far output has come.
pub(super) fn logs(shared: Shared, place: StreamPlace) -> Response {
    let source = LogSource {
        viewer: shared.controller.feed.viewer(),
        closing: shared.closing,
        log_dir: Some(shared.controller.log_dir),
        is_over: false,
        _place: place,
    };
    stream(None, source, LogSource::next)
}

/// An answer of `first` and everything that `next` makes of `source`, piece by piece.
fn stream<S, F>(
    first: Option<Bytes>,
    source: S,
    next: impl FnMut(S) -> F + Send + 'static,
) -> Response
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    let pieces = futures_util::stream::iter(first).chain(unfold(source, next));
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    answer(StatusCode::OK, "application/x-ndjson", body)
}

/// Messages, each as a line of JSON.
fn lines<T: Serialize>(messages: &[T]) -> Bytes {
    let mut bytes = Vec::new();
    for message in messages {
        say(&mut bytes, message);
    }
    bytes.into()
}

/// Appends a message as a line of JSON.
fn say<T: Serialize>(bytes: &mut Vec<u8>, message: &T) {
    // Only a path that is not UTF-8 fails; the endpoint for the snapshot then says so.
    bytes.extend(serde_json::to_vec(message).unwrap_or_default());
    bytes.push(b'\n');
}

/// Waits until the supervisor goes.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that `serve` itself has gone.
    let _ = closing.wait_for(|is_closing| *is_closing).await;
}

struct EventSource {
    events: broadcast::Receiver<Event>,
    closing: watch::Receiver<bool>,
    controller: Controller,
    /// How many queued events may be older than `snapshot`.
    older: usize,
    /// The last snapshot that was sent, while it is still of use.
    snapshot: Option<StackSnapshot>,
    /// Whether the last line has been sent.
    is_over: bool,
    _place: StreamPlace,
}

impl EventSource {
    /// All that there is to tell by now, in one piece; waits until there is something.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut piece = Vec::new();
        while !self.is_over && piece.len() < PIECE {
            let received = if piece.is_empty() {
                self.receive().await
            } else {
                self.receive_ready()
            };
            match received {
                Err(RecvError::Closed) => break,
                Err(RecvError::Lagged(missed)) => self.catch_up(missed, &mut piece).await,
                Ok(event) if self.is_stale(&event) => {}
                Ok(event) => {
                    self.is_over = matches!(event, Event::Ended { .. });
                    say(&mut piece, &Update::from(event));
                }
            }
        }
        (!piece.is_empty()).then(|| (piece.into(), self))
    }

    /// The next event; the end once the supervisor goes and nothing is queued any more.
    async fn receive(&mut self) -> Result<Event, RecvError> {
        tokio::select! {
            biased;
            received = self.events.recv() => received,
            () = closed(&mut self.closing) => self.receive_ready(),
        }
    }

    /// The next event that is queued already; the end where none is.
    fn receive_ready(&mut self) -> Result<Event, RecvError> {
        self.events.try_recv().map_err(|error| match error {
            TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
            TryRecvError::Lagged(missed) => RecvError::Lagged(missed),
        })
    }

    /// Whether the snapshot that was sent is ahead of this event.
    fn is_stale(&mut self, event: &Event) -> bool {
        if self.older == 0 {
            self.snapshot = None;
            return false;
        }
        self.older -= 1;
        match (event, &self.snapshot) {
            (Event::Service(old), Some(snapshot)) => {
                let mut all = snapshot.services.iter();
                all.any(|new| new.unit() == old.unit() && is_before(old, new))
            }
            (Event::Service(_) | Event::Notice(_) | Event::Ended { .. }, _) => false,
        }
    }

    /// Says what was missed, and how things stand now.
    async fn catch_up(&mut self, missed: u64, piece: &mut Vec<u8>) {
        say(piece, &Update::Lagged { missed });
        if let Ok(snapshot) = self.controller.snapshot().await {
            self.older = self.events.len();
            self.snapshot = Some(snapshot.clone());
            let stack = Box::new(snapshot);
            say(piece, &Update::Snapshot { stack });
        }
    }
}

/// Whether one state of a unit is surely older than another. Where its phase is the same, or has changed
/// within a millisecond, the numbers tell, which only grow.
fn is_before(old: &ServiceSnapshot, new: &ServiceSnapshot) -> bool {
    old.since < new.since
        || old.desired.generation < new.desired.generation
        || old.generation < new.generation
        || old.attempt < new.attempt
}

struct LogSource {
    viewer: Viewer,
    closing: watch::Receiver<bool>,
    /// Taken when everything that was so at the beginning is told.
    log_dir: Option<std::path::PathBuf>,
    is_over: bool,
    _place: StreamPlace,
}

impl LogSource {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(log_dir) = self.log_dir.take() {
            let mut news = self.viewer.news();
            // A directory that is not UTF-8 cannot be said in JSON; its readers know it without us.
            let log_dir = log_dir.to_string_lossy().into_owned();
            news.push(LogNews::Current { log_dir });
            return Some((lines(&news), self));
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = closed(&mut self.closing) => {}
        }
        let mut news = self.viewer.news();
        while news.is_empty() {
            if self.is_over {
                return None;
            }
            tokio::select! {
                biased;
                is_open = self.viewer.changed() => self.is_over = !is_open,
                () = closed(&mut self.closing) => self.is_over = true,
            }
            news = self.viewer.news();
        }
        Some((lines(&news), self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::fake::service;
    use crate::run::snapshot::Phase;

    #[test]
    fn of_two_states_of_the_same_time_the_numbers_tell_which_is_older() {
        let old = service("web", Phase::Running, 40);
        assert!(!is_before(&old, &old));
        let mut wanted = old.clone();
        wanted.desired.generation += 1;
        let mut begun = old.clone();
        begun.generation += 1;
        let mut executed = old.clone();
        executed.attempt += 1;
        for new in [wanted, begun, executed, service("web", Phase::Running, 41)] {
            assert!(is_before(&old, &new), "{new:?}");
            assert!(!is_before(&new, &old), "{new:?}");
        }
    }
}
