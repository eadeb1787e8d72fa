//! One way to all output: what the log files hold, then what comes while the stack runs.
//!
//! The files have everything, the socket is in time. Both are joined by where a block begins in its
//! log ([`LogBlock::offset`]): what the files gave is not shown twice, and what the socket left out
//! is taken from the files.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use super::cursor::{Cursor, Place};
use super::{Client, ClientError, LogFollow};
use crate::api::frame::Frame;
use crate::run::logs::{History, LogBlock, Runs, history, logged_units};
use crate::support::name::{ServiceName, UnitId};

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With everything that this run of the stack (`STACK_RUN` as a number) has printed.
    Run(u64),
    /// With the last lines of each unit in the last run that printed anything; all without a number.
    LastRun {
        /// How many lines of each unit.
        tail: Option<usize>,
    },
    /// With what comes from now on.
    Now,
}

/// A piece of what services print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Output, in order within each unit.
    Block(LogBlock),
    /// Output of a unit that is lost: it came before what comes next of this unit.
    Lost {
        /// Whose.
        unit: UnitId,
        /// How many bytes.
        bytes: u64,
    },
}

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

/// Yields the output of some services, block by block.
///
/// Nothing is lost when the future of a method is dropped.
#[derive(Debug)]
pub struct LogFollower {
    log_dir: PathBuf,
    services: Vec<ServiceName>,
    cursor: Cursor,
    /// What is being read out of the files.
    past: Option<(History, Vec<UnitId>)>,
    /// What comes next, before anything else.
    ready: VecDeque<Followed>,
    /// A block of the stream that the files come before.
    held: Option<LogBlock>,
    stream: Option<LogFollow>,
}

impl LogFollower {
    /// Reads what `services` (no service: all of them) left in `log_dir`, and ends there.
    pub fn past(
        log_dir: PathBuf,
        services: &[ServiceName],
        start: Start,
    ) -> Result<Self, FollowError> {
        let mut follower = Self {
            log_dir,
            services: services.to_vec(),
            cursor: Cursor::default(),
            past: None,
            ready: VecDeque::new(),
            held: None,
            stream: None,
        };
        match start {
            Start::Run(run) => follower.read_files(None, Runs::Of(run))?,
            Start::LastRun { tail } => follower.read_files(tail, Runs::Last)?,
            Start::Now => follower.read_files(Some(0), Runs::Last)?,
        }
        Ok(follower)
    }

    /// The same, and goes on with what the running stack prints, until it ends.
    ///
    /// `log_dir` is that of the stack behind `client`. A service that is not part of it is an
    /// error.
    pub async fn open(
        client: &Client,
        log_dir: PathBuf,
        services: &[ServiceName],
        start: Start,
    ) -> Result<Self, FollowError> {
        // Subscribed before the files are read, so that nothing falls between.
        let stream = client.logs(services).await?;
        let mut follower = Self::past(log_dir, services, start)?;
        follower.stream = Some(stream);
        Ok(follower)
    }

    /// The next piece, however long it takes; `None` once the stack has ended and everything has
    /// been returned.
    pub async fn next(&mut self) -> Result<Option<Followed>, FollowError> {
        loop {
            if let Some(piece) = self.next_ready()? {
                return Ok(Some(piece));
            }
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            match stream.next().await {
                Ok(Some(Frame::Start { .. })) => {}
                Ok(Some(Frame::Lagged { .. })) => self.catch_up()?,
                Ok(Some(Frame::Block(block))) => {
                    if self.cursor.place(&block) == Place::Ahead {
                        self.catch_up()?;
                    }
                    self.held = Some(block);
                }
                // However it ended: what it still had to say is in the files.
                Ok(None) | Err(ClientError::Closed) => {
                    self.stream = None;
                    self.catch_up()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next piece that is there already; `None` if it would have to be waited for.
    pub fn next_ready(&mut self) -> Result<Option<Followed>, FollowError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if let Some((past, units)) = &mut self.past {
                if let Some(item) = past.next() {
                    let item = item?;
                    if item.dropped > 0 {
                        self.ready.push_back(Followed::Lost {
                            unit: item.block.unit.clone(),
                            bytes: item.dropped,
                        });
                    }
                    let unseen = self.cursor.unseen(item.block);
                    self.ready.extend(unseen.map(Followed::Block));
                } else {
                    // Not where the last block ended: a tail may leave out whole units.
                    for unit in units.drain(..) {
                        let end = past.end_offset(&unit);
                        self.cursor.read_until(unit, end);
                    }
                    self.past = None;
                }
                continue;
            }
            let Some(block) = self.held.take() else {
                return Ok(None);
            };
            match self.cursor.place(&block) {
                Place::Seen => {}
                // Still ahead: the files have lost it too (a full disk, a log that was emptied).
                Place::Next | Place::Ahead => {
                    self.cursor.advance(&block);
                    return Ok(Some(Followed::Block(block)));
                }
            }
        }
    }

    /// Makes [`next_ready`](Self::next_ready) return everything that the files hold by now, without
    /// a word from the supervisor: a unit whose exit was told has all its output in them.
    pub fn catch_up(&mut self) -> Result<(), FollowError> {
        if self.past.is_some() {
            return Ok(());
        }
        self.read_files(None, Runs::Last)
    }

    fn read_files(&mut self, tail: Option<usize>, runs: Runs) -> Result<(), FollowError> {
        let mut units = logged_units(&self.log_dir)?;
        if !self.services.is_empty() {
            units.retain(|unit| self.services.contains(&unit.service));
        }
        if !units.is_empty() {
            let past = history(&self.log_dir, &units, tail, runs)?;
            self.past = Some((past, units));
        }
        Ok(())
    }
}
