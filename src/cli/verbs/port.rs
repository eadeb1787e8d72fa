//! `stack port SERVICE [NAME]`: the number of a port, of the first replica or another one.

use super::Context;
use crate::cli::args::PortArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::words;
use crate::run::control::StackSnapshot;
use crate::support::name::ServiceName;
use crate::support::text::{self, replica_of};

/// Carries out `stack port`. When nothing runs it is the last number, with a warning.
pub async fn run(context: &mut Context<'_>, arguments: &PortArgs) -> Result<ExitCode, Stop> {
    let stack = context.look_with_warning().await?;
    let port = find(context, &stack, arguments)?;
    context.output.data(&port.to_string());
    Ok(ExitCode::Done)
}

/// The number of the port that is meant: of a service's only port where no name is given, or of the
/// one called `PORT`.
pub(super) fn find(
    context: &Context<'_>,
    stack: &StackSnapshot,
    arguments: &PortArgs,
) -> Result<u16, Stop> {
    let PortArgs {
        service,
        name,
        index,
    } = arguments;
    let replicas = || stack.services.iter().filter(|row| row.service == *service);
    let Some(first) = replicas().next() else {
        return Err(unknown(context, stack, arguments));
    };
    let Some(row) = replicas().find(|row| row.replica == *index) else {
        return Err(Stop::usage(
            format!("service `{service}` has no replica {index}"),
            match first.replicas {
                1 => "it has one, `--index 1`".to_owned(),
                count => format!("its replicas are 1 to {count}"),
            },
        ));
    };
    let names = text::list(row.ports.iter().map(|port| &port.name));
    let called = |name: &str| row.ports.iter().find(|port| port.name.as_str() == name);
    let found = match (name, row.ports.as_slice()) {
        (_, []) => Err((
            format!("service `{service}` has no port"),
            "write `$<PORT:auto>` in its command or environment to give it one".to_owned(),
        )),
        (Some(name), _) => called(name.as_str()).ok_or_else(|| {
            let message = format!("service `{service}` has no port `{name}`");
            (message, format!("its ports: {names}"))
        }),
        (None, [only]) => Ok(only),
        (None, [_, ..]) => called("PORT").ok_or_else(|| {
            let message = format!("service `{service}` has several ports");
            let names = names.replace(", ", "|");
            (message, format!("name one: `stack port {service} {names}`"))
        }),
    };
    found
        .map(|port| port.port)
        .map_err(|(message, hint)| Stop::usage(message, hint))
}

/// The error about a service that there is not. Whoever names a replica as it is shown wants its
/// port, for which there is a way.
fn unknown(context: &Context<'_>, stack: &StackSnapshot, arguments: &PortArgs) -> Stop {
    let PortArgs { service, name, .. } = arguments;
    let names = || stack.services.iter().map(|row| &row.service);
    let replica = |known: &ServiceName| replica_of(service.as_str(), known.as_str());
    match names().find_map(|known| Some((known, replica(known)?))) {
        Some((known, replica)) => {
            let name = words::behind(" ", name.as_ref());
            Stop::usage(
                format!("there is no service `{service}`"),
                format!(
                    "`{service}` names a replica of `{known}`: write \
                     `stack port {known}{name} --index {replica}`"
                ),
            )
        }
        None => context.unknown_service(service, names()),
    }
}
