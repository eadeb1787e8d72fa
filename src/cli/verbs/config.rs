//! `stack config`: the file as it was understood. Allocates nothing.

use crate::api::client::Client;
use crate::cli::args::{ConfigArgs, ConfigFormat};
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};

/// Checks the file and prints it with every value settled: ports and replicas as they are while the
/// stack runs, placeholders and what the file says otherwise.
pub fn config(invocation: &Invocation, args: &ConfigArgs) -> Result<ExitCode, Stop> {
    let ready = invocation.draft()?;
    let printer = invocation.printer(&[])?;
    if !ready.warnings.is_empty() {
        printer.message(ready.warnings.trim_end());
    }
    if !args.quiet {
        let instance = invocation.instance(&ready.draft);
        let running = match instance.holder() {
            Some(holder) => super::runtime()?
                .block_on(Client::new(holder.socket).stack())
                .ok(),
            None => None,
        };
        let shown = match &running {
            Some(stack) => {
                let draft = super::run::as_running(ready.draft, stack);
                draft.show(Some(&super::run::assignment(stack)))
            }
            None => ready.draft.show(None),
        };
        let text = match args.format {
            ConfigFormat::Yaml => crate::support::yaml::to_string(&shown)
                .map_err(|error| Stop::new(ExitCode::Failed, error.to_string(), None))?,
            ConfigFormat::Json => serde_json::to_string_pretty(&shown)
                .map_err(|error| Stop::new(ExitCode::Failed, error.to_string(), None))?,
        };
        printer.line_out(text.trim_end());
    }
    printer.finish();
    Ok(ExitCode::Done)
}
