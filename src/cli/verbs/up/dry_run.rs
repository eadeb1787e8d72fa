//! `up --dry-run`: what would happen. Writes and starts nothing.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::super::ground::actual;
use super::join::propose;
use crate::api::client::BlockingClient;
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Ready, Stop};
use crate::cli::printer::{self, relative};
use crate::plan::Plan;
use crate::plan::model::UnitPlan;
use crate::ports::request::Want;
use crate::ports::{Batch, allocate};
use crate::run::instance::Holder;
use crate::spec::model::Condition;
use crate::support::name::UnitId;
use crate::support::text;

/// Prints the services in the order in which they would start, with what each waits for.
pub(super) fn dry_run(
    invocation: &Invocation,
    ready: &Ready,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    printer::say(ready.warnings.trim_end());
    let instance = actual(invocation, invocation.instance(&ready.draft));
    if let Some(holder) = instance.holder().filter(Holder::is_alive) {
        return changes_of_running(invocation, ready, &BlockingClient::new(holder.socket), args);
    }
    let draft = &ready.draft;
    let mut problems = Vec::new();
    let requests = draft.requests(&mut problems);
    printer::say(invocation.render(&problems).trim_end());
    let sticky = invocation.ledger().overview().sticky;
    let own = super::owner(draft);
    // They are given back at once: a port that cannot be had is a mistake here, too.
    allocate(
        &Batch {
            requests: &requests,
            pool: draft.pool(),
            owner: &own,
            strict: args.strict_ports,
            fresh: args.fresh_ports,
            is_noted_later: true,
            running: None,
        },
        &invocation.ledger(),
    )?;
    let plan = draft.preview();
    printer::say_out(&format!(
        "{} would start its services in this order:",
        draft.project()
    ))?;
    for unit in order(&plan, args) {
        let mut line = format!("  {}", unit.id().label(unit.replicas));
        let mut waits: Vec<String> = unit
            .depends_on
            .iter()
            .map(|dependency| {
                let name = &dependency.unit.service;
                let replicas = plan.unit(&dependency.unit).map_or(1, |unit| unit.replicas);
                let name = if replicas > 1 {
                    format!("every replica of {name}")
                } else {
                    name.to_string()
                };
                match dependency.condition {
                    Condition::Started => format!("{name} has started"),
                    Condition::Healthy => format!("{name} is healthy"),
                    Condition::CompletedSuccessfully => format!("{name} has completed"),
                }
            })
            .collect();
        // The replicas of a service stand beside each other.
        waits.dedup();
        if !waits.is_empty() && !args.no_deps {
            line.push_str(" once ");
            line.push_str(&waits.join(" and "));
        }
        for request in requests
            .iter()
            .filter(|request| request.key.service == unit.service)
            .filter(|request| request.key.replica == unit.replica)
        {
            let last = sticky
                .iter()
                .find(|port| port.owner.instance == own.instance && port.key == request.key)
                .map(|port| format!("{}, as last time, if it is free", port.port));
            let port = match (&request.wish, request.want) {
                (_, Want::Fixed(port)) => port.to_string(),
                (Some(wish), _) => format!("{} ({})", wish.port, wish.origin),
                (None, Want::Prefer(port)) => format!("{port} if it is free"),
                (None, Want::Within(range)) => {
                    last.unwrap_or_else(|| format!("a free port of {range}"))
                }
                (None, Want::Auto) => last.unwrap_or_else(|| {
                    format!("a free port of {}", text::list(&draft.pool().ranges))
                }),
            };
            // Writing to a string cannot fail.
            let _ = write!(line, "\n    {}: {port}", request.key.name);
        }
        printer::say_out(&line)?;
    }
    if let Some(dotenv) = plan
        .dotenv
        .as_ref()
        .filter(|dotenv| !dotenv.entries.is_empty())
    {
        let keys: Vec<&str> = dotenv.entries.iter().map(|(key, _)| key.as_str()).collect();
        printer::say_out(&format!(
            "{} would hold {}",
            relative(&dotenv.path, Some(&invocation.working_dir)),
            keys.join(", ")
        ))?;
    }
    Ok(ExitCode::Done)
}

/// Prints what would change of a stack that runs.
fn changes_of_running(
    invocation: &Invocation,
    ready: &Ready,
    client: &BlockingClient,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    let stack = client.stack()?;
    let (_, lines) = propose(invocation, ready, client, &stack, args, true)?;
    if lines.is_empty() {
        printer::say_out("the stack is running already; nothing would change")?;
    }
    for line in lines {
        printer::say_out(&format!("would happen: {line}"))?;
    }
    Ok(ExitCode::Done)
}

/// The units that would start, dependencies first, otherwise in the order of the file.
fn order<'p>(plan: &'p Plan, args: &UpArgs) -> Vec<&'p UnitPlan> {
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    for unit in &plan.units {
        if args.services.is_empty() || args.services.contains(&unit.service) {
            visit(plan, unit, args.no_deps, &mut seen, &mut order);
        }
    }
    order
}

/// Depth first; the graph has been checked for cycles.
fn visit<'p>(
    plan: &'p Plan,
    unit: &'p UnitPlan,
    no_deps: bool,
    seen: &mut HashSet<UnitId>,
    order: &mut Vec<&'p UnitPlan>,
) {
    if !seen.insert(unit.id()) {
        return;
    }
    for dependency in unit.depends_on.iter().filter(|_| !no_deps) {
        if let Some(unit) = plan.unit(&dependency.unit) {
            visit(plan, unit, no_deps, seen, order);
        }
    }
    order.push(unit);
}
