//! How commands are executed: by themselves, or by a shell.

use super::code;
use super::command::decide;
use super::model::Execution;
use super::resolver::Resolver;
use crate::spec::model::{CommandSpec, ServiceSpec};
use crate::spec::problem::Report;
use crate::spec::template::Template;

/// The shell of string commands, unless the file names another one.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A command as it is executed: its words, or a shell with its line.
pub(super) fn line_execution(line: &Template, resolver: &Resolver<'_>) -> Execution {
    let line = resolver.text(line);
    let shell = resolver.draft.spec().shell.as_ref();
    if let Some(argv) = decide(&line, shell.is_some()) {
        return Execution::words(argv);
    }
    let default = || DEFAULT_SHELL.map(str::to_owned).to_vec();
    let mut argv = shell.cloned().unwrap_or_else(default);
    argv.push(line);
    Execution {
        argv,
        is_shell_line: true,
    }
}

/// How a command is executed that stands alone.
pub(super) fn command_execution(command: &CommandSpec, resolver: &Resolver<'_>) -> Execution {
    match command {
        CommandSpec::Line(line) => line_execution(line, resolver),
        CommandSpec::Words(list, _) => Execution::words(resolver.words(list)),
    }
}

/// How a service is executed: its entrypoint, followed by its command.
pub(super) fn execution(service: &ServiceSpec, resolver: &Resolver<'_>) -> Execution {
    let one = |command: &CommandSpec| command_execution(command, resolver);
    let entrypoint = service.entrypoint.as_ref().map(one);
    let command = service.command.as_ref().map(one);
    match (entrypoint, command) {
        (Some(entrypoint), Some(command)) => {
            if entrypoint.is_shell_line
                && let Some(CommandSpec::Line(line)) = &service.entrypoint
            {
                resolver.told().error(
                    code::ENTRYPOINT_LINE,
                    &line.span,
                    "an `entrypoint` that needs a shell cannot be followed by a `command`",
                    "write the entrypoint as a list: `entrypoint: [nice, -n, \"5\"]`",
                );
            }
            let argv = entrypoint.argv.into_iter().chain(command.argv).collect();
            Execution { argv, ..command }
        }
        (Some(one), None) | (None, Some(one)) => one,
        // The spec has reported it.
        (None, None) => Execution::words(Vec::new()),
    }
}
