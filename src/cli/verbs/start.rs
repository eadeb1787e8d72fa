//! `stack start`: starts services that do not run, and waits until they have been executed.

use super::Context;
use super::watch::carry_out;
use crate::cli::args::ServicesArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::Command;
use crate::run::waits::Goal;

/// Carries out `stack start`. Where nothing runs there is nothing to start in: exit code 4.
pub async fn run(context: &mut Context<'_>, arguments: &ServicesArgs) -> Result<ExitCode, Stop> {
    let command = Command::Start {
        services: arguments.services.clone(),
    };
    carry_out(context, &command, Goal::Executed, "started").await
}
