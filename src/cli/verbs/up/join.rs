//! `up` where the stack runs already: whether it can be joined, and who is started by that.

use super::super::readiness::{Asked, asked};
use super::client::Place;
use super::feed::has_gone;
use super::{Arrival, warn};
use crate::api::client::BlockingClient;
use crate::cli::args::UpArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Ready;
use crate::plan::Draft;
use crate::run::control::{Command, StackSnapshot};
use crate::run::instance::Instance;
use crate::run::snapshot::{ServiceSnapshot, Wanted};
use crate::support::name::ServiceName;
use crate::support::text;

/// Joins a stack that runs, as it was a moment ago. `None` if it has just ended, so that it can be
/// started anew.
pub(super) fn join(
    ready: &Ready,
    instance: &Instance,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
) -> Result<Option<Arrival>, Stop> {
    if stack.fingerprint != ready.draft.fingerprint() {
        return Err(scaled(&ready.draft, stack).unwrap_or_else(|| changed(&ready.draft, stack)));
    }
    let command = Command::Up {
        services: args.services.clone(),
        no_deps: args.no_deps,
    };
    let reply = match client.command(&command) {
        Ok(reply) => reply,
        Err(error) if has_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut messages = vec![ready.warnings.trim_end().to_owned()];
    messages.extend(ports_without_effect(&ready.draft, stack));
    messages.push(if !(args.detach || args.wait) {
        "the stack is running already; attached to it".to_owned()
    } else if reply.affected.is_empty() {
        "the stack is running already; nothing to start".to_owned()
    } else {
        let names = text::list(&reply.affected);
        format!("the stack is running already; starting {names}")
    });
    let moved = asked(&reply.units);
    let asked = if args.wait {
        wanted(stack, args, &moved)
    } else {
        moved
    };
    Ok(Some(Arrival {
        place: Place {
            instance: instance.clone(),
            socket: client.path().to_path_buf(),
            run: u64::from_str_radix(&stack.run, 16).unwrap_or_default(),
        },
        units: stack.services.iter().map(ServiceSnapshot::unit).collect(),
        messages,
        asked: Some(asked),
        child: None,
        logs: None,
    }))
}

/// Why a stack cannot be joined whose file has changed.
fn changed(draft: &Draft, stack: &StackSnapshot) -> Stop {
    let in_file = &draft.spec().services;
    let mut removed: Vec<_> = stack.services.iter().map(|row| &row.service).collect();
    removed.dedup();
    let is_new = |name: &&ServiceName| !removed.contains(name) && draft.replica_count(name) > 0;
    let added: Vec<_> = in_file.keys().filter(is_new).collect();
    removed.retain(|name| !in_file.contains_key(*name));
    let changes: Vec<String> = [("added", added), ("removed", removed)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(how, names)| {
            format!(
                "{how}: {}",
                text::list(names.iter().map(|name| format!("`{name}`")))
            )
        })
        .collect();
    let mut message = "the stack runs with another configuration than the file has now".to_owned();
    if !changes.is_empty() {
        message = format!("{message} ({})", changes.join("; "));
    }
    Stop::new(
        ExitCode::Busy,
        message,
        Some(
            "run `stack down`, then `stack up`; taking changes over while it runs is not \
             supported yet",
        ),
    )
}

/// Why a stack with another number of replicas cannot be joined, if that is what differs.
fn scaled(draft: &Draft, stack: &StackSnapshot) -> Option<Stop> {
    let mut rows = stack.services.iter();
    let row = rows.find(|row| {
        let is_there = draft.spec().services.contains_key(&row.service);
        is_there && row.replicas != draft.replica_count(&row.service)
    })?;
    let (service, running) = (&row.service, row.replicas);
    Some(Stop::new(
        ExitCode::Busy,
        format!(
            "the stack runs with {}, and {} asked for",
            text::count_of(
                running as usize,
                &format!("replica of `{service}`"),
                &format!("replicas of `{service}`")
            ),
            match draft.replica_count(service) {
                1 => "1 is".to_owned(),
                count => format!("{count} are"),
            },
        ),
        Some(&format!(
            "`--scale {service}={running}` joins it as it is; for another number `stack down` \
             first, as scaling while it runs is not supported yet"
        )),
    ))
}

/// What `--port` asks for and a stack that runs already cannot follow, as warnings.
fn ports_without_effect(draft: &Draft, stack: &StackSnapshot) -> Vec<String> {
    let asked = draft.asked_ports().iter();
    asked
        .filter_map(|(key, &number)| {
            let service = stack
                .services
                .iter()
                .find(|row| row.service == key.service && row.replica == key.replica)?;
            let port = service.ports.iter().find(|port| port.name == key.name)?;
            (port.port != number).then(|| {
                warn(
                    &format!(
                        "`--port {}.{}={number}` has no effect: the stack runs already, with {}",
                        key.service, key.name, port.port
                    ),
                    Some("`stack down` first, then `stack up` with it"),
                )
            })
        })
        .collect()
}

/// Who `--wait` waits for: those that were named, else everything that anybody wanted up; each for
/// the generation that it was `moved` to, or whichever it has.
fn wanted(stack: &StackSnapshot, args: &UpArgs, moved: &Asked) -> Asked {
    let services = stack.services.iter().filter(|service| {
        args.services.contains(&service.service)
            || args.services.is_empty() && service.desired.wanted != Wanted::Nothing
    });
    let units = services.map(ServiceSnapshot::unit);
    let mut wanted: Asked = units.map(|unit| (unit, 0)).collect();
    wanted.extend(moved.clone());
    wanted
}
