//! What a placeholder may mean where it stands.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::Reader;
use super::suggest::{list, nearest};
use crate::spec::code;
use crate::spec::model::{PortDeclaration, PortWant};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Placeholder, Raw, name_length};
use crate::spec::tree::{Kind, Node};
use crate::support::name::{PortName, ServiceName};
use crate::support::protocol::Protocol;

/// Where the reader is.
pub(super) enum Place {
    /// In a service: everything makes sense.
    Service {
        /// Its name.
        name: String,
        /// The ports that it has declared so far.
        ports: IndexMap<PortName, PortDeclaration>,
    },
    /// In a text for the whole stack, named here: only references with a service make sense.
    Stack(&'static str),
    /// In a text that is read before any port is known, named here.
    Nowhere(String),
}

/// The ports that services declare, by the services' names, in the order of the file.
///
/// Collected before anything is read, so that every reference can be judged where it stands,
/// whatever the order of the file.
#[derive(Default)]
pub(super) struct Declared {
    services: IndexMap<String, BTreeSet<String>>,
}

impl Declared {
    /// Looks for `$<NAME:` in every text of every service.
    pub(super) fn collect<'n>(services: impl Iterator<Item = (&'n str, &'n Node<'n>)>) -> Self {
        let mut declared = Self::default();
        for (name, node) in services {
            let ports = declared.services.entry(name.to_owned()).or_default();
            collect_from(node, ports);
        }
        declared
    }

    fn has(&self, service: &str, port: &str) -> bool {
        self.services
            .get(service)
            .is_some_and(|ports| ports.contains(port))
    }
}

fn collect_from(node: &Node<'_>, ports: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Scalar { text, .. } => collect_from_text(text, ports),
        Kind::Sequence(items) => {
            for item in items {
                collect_from(item, ports);
            }
        }
        Kind::Mapping(entries) => {
            for entry in entries {
                let is_free = entry.key.text().is_some_and(|key| key.starts_with("x-"));
                if !is_free {
                    collect_from(&entry.value, ports);
                }
            }
        }
    }
}

fn collect_from_text(text: &str, ports: &mut BTreeSet<String>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            // `$$<` is a literal `$<`, and `$$` a pair in both grammars.
            rest = after.strip_prefix('<').unwrap_or(after);
        } else if let Some(body) = rest.strip_prefix('<') {
            let length = name_length(body);
            if length > 0 && body[length..].starts_with(':') {
                ports.insert(body[..length].to_owned());
            }
        }
    }
}

impl Reader<'_> {
    /// Checks every placeholder of a text against the place where it stands, and notes the ports
    /// that it declares, also in a default that is not used.
    pub(super) fn admit(&mut self, pieces: &mut [Raw]) {
        for piece in pieces {
            match piece {
                Raw::Text(_) | Raw::BareVariable(..) | Raw::Unreadable => {}
                Raw::Variable(variable) => self.admit(&mut variable.right),
                // What nobody will see need not be worked out.
                Raw::Placeholder(..) if self.problems.is_full() => {}
                Raw::Placeholder(placeholder, span) => {
                    if let Err(problem) = self.admit_placeholder(placeholder, span) {
                        self.problems.push(problem);
                    }
                }
            }
        }
    }

    fn admit_placeholder(
        &mut self,
        placeholder: &mut Placeholder,
        span: &Span,
    ) -> Result<(), Problem> {
        let written = span.text();
        let (service, ports) = match &mut self.place {
            Place::Service { name, ports } => (name.as_str(), ports),
            Place::Stack(what) => return admit_outside(&self.declared, placeholder, what, span),
            Place::Nowhere(what) => {
                return Err(misplaced(
                    format!("the placeholder `{written}` cannot stand in {what}"),
                    span,
                    "placeholders stand in the texts of a service, in `environment` and in \
                     `dotenv.vars`",
                ));
            }
        };
        match placeholder {
            Placeholder::Declare(name, want, protocol) => {
                declare(ports, name, (*want, *protocol), span)
            }
            Placeholder::Own(name) => {
                if self.declared.has(service, name.as_str()) {
                    return Ok(());
                }
                Err(self.declared.unknown_port(service, name, span))
            }
            Placeholder::Other(..) | Placeholder::All(..) => {
                admit_reference(&self.declared, placeholder, span)
            }
            Placeholder::ProjectName
            | Placeholder::ProjectDir
            | Placeholder::Instance
            | Placeholder::Service
            | Placeholder::Replica => Ok(()),
        }
    }
}

/// A placeholder in a text for the whole stack.
fn admit_outside(
    declared: &Declared,
    placeholder: &mut Placeholder,
    what: &str,
    span: &Span,
) -> Result<(), Problem> {
    let written = span.text();
    match placeholder {
        Placeholder::Declare(..) => Err(misplaced(
            format!("`{written}` declares a port, and {what} belongs to no service"),
            span,
            "declare it in a service, and refer to it here with `$<service.PORT>`",
        )),
        Placeholder::Own(name) => Err(misplaced(
            format!("`{written}` does not say whose port it is, and {what} belongs to no service"),
            span,
            &format!("name the service: `$<{}.{name}>`", declared.example(name)),
        )),
        Placeholder::Service | Placeholder::Replica => Err(misplaced(
            format!("`{written}` means nothing here: {what} belongs to no service"),
            span,
            "move it into a service",
        )),
        Placeholder::Other(..) | Placeholder::All(..) => {
            admit_reference(declared, placeholder, span)
        }
        Placeholder::ProjectName | Placeholder::ProjectDir | Placeholder::Instance => Ok(()),
    }
}

/// `$<api.PORT>`; turns `$<api.PORTS>` into all of its `PORT`s where no port is called `PORTS`.
fn admit_reference(
    declared: &Declared,
    placeholder: &mut Placeholder,
    span: &Span,
) -> Result<(), Problem> {
    let Placeholder::Other(service, port) = placeholder else {
        return Ok(());
    };
    if !declared.services.contains_key(service.as_str()) {
        return Err(declared.unknown_service(service, span));
    }
    if declared.has(service.as_str(), port.as_str()) {
        return Ok(());
    }
    let singular = port.as_str().strip_suffix('S').unwrap_or_default();
    match PortName::new(singular) {
        Ok(one) if declared.has(service.as_str(), singular) => {
            *placeholder = Placeholder::All(service.clone(), one);
            Ok(())
        }
        Ok(_) | Err(_) => Err(declared.unknown_port(service.as_str(), port, span)),
    }
}

fn declare(
    ports: &mut IndexMap<PortName, PortDeclaration>,
    name: &PortName,
    (want, protocol): (PortWant, Protocol),
    span: &Span,
) -> Result<(), Problem> {
    let Some(first) = ports.get(name) else {
        let span = span.clone();
        ports.insert(
            name.clone(),
            PortDeclaration {
                want,
                protocol,
                span,
            },
        );
        return Ok(());
    };
    if first.want == want && first.protocol == protocol {
        return Ok(());
    }
    Err(Problem::error(
        code::CONFLICTING_PORTS,
        format!("the port `{name}` is declared in two ways in one service"),
        span,
    )
    .label("another way here")
    .also(&first.span, "first declared here")
    .hint(format!(
        "declare it once and refer to it with `$<{name}>`, or give the second port a name of \
             its own"
    )))
}

impl Declared {
    /// A service that has a port of that name, for hints; any service otherwise.
    fn example(&self, port: &PortName) -> &str {
        self.services
            .iter()
            .find(|(_, ports)| ports.contains(port.as_str()))
            .or_else(|| self.services.first())
            .map_or("service", |(service, _)| service)
    }

    fn unknown_service(&self, service: &ServiceName, span: &Span) -> Problem {
        let names = || self.services.keys().map(String::as_str);
        let problem = Problem::error(
            code::UNKNOWN_SERVICE,
            format!("there is no service `{service}`"),
            span,
        );
        match nearest(service.as_str(), names()) {
            Some(meant) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!(
                    "write `{}`",
                    span.text().replacen(service.as_str(), meant, 1)
                )),
            None => problem.hint(format!("the services are {}", list(names()))),
        }
    }

    fn unknown_port(&self, service: &str, port: &PortName, span: &Span) -> Problem {
        let empty = BTreeSet::new();
        let ports = self.services.get(service).unwrap_or(&empty);
        let names = || ports.iter().map(String::as_str);
        let problem = Problem::error(
            code::UNKNOWN_PORT,
            format!("the service `{service}` declares no port `{port}`"),
            span,
        );
        match nearest(port.as_str(), names()) {
            Some(meant) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!(
                    "write `{meant}`, or declare `{port}` in `{service}` with `$<{port}:auto>`"
                )),
            None if ports.is_empty() => problem.hint(format!(
                "declare it in `{service}`, where the port is used: `$<{port}:auto>`"
            )),
            None => problem.hint(format!("its ports are {}", list(names()))),
        }
    }
}

fn misplaced(message: String, span: &Span, hint: &str) -> Problem {
    Problem::error(code::MISPLACED_PLACEHOLDER, message, span).hint(hint)
}
