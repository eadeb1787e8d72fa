//! The graph of dependencies: does every edge lead somewhere, can every condition be met, is there
//! an order at all.

use std::collections::HashMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::code;
use super::profiles::inactive;
use crate::spec::model::{Condition, DependencySpec, ScheduleSpec, ServiceSpec, StackSpec};
use crate::spec::problem::{Problem, Report};
use crate::support::name::ServiceName;
use crate::support::text::nearest;

/// For how many unknown names a near one is looked up: each is compared with every service.
const MAX_SUGGESTIONS: usize = 100;

/// Adds everything that is wrong with the dependencies, in the order of the file.
pub(super) fn check(spec: &StackSpec, problems: &mut Vec<Problem>) {
    let mut suggestions = 0;
    for service in spec.services.values() {
        for (name, dependency) in &service.depends_on {
            if *name == service.name {
                problems.error(
                    code::SELF_DEPENDENCY,
                    &dependency.span,
                    format!("service `{name}` depends on itself"),
                    "remove the line",
                );
                continue;
            }
            if let Some(other) = spec.inactive.get(name) {
                let what = format!("service `{}` depends on", service.name);
                let problem = inactive(&what, other, &dependency.span);
                problems.extend(dependency.is_required.then_some(problem));
                continue;
            }
            let Some(other) = spec.services.get(name) else {
                suggestions += 1;
                let near = (suggestions <= MAX_SUGGESTIONS)
                    .then(|| nearest(name.as_str(), others(spec, service)))
                    .flatten();
                problems.push(unknown(service, name, dependency, near));
                continue;
            };
            match (dependency.condition, &other.schedule) {
                (Condition::Started, _) => {}
                (condition, Some(schedule)) => {
                    problems.push(never_done(name, condition, schedule, dependency));
                }
                (Condition::Healthy, None) if !can_be_healthy(other) => {
                    problems.push(never_healthy(name, other, dependency));
                }
                (Condition::Healthy | Condition::CompletedSuccessfully, None) => {}
            }
        }
    }
    cycles(spec, problems);
}

/// The names of the services that one may depend on.
fn others<'a>(spec: &'a StackSpec, service: &ServiceSpec) -> impl Iterator<Item = &'a str> {
    let names = spec.services.keys();
    names
        .filter(|name| **name != service.name)
        .map(ServiceName::as_str)
}

fn unknown(
    service: &ServiceSpec,
    name: &ServiceName,
    dependency: &DependencySpec,
    near: Option<&str>,
) -> Problem {
    let problem = Problem::error(
        code::UNKNOWN_DEPENDENCY,
        format!(
            "service `{}` depends on `{name}`, which does not exist",
            service.name
        ),
        &dependency.span,
    );
    match near {
        Some(near) => problem
            .label(format!("did you mean `{near}`?"))
            .hint(format!("write `{near}`")),
        None => problem.hint("add the service, or remove the line"),
    }
}

/// A run that is well, or has ended, says nothing of the next one.
fn never_done(
    name: &ServiceName,
    condition: Condition,
    schedule: &ScheduleSpec,
    dependency: &DependencySpec,
) -> Problem {
    let what = match condition {
        Condition::Started => "is started",
        Condition::Healthy => "is healthy",
        Condition::CompletedSuccessfully => "has completed",
    };
    Problem::error(
        code::NEVER_DONE,
        format!("service `{name}` runs again and again, so nobody can wait until it {what}"),
        &dependency.span,
    )
    .also(&schedule.span, "by this")
    .hint(
        "wait for `service_started`, or give what must be done first a service of its own, \
         without a `schedule`",
    )
}

fn never_healthy(name: &ServiceName, other: &ServiceSpec, dependency: &DependencySpec) -> Problem {
    Problem::error(
        code::NEVER_HEALTHY,
        format!(
            "service `{name}` has neither a `healthcheck` nor a port, so nobody can tell when it \
             is healthy"
        ),
        &dependency.span,
    )
    .also(&other.name_span, "this service")
    .hint(format!(
        "give `{name}` a `healthcheck`, or wait for `service_started`"
    ))
}

/// Whether it can be told that a service is healthy. One that runs nothing was reported as that.
fn can_be_healthy(service: &ServiceSpec) -> bool {
    let runs_nothing = service.command.is_none() && service.entrypoint.is_none();
    service.healthcheck.is_some() || !service.ports.is_empty() || runs_nothing
}

/// One problem for each knot of services that wait for each other, with the path.
fn cycles(spec: &StackSpec, problems: &mut Vec<Problem>) {
    let services = spec.services.values().enumerate();
    let pairs = services
        .flat_map(|(index, service)| edges(spec, service, index).map(move |other| (index, other)));
    let graph = DiGraph::<(), (), usize>::from_edges(pairs);
    // Not Tarjan's: petgraph has that one recursive, and a chain may be as long as the file.
    let mut knots: Vec<Vec<usize>> = kosaraju_scc(&graph)
        .into_iter()
        .filter(|knot| knot.len() > 1)
        .map(|knot| {
            let mut knot: Vec<usize> = knot.into_iter().map(NodeIndex::index).collect();
            knot.sort_unstable();
            knot
        })
        .collect();
    knots.sort_unstable();
    problems.extend(knots.iter().filter_map(|knot| cycle_problem(spec, knot)));
}

/// The indices of the services that one depends on, itself aside.
fn edges(spec: &StackSpec, service: &ServiceSpec, index: usize) -> impl Iterator<Item = usize> {
    let names = service.depends_on.keys();
    names
        .filter_map(|name| spec.services.get_index_of(name))
        .filter(move |&other| other != index)
}

/// How much of a long cycle is written out: its beginning, and its end.
const MAX_PATH: usize = 12;

/// `knot` is sorted.
fn cycle_problem(spec: &StackSpec, knot: &[usize]) -> Option<Problem> {
    // Within a knot every service has an edge to another of it, so walking on from the first one
    // must come back somewhere; what lies before that is not part of the cycle.
    let mut path = vec![*knot.first()?];
    let mut steps: HashMap<usize, usize> = HashMap::from([(path[0], 0)]);
    let cycle = loop {
        let &last = path.last()?;
        let (_, service) = spec.services.get_index(last)?;
        let next = edges(spec, service, last).find(|other| knot.binary_search(other).is_ok())?;
        if let Some(&start) = steps.get(&next) {
            break path.split_off(start);
        }
        steps.insert(next, path.len());
        path.push(next);
    };
    let mut names: Vec<&str> = cycle
        .iter()
        .chain(cycle.first())
        .filter_map(|&index| Some(spec.services.get_index(index)?.0.as_str()))
        .collect();
    if names.len() > MAX_PATH {
        names.splice(MAX_PATH / 2..names.len() - MAX_PATH / 2, ["…"]);
    }
    let edge = |from: usize, to: usize| {
        let (target, _) = spec.services.get_index(to)?;
        let (_, service) = spec.services.get_index(from)?;
        let dependency = service.depends_on.get(target)?;
        Some(&dependency.span)
    };
    let mut edges = cycle.iter().zip(cycle.iter().cycle().skip(1));
    let (&first_from, &first_to) = edges.next()?;
    let mut problem = Problem::error(
        code::CYCLE,
        format!("services wait for each other: {}", names.join(" → ")),
        edge(first_from, first_to)?,
    )
    .hint("remove one of these dependencies");
    for (&from, &to) in edges.take(MAX_PATH) {
        if let Some(span) = edge(from, to) {
            problem = problem.also(span, "");
        }
    }
    Some(problem)
}
