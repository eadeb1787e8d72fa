//! `stack logs`: what was printed, from the files, and with `-f` what is printed from now on.
//!
//! The files have everything, the stream is in time. Both are joined by where a block begins in its
//! log ([`LogBlock::offset`]): what the files gave is not shown twice, and what the stream left out
//! (it drops blocks rather than hold up the supervisor) is taken from the files.

mod cursor;

use std::path::PathBuf;
use std::pin::pin;

use self::cursor::{Cursor, Place};
use super::ground::{Seen, unknown_service};
use super::{Context, VerbError};
use crate::api::client::{ClientError, LogFollow};
use crate::api::frame::Frame;
use crate::cli::args::{LogsArgs, Tail};
use crate::cli::exit::ExitCode;
use crate::cli::printer::stdout_is_closed;
use crate::run::logs::{LogBlock, Runs, history, logged_units};
use crate::run::snapshot::ServiceSnapshot;
use crate::support::name::{ServiceName, UnitId};

/// Carries out `stack logs`. Exit code 4 where nothing runs and nothing was ever printed.
pub async fn run(context: &mut Context<'_>, arguments: &LogsArgs) -> Result<ExitCode, VerbError> {
    let mut reader = Reader {
        log_dir: context.instance.log_dir(),
        services: arguments.services.clone(),
        cursor: Cursor::default(),
    };
    let is_running = check_names(context, &reader).await?;
    // Subscribed before the files are read, so that nothing falls between.
    let stream = if arguments.follow && is_running {
        follow(context, &reader.services).await?
    } else {
        None
    };
    let tail = match arguments.tail {
        Tail::All => None,
        Tail::Lines(lines) => Some(lines),
    };
    reader.show_files(context, tail).await?;
    if let Some(stream) = stream {
        reader.show_stream(context, stream).await?;
    }
    Ok(ExitCode::Done)
}

/// Whether a supervisor runs. An unknown name is an error, unless there is a log of it.
async fn check_names(context: &mut Context<'_>, reader: &Reader) -> Result<bool, VerbError> {
    let logged = logged_units(&reader.log_dir).map_err(VerbError::Logs)?;
    let mut known: Vec<ServiceName> = logged.iter().map(|unit| unit.service.clone()).collect();
    let is_running = match context.look().await {
        Ok(seen) => {
            let services = &seen.snapshot().services;
            known.extend(services.iter().map(|s| s.service.clone()));
            let units = services.iter().map(ServiceSnapshot::unit).collect();
            context.output.introduce(units);
            matches!(seen, Seen::Running(_))
        }
        // A supervisor that was killed left its logs, and no last state.
        Err(VerbError::Client(ClientError::NotRunning | ClientError::Closed))
            if !known.is_empty() =>
        {
            context.output.introduce(logged);
            false
        }
        Err(error) => return Err(error),
    };
    match reader.services.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(unknown_service(name, &known)),
        None => Ok(is_running),
    }
}

/// The stream, from its beginning on; none if the supervisor has just gone.
async fn follow(
    context: &Context<'_>,
    services: &[ServiceName],
) -> Result<Option<LogFollow>, VerbError> {
    let client = match context.supervisor().await {
        Ok(client) => client,
        Err(ClientError::NotRunning) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A service that only has an old log is not in the running stack: nothing will come of it.
    match client.logs(services).await {
        Ok(stream) => Ok(Some(stream)),
        Err(ClientError::Closed | ClientError::NotRunning) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The name of a unit among others: with its number where another replica is among them.
fn label_among(unit: &UnitId, units: &[UnitId]) -> String {
    let is_alone = units
        .iter()
        .all(|other| other == unit || other.service != unit.service);
    unit.label(if is_alone { 1 } else { 2 })
}

struct Reader {
    log_dir: PathBuf,
    services: Vec<ServiceName>,
    cursor: Cursor,
}

impl Reader {
    /// Shows what the files hold behind the cursor, and moves it.
    async fn show_files(
        &mut self,
        context: &mut Context<'_>,
        tail: Option<usize>,
    ) -> Result<(), VerbError> {
        let logged = logged_units(&self.log_dir).map_err(VerbError::Logs)?;
        let units: Vec<UnitId> = logged
            .iter()
            .filter(|unit| self.services.is_empty() || self.services.contains(&unit.service))
            .cloned()
            .collect();
        if units.is_empty() {
            return Ok(());
        }
        let mut past = history(&self.log_dir, &units, tail, Runs::Last).map_err(VerbError::Logs)?;
        for item in past.by_ref() {
            let item = item.map_err(VerbError::Logs)?;
            if item.dropped > 0 {
                context.output.message(&format!(
                    "warning: {} bytes of {} were not logged here",
                    item.dropped,
                    label_among(&item.block.unit, &units)
                ));
            }
            if let Some(block) = self.cursor.unseen(item.block) {
                context.output.block(block).await;
            }
        }
        // Not where the last block ended: a tail may have left out whole services.
        for unit in units {
            let end = past.end_offset(&unit);
            self.cursor.read_until(unit, end);
        }
        Ok(())
    }

    /// Shows the stream until its end, and what it left out.
    async fn show_stream(
        &mut self,
        context: &mut Context<'_>,
        mut stream: LogFollow,
    ) -> Result<(), VerbError> {
        let mut closed = pin!(stdout_is_closed());
        loop {
            let frame = tokio::select! {
                frame = stream.next() => frame,
                () = &mut closed => return Ok(()),
            };
            match frame {
                Ok(Some(Frame::Start { .. })) => {}
                Ok(Some(Frame::Lagged { .. })) => self.show_files(context, None).await?,
                Ok(Some(Frame::Block(block))) => self.show_block(context, block).await?,
                // However it ended: what it still had to say is in the files.
                Ok(None) | Err(ClientError::Closed) => {
                    return self.show_files(context, None).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn show_block(
        &mut self,
        context: &mut Context<'_>,
        block: LogBlock,
    ) -> Result<(), VerbError> {
        if self.cursor.place(&block) == Place::Ahead {
            self.show_files(context, None).await?;
        }
        match self.cursor.place(&block) {
            Place::Seen => {}
            // Still ahead: the files have lost it too (a full disk, a log that was emptied).
            Place::Next | Place::Ahead => {
                self.cursor.advance(&block);
                context.output.block(block).await;
            }
        }
        Ok(())
    }
}
