//! What the texts of the file are resolved against: variables, names and ports.

use std::collections::HashMap;

use super::code;
use super::draft::Draft;
use crate::ports::request::PortKey;
use crate::spec::model::{ServiceSpec, Setting, StackSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Lookup, Placeholder, Template};
use crate::support::name::{PortName, ServiceName};

/// The ports of a plan: the number of every key.
pub type Assignment = HashMap<PortKey, u16>;

/// Where the numbers of ports come from.
#[derive(Clone, Copy)]
pub(super) struct Ports<'a> {
    pub(super) numbers: &'a Assignment,
    /// Whether they were allocated; if not, they stand in for those that will be.
    pub(super) are_allocated: bool,
}

/// What placeholders are resolved against.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) draft: &'a Draft,
    /// The service in which the text stands.
    pub(super) service: Option<&'a ServiceSpec>,
    pub(super) ports: Ports<'a>,
}

/// A port for every declaration, for a check of everything else. They differ, so that a text that
/// comes to mean another port is another text.
pub(super) fn stand_ins(spec: &StackSpec) -> Assignment {
    let keys = spec
        .services
        .values()
        .flat_map(|service| service.ports.keys().map(|name| key(&service.name, name)));
    // All have five digits: none is taken for one that somebody chose.
    keys.zip((40_000..=u16::MAX).rev().cycle()).collect()
}

/// The key of a service's port.
pub(super) fn key(service: &ServiceName, name: &PortName) -> PortKey {
    PortKey {
        service: service.clone(),
        replica: 1,
        name: name.clone(),
    }
}

impl Ports<'_> {
    /// The number of a port.
    pub(super) fn get(self, service: &ServiceName, name: &PortName) -> Option<u16> {
        self.numbers.get(&key(service, name)).copied()
    }
}

impl Resolver<'_> {
    /// A text, resolved.
    pub(super) fn text(&self, template: &Template, problems: &mut Vec<Problem>) -> String {
        template.resolve(self, problems)
    }

    /// The words of a list.
    pub(super) fn words(&self, words: &[Template], problems: &mut Vec<Problem>) -> Vec<String> {
        words.iter().map(|word| self.text(word, problems)).collect()
    }

    /// A typed value, or nothing when it is absent or wrong.
    pub(super) fn setting<T: Copy>(
        &self,
        setting: Option<&Setting<T>>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        match setting? {
            Setting::Known(value) => Some(value.value),
            Setting::Deferred(template, parse) => {
                let before = problems.len();
                let resolved = self.text(template, problems);
                if problems[before..].iter().any(Problem::is_error) {
                    return None;
                }
                match parse(&resolved) {
                    Ok(value) => Some(value),
                    Err(error) => {
                        let mut problem = Problem::error(error.code, error.message, &template.span)
                            .label(format!("this comes to `{resolved}`"));
                        problem.hint = error.hint;
                        problems.push(problem);
                        None
                    }
                }
            }
        }
    }

    fn port(&self, service: &ServiceName, name: &PortName, span: &Span) -> Result<String, Problem> {
        match self.ports.get(service, name) {
            Some(port) => Ok(port.to_string()),
            None if self.ports.are_allocated => Err(not_allocated(service, name, span)),
            // No such declaration: the spec has reported it.
            None => Ok(u16::MAX.to_string()),
        }
    }
}

impl Lookup for Resolver<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.draft.variables().get(name)
    }

    fn placeholder(&self, placeholder: &Placeholder, span: &Span) -> Result<String, Problem> {
        match (placeholder, self.service) {
            (Placeholder::Declare(name, ..) | Placeholder::Own(name), Some(service)) => {
                self.port(&service.name, name, span)
            }
            (Placeholder::Other(service, name) | Placeholder::All(service, name), _) => {
                self.port(service, name, span)
            }
            (Placeholder::ProjectName, _) => Ok(self.draft.project().to_string()),
            (Placeholder::ProjectDir, _) => {
                Ok(self.draft.project_dir().to_string_lossy().into_owned())
            }
            (Placeholder::Instance, _) => Ok(self.draft.instance().to_owned()),
            (Placeholder::Service, Some(service)) => Ok(service.name.to_string()),
            (Placeholder::Replica, Some(_)) => Ok("1".to_owned()),
            // Outside of every service these mean nothing. The spec has reported it.
            (
                Placeholder::Declare(..)
                | Placeholder::Own(_)
                | Placeholder::Service
                | Placeholder::Replica,
                None,
            ) => Ok(String::new()),
        }
    }
}

/// A running stack is asked about a port that its file did not have when it was started.
fn not_allocated(service: &ServiceName, name: &PortName, span: &Span) -> Problem {
    Problem::error(
        code::NOT_ALLOCATED,
        format!("the stack that runs has no port `{name}` of service `{service}`"),
        span,
    )
    .hint("the file has changed since: `stack down`, then `stack up`")
}
