//! Whether what the services ask for their processes can be given here, before anything is started.

use std::collections::HashSet;

use crate::cli::args::UpArgs;
use crate::cli::invocation::{Invocation, Ready, Stop};
use crate::cli::words;
use crate::plan::process::ProcessPlan;
use crate::run::reason::RightsError;
use crate::run::rights::{check, check_way};
use crate::spec::model::{ProcessSpec, ServiceSpec, Setting, StackSpec};
use crate::spec::problem::{Problem, Span};
use crate::support::name::ServiceName;

/// The code of a user, group or limit that cannot be given.
const CODE: &str = "stack::run::rights";

/// Refuses what cannot be given to those that are asked for.
pub(super) fn check_rights(
    invocation: &Invocation,
    ready: &Ready,
    args: &UpArgs,
) -> Result<(), Stop> {
    let spec = ready.draft.spec();
    let wanted = wanted(spec, args);
    let services = || {
        let services = spec.services.values();
        services.filter(|it| asks(it) && wanted.contains(&it.name))
    };
    if services().next().is_none() {
        return Ok(());
    }
    let mut problems = Vec::new();
    let units = ready.draft.preview().units;
    for service in services() {
        let mut units = units.iter();
        let Some(unit) = units.find(|unit| unit.service == service.name) else {
            continue;
        };
        let mut errors: Vec<(RightsError, &Span)> = Vec::new();
        for error in check(&unit.process) {
            let span = span(&service.process, &error).unwrap_or(&service.name_span);
            errors.push((error, span));
        }
        if let (Some(user), Some(error)) = (
            &service.process.user,
            check_way(unit, ready.draft.project_dir()),
        ) {
            errors.push((error, &user.span));
        }
        // Every hook of the file has one in the plan.
        for (written, hook) in service.hooks.iter().zip(&unit.hooks) {
            let process = ProcessPlan {
                user: hook.user.clone(),
                ..ProcessPlan::default()
            };
            if let Some(user) = &written.user {
                errors.extend(check(&process).into_iter().map(|error| (error, &user.span)));
            }
        }
        for (error, span) in errors {
            let hint = match &error {
                RightsError::NoUser { .. } | RightsError::NoGroup { .. } => {
                    "write the name of one that exists, or a number"
                }
                RightsError::NeedsRoot { .. } => "run `stack` as root, or remove it",
                RightsError::TooMuch { .. } => "write a smaller number, or raise it with `sysctl`",
                RightsError::Closed { .. } => {
                    "let others enter it (`chmod o+x`), or move the project to another place"
                }
            };
            problems.push(Problem::error(CODE, words::rights_error(&error), span).hint(hint));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(invocation.problems(&problems))
}

/// Those that would start: who is named, with all that they depend on.
fn wanted<'s>(spec: &'s StackSpec, args: &'s UpArgs) -> HashSet<&'s ServiceName> {
    let mut wanted = HashSet::new();
    let mut found: Vec<&ServiceName> = if args.services.is_empty() {
        spec.services.keys().collect()
    } else {
        args.services.iter().collect()
    };
    while let Some(name) = found.pop() {
        let service = spec.services.get(name).filter(|_| wanted.insert(name));
        let dependencies = service.into_iter().filter(|_| !args.no_deps);
        found.extend(dependencies.flat_map(|service| service.depends_on.keys()));
    }
    wanted
}

/// Whether a service asks for what may be denied.
fn asks(service: &ServiceSpec) -> bool {
    let process = &service.process;
    service.hooks.iter().any(|hook| hook.user.is_some())
        || process.user.is_some()
        || !process.group_add.is_empty()
        || process.nice.is_some()
        || process.oom_score_adj.is_some()
        || !process.ulimits.is_empty()
}

/// Where what cannot be given stands.
fn span<'s>(process: &'s ProcessSpec, error: &RightsError) -> Option<&'s Span> {
    let user = process.user.as_ref().map(|user| &user.span);
    let groups = process.group_add.first().map(|group| &group.span);
    match error {
        RightsError::NoUser { .. } | RightsError::Closed { .. } => user,
        RightsError::NoGroup { name } => {
            let mut added = process.group_add.iter();
            let added = added.find(|group| group.as_literal().as_ref() == Some(name));
            added.map(|group| &group.span).or(user)
        }
        RightsError::NeedsRoot { key, .. } | RightsError::TooMuch { key, .. } => match key.as_str()
        {
            "user" => user,
            "group_add" => groups,
            "nice" => process.nice.as_ref().map(Setting::span),
            "oom_score_adj" => process.oom_score_adj.as_ref().map(Setting::span),
            key => {
                let limit = crate::spec::model::LIMITS
                    .iter()
                    .find(|(name, _)| key.strip_prefix("ulimits.") == Some(*name))?;
                Some(process.ulimits.get(&limit.1)?.hard.span())
            }
        },
    }
}
