//! The graph of dependencies: does every edge lead somewhere, can every condition be met, is there
//! an order at all.

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::spec::model::{Condition, ServiceSpec, StackSpec};
use crate::spec::problem::Problem;
use crate::support::text::nearest;

/// Everything that is wrong with the dependencies, in the order of the file.
pub(super) fn check(spec: &StackSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in spec.services.values() {
        for (name, dependency) in &service.depends_on {
            let span = &dependency.span;
            if *name == service.name {
                problems.push(
                    Problem::error(
                        "stack::plan::self_dependency",
                        format!("service `{name}` depends on itself"),
                        span,
                    )
                    .hint("remove the line"),
                );
                continue;
            }
            let Some(other) = spec.services.get(name) else {
                let names = spec
                    .services
                    .keys()
                    .map(crate::support::name::ServiceName::as_str);
                let hint = match nearest(name.as_str(), names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add the service, or remove the line".to_owned(),
                };
                problems.push(
                    Problem::error(
                        "stack::plan::unknown_dependency",
                        format!(
                            "service `{}` depends on `{name}`, which does not exist",
                            service.name
                        ),
                        span,
                    )
                    .hint(hint),
                );
                continue;
            };
            if dependency.condition == Condition::Healthy && !can_be_healthy(other) {
                problems.push(
                    Problem::error(
                        "stack::plan::never_healthy",
                        format!("service `{name}` has neither a `healthcheck` nor a port, so nobody can tell when it is healthy"),
                        span,
                    )
                    .also(&other.name_span, "this service")
                    .hint(format!(
                        "give `{name}` a `healthcheck`, or wait for `service_started`"
                    )),
                );
            }
        }
    }
    problems.extend(cycles(spec));
    problems
}

fn can_be_healthy(service: &ServiceSpec) -> bool {
    service.healthcheck.is_some() || !service.ports.is_empty()
}

/// One problem for each knot of services that wait for each other, with the path.
fn cycles(spec: &StackSpec) -> Vec<Problem> {
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = (0..spec.services.len())
        .map(|index| graph.add_node(index))
        .collect();
    for (index, service) in spec.services.values().enumerate() {
        for name in service.depends_on.keys() {
            if let Some(other) = spec.services.get_index_of(name)
                && other != index
            {
                graph.add_edge(nodes[index], nodes[other], ());
            }
        }
    }
    let mut knots: Vec<Vec<usize>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|knot| knot.len() > 1)
        .map(|knot| knot.into_iter().map(|node| graph[node]).collect())
        .collect();
    knots.sort_unstable();
    knots
        .into_iter()
        .filter_map(|knot| cycle_problem(spec, &knot))
        .collect()
}

fn cycle_problem(spec: &StackSpec, knot: &[usize]) -> Option<Problem> {
    // Within a knot every service has an edge to another of it, so walking on from the first one
    // must come back somewhere; what lies before that is no part of the cycle.
    let mut path = vec![*knot.iter().min()?];
    let cycle = loop {
        let (_, service) = spec.services.get_index(*path.last()?)?;
        let next = service
            .depends_on
            .keys()
            .filter_map(|name| spec.services.get_index_of(name))
            .find(|other| knot.contains(other) && *other != *path.last().unwrap_or(other))?;
        if let Some(start) = path.iter().position(|&seen| seen == next) {
            break path.split_off(start);
        }
        path.push(next);
    };
    let names: Vec<&str> = cycle
        .iter()
        .chain(cycle.first())
        .filter_map(|&index| {
            spec.services
                .get_index(index)
                .map(|(name, _)| name.as_str())
        })
        .collect();
    let edge = |from: usize, to: usize| {
        let (target, _) = spec.services.get_index(to)?;
        let (_, service) = spec.services.get_index(from)?;
        service
            .depends_on
            .get(target)
            .map(|dependency| &dependency.span)
    };
    let mut edges = cycle.iter().zip(cycle.iter().cycle().skip(1));
    let &(first_from, first_to) = &edges.next()?;
    let mut problem = Problem::error(
        "stack::plan::cycle",
        format!("services wait for each other: {}", names.join(" → ")),
        edge(*first_from, *first_to)?,
    )
    .hint("remove one of these dependencies");
    for (&from, &to) in edges {
        if let Some(span) = edge(from, to) {
            problem = problem.also(span, "");
        }
    }
    Some(problem)
}
