//! Which services take part: those without a profile, and those of an active one.

use std::collections::HashSet;
use std::mem;

use indexmap::IndexMap;

use super::code;
use super::sources::Arguments;
use super::variables::Variables;
use crate::spec::model::{
    EnvironmentSpec, FileContent, FileKind, FileSpec, ServiceSpec, StackSpec,
};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Placeholder, Template};
use crate::support::name::ServiceName;
use crate::support::text::list;

/// Stands for every profile.
const ALL: &str = "*";

/// Puts the services aside of which no profile is active, and the top-level lines that refer to them.
///
/// Active are those that the command line names, without any those of `STACK_PROFILES`; and those of a
/// service that it names. A service that runs already stays.
pub(super) fn select(spec: &mut StackSpec, arguments: &Arguments, variables: &Variables) {
    let mut active = arguments.profiles.clone();
    if active.is_empty() {
        let listed = variables.of_user("STACK_PROFILES").unwrap_or_default();
        active.extend(listed.split(',').map(|name| name.trim().to_owned()));
    }
    let names = |service: &ServiceSpec| {
        let profiles = service.profiles.iter();
        profiles
            .map(|profile| profile.value.clone())
            .collect::<Vec<_>>()
    };
    let named = arguments.services.iter();
    let named: Vec<String> = named
        .filter_map(|name| spec.services.get(name))
        .flat_map(names)
        .collect();
    active.extend(named);
    let is_active = |service: &ServiceSpec| {
        let mut profiles = service.profiles.iter().map(|profile| &profile.value);
        service.profiles.is_empty()
            || profiles.any(|name| active.iter().any(|it| it == ALL || it == name))
    };
    let runs = |name: &ServiceName| arguments.running.contains(name);
    let all = mem::take(&mut spec.services).into_iter();
    (spec.services, spec.inactive) =
        all.partition(|(name, service)| is_active(service) || runs(name));
    let lingering = spec
        .services
        .iter()
        .filter(|(_, service)| !is_active(service));
    spec.lingering = lingering.map(|(name, _)| name.clone()).collect();
    let inactive = &spec.inactive;
    let refers = |template: &Template| {
        let mut placeholders = template.placeholders();
        placeholders.any(|(it, _)| match it {
            Placeholder::Other(service, _) | Placeholder::AtHost(service, _) => {
                inactive.contains_key(service)
            }
            Placeholder::Declare(..)
            | Placeholder::Own(_)
            | Placeholder::Thing(..)
            | Placeholder::File(..)
            | Placeholder::Word(_) => false,
        })
    };
    let keep = |lines: &mut EnvironmentSpec| {
        lines.retain(|_, line| !line.value.as_ref().is_some_and(&refers));
    };
    keep(&mut spec.environment);
    spec.included
        .iter_mut()
        .for_each(|it| keep(&mut it.environment));
    spec.dotenv.iter_mut().for_each(|it| keep(&mut it.vars));
}

/// Leaves out the configs and secrets that nobody is given who takes part, as Compose does, and tells of
/// those that somebody is given and that cannot be had.
pub(super) fn keep_given_files(spec: &mut StackSpec, problems: &mut Vec<Problem>) {
    let services = spec.services.values();
    let given: HashSet<(FileKind, String)> = services
        .flat_map(|service| &service.files)
        .map(|file| (file.kind, file.name.clone()))
        .collect();
    let mut keep = |kind, files: &mut IndexMap<String, FileSpec>| {
        files.retain(|name, file| {
            let is_given = given.contains(&(kind, name.clone()));
            if let (true, FileContent::Missing(problem)) = (is_given, &file.content) {
                problems.push(problem.clone());
            }
            is_given
        });
    };
    keep(FileKind::Config, &mut spec.configs);
    keep(FileKind::Secret, &mut spec.secrets);
}

/// The problem with a service that one needs and that takes no part.
pub(super) fn inactive(what: &str, service: &ServiceSpec, span: &Span) -> Problem {
    let name = &service.name;
    let profiles = service.profiles.iter();
    let profiles = list(profiles.map(|profile| format!("`{}`", profile.value)));
    let message = format!("{what} `{name}`, which is only in the profile {profiles}");
    Problem::error(code::INACTIVE_SERVICE, message, span)
        .also(&service.name_span, "this service")
        .hint(turn_on(service))
}

/// How a service of an inactive profile takes part.
fn turn_on(service: &ServiceSpec) -> String {
    let first = service.profiles.first();
    let first = first.map_or("", |profile| profile.value.as_str());
    format!("`--profile {first}` turns it on")
}

impl StackSpec {
    /// The hint about a service that takes no part, or does not exist.
    pub fn missing_service(&self, word: &str) -> String {
        let name = ServiceName::new(word).ok();
        match name.and_then(|name| self.inactive.get(&name)) {
            Some(service) => format!("no profile of it is active: {}", turn_on(service)),
            None => self.meant_service(word),
        }
    }
}
