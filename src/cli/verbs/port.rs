//! `stack port SERVICE [NAME]`: the number of a port, of the first replica or another one.

use super::ground::unknown_service;
use super::{Context, VerbError};
use crate::cli::args::PortArgs;
use crate::cli::exit::ExitCode;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::PortSnapshot;
use crate::support::name::{PortName, ServiceName};
use crate::support::text::replica_of;

/// Carries out `stack port`. When nothing runs it is the last number, with a warning.
pub async fn run(context: &mut Context<'_>, arguments: &PortArgs) -> Result<ExitCode, VerbError> {
    let stack = context.look_with_warning().await?;
    let PortArgs {
        service,
        name,
        index,
    } = arguments;
    let port = find(&stack, service, *index, name.as_ref())?;
    context.output.data(&port.port.to_string());
    Ok(ExitCode::Done)
}

/// The port of that name and replica; without one the only port, or the one called `PORT`.
pub(super) fn find<'a>(
    stack: &'a StackSnapshot,
    service: &ServiceName,
    replica: u32,
    name: Option<&PortName>,
) -> Result<&'a PortSnapshot, VerbError> {
    let mut replicas = stack.services.iter().filter(|s| s.service == *service);
    let first = replicas.clone().next();
    let count = first.ok_or_else(|| unknown(stack, service, name))?.replicas;
    let found = replicas.find(|s| s.replica == replica);
    let ports = &found
        .ok_or_else(|| VerbError::UnknownReplica {
            service: service.clone(),
            replica,
            count,
        })?
        .ports;
    let known = || ports.iter().map(|port| port.name.clone()).collect();
    match (name, ports.as_slice()) {
        (Some(name), _) => {
            ports
                .iter()
                .find(|port| port.name == *name)
                .ok_or_else(|| VerbError::UnknownPort {
                    service: service.clone(),
                    name: name.clone(),
                    known: known(),
                })
        }
        (None, []) => Err(VerbError::NoPort {
            service: service.clone(),
        }),
        (None, [only]) => Ok(only),
        (None, several) => several
            .iter()
            .find(|port| port.name.as_str() == "PORT")
            .ok_or_else(|| VerbError::WhichPort {
                service: service.clone(),
                known: known(),
            }),
    }
}

/// The error about a service that there is not. Whoever names a replica as it is shown wants its
/// port, for which there is a way.
fn unknown(stack: &StackSnapshot, service: &ServiceName, name: Option<&PortName>) -> VerbError {
    let names = stack.services.iter().map(|row| &row.service);
    let replica = |known: &ServiceName| replica_of(service.as_str(), known.as_str());
    match names
        .clone()
        .find_map(|known| Some((known, replica(known)?)))
    {
        Some((known, replica)) => {
            let name = name.map_or_else(String::new, |name| format!(" {name}"));
            VerbError::UnknownService {
                name: service.clone(),
                hint: format!(
                    "`{service}` is a replica of `{known}`: write \
                     `stack port {known}{name} --index {replica}`"
                ),
            }
        }
        None => unknown_service(service, names),
    }
}
