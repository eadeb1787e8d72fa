//! `stack run -- CMD`: any command with the stack's values. What it starts is the caller's.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Context;
use super::client::find;
use super::running_plan::plan_of;
use crate::cli::args::RunArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::{Invocation, check_service};
use crate::cli::printer::Printer;
use crate::cli::words;
use crate::plan::model::UnitPlan;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::rights::take_on;
use crate::spec::model::MARKS;
use crate::support::text;

/// Replaces this process by the command. Comes back only when it cannot be executed.
pub fn run(invocation: &Invocation, args: &RunArgs) -> Result<ExitCode, Stop> {
    let (instance, stack) = values(invocation)?;
    let mut words = args.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words);
    match &args.service {
        None => {
            command.envs(stack.values.iter().map(|(key, value)| (key, value)));
        }
        Some(service) => {
            let ready = invocation.draft_with(&[], &[], std::slice::from_ref(service))?;
            check_service(&ready.draft, service)?;
            let plan = plan_of(invocation, &instance, ready.draft, &stack)?;
            // That of the first replica, whose ports are the ones without a number.
            let Some(index) = plan.unit_of(service.as_str()) else {
                return Err(Stop::usage(
                    format!("service `{service}` has no replica and therefore no environment"),
                    "leave out `--service` to use the generated variables alone",
                ));
            };
            let unit = &plan.units[index];
            let environment = take_on(unit).map_err(|error| {
                let why = words::start_error(&error);
                let message = format!("`{}` cannot be executed: {why}", program.to_string_lossy());
                Stop::new(ExitCode::Own(126), message, None)
            })?;
            place(&mut command, unit, &environment);
        }
    }
    let error = command.exec();
    // 127 and 126 as every shell says them.
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Err(Stop::new(
        ExitCode::Own(code),
        format!(
            "`{}` cannot be executed: {}",
            program.to_string_lossy(),
            text::io_reason(&error)
        ),
        None,
    ))
}

/// Gives a command the environment and the directory of a unit, but not its marks.
pub(super) fn place<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    command: &mut Command,
    unit: &UnitPlan,
    environment: &[(K, V)],
) {
    command.env_clear();
    let entries = environment.iter().map(|(key, value)| (key.as_ref(), value));
    command.envs(entries.filter(|(key, _)| !MARKS.iter().any(|mark| key == mark)));
    command.current_dir(&unit.directory);
}

/// The running stack's values, else the last ones, with a warning.
fn values(invocation: &Invocation) -> Result<(Instance, StackSnapshot), Stop> {
    let (instance, names) = find(invocation)?;
    let printer = Printer::new(invocation.printer_options(&[]))?;
    let mut context = Context {
        instance: &instance,
        in_file: &names,
        has_changed: &|_| false,
        output: &mut &printer,
    };
    let stack = super::runtime()?.block_on(printer.run(context.look_with_warning()))?;
    Ok((instance, stack))
}
