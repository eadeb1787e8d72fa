//! `stack port SERVICE [NAME]`: the number of a port.

use super::ground::unknown_service;
use super::{Context, VerbError};
use crate::cli::args::PortArgs;
use crate::cli::exit::ExitCode;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::PortSnapshot;
use crate::support::name::{PortName, ServiceName};

/// Carries out `stack port`. When nothing runs it is the last number, with a warning.
pub async fn run(context: &mut Context<'_>, arguments: &PortArgs) -> Result<ExitCode, VerbError> {
    let stack = context.look_with_warning().await?;
    let port = find(&stack, &arguments.service, arguments.name.as_ref())?;
    context.output.data(&port.port.to_string());
    Ok(ExitCode::Done)
}

/// The port of that name; without one the only port, or the one called `PORT`.
pub(super) fn find<'a>(
    stack: &'a StackSnapshot,
    service: &ServiceName,
    name: Option<&PortName>,
) -> Result<&'a PortSnapshot, VerbError> {
    let names = stack.services.iter().map(|s| &s.service);
    let found = stack.services.iter().find(|s| s.service == *service);
    let ports = &found.ok_or_else(|| unknown_service(service, names))?.ports;
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
