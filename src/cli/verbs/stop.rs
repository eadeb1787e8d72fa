//! `stack stop`: stops services, dependents first, and waits until they have ended.

use super::Context;
use super::watch::carry_out;
use crate::cli::args::StopArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::Command;
use crate::run::waits::Goal;

/// Carries out `stack stop`.
pub async fn run(context: &mut Context<'_>, arguments: &StopArgs) -> Result<ExitCode, Stop> {
    let command = Command::Stop {
        services: arguments.services.clone(),
        grace: arguments.timeout,
    };
    carry_out(context, &command, Goal::Stopped, "stopped").await
}
