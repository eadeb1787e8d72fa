//! One way to all output: what the log files hold, then what comes while the stack runs.

use std::io;
use std::path::PathBuf;

use super::{Client, ClientError, LogStream};
use crate::run::logs::{Followed, LogNews, LogReader, Start, Wanted};
use crate::support::name::UnitId;

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The supervisor cannot be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The log files cannot be read.
    #[error("the logs cannot be read")]
    Logs(#[from] io::Error),
}

/// Yields the output of some units, piece by piece.
///
/// The files have everything, and the supervisor tells how far they have grown; only what no file
/// took comes from the supervisor itself. Nothing is lost when the future of a method is dropped.
#[derive(Debug)]
pub struct LogFollower {
    reader: LogReader,
    /// `None` once the supervisor tells nothing more.
    stream: Option<LogStream>,
}

impl LogFollower {
    /// Reads what is `wanted` of the output that was left in `log_dir`, and ends there.
    pub fn past(log_dir: PathBuf, wanted: &Wanted, start: Start) -> Result<Self, FollowError> {
        Ok(Self {
            reader: LogReader::open(log_dir, wanted, start, None)?,
            stream: None,
        })
    }

    /// The same, and goes on with what the running stack prints, until it ends.
    ///
    /// `log_dir` is that of the stack behind `client`. Of a service that is not part of it nothing
    /// comes.
    pub async fn open(
        client: &Client,
        log_dir: PathBuf,
        wanted: &Wanted,
        start: Start,
    ) -> Result<Self, FollowError> {
        // Subscribed before the files are read, so that nothing falls between.
        let mut stream = client.logs().await?;
        let mut news = Vec::new();
        loop {
            match stream.next().await? {
                Some(LogNews::Current { .. }) => break,
                Some(item) => news.push(item),
                None => return Err(ClientError::Closed.into()),
            }
        }
        Ok(Self {
            reader: LogReader::open(log_dir, wanted, start, Some(news))?,
            stream: Some(stream),
        })
    }

    /// Goes on only until everything has been returned that there is by now.
    pub fn stop(&mut self) -> Result<(), FollowError> {
        self.stream = None;
        Ok(self.reader.end_here()?)
    }

    /// The next piece, however long it takes; `None` once the stack has ended and everything has
    /// been returned.
    pub async fn next(&mut self) -> Result<Option<Followed>, FollowError> {
        // Lets others have their turn while there is much to read.
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(piece) = self.reader.next_piece()? {
                return Ok(Some(piece));
            }
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            match stream.next().await {
                Ok(Some(news)) => self.reader.hear(news)?,
                // However it ended: what the stack still had to say is in the files.
                Ok(None) | Err(ClientError::Closed) => {
                    self.stream = None;
                    self.reader.finish()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next piece that is there already; `None` if it would have to be waited for.
    pub fn next_ready(&mut self) -> Result<Option<Followed>, FollowError> {
        Ok(self.reader.next_piece()?)
    }

    /// Makes [`next_ready`](Self::next_ready) return everything that is in a unit's file by now,
    /// without a word from the supervisor: a unit whose exit was told has printed everything.
    pub fn catch_up(&mut self, unit: &UnitId) -> Result<(), FollowError> {
        Ok(self.reader.look_at(unit)?)
    }
}
