//! The two answers without an end: events, and output.
//!
//! Each is a [`Pump`]: a body that asks for its next piece only when the client has taken the one
//! before. So a slow client holds up nobody but itself; the channel counts what it missed.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};
use tokio::sync::watch;

use super::reply::{Failure, answer};
use super::{MAX_STREAMS, Shared};
use crate::api::frame;
use crate::api::messages::{Update, code};
use crate::run::control::{Controller, StackSnapshot};
use crate::run::logs::LogBlock;
use crate::run::snapshot::Event;
use crate::support::name::ServiceName;

/// One of the [`MAX_STREAMS`] places, given back when dropped.
pub(super) struct StreamPlace(Arc<AtomicUsize>);

impl StreamPlace {
    pub(super) fn take(streams: &Arc<AtomicUsize>) -> Result<Self, Failure> {
        let place = Self(Arc::clone(streams));
        if streams.fetch_add(1, Ordering::Relaxed) < MAX_STREAMS {
            Ok(place)
        } else {
            Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code::TOO_MANY_STREAMS,
                format!("{MAX_STREAMS} clients follow this stack already"),
            )
            .with_hint("end one of them (`stack logs -f`, for one)"))
        }
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer of `GET /v1/events`: `snapshot`, then everything from `events`.
///
/// What was queued before the snapshot was taken is told as well, but not the states that the
/// snapshot is ahead of: nobody sees a service go backwards.
pub(super) fn events(
    shared: Shared,
    events: broadcast::Receiver<Event>,
    snapshot: StackSnapshot,
    place: StreamPlace,
) -> Response {
    let first = line(&Update::Snapshot {
        stack: Box::new(snapshot.clone()),
    });
    let source = EventSource {
        older: events.len(),
        events: Source::new(events, shared.closing),
        controller: shared.controller,
        snapshot: Some(snapshot),
        is_over: false,
        _place: place,
    };
    answer(
        StatusCode::OK,
        "application/x-ndjson",
        Body::new(Pump::new(first, source)),
    )
}

/// The answer of `GET /v1/logs`: every block of `services`, or of all when there are none.
pub(super) fn logs(
    shared: Shared,
    blocks: broadcast::Receiver<LogBlock>,
    services: Vec<ServiceName>,
    place: StreamPlace,
) -> Response {
    let first = frame::encode_start(&shared.controller.log_dir);
    let source = BlockSource {
        blocks: Source::new(blocks, shared.closing),
        services,
        _place: place,
    };
    answer(
        StatusCode::OK,
        "application/vnd.stack.frames",
        Body::new(Pump::new(first, source)),
    )
}

/// What a [`Source`] has next.
enum Next<T> {
    Item(T),
    Lagged(u64),
    End,
}

/// A broadcast receiver that ends when the supervisor goes, after what is queued.
struct Source<T> {
    items: broadcast::Receiver<T>,
    closing: watch::Receiver<bool>,
}

impl<T: Clone> Source<T> {
    fn new(items: broadcast::Receiver<T>, closing: watch::Receiver<bool>) -> Self {
        Self { items, closing }
    }

    async fn next(&mut self) -> Next<T> {
        let received = tokio::select! {
            biased;
            received = self.items.recv() => received,
            _ = self.closing.wait_for(|is_closing| *is_closing) => {
                self.items.try_recv().map_err(|error| match error {
                    TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
                    TryRecvError::Lagged(missed) => RecvError::Lagged(missed),
                })
            }
        };
        match received {
            Ok(item) => Next::Item(item),
            Err(RecvError::Lagged(missed)) => Next::Lagged(missed),
            Err(RecvError::Closed) => Next::End,
        }
    }
}

struct EventSource {
    events: Source<Event>,
    controller: Controller,
    /// How many queued events may be older than `snapshot`.
    older: usize,
    /// The last snapshot that was sent, while it is still of use.
    snapshot: Option<StackSnapshot>,
    /// Whether the last line has been sent.
    is_over: bool,
    _place: StreamPlace,
}

impl Pieces for EventSource {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        while !self.is_over {
            match self.events.next().await {
                Next::End => return None,
                Next::Lagged(missed) => {
                    let bytes = self.catch_up(missed).await;
                    return Some((bytes, self));
                }
                Next::Item(event) if self.is_stale(&event) => {}
                Next::Item(event) => {
                    self.is_over = matches!(event, Event::Ended { .. });
                    return Some((line(&Update::from(event)), self));
                }
            }
        }
        None
    }
}

impl EventSource {
    /// Whether the snapshot that was sent is ahead of this event.
    fn is_stale(&mut self, event: &Event) -> bool {
        if self.older == 0 {
            self.snapshot = None;
            return false;
        }
        self.older -= 1;
        match (event, &self.snapshot) {
            (Event::Service(old), Some(snapshot)) => snapshot.services.iter().any(|new| {
                new.service == old.service && new.replica == old.replica && old.since < new.since
            }),
            (Event::Service(_) | Event::Notice(_) | Event::Ended { .. }, _) => false,
        }
    }

    /// Says what was missed, and how things stand now.
    async fn catch_up(&mut self, missed: u64) -> Bytes {
        let mut bytes = line(&Update::Lagged { missed }).to_vec();
        if let Ok(snapshot) = self.controller.snapshot().await {
            self.older = self.events.items.len();
            bytes.extend_from_slice(&line(&Update::Snapshot {
                stack: Box::new(snapshot.clone()),
            }));
            self.snapshot = Some(snapshot);
        }
        bytes.into()
    }
}

struct BlockSource {
    blocks: Source<LogBlock>,
    services: Vec<ServiceName>,
    _place: StreamPlace,
}

impl Pieces for BlockSource {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let bytes = match self.blocks.next().await {
                Next::End => return None,
                Next::Lagged(missed) => frame::encode_lagged(missed),
                Next::Item(block) if self.wants(&block.unit.service) => frame::encode_block(&block),
                Next::Item(_) => continue,
            };
            return Some((bytes, self));
        }
    }
}

impl BlockSource {
    fn wants(&self, service: &ServiceName) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }
}

/// An update as a line of JSON.
fn line(update: &Update) -> Bytes {
    // Only a path that is no UTF-8 fails; the endpoint for the snapshot then says so.
    let mut bytes = serde_json::to_vec(update).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// Something that comes piece by piece until it ends.
trait Pieces: Sized + Send + 'static {
    /// The next piece, and what makes the one after it.
    fn next(self) -> impl Future<Output = Option<(Bytes, Self)>> + Send;
}

type NextPiece<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// A body of [`Pieces`].
struct Pump<S> {
    first: Option<Bytes>,
    /// `None` once it has ended.
    next: Option<NextPiece<S>>,
}

impl<S: Pieces> Pump<S> {
    fn new(first: Bytes, source: S) -> Self {
        Self {
            first: Some(first),
            next: Some(Box::pin(source.next())),
        }
    }
}

impl<S: Pieces> HttpBody for Pump<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let piece = ready!(next.as_mut().poll(context));
        self.next = None;
        Poll::Ready(piece.map(|(bytes, source)| {
            self.next = Some(Box::pin(source.next()));
            Ok(Frame::data(bytes))
        }))
    }
}
