//! Reads the two streams: lines of events, frames of output.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ClientError;
use crate::api::frame::{self, Frame};
use crate::api::messages::Update;

/// The longest line of an event stream, in bytes: a snapshot of very many services.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// What happens in a stack, as it happens.
#[derive(Debug)]
pub struct EventStream {
    bytes: Buffered,
}

impl EventStream {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            bytes: Buffered::new(body),
        }
    }

    /// The next update, however long it takes; `None` when the supervisor has closed the stream.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Update>, ClientError> {
        let mut searched = 0;
        loop {
            let unread = &self.bytes.buffer[searched..];
            if let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
                let line = self.bytes.buffer.split_to(searched + end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Protocol(error.to_string()));
            }
            searched = self.bytes.buffer.len();
            if searched > MAX_LINE {
                return Err(ClientError::Protocol("a line has no end".to_owned()));
            }
            if !self.bytes.fill().await? {
                return self.bytes.end();
            }
        }
    }
}

/// What services print, as they print it.
#[derive(Debug)]
pub struct LogFollow {
    bytes: Buffered,
}

impl LogFollow {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            bytes: Buffered::new(body),
        }
    }

    /// The next frame, however long it takes; `None` when the supervisor has closed the stream.
    ///
    /// The first is [`Frame::Start`]: whoever reads the files after it misses nothing. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            if let Some(frame) = frame::decode(&mut self.bytes.buffer)? {
                return Ok(Some(frame));
            }
            if !self.bytes.fill().await? {
                return self.bytes.end();
            }
        }
    }
}

/// A body with what has been received of it and not been used.
#[derive(Debug)]
struct Buffered {
    body: Incoming,
    buffer: BytesMut,
}

impl Buffered {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// Receives some more; `false` at the end.
    async fn fill(&mut self) -> Result<bool, ClientError> {
        match self.body.frame().await {
            None => Ok(false),
            Some(frame) => {
                if let Some(data) = frame?.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                Ok(true)
            }
        }
    }

    /// The end of the stream, which must not cut anything in two.
    fn end<T>(&self) -> Result<Option<T>, ClientError> {
        if self.buffer.is_empty() {
            Ok(None)
        } else {
            Err(ClientError::Closed)
        }
    }
}
