//! Reads answers without an end: lines of JSON.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Client, ClientError};
use crate::api::messages::Update;
use crate::run::logs::LogNews;

/// The longest line, in bytes: a snapshot of very many services.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// How long a supervisor may say nothing before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(2);

/// What happens in a stack, as it happens.
pub type EventStream = Lines<Update>;

/// How far output has come, as it comes.
pub type LogStream = Lines<LogNews>;

/// An answer that is one message a line.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    /// Asks, when nothing has come for a while.
    asker: Option<Client>,
    messages: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            asker: None,
            messages: PhantomData,
        }
    }

    /// The same for somebody who waits for something: a supervisor that does not answer any more
    /// is an error, and not just silent.
    pub(super) fn asking(mut self, client: Client) -> Self {
        self.asker = Some(client);
        self
    }

    /// The next message, however long it takes; `None` when the supervisor has closed the stream.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let line = self.buffer.split_to(searched + end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Protocol(error.to_string()));
            }
            searched = self.buffer.len();
            if searched > MAX_LINE {
                return Err(ClientError::Protocol("a line has no end".to_owned()));
            }
            if !self.fill().await? {
                // The end must not cut anything in two.
                return match searched {
                    0 => Ok(None),
                    _ => Err(ClientError::Closed),
                };
            }
        }
    }

    /// Receives some more; `false` at the end.
    async fn fill(&mut self) -> Result<bool, ClientError> {
        let frame = loop {
            let frame = self.body.frame();
            let Some(client) = &self.asker else {
                break frame.await;
            };
            if let Ok(frame) = timeout(SILENCE, frame).await {
                break frame;
            }
            // Any other error means that it has just ended; then the stream ends too.
            if let Err(error @ ClientError::NotAnswering { .. }) = client.version().await {
                return Err(error);
            }
        };
        let Some(frame) = frame else {
            return Ok(false);
        };
        if let Some(data) = frame?.data_ref() {
            self.buffer.extend_from_slice(data);
        }
        Ok(true)
    }
}
