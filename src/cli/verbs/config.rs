//! `stack config`: the file as it was understood. Allocates nothing.

use std::io;

use super::client::running;
use crate::cli::args::{ConfigArgs, ConfigFormat};
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer;
use crate::support::yaml;

/// Checks the file and prints it with every value settled: ports and replicas as they are while the
/// stack runs, placeholders and what the file says otherwise.
pub fn config(invocation: &Invocation, args: &ConfigArgs) -> Result<ExitCode, Stop> {
    let ready = invocation.draft()?;
    printer::say(ready.warnings.trim_end());
    if args.quiet {
        return Ok(ExitCode::Done);
    }
    let instance = invocation.instance(&ready.draft);
    let running = running(&instance)?;
    let shown = match &running {
        Some(stack) => {
            let draft = super::run::as_running(ready.draft, stack);
            draft.show(Some(&super::run::assignment(stack)))
        }
        None => ready.draft.show(None),
    };
    let text = match args.format {
        ConfigFormat::Yaml => yaml::to_string(&shown).map_err(io::Error::other)?,
        ConfigFormat::Json => serde_json::to_string_pretty(&shown)?,
    };
    printer::say_out(&text)?;
    Ok(ExitCode::Done)
}
