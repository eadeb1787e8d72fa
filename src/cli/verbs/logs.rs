//! `stack logs`: what was printed, from the files, and with `-f` what is printed from now on.

mod clear;

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::Context;
use super::ground::Seen;
use crate::api::client::{ClientError, FollowError, Followed, LogFollower, Start, Wanted};
use crate::cli::args::{LogsArgs, Tail};
use crate::cli::exit::{ExitCode, Stop};
use crate::run::logs::{Grep, LastLines, LogBlock, logged_units};
use crate::run::snapshot::ServiceSnapshot;
use crate::support::clock::unix_nanos;
use crate::support::name::{ServiceName, UnitId};

/// Carries out `stack logs`. Exit code 4 where nothing runs and nothing was ever printed.
pub async fn run(context: &mut Context<'_>, arguments: &LogsArgs) -> Result<ExitCode, Stop> {
    if let (Some(since), Some(until)) = (arguments.since, arguments.until)
        && since > until
    {
        return Err(Stop::usage(
            "`--since` is later than `--until`",
            "`--since 5m --until 1m` shows what was printed between these",
        ));
    }
    let log_dir = context.instance.log_dir();
    let Found {
        units,
        wanted,
        is_running,
        run,
    } = find_units(context, &log_dir, &arguments.services).await?;
    let wanted = Wanted {
        units: wanted,
        stream: arguments.stream,
        until: arguments.until,
        grep: arguments.grep.clone(),
    };
    if arguments.clear {
        let units = units.into_iter().filter(|unit| wanted.has(unit)).collect();
        return clear::clear(context, units).await;
    }
    let lines = match arguments.tail {
        Tail::All => None,
        Tail::Lines(lines) => Some(lines),
    };
    // The last lines that match are among all that there are.
    let tail = lines.filter(|_| arguments.grep.is_none());
    let start = match (arguments.since, arguments.until) {
        (None, None) => Start::LastRun { run, tail },
        (since, _) => Start::Since {
            time: since.unwrap_or(0),
            tail,
        },
    };
    let supervisor = if is_running {
        context.supervisor().await
    } else {
        Err(ClientError::NotRunning)
    };
    let opened = match supervisor {
        Ok(client) => LogFollower::open(&client, log_dir.clone(), &wanted, start).await,
        Err(error) => Err(error.into()),
    };
    let mut follower = match opened {
        // It has gone, and its logs stay; who does not follow needs it for no more than what no file
        // took.
        Err(FollowError::Client(error))
            if !arguments.follow
                || matches!(error, ClientError::Closed | ClientError::NotRunning) =>
        {
            LogFollower::past(log_dir, &wanted, start)?
        }
        opened => opened?,
    };
    if !arguments.follow {
        follower.stop()?;
    }
    let mut view = View {
        context,
        units: &units,
        grep: arguments.grep.clone().map(Grep::new),
        last: lines.filter(|_| tail.is_none()).map(LastLines::new),
    };
    while let Some(piece) = follower.next_ready()? {
        view.show(piece).await;
    }
    if !arguments.follow {
        view.finish().await;
    }
    view.show_last().await;
    let mut until = std::pin::pin!(passed(arguments.until));
    let mut is_over = !arguments.follow;
    loop {
        tokio::select! {
            biased;
            () = &mut until, if !is_over => {
                is_over = true;
                follower.stop()?;
            }
            piece = follower.next() => {
                let Some(piece) = piece? else {
                    view.finish().await;
                    return Ok(ExitCode::Done);
                };
                view.show(piece).await;
            }
        }
    }
}

/// Returns when a point in time has passed, if there is one.
async fn passed(time: Option<u64>) {
    match time {
        Some(time) => sleep(Duration::from_nanos(time.saturating_sub(unix_nanos()))).await,
        None => pending().await,
    }
}

/// Where pieces of output go, and what is left of them there.
struct View<'a, 'c> {
    context: &'a mut Context<'c>,
    units: &'a [UnitId],
    grep: Option<Grep>,
    /// Keeps the last lines of what was printed so far, until that has been read.
    last: Option<LastLines>,
}

impl View<'_, '_> {
    async fn show(&mut self, piece: Followed) {
        let block = match piece {
            Followed::Block(block) => block,
            Followed::Lost { unit, bytes } => {
                return self.context.output.message(&format!(
                    "warning: {bytes} bytes of {} are missing here",
                    label_among(&unit, self.units)
                ));
            }
        };
        match &mut self.grep {
            Some(grep) => {
                for block in grep.take(block) {
                    self.keep(block).await;
                }
            }
            None => self.keep(block).await,
        }
    }

    /// Shows a block, or keeps it while it is not known whether it is among the last lines.
    async fn keep(&mut self, block: LogBlock) {
        match &mut self.last {
            Some(last) => last.take(block),
            None => self.context.output.block(block).await,
        }
    }

    /// Shows the last lines of what was printed so far.
    async fn show_last(&mut self) {
        for block in self.last.take().into_iter().flat_map(LastLines::finish) {
            self.context.output.block(block).await;
        }
    }

    /// Shows what had no end.
    async fn finish(&mut self) {
        let rest: Vec<LogBlock> = self.grep.iter_mut().flat_map(Grep::finish).collect();
        for block in rest {
            self.keep(block).await;
        }
    }
}

/// What there is to show.
struct Found {
    /// Whose output may come.
    units: Vec<UnitId>,
    /// Whose output is wanted.
    wanted: Vec<(ServiceName, Option<u32>)>,
    is_running: bool,
    /// The number of the last run, where that is known.
    run: Option<u64>,
}

/// Looks what there is to show. An unknown name is an error, unless there is a log of it.
async fn find_units(
    context: &mut Context<'_>,
    log_dir: &Path,
    names: &[ServiceName],
) -> Result<Found, Stop> {
    let mut units = logged_units(log_dir).map_err(FollowError::Logs)?;
    let (is_running, run) = match context.look().await {
        Ok(seen) => {
            let rows = &seen.snapshot().services;
            let running: Vec<UnitId> = rows.iter().map(ServiceSnapshot::unit).collect();
            units.extend(running.iter().cloned());
            context.output.introduce(&running);
            let run = u64::from_str_radix(&seen.snapshot().run, 16);
            (matches!(seen, Seen::Running(_)), run.ok())
        }
        // A supervisor that was killed left its logs, and no last state.
        Err(stop) if stop.code == ExitCode::NotRunning && !units.is_empty() => {
            context.output.introduce(&units);
            (false, None)
        }
        Err(error) => return Err(error),
    };
    let wanted = names.iter().map(|name| {
        // A service that is called like a replica of another one comes first.
        if units.iter().any(|unit| unit.service == *name) {
            return Ok((name.clone(), None));
        }
        let replica = units.iter().find(|unit| unit.label(2) == name.as_str());
        let replica = replica.map(|unit| (unit.service.clone(), Some(unit.replica)));
        replica.ok_or_else(|| context.unknown_service(name, units.iter().map(|unit| &unit.service)))
    });
    let wanted = wanted.collect::<Result<_, _>>()?;
    Ok(Found {
        units,
        wanted,
        is_running,
        run,
    })
}

/// The name of a unit among others: with its number where another replica is among them.
fn label_among(unit: &UnitId, units: &[UnitId]) -> String {
    let is_alone = units
        .iter()
        .all(|other| other == unit || other.service != unit.service);
    unit.label(if is_alone { 1 } else { 2 })
}
