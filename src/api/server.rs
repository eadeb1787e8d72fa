//! The supervisor's end of the control socket.
//!
//! [`serve`] is one task of the supervisor's runtime. It owns the table of connections; what it
//! knows about the stack it asks from a [`Controller`]. Whoever connects is the same user or root,
//! but may still be broken, so nothing that a client does or omits can hold up the supervisor, and
//! idle or half-open clients cannot keep a well-behaved one out:
//!
//! - a connection carries one request, whose head must arrive within [`HEAD_DEADLINE`] and whose
//!   whole exchange, streams aside, must be over within [`EXCHANGE_DEADLINE`];
//! - at most [`MAX_CONNECTIONS`] are open; when they are, the oldest one that has been silent for
//!   [`PATIENCE`] makes room for the next;
//! - at most [`MAX_STREAMS`] of them may be streams, so that a command always finds a place.
//!
//! The endpoints are in `routes`, the streams in `streams`, error answers in `reply`.

mod reply;
mod routes;
mod streams;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use crate::run::control::Controller;

/// How many connections may be open.
pub const MAX_CONNECTIONS: usize = 64;
/// How many of them may be streams of events or output.
pub const MAX_STREAMS: usize = 48;
/// The largest body of a request, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// How long the head of a request may take.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long the body of a request may take.
pub const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// How long the supervisor may take to answer the server.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a whole exchange that is no stream may take, the client's reading included.
pub const EXCHANGE_DEADLINE: Duration = Duration::from_secs(20);
/// How long a connection that has not spoken yet is left alone when the table is full.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long replies and streams in flight may take to end once the supervisor goes.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Answers on `listener` until `shutdown` is done.
///
/// Then nobody new is let in, replies in flight are finished, streams get what is queued for them
/// and end, all within [`FAREWELL`]; only after that is the listener closed. Its name in the file
/// system stays: the lock's holder removes it. Dropping the future closes every connection at once.
pub async fn serve(
    listener: UnixListener,
    controller: Controller,
    shutdown: impl Future<Output = ()>,
) {
    let (closing_tx, closing) = watch::channel(false);
    let shared = Shared {
        controller,
        closing,
        streams: Arc::default(),
    };
    let mut connections = Connections::new(shared);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let room = connections.room();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = connections.one_ended() => {}
            accepted = accept(&listener, room) => connections.admit(accepted),
        }
    }
    // Nobody is left to hear of it when there are no connections.
    let _ = closing_tx.send(true);
    connections.finish().await;
}

/// What every connection gets a handle on.
#[derive(Clone)]
struct Shared {
    controller: Controller,
    /// Turns true when the supervisor goes.
    closing: watch::Receiver<bool>,
    /// How many streams are open.
    streams: Arc<AtomicUsize>,
}

/// How far the exchange on a connection has come: 0 before the head of the request has arrived,
/// then a [`Step`]. The connection's task writes it, the table reads it.
#[derive(Clone, Default)]
struct Progress(Arc<AtomicU8>);

/// A step of [`Progress`], in their order.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    /// The request is being carried out or answered.
    Serving = 1,
    /// The answer is a stream, without an end that anyone could foresee.
    Streaming = 2,
}

impl Progress {
    fn reach(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    fn has_reached(&self, step: Step) -> bool {
        self.0.load(Ordering::Relaxed) >= step as u8
    }
}

/// When one more connection may come in.
enum Room {
    Now,
    /// Then the oldest silent one has had its time.
    At(Instant),
    /// Every connection is being served.
    WhenOneEnds,
}

/// Waits for room, then for a client that may come in. A refused one is closed without a byte.
async fn accept(listener: &UnixListener, room: Room) -> UnixStream {
    match room {
        Room::Now => {}
        Room::At(instant) => sleep_until(instant).await,
        Room::WhenOneEnds => std::future::pending().await,
    }
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_trusted(&stream) => return stream,
            Ok(_) => {}
            Err(error) => {
                // Out of descriptors, most likely. The client waits in the backlog meanwhile.
                debug!(%error, "the control socket cannot accept");
                sleep(PATIENCE).await;
            }
        }
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if may_connect(peer.uid(), geteuid().as_raw()) => true,
        Ok(peer) => {
            debug!(uid = peer.uid(), "a foreign user was refused");
            false
        }
        Err(error) => {
            debug!(%error, "a client without credentials was refused");
            false
        }
    }
}

/// Whether a process of `peer` may steer a stack of `own`: the same user, or root.
pub(super) fn may_connect(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// The table of open connections, and the tasks that serve them.
struct Connections {
    shared: Shared,
    router: Router,
    http: http1::Builder,
    tasks: JoinSet<()>,
    table: HashMap<Id, Connection>,
}

struct Connection {
    since: Instant,
    progress: Progress,
    abort: AbortHandle,
}

impl Connections {
    fn new(shared: Shared) -> Self {
        let mut http = http1::Builder::new();
        // One request a connection: a unix socket costs nothing to open, and every limit here is
        // then a limit of one exchange.
        http.keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(MAX_HEAD);
        Self {
            router: routes::router(shared.clone()),
            shared,
            http,
            tasks: JoinSet::new(),
            table: HashMap::new(),
        }
    }

    fn room(&self) -> Room {
        if self.table.len() < MAX_CONNECTIONS {
            return Room::Now;
        }
        match self.oldest_silent() {
            Some((_, since)) => Room::At(since + PATIENCE),
            None => Room::WhenOneEnds,
        }
    }

    fn oldest_silent(&self) -> Option<(Id, Instant)> {
        self.table
            .iter()
            .filter(|(_, connection)| !connection.progress.has_reached(Step::Serving))
            .map(|(&id, connection)| (id, connection.since))
            .min_by_key(|&(_, since)| since)
    }

    fn admit(&mut self, stream: UnixStream) {
        if self.table.len() >= MAX_CONNECTIONS {
            // The silent one may have begun to speak while we waited for this client. Then this
            // client has to go; it may come again.
            let Some((id, _)) = self.oldest_silent() else {
                return;
            };
            if let Some(connection) = self.table.remove(&id) {
                connection.abort.abort();
            }
        }
        let progress = Progress::default();
        let router = TowerToHyperService::new(self.router.clone());
        let request_progress = progress.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request_progress.reach(Step::Serving);
            request.extensions_mut().insert(request_progress.clone());
            router.call(request)
        });
        let mut exchange = Box::pin(self.http.serve_connection(TokioIo::new(stream), service));
        let mut closing = self.shared.closing.clone();
        let task_progress = progress.clone();
        let abort = self.tasks.spawn(async move {
            let until_closing = async {
                // An error means that `serve` itself has gone.
                let _ = closing.wait_for(|is_closing| *is_closing).await;
            };
            tokio::select! {
                () = run_exchange(exchange.as_mut(), &task_progress) => return,
                () = until_closing => {}
            }
            if task_progress.has_reached(Step::Serving) {
                // `finish` sets the limit.
                let _ = exchange.await;
            }
        });
        self.table.insert(
            abort.id(),
            Connection {
                since: Instant::now(),
                progress,
                abort,
            },
        );
    }

    /// Waits until a connection has ended and takes it off the table; for ever if there is none.
    async fn one_ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return std::future::pending().await,
        };
        self.table.remove(&id);
    }

    async fn finish(mut self) {
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL, all_ended).await.is_err() {
            debug!("some clients of the control socket did not take their answers in time");
        }
    }
}

/// Drives one request and its answer to the end, or to the deadline unless it is a stream.
async fn run_exchange(
    mut exchange: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    progress: &Progress,
) {
    let result = match timeout(EXCHANGE_DEADLINE, exchange.as_mut()).await {
        Ok(result) => result,
        Err(_) if progress.has_reached(Step::Streaming) => exchange.await,
        Err(_) => {
            debug!("a client of the control socket was too slow");
            return;
        }
    };
    if let Err(error) = result {
        debug!(%error, "an exchange on the control socket broke off");
    }
}
