//! `stack logs --clear`: removes what was logged, also while the stack runs.

use super::super::Context;
use crate::api::client::ClientError;
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::Command;
use crate::run::instance::LockAttempt;
use crate::run::logs::clear_logs;
use crate::support::name::UnitId;

/// Removes what these units have logged, of all of them where none is named.
pub(super) async fn clear(context: &mut Context<'_>, units: Vec<UnitId>) -> Result<ExitCode, Stop> {
    match context.supervisor().await {
        // Who writes them removes them.
        Ok(client) => _ = client.command(&Command::ClearLogs { units }).await?,
        Err(ClientError::NotRunning) => match context.instance.lock()? {
            // Nobody starts meanwhile.
            LockAttempt::Acquired(_lock) => clear_logs(&context.instance.log_dir(), &units)?,
            LockAttempt::Busy(_) | LockAttempt::Hidden(_) => {
                return Err(Stop::new(
                    ExitCode::Busy,
                    "the stack is just being started or stopped",
                    Some("try again in a moment"),
                ));
            }
        },
        Err(error) => return Err(error.into()),
    }
    context.output.message("the logs were removed");
    Ok(ExitCode::Done)
}
