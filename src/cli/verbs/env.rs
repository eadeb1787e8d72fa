//! `stack env`: the generated variables, for other programs.

use super::Context;
use crate::cli::args::{EnvArgs, EnvFormat};
use crate::cli::exit::{ExitCode, Stop};
use crate::dotenv::format::{Format, render};

/// Carries out `stack env`. When nothing runs these are the last values, with a warning.
pub async fn run(context: &mut Context<'_>, arguments: &EnvArgs) -> Result<ExitCode, Stop> {
    let stack = context.look_with_warning().await?;
    let format = match arguments.format {
        EnvFormat::Dotenv => Format::Dotenv,
        EnvFormat::Json => Format::Json,
        EnvFormat::Shell => Format::Shell,
    };
    let text = render(format, &stack.values)?;
    if !text.is_empty() {
        context.output.data(text.trim_end_matches('\n'));
    }
    Ok(ExitCode::Done)
}
