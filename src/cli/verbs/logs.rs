//! `stack logs`: what was printed, from the files, and with `-f` what is printed from now on.

use std::path::Path;

use super::Context;
use super::ground::Seen;
use crate::api::client::{ClientError, FollowError, Followed, LogFollower, Start};
use crate::cli::args::{LogsArgs, Tail};
use crate::cli::exit::{ExitCode, Stop};
use crate::run::logs::{Wanted, logged_units};
use crate::run::snapshot::ServiceSnapshot;
use crate::support::name::{ServiceName, UnitId};

/// Carries out `stack logs`. Exit code 4 where nothing runs and nothing was ever printed.
pub async fn run(context: &mut Context<'_>, arguments: &LogsArgs) -> Result<ExitCode, Stop> {
    let log_dir = context.instance.log_dir();
    let services = &arguments.services;
    let (units, is_running, run) = find_units(context, &log_dir, services).await?;
    let wanted = Wanted {
        units: services.iter().map(|name| (name.clone(), None)).collect(),
        ..Wanted::default()
    };
    let start = Start::LastRun {
        run,
        tail: match arguments.tail {
            Tail::All => None,
            Tail::Lines(lines) => Some(lines),
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
    loop {
        match follower.next().await? {
            Some(Followed::Block(block)) => context.output.block(block).await,
            Some(Followed::Lost { unit, bytes }) => context.output.message(&format!(
                "warning: {bytes} bytes of {} are missing here",
                label_among(&unit, &units)
            )),
            None => return Ok(ExitCode::Done),
        }
    }
}

/// Whose output may come, whether a supervisor runs, and the number of the last run where that is known. An
/// unknown name is an error, unless there is a log of it.
async fn find_units(
    context: &mut Context<'_>,
    log_dir: &Path,
    wanted: &[ServiceName],
) -> Result<(Vec<UnitId>, bool, Option<u64>), Stop> {
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
    let is_known = |name: &ServiceName| units.iter().any(|unit| unit.service == *name);
    match wanted.iter().find(|name| !is_known(name)) {
        Some(name) => Err(context.unknown_service(name, units.iter().map(|unit| &unit.service))),
        None => Ok((units, is_running, run)),
    }
}

/// The name of a unit among others: with its number where another replica is among them.
fn label_among(unit: &UnitId, units: &[UnitId]) -> String {
    let is_alone = units
        .iter()
        .all(|other| other == unit || other.service != unit.service);
    unit.label(if is_alone { 1 } else { 2 })
}
