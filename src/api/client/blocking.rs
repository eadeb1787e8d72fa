//! The same questions without a runtime, for a process that may yet have to fork.
//!
//! A runtime shares the pipe by which it learns of signals with every process that is forked from
//! it. So `stack up`, which becomes a supervisor unless somebody else is one already, asks by blocking
//! reads and writes, each with what is left of the deadline.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ANSWER_DEADLINE, ClientError, MAX_ANSWER, check_peer, refusal};
use crate::api::messages::{API_VERSION, CommandReply, VERSION_HEADER, code};
use crate::run::control::{Command, StackSnapshot};
use crate::run::proposal::{Asking, Proposal};

/// How often a change is tried where others come in between.
const ATTEMPTS: u32 = 20;

/// A supervisor, by the path of its socket. Nothing is connected before a call.
#[derive(Debug, Clone)]
pub struct BlockingClient {
    path: PathBuf,
}

impl BlockingClient {
    /// A client for the supervisor that listens at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state of everything.
    pub fn stack(&self) -> Result<StackSnapshot, ClientError> {
        self.ask("GET /v1/stack", b"")
    }

    /// Carries out a command. The reply comes when it has been accepted, not when it is done.
    pub fn command(&self, command: &Command) -> Result<CommandReply, ClientError> {
        let body = serde_json::to_vec(command)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.ask("POST /v1/commands", &body)
    }

    /// What would change if the stack were as some files say.
    pub fn propose(&self, asking: &Asking) -> Result<Proposal, ClientError> {
        let body =
            serde_json::to_vec(asking).map_err(|error| ClientError::Protocol(error.to_string()))?;
        self.ask("POST /v1/proposals", &body)
    }

    /// Has what is proposed carried out. Where another command comes in between, something else would
    /// change now: it is proposed anew.
    pub fn apply<E: From<ClientError>>(
        &self,
        mut propose: impl FnMut() -> Result<u64, E>,
    ) -> Result<CommandReply, E> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let proposal = propose()?;
            match self.command(&Command::Apply { proposal }) {
                Err(ClientError::Refused(body))
                    if body.code == code::OVERTAKEN && attempts.next().is_some() => {}
                reply => return Ok(reply?),
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, what: &str, body: &[u8]) -> Result<T, ClientError> {
        let answer = self.exchange(what, body).map_err(|error| {
            let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            if is_late {
                let after = ANSWER_DEADLINE;
                ClientError::NotAnswering { after }
            } else {
                ClientError::from_connect(error)
            }
        })??;
        let (status, version, body) = parse(&answer)?;
        if version != Some(API_VERSION) {
            return Err(ClientError::Version {
                ours: API_VERSION,
                theirs: version,
            });
        }
        if status.is_success() {
            serde_json::from_slice(body).map_err(|error| ClientError::Protocol(error.to_string()))
        } else {
            Err(refusal(status, body))
        }
    }

    /// Sends a request and returns all that comes back. The inner error is that of a server that
    /// must not be spoken to.
    fn exchange(&self, what: &str, body: &[u8]) -> std::io::Result<Result<Vec<u8>, ClientError>> {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        // Zero would be no limit at all.
        let left = || {
            let left = deadline.saturating_duration_since(Instant::now());
            Some(left.max(Duration::from_millis(1)))
        };
        let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The limit of writes is also that of a connection for which the backlog has no room.
        socket.set_write_timeout(left())?;
        socket.connect(&SockAddr::unix(&self.path)?)?;
        if let Err(error) = check_peer(getsockopt(&socket, PeerCredentials)?.uid()) {
            return Ok(Err(error));
        }
        // Version 1.0 has answers that end with the connection, and in no other way.
        let head = format!(
            "{what} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes())?;
        socket.write_all(body)?;
        let mut answer = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while answer.len() < MAX_ANSWER {
            socket.set_read_timeout(left())?;
            match socket.read(&mut piece)? {
                0 => break,
                length => answer.extend_from_slice(&piece[..length]),
            }
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(Ok(answer))
    }
}

/// The status, the version of the protocol and the body of an answer.
fn parse(answer: &[u8]) -> Result<(StatusCode, Option<u32>, &[u8]), ClientError> {
    if answer.is_empty() {
        return Err(ClientError::Closed);
    }
    let broken = || ClientError::Protocol("its answer is not HTTP".to_owned());
    let end = memchr::memmem::find(answer, b"\r\n\r\n").ok_or_else(broken)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| broken())?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(broken)?;
    let version = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case(VERSION_HEADER))
        .and_then(|(_, value)| value.trim().parse().ok());
    Ok((status, version, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_status_and_version() {
        let (status, version, body) =
            parse(b"HTTP/1.0 503 Service Unavailable\r\nStack-API-Version: 1\r\n\r\n{}").unwrap();
        assert_eq!((status.as_u16(), version, body), (503, Some(1), &b"{}"[..]));
        assert!(matches!(parse(b""), Err(ClientError::Closed)));
        assert!(matches!(
            parse(b"SSH-2.0\r\n\r\n"),
            Err(ClientError::Protocol(_))
        ));
    }
}
