//! How many replicas every service has: what the caller says, else what the file says, else one.
//!
//! It is known before everything else of a plan, from variables alone: how many ports there are
//! follows from it.

use indexmap::IndexMap;

use super::code;
use crate::spec::model::{MAX_REPLICAS, PortWant, ServiceSpec, StackSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::Placeholder;
use crate::support::name::ServiceName;

/// The most replicas of all replicated services together: each costs a plan and an environment.
const MAX_IN_ALL: u32 = 10_000;

/// The replicas of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replicas {
    /// How many there are; 0 is a service of which nothing runs.
    pub(super) count: u32,
    /// Whether somebody said a number, even 1: then its ports are also exported by number.
    pub(super) is_said: bool,
}

impl Replicas {
    /// The numbers of the replicas, from 1.
    pub(super) fn numbers(self) -> std::ops::RangeInclusive<u32> {
        1..=self.count
    }
}

/// The replicas of every service, in the order of the file. `scale` is what the caller says.
pub(super) fn replicas(
    spec: &StackSpec,
    scale: &IndexMap<ServiceName, u32>,
    problems: &mut Vec<Problem>,
) -> Vec<Replicas> {
    for (name, &count) in scale {
        problems.extend(wrong_argument(spec, name, count));
    }
    let mut in_all = 0;
    let services = spec.services.values();
    services
        .map(|service| {
            let said = said(service, problems);
            let asked = scale.get(&service.name).copied();
            let count = asked.unwrap_or(said.count).min(MAX_REPLICAS);
            let before = in_all;
            in_all += if count > 1 { count } else { 0 };
            if before <= MAX_IN_ALL && in_all > MAX_IN_ALL {
                let span = service.replicas.first().map(|said| &said.span);
                problems.push(too_many(span.unwrap_or(&service.name_span)));
            }
            if count > 1 {
                problems.extend(fixed(service, count));
            }
            Replicas {
                // What was reported is not carried out.
                count: if in_all > MAX_IN_ALL {
                    count.min(1)
                } else {
                    count
                },
                is_said: said.is_said || asked.is_some(),
            }
        })
        .collect()
}

/// What the file says of one service.
fn said(service: &ServiceSpec, problems: &mut Vec<Problem>) -> Replicas {
    let first = service.replicas.first();
    for other in &service.replicas {
        if let Some(first) = first.filter(|first| first.value != other.value) {
            problems.push(
                Problem::error(
                    code::CONFLICTING_REPLICAS,
                    format!(
                        "the service `{}` has {} replicas and {}",
                        service.name, first.value, other.value
                    ),
                    &other.span,
                )
                .label("this says one thing")
                .also(&first.span, "this says another")
                .hint("keep `replicas`, and remove the other"),
            );
        }
    }
    Replicas {
        count: first.map_or(1, |first| first.value),
        is_said: first.is_some(),
    }
}

/// One number cannot be several replicas'.
fn fixed(service: &ServiceSpec, count: u32) -> impl Iterator<Item = Problem> + '_ {
    service.ports.iter().filter_map(move |(name, declaration)| {
        let PortWant::Fixed(port) = declaration.want else {
            return None;
        };
        let problem = Problem::error(
            code::FIXED_REPLICAS,
            format!(
                "the fixed port {port} cannot be that of all {count} replicas of `{}`",
                service.name
            ),
            &declaration.span,
        );
        let want = PortWant::Prefer(port);
        let preferred = Placeholder::Declare(name.clone(), want, declaration.protocol);
        Some(problem.hint(format!(
            "write `{preferred}`: the first replica then prefers it, and the others take free ones"
        )))
    })
}

fn too_many(span: &Span) -> Problem {
    Problem::error(
        code::TOO_MANY_REPLICAS,
        format!("more than {MAX_IN_ALL} replicas in one stack"),
        span,
    )
    .label("with this service")
    .hint("write smaller numbers")
}

/// What is wrong with one `--scale`.
fn wrong_argument(spec: &StackSpec, name: &ServiceName, count: u32) -> Option<Problem> {
    let problem = |message, hint: String| {
        let problem = Problem::without_place(code::SCALE_ARGUMENT, message);
        Some(problem.hint(hint))
    };
    if !spec.services.contains_key(name) {
        return problem(
            format!("`--scale {name}={count}`: there is no service `{name}`"),
            spec.missing_service(name.as_str()),
        );
    }
    if count > MAX_REPLICAS {
        return problem(
            format!("`--scale {name}={count}`: a service can have {MAX_REPLICAS} replicas at most"),
            "write a smaller number".to_owned(),
        );
    }
    None
}
