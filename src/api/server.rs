//! The supervisor's end of the control socket.
//!
//! [`serve`] is one task of the supervisor's runtime; what it knows about the stack it asks from a
//! [`Controller`]. Whoever connects is the same user or root, but may still be broken, so nothing
//! that a client does or omits can hold up the supervisor, and no client can keep out another:
//!
//! - a connection carries one request, whose head must arrive within [`HEAD_DEADLINE`] and whose
//!   whole exchange, streams aside, must be over within [`EXCHANGE_DEADLINE`];
//! - at most [`MAX_CONNECTIONS`] are open; when they are, the oldest one that has been silent for
//!   [`PATIENCE`] makes room for the next;
//! - streams do not count among these, but among [`MAX_VIEWERS`], or [`MAX_WAITERS`] where somebody
//!   waits for what a command does.
//!
//! The endpoints are in `routes`, the streams in `streams`, error answers in `reply`.

mod reply;
mod routes;
mod streams;

use std::fs::File;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::run::control::Controller;

/// How many connections may be open that are not streams.
pub const MAX_CONNECTIONS: usize = 64;
/// How many streams there may be of those who watch events or output.
pub const MAX_VIEWERS: usize = 48;
/// How many streams there may be of those who wait for what a command does.
pub const MAX_WAITERS: usize = 256;
/// The largest body of a command, in bytes.
pub const MAX_COMMAND: usize = 1024 * 1024;
/// The largest body of a request that carries files, in bytes.
pub const MAX_SOURCES: usize = 64 * 1024 * 1024;
/// How long the head of a request may take.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long the body of a request may take.
pub const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// How long the supervisor may take to answer the server.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a whole exchange that is not a stream may take, the client's reading included.
pub const EXCHANGE_DEADLINE: Duration = Duration::from_secs(20);
/// How long a connection that has not spoken yet is left alone when there is no room.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long replies and streams in flight may take to end once the supervisor goes.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// How many descriptors are kept for clients.
const RESERVED: usize = 8;
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Answers on the listener that came last on `listener_rx` until `shutdown` is done.
///
/// Then nobody new is let in, replies in flight are finished, streams get what is queued for them
/// and end, all within [`FAREWELL`]; only after that is the listener closed. Its name in the file
/// system stays: the lock's holder removes it. Dropping the future closes every connection at once.
pub async fn serve(
    mut listener_rx: mpsc::UnboundedReceiver<std::os::unix::net::UnixListener>,
    controller: Controller,
    shutdown: impl Future<Output = ()>,
) {
    let (closing_tx, closing) = watch::channel(false);
    let shared = Shared {
        controller,
        closing,
        viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
        waiters: Arc::new(Semaphore::new(MAX_WAITERS)),
    };
    let reserve = Arc::new(Reserve::default());
    reserve.fill();
    let doorman = Doorman {
        router: routes::router(shared.clone()),
        reserve: Arc::clone(&reserve),
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        pressure: Arc::default(),
    };
    let mut exchanges = JoinSet::new();
    let mut listener = None;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut next = std::pin::pin!(doorman.admit(None));
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = exchanges.join_next() => reserve.fill(),
            Some(made) = listener_rx.recv() => {
                // One that cannot be used leaves the old one, by which nobody comes any more.
                if let Ok(made) = UnixListener::from_std(made) {
                    listener = Some(Arc::new(made));
                    next.set(doorman.admit(listener.clone()));
                }
            }
            (stream, place) = &mut next => {
                exchanges.spawn(doorman.exchange(stream, place, shared.closing.clone()));
                next.set(doorman.admit(listener.clone()));
            }
        }
    }
    // Nobody is left to hear of it when there are no connections.
    let _ = closing_tx.send(true);
    let all_ended = async { while exchanges.join_next().await.is_some() {} };
    if timeout(FAREWELL, all_ended).await.is_err() {
        debug!("some clients of the control socket did not take their answers in time");
    }
}

/// What every request gets a handle on.
#[derive(Clone)]
struct Shared {
    controller: Controller,
    /// Turns true when the supervisor goes.
    closing: watch::Receiver<bool>,
    /// The places for streams.
    viewers: Arc<Semaphore>,
    waiters: Arc<Semaphore>,
}

/// How far the exchange on a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The head of the request has not arrived.
    Silent,
    /// The request is being carried out or answered.
    Serving,
    /// The answer is a stream, without an end that anyone could foresee.
    Streaming,
}

/// Descriptors that are kept for clients: however many services, logs and sockets there are, somebody can
/// ask why, and stop it.
#[derive(Debug, Default)]
struct Reserve(Mutex<Vec<File>>);

impl Reserve {
    /// Takes as many as there are to be, as far as they can be had.
    fn fill(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() < RESERVED
            && let Ok(file) = kept
                .first()
                .map_or_else(|| File::open("/dev/null"), File::try_clone)
        {
            kept.push(file);
        }
    }

    /// Gives one up. Whether there was one.
    fn give(&self) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().is_some()
    }
}

/// Lets clients in.
struct Doorman {
    router: Router,
    reserve: Arc<Reserve>,
    places: Arc<Semaphore>,
    /// Wakes the oldest silent connection when its place is needed.
    pressure: Arc<Notify>,
}

impl Doorman {
    /// The next client, once there is a place for it.
    async fn admit(
        &self,
        listener: Option<Arc<UnixListener>>,
    ) -> (UnixStream, OwnedSemaphorePermit) {
        let Some(listener) = listener else {
            return std::future::pending().await;
        };
        let stream = accept(&listener, &self.reserve).await;
        let places = Arc::clone(&self.places);
        if places.available_permits() == 0 {
            self.pressure.notify_one();
        }
        match places.acquire_owned().await {
            Ok(place) => (stream, place),
            // Only a semaphore that was closed has no places.
            Err(_) => std::future::pending().await,
        }
    }

    /// One request and its answer, within all limits.
    fn exchange(
        &self,
        stream: UnixStream,
        place: OwnedSemaphorePermit,
        closing: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + use<> {
        let (step_tx, step) = watch::channel(Step::Silent);
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            step_tx.send_replace(Step::Serving);
            request.extensions_mut().insert(step_tx.clone());
            router.call(request)
        });
        // One request a connection: a unix socket costs nothing to open, and every limit here is
        // then a limit of one exchange.
        let connection = http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let pressure = Arc::clone(&self.pressure);
        async move {
            tokio::select! {
                result = connection => if let Err(error) = result {
                    debug!(%error, "an exchange on the control socket broke off");
                },
                why = overdue(step, closing, &pressure, place) => debug!("{why}"),
            }
        }
    }
}

/// Ends when a connection has had its time, and says why. A stream gives its place back.
async fn overdue(
    mut step: watch::Receiver<Step>,
    mut closing: watch::Receiver<bool>,
    pressure: &Notify,
    place: OwnedSemaphorePermit,
) -> &'static str {
    let patience = async {
        sleep(PATIENCE).await;
        // The longest waiting one is woken first.
        pressure.notified().await;
    };
    let deadline = sleep(EXCHANGE_DEADLINE);
    tokio::select! {
        biased;
        Ok(_) = step.wait_for(|step| *step > Step::Silent) => {}
        () = patience => return "a silent client of the control socket made room",
        // From here on `serve` sets the limit.
        _ = closing.wait_for(|is_closing| *is_closing) => return "a silent client was let go",
    }
    tokio::select! {
        biased;
        Ok(_) = step.wait_for(|step| *step == Step::Streaming) => {}
        () = deadline => return "a client of the control socket was too slow",
    }
    drop(place);
    std::future::pending().await
}

/// Waits for a client that may come in. A refused one is closed without a byte.
async fn accept(listener: &UnixListener, reserve: &Reserve) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_trusted(&stream) => return stream,
            Ok(_) => {}
            // Out of descriptors, most likely: then one that was kept for this makes room.
            Err(_) if reserve.give() => {}
            Err(error) => {
                // The client waits in the backlog meanwhile.
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
