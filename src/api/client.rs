//! The other end of the control socket: what commands, views and tests use.
//!
//! Every call opens its own connection and has a deadline; an answer that is not a success comes back
//! as a typed error. Streams are in `stream`, output in `follow`.

mod blocking;
mod error;
mod follow;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::messages::{API_VERSION, CommandReply, ErrorBody, VERSION_HEADER, VersionInfo};
use crate::run::control::{Command, StackSnapshot};

pub use blocking::BlockingClient;
pub use error::ClientError;
pub use follow::{FollowError, LogFollower};
pub use stream::{EventStream, Lines, LogStream};

pub use crate::run::logs::{Followed, Start, Wanted};

/// How long a supervisor may take to answer.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The longest answer that is not a stream, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// How long to wait between two tries while the supervisor's backlog is full.
const RETRY: Duration = Duration::from_millis(20);

/// A supervisor, by the path of its socket. Nothing is connected before a call.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
    deadline: Duration,
    is_command: bool,
}

impl Client {
    /// A client for the supervisor that listens at `path`. Its calls need a tokio runtime.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            deadline: ANSWER_DEADLINE,
            is_command: false,
        }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same with another deadline for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same for a command that watches: there is a place for its streams however many watch.
    #[must_use]
    pub fn for_command(mut self) -> Self {
        self.is_command = true;
        self
    }

    /// What the supervisor is. Works across versions of the protocol.
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        self.within(async {
            let response = self.get("/v1/version").await?;
            read(response).await
        })
        .await
    }

    /// The state of everything.
    pub async fn stack(&self) -> Result<StackSnapshot, ClientError> {
        self.within(async {
            let response = self.get("/v1/stack").await?;
            check_version(&response)?;
            read(response).await
        })
        .await
    }

    /// Carries out a command. The reply comes when it has been accepted, not when it is done.
    ///
    /// `Down` works across versions of the protocol: any success is taken for one.
    pub async fn command(&self, command: &Command) -> Result<CommandReply, ClientError> {
        let body = serde_json::to_vec(command)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let works_across_versions = matches!(command, Command::Down { .. });
        self.within(async {
            let request = Request::builder()
                .method(Method::POST)
                .uri("/v1/commands")
                .header(CONTENT_TYPE, "application/json");
            let response = self.send(request, body.into()).await?;
            if !works_across_versions {
                check_version(&response)?;
                return read(response).await;
            }
            if response.status().is_success() {
                return Ok(read(response).await.unwrap_or_default());
            }
            read(response).await
        })
        .await
    }

    /// Everything that happens from now on, beginning with a snapshot, for somebody who watches.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        self.stream("/v1/events").await
    }

    /// The same for a command that waits for what it does: a supervisor that does not answer any more is
    /// an error.
    pub async fn outcome(&self) -> Result<EventStream, ClientError> {
        let stream = self.clone().for_command().events().await?;
        // However long the answer to the first question may have taken.
        let deadline = self.deadline.min(ANSWER_DEADLINE);
        Ok(stream.asking(self.clone().with_deadline(deadline)))
    }

    /// How far output has come. [`LogFollower`] makes output of it.
    pub async fn logs(&self) -> Result<LogStream, ClientError> {
        self.stream("/v1/logs").await
    }

    async fn stream<T: DeserializeOwned>(&self, target: &str) -> Result<Lines<T>, ClientError> {
        let marked = format!("{target}?for=command");
        let target = if self.is_command { &marked } else { target };
        self.within(async {
            let response = self.get(target).await?;
            check_version(&response)?;
            if response.status().is_success() {
                return Ok(Lines::new(response.into_body()));
            }
            let refusal = read::<ErrorBody>(response).await.err();
            Err(refusal.unwrap_or_else(|| ClientError::Protocol("no reason was given".to_owned())))
        })
        .await
    }

    /// The whole call, within the deadline.
    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout(self.deadline, call)
            .await
            .unwrap_or(Err(ClientError::NotAnswering {
                after: self.deadline,
            }))
    }

    async fn get(&self, target: &str) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder().method(Method::GET).uri(target);
        self.send(request, Bytes::new()).await
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        // A unix socket has no name; HTTP/1.1 wants one.
        let request = request
            .header(HOST, "stack")
            .body(Full::new(body))
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends when the answer has been read or dropped.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        loop {
            match UnixStream::connect(&self.path).await {
                Ok(stream) => {
                    check_peer(stream.peer_cred().map_err(ClientError::Io)?.uid())?;
                    return Ok(stream);
                }
                // The backlog of a supervisor that is busy, or stopped, is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY).await,
                Err(error) => return Err(ClientError::from_connect(error)),
            }
        }
    }
}

/// Refuses a server of another user; one that root runs, or that root asks, is fine.
fn check_peer(peer: u32) -> Result<(), ClientError> {
    let own = geteuid().as_raw();
    if peer == own || peer == 0 || own == 0 {
        Ok(())
    } else {
        Err(ClientError::ForeignServer { uid: peer })
    }
}

fn check_version(response: &Response<Incoming>) -> Result<(), ClientError> {
    let header = response.headers().get(VERSION_HEADER);
    let theirs = header.and_then(|value| value.to_str().ok()?.parse().ok());
    if theirs == Some(API_VERSION) {
        Ok(())
    } else {
        Err(ClientError::Version {
            ours: API_VERSION,
            theirs,
        })
    }
}

/// The whole answer, or the error that it carries.
async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(ClientError::from_body)?
        .to_bytes();
    if status.is_success() {
        serde_json::from_slice(&body).map_err(|error| ClientError::Protocol(error.to_string()))
    } else {
        Err(refusal(status, &body))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => ClientError::Refused(body),
        Err(_) => ClientError::Protocol(format!("it answered {status} without saying why")),
    }
}
