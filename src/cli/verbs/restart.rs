//! `stack restart`: stops services and starts them at once, and waits until they were executed
//! again.

use super::Context;
use super::watch::carry_out;
use crate::cli::args::StopArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::Command;
use crate::run::waits::Goal;

/// Carries out `stack restart`. The configuration is that of the running stack.
pub async fn run(context: &mut Context<'_>, arguments: &StopArgs) -> Result<ExitCode, Stop> {
    let command = Command::Restart {
        services: arguments.services.clone(),
        grace: arguments.timeout,
    };
    carry_out(context, &command, Goal::Executed, "restarted").await
}
