//! `up` where the stack runs already: whether it can be joined, and who is started by that.

use std::sync::Arc;

use super::super::readiness::{Aim, Asked, asked};
use super::abort::Abort;
use super::client::Place;
use super::feed::has_gone;
use super::{Arrival, unattached, warn};
use crate::api::client::{BlockingClient, ClientError};
use crate::cli::args::UpArgs;
use crate::cli::exit::Stop;
use crate::cli::invocation::{Invocation, Ready};
use crate::cli::printer;
use crate::cli::words::{changes, file_changes};
use crate::plan::Draft;
use crate::run::control::{Command, CommandReply, StackSnapshot};
use crate::run::instance::Instance;
use crate::run::proposal::{Advice, Asking, Extent, Proposal, Recreate};
use crate::run::snapshot::{Phase, ServiceSnapshot, Wanted};
use crate::spec::problem::Problem;
use crate::support::text;

/// Joins a stack that runs, as it was a moment ago; where the file has changed, the stack takes that
/// over. `None` if it has just ended, so that it can be started anew.
pub(super) fn join(
    invocation: &Invocation,
    ready: &Ready,
    instance: &Instance,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
) -> Result<Option<Arrival>, Stop> {
    match try_join(invocation, ready, instance, client, stack, args) {
        Ok(arrival) => Ok(Some(arrival)),
        Err(Refusal::Client(error)) if has_gone(&error) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Why a stack is not joined.
pub(super) enum Refusal {
    Client(ClientError),
    Stop(Stop),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Client(error) => error.into(),
            Refusal::Stop(stop) => stop,
        }
    }
}

/// Has a stack run that is as the file says.
fn say_up(client: &BlockingClient, args: &UpArgs) -> Result<CommandReply, ClientError> {
    if args.no_start {
        return Ok(CommandReply::default());
    }
    client.command(&Command::Up {
        services: args.services.clone(),
        no_deps: args.no_deps,
    })
}

/// Has a stack become what the file says; each change is shown before it happens. Says as well whether
/// there was any.
fn take_over(
    invocation: &Invocation,
    ready: &Ready,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
) -> Result<(bool, CommandReply), Refusal> {
    let mut said = Vec::new();
    let reply = client.apply(|| -> Result<u64, Refusal> {
        let (proposal, lines) = propose(invocation, ready, client, stack, args, false)?;
        if said != lines {
            for line in &lines {
                printer::say(line);
            }
            said = lines;
        }
        Ok(proposal.id)
    })?;
    Ok((!said.is_empty(), reply))
}

fn try_join(
    invocation: &Invocation,
    ready: &Ready,
    instance: &Instance,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
) -> Result<Arrival, Refusal> {
    let is_same = stack.fingerprint == ready.draft.fingerprint();
    // What the files hold is noted anew, also where it says the same.
    let is_noted = stack.contents == ready.draft.sources().contents();
    let mut messages = vec![ready.warnings.trim_end().to_owned()];
    if is_same {
        messages.extend(ports_without_effect(&ready.draft, stack));
    }
    for message in std::mem::take(&mut messages) {
        printer::say(&message);
    }
    // What starts for this call gets its environment.
    let is_at_rest = |service: &ServiceSnapshot| service.phase.is_at_rest();
    let nothing_changes = is_same
        && is_noted
        && !args.force_recreate
        && (args.no_start || !stack.services.iter().any(is_at_rest));
    let (is_changed, mut reply) = if nothing_changes {
        (false, say_up(client, args)?)
    } else {
        take_over(invocation, ready, client, stack, args)?
    };
    run_once_more(client, stack, args, &mut reply)?;
    messages.extend(reply.warnings.iter().map(advice));
    messages.push(if !(args.detach || args.wait) {
        "the stack is running already; attached to it".to_owned()
    } else if is_changed {
        // Each of them was named.
        String::new()
    } else if reply.affected.is_empty() {
        "the stack is running already; nothing to start".to_owned()
    } else {
        let names = text::list(&reply.affected);
        format!("the stack is running already; starting {names}")
    });
    let stack = if nothing_changes {
        stack
    } else {
        &client.stack()?
    };
    let moved = asked(&reply.units);
    let abort = Abort::of(args, &moved);
    let asked = if args.wait {
        wanted(stack, args, &moved)
    } else {
        moved
    };
    Ok(Arrival {
        place: Place {
            instance: instance.clone(),
            registry: invocation.registry(),
            socket: client.path().to_path_buf(),
            run: u64::from_str_radix(&stack.run, 16).unwrap_or_default(),
            unattached: unattached(&ready.draft),
        },
        units: stack.services.iter().map(ServiceSnapshot::unit).collect(),
        messages,
        asked: Some(asked),
        abort,
        child: None,
        logs: None,
    })
}

/// Starts the service of `--exit-code-from` where it has completed: its code is wanted, and not that of
/// another time.
fn run_once_more(
    client: &BlockingClient,
    before: &StackSnapshot,
    args: &UpArgs,
    reply: &mut CommandReply,
) -> Result<(), ClientError> {
    let Some(service) = &args.exit_code_from else {
        return Ok(());
    };
    let mut rows = before.services.iter().filter(|row| row.service == *service);
    if !reply.affected.contains(service) && rows.any(|row| row.phase == Phase::Completed) {
        let services = vec![service.clone()];
        let started = client.command(&Command::Start { services })?;
        reply.affected.extend(started.affected);
        reply.units.extend(started.units);
    }
    Ok(())
}

/// Asks the running stack what would change, with a line for each. An invalid file changes nothing.
pub(super) fn propose(
    invocation: &Invocation,
    ready: &Ready,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
    dry_run: bool,
) -> Result<(Proposal, Vec<String>), Refusal> {
    let recreate = match (args.force_recreate, args.no_recreate) {
        (true, _) => Recreate::All,
        (false, true) => Recreate::Nobody,
        (false, false) => Recreate::Changed,
    };
    let proposal = client.propose(&Asking {
        sources: Arc::clone(ready.draft.sources()),
        extent: Extent {
            services: args.services.clone(),
            no_deps: args.no_deps,
            recreate,
            no_start: args.no_start,
            grace: args.timeout,
            remove_orphans: args.remove_orphans,
            spared: Vec::new(),
        },
        strict_ports: args.strict_ports,
        fresh_ports: args.fresh_ports,
        dry_run,
    })?;
    let ports = proposal.ports.iter().cloned().collect();
    let mut late = Vec::new();
    let plan = ready.draft.finish(&ports, &mut late);
    late.retain(Problem::is_error);
    if !late.is_empty() {
        return Err(invocation.problems(&late).into());
    }
    for warning in &proposal.warnings {
        printer::say(&advice(warning));
    }
    let mut lines = changes(&proposal);
    // A new port of a service is not news where the service is.
    if lines.is_empty() || plan.written_dotenv() != stack.dotenv {
        lines.extend(file_changes(stack, &plan, &invocation.working_dir));
    }
    Ok((proposal, lines))
}

fn advice(advice: &Advice) -> String {
    warn(&advice.message, Some(&advice.hint))
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
            || args.services.is_empty() && service.desired.wanted == Wanted::Running
    });
    let units = services.map(ServiceSnapshot::unit);
    let mut wanted: Asked = units.map(|unit| (unit, Aim::up(0))).collect();
    wanted.extend(moved.clone());
    wanted
}
