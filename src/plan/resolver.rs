//! What the texts of the file are resolved against: variables, names and ports.

use std::cell::{RefCell, RefMut};

use super::assignment::Ports;
use super::code;
use super::draft::Draft;
use super::profiles::inactive;
use super::replicas::Replicas;
use crate::spec::model::{PortDeclaration, ServiceSpec, Setting, SettingError, Thing};
use crate::spec::problem::{Problem, Report, Span};
use crate::spec::template::{Lookup, Placeholder, Template, Word};
use crate::support::name::{PortName, ServiceName};
use crate::support::protocol::Protocol;

/// Where processes listen, and reach each other.
const LOOPBACK: &str = "127.0.0.1";

/// The characters of a generated secret.
pub const SECRET_LENGTH: usize = 64;

/// What placeholders are resolved against, and where it is told what is wrong with them.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) draft: &'a Draft,
    /// Where the text stands; `None` outside of every service.
    pub(super) inside: Option<Inside<'a>>,
    pub(super) ports: Ports<'a>,
    pub(super) problems: &'a RefCell<Vec<Problem>>,
}

/// The replica whose text it is.
#[derive(Clone, Copy)]
pub(super) struct Inside<'a> {
    pub(super) service: &'a ServiceSpec,
    /// The number of the replica, from 1.
    pub(super) replica: u32,
}

impl<'a> Resolver<'a> {
    /// For the texts of a replica.
    pub(super) fn within(self, inside: Inside<'a>) -> Self {
        Self {
            inside: Some(inside),
            ..self
        }
    }

    /// For a text that stands outside of every service.
    pub(super) fn outside(self) -> Self {
        Self {
            inside: None,
            ..self
        }
    }

    /// What has been told so far, to add to it.
    pub(super) fn told(&self) -> RefMut<'_, Vec<Problem>> {
        self.problems.borrow_mut()
    }

    /// A text, resolved.
    pub(super) fn text(&self, template: &Template) -> String {
        template.resolve(self, &mut self.told())
    }

    /// A text, unless a part of it could not be read or resolved, which was told.
    pub(super) fn known(&self, template: &Template) -> Option<String> {
        let before = self.told().len();
        let text = self.text(template);
        let is_told = self.told()[before..].iter().any(Problem::is_error);
        (!is_told && !template.is_broken).then_some(text)
    }

    /// The words of a list.
    pub(super) fn words(&self, words: &[Template]) -> Vec<String> {
        words.iter().map(|word| self.text(word)).collect()
    }

    /// The typed values of a list that are not wrong.
    pub(super) fn settings<T: Clone>(&self, settings: &[Setting<T>]) -> Vec<T> {
        let settings = settings.iter();
        settings.filter_map(|it| self.setting(Some(it))).collect()
    }

    /// A typed value, or nothing when it is absent or wrong.
    pub(super) fn setting<T: Clone>(&self, setting: Option<&Setting<T>>) -> Option<T> {
        match setting? {
            Setting::Known(value) => Some(value.value.clone()),
            Setting::Deferred(template, _) if template.is_broken => None,
            Setting::Deferred(template, parse) => {
                let text = self.known(template)?;
                let wrong = |error: SettingError| error.into_problem(&template.span, Some(&text));
                let value = parse(&text).map_err(wrong);
                value.map_err(|problem| self.told().report(problem)).ok()
            }
        }
    }

    /// The port of one replica.
    fn port(
        &self,
        service: &ServiceName,
        replica: u32,
        name: &PortName,
        span: &Span,
    ) -> Result<String, Problem> {
        match self.ports.get(service, replica, name) {
            Some(port) => Ok(port.to_string()),
            None if self.ports.are_allocated => Err(not_allocated("port", service, name, span)),
            // No such declaration, or the text of a service without replicas, which nobody runs.
            // What is wrong with it has been reported.
            None => Ok(u16::MAX.to_string()),
        }
    }

    /// The port of which all are meant: `PORT` for `$<web.PORTS>`, unless a port is called that.
    fn plural(&self, service: &ServiceName, name: &PortName) -> Option<&PortName> {
        let service = self.draft.spec().services.get(service)?;
        let is_one = service.ports.contains_key(name);
        let one = name.singular().filter(|_| !is_one)?;
        Some(service.ports.get_key_value(one)?.0)
    }

    /// The port that a placeholder stands for, with its declaration.
    pub(super) fn declared(
        &self,
        placeholder: &Placeholder,
    ) -> Option<(&PortName, &PortDeclaration)> {
        let (service, name) = match placeholder {
            Placeholder::Declare(name, ..) | Placeholder::Own(name) => (self.inside?.service, name),
            Placeholder::Other(service, name) => (
                self.draft.spec().services.get(service)?,
                self.plural(service, name).unwrap_or(name),
            ),
            Placeholder::AtHost(service, name) => (self.draft.spec().services.get(service)?, name),
            Placeholder::Thing(..) | Placeholder::File(..) | Placeholder::Word(_) => return None,
        };
        service.ports.get_key_value(name)
    }

    /// The thing that a placeholder stands for, with whose it is.
    pub(super) fn thing(
        &self,
        placeholder: &Placeholder,
    ) -> Option<(Inside<'a>, &PortName, Thing)> {
        let (inside, name) = match placeholder {
            Placeholder::Thing(name, _) | Placeholder::Own(name) => (self.inside?, name),
            Placeholder::Other(service, name) => {
                let service = self.draft.spec().services.get(service)?;
                // Wherever it stands, it is the first replica's.
                (
                    Inside {
                        service,
                        replica: 1,
                    },
                    name,
                )
            }
            Placeholder::Declare(..)
            | Placeholder::AtHost(..)
            | Placeholder::File(..)
            | Placeholder::Word(_) => return None,
        };
        let (name, declaration) = inside.service.things.get_key_value(name)?;
        Some((inside, name, declaration.thing))
    }

    /// What a thing comes to: a path or a secret.
    fn thing_value(
        &self,
        (inside, name, thing): (Inside<'_>, &PortName, Thing),
        span: &Span,
    ) -> Result<String, Problem> {
        let value = self.draft.thing_value(inside, name, thing);
        match value {
            Some(value) => Ok(value),
            None if self.ports.are_allocated => {
                Err(not_allocated("secret", &inside.service.name, name, span))
            }
            // As long as one, and nobody's.
            None => Ok("0".repeat(SECRET_LENGTH)),
        }
    }

    /// `$<api.HOST>` and `$<api.URL>`: where and under which URL a process reaches another one, or
    /// without a service itself.
    fn address(
        &self,
        service: &ServiceName,
        name: &PortName,
        is_own: bool,
        span: &Span,
    ) -> Result<String, Problem> {
        if name.as_str() == "HOST" {
            return Ok(LOOPBACK.to_owned());
        }
        let found = self.draft.spec().services.get(service);
        let mut ports = found.into_iter().flat_map(|service| &service.ports);
        match ports.find(|(_, declaration)| declaration.protocol != Protocol::Udp) {
            Some((port, _)) => {
                let port = match self.inside.filter(|_| is_own) {
                    Some(inside) => self.port(service, inside.replica, port, span)?,
                    None => self.first(service, port, span)?,
                };
                Ok(format!("http://{LOOPBACK}:{port}"))
            }
            // The spec has reported it.
            None => Ok(String::new()),
        }
    }

    /// Whether a name is that of an address, as there is no port of that name.
    fn is_address(&self, service: &ServiceName, name: &PortName) -> bool {
        let found = self.draft.spec().services.get(service);
        matches!(name.as_str(), "HOST" | "URL")
            && found.is_some_and(|service| !service.ports.contains_key(name))
    }

    /// `$<web.PORT>`: wherever it stands, it is the first replica's.
    fn first(
        &self,
        service: &ServiceName,
        name: &PortName,
        span: &Span,
    ) -> Result<String, Problem> {
        let is_own = self
            .inside
            .is_some_and(|inside| inside.service.name == *service);
        let replicas = self.draft.replicas_of(service);
        if !is_own && replicas.is_some_and(|replicas| replicas.count == 0) {
            return Err(no_replica(service, name, span));
        }
        self.port(service, 1, name, span)
    }

    /// A port of a service that takes no part; of all of its ports there are none, which is a value.
    fn of_inactive(
        &self,
        service: &ServiceName,
        name: &PortName,
        span: &Span,
    ) -> Result<String, Problem> {
        let other = self.draft.spec().inactive.get(service);
        let plural = |other: &&ServiceSpec| {
            let one = name.singular().filter(|_| !other.ports.contains_key(name));
            one.is_none_or(|one| !other.ports.contains_key(one))
        };
        match other.filter(plural) {
            Some(other) => Err(inactive(
                &format!("`{}` refers to", span.text()),
                other,
                span,
            )),
            None => Ok(String::new()),
        }
    }

    /// `$<web.PORTS>`.
    fn all(&self, service: &ServiceName, name: &PortName, span: &Span) -> Result<String, Problem> {
        let replicas = self.draft.replicas_of(service);
        let ports: Result<Vec<String>, Problem> = replicas
            .into_iter()
            .flat_map(Replicas::numbers)
            .map(|replica| self.port(service, replica, name, span))
            .collect();
        Ok(ports?.join(","))
    }
}

impl Lookup for Resolver<'_> {
    fn placeholder(&self, placeholder: &Placeholder, span: &Span) -> Result<String, Problem> {
        if let Some(thing) = self.thing(placeholder) {
            return self.thing_value(thing, span);
        }
        match (placeholder, self.inside) {
            (Placeholder::Own(name), Some(inside))
                if self.is_address(&inside.service.name, name) =>
            {
                self.address(&inside.service.name, name, true, span)
            }
            (Placeholder::Declare(name, ..) | Placeholder::Own(name), Some(inside)) => {
                self.port(&inside.service.name, inside.replica, name, span)
            }
            (Placeholder::Other(service, name) | Placeholder::AtHost(service, name), _)
                if self.draft.spec().inactive.contains_key(service) =>
            {
                self.of_inactive(service, name, span)
            }
            (Placeholder::Other(service, name), _) if self.is_address(service, name) => {
                self.address(service, name, false, span)
            }
            // Between processes and their machine there is no difference.
            (Placeholder::AtHost(service, name), _) => self.first(service, name, span),
            (Placeholder::File(kind, name), Some(inside)) => {
                let path = self.draft.home().file(*kind, &inside.service.name, name);
                Ok(path.to_string_lossy().into_owned())
            }
            (Placeholder::Other(service, name), _) => match self.plural(service, name) {
                Some(one) => self.all(service, one, span),
                None => self.first(service, name, span),
            },
            (Placeholder::Word(word), inside) => Ok(match (word, inside) {
                (Word::ProjectName, _) => self.draft.project().to_string(),
                (Word::ProjectDir, _) => self.draft.project_dir().to_string_lossy().into_owned(),
                (Word::Instance, _) => self.draft.instance().to_owned(),
                (Word::Service, Some(inside)) => inside.service.name.to_string(),
                (Word::Replica, Some(inside)) => inside.replica.to_string(),
                (Word::Bind, _) => LOOPBACK.to_owned(),
                (Word::Service | Word::Replica, None) => String::new(),
            }),
            // Outside of every service these mean nothing. The spec has reported it.
            (Placeholder::Declare(..) | Placeholder::Own(_) | Placeholder::File(..), None)
            | (Placeholder::Thing(..), _) => Ok(String::new()),
        }
    }
}

fn no_replica(service: &ServiceName, name: &PortName, span: &Span) -> Problem {
    Problem::error(
        code::NO_REPLICA,
        format!("the service `{service}` has no replica, and so no port `{name}`"),
        span,
    )
    .hint(format!(
        "give `{service}` a replica, or write `$<{service}.{name}S>`, which may be empty"
    ))
}

/// A running stack is asked about a port that its file did not have when it was started.
fn not_allocated(what: &str, service: &ServiceName, name: &PortName, span: &Span) -> Problem {
    Problem::error(
        code::NOT_ALLOCATED,
        format!("the stack that runs has no {what} `{name}` of service `{service}`"),
        span,
    )
    .hint("the file has changed since: `stack down`, then `stack up`")
}
