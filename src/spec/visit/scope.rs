//! What a placeholder may mean where it stands.
//!
//! Ports are declared wherever they are used, in any order. So references are noted while the file
//! is read, and judged once all declarations are known.

use indexmap::IndexMap;

use super::Reader;
use super::suggest::{list, nearest};
use crate::spec::code;
use crate::spec::model::{PortDeclaration, PortWant};
use crate::spec::problem::{Problem, Report, Span};
use crate::spec::template::{Placeholder, Word};
use crate::support::name::PortName;
use crate::support::protocol::Protocol;

/// The ports that a service declares, in the order of the file.
pub(super) type Ports = IndexMap<PortName, PortDeclaration>;

/// Where the reader is.
pub(super) enum Place {
    /// In a service: everything makes sense.
    Service {
        /// Its name.
        name: String,
        /// The ports that it has declared so far.
        ports: Ports,
    },
    /// In a text for the whole stack, named here: only references with a service make sense.
    Stack(&'static str),
    /// In a text that is read before any port is known, named here.
    Nowhere(String),
}

/// A reference to a port.
pub(super) struct Reference {
    /// The service in which it stands, or the text for the whole stack.
    place: Result<String, &'static str>,
    placeholder: Placeholder,
    span: Span,
}

/// What is known of the ports of all services.
#[derive(Default)]
pub(super) struct Declared {
    /// By the services' names, valid or not, in the order of the file.
    pub(super) services: IndexMap<String, Ports>,
    references: Vec<Reference>,
}

impl Reader<'_> {
    /// Checks a placeholder against the place where it stands, and notes the port that it declares
    /// or refers to, also in a default that is not used.
    pub(super) fn admit(&mut self, placeholder: &Placeholder, span: &Span) -> Result<(), Problem> {
        let written = span.text();
        let place = match (placeholder, &mut self.place) {
            (_, Place::Nowhere(what)) => {
                let message = format!("the placeholder `{written}` cannot stand in {what}");
                let hint = "placeholders stand in the texts of a service, in `environment` and in \
                            `dotenv.vars`";
                return Err(misplaced(message, span, hint));
            }
            (Placeholder::Declare(name, want, protocol), Place::Service { ports, .. }) => {
                return declare(ports, name, (*want, *protocol), span);
            }
            (Placeholder::Declare(..), Place::Stack(what)) => {
                let message =
                    format!("`{written}` declares a port, and {what} belongs to no service");
                let hint = "declare it in a service, and refer to it here with `$<service.PORT>`";
                return Err(misplaced(message, span, hint));
            }
            (Placeholder::Word(Word::Service | Word::Replica), Place::Stack(what)) => {
                let message =
                    format!("`{written}` means nothing here: {what} belongs to no service");
                return Err(misplaced(message, span, "move it into a service"));
            }
            (Placeholder::Word(_), _) => return Ok(()),
            (_, Place::Service { name, .. }) => Ok(name.clone()),
            (_, Place::Stack(what)) => Err(*what),
        };
        self.declared.references.push(Reference {
            place,
            placeholder: placeholder.clone(),
            span: span.clone(),
        });
        Ok(())
    }

    /// Judges every reference, once all services were read.
    pub(super) fn check_references(&mut self) {
        for reference in std::mem::take(&mut self.declared.references) {
            // What nobody will see need not be worked out.
            if self.is_full() {
                return;
            }
            if let Err(problem) = self.declared.check(&reference) {
                self.report(problem);
            }
        }
    }
}

fn declare(
    ports: &mut Ports,
    name: &PortName,
    (want, protocol): (PortWant, Protocol),
    span: &Span,
) -> Result<(), Problem> {
    let declaration = PortDeclaration {
        want,
        protocol,
        span: span.clone(),
    };
    let first = ports.entry(name.clone()).or_insert(declaration);
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
    fn check(&self, reference: &Reference) -> Result<(), Problem> {
        let span = &reference.span;
        let (service, port) = match (&reference.placeholder, &reference.place) {
            (Placeholder::Own(port), Ok(service)) => (service.as_str(), port),
            (Placeholder::Other(service, port), _) => (service.as_str(), port),
            (Placeholder::Own(port), Err(what)) => {
                let written = span.text();
                let message = format!(
                    "`{written}` does not say whose port it is, and {what} belongs to no service"
                );
                let hint = format!("name the service: `$<{}.{port}>`", self.example(port));
                return Err(misplaced(message, span, &hint));
            }
            // Neither refers to a port.
            (Placeholder::Declare(..) | Placeholder::Word(_), _) => return Ok(()),
        };
        let Some(ports) = self.services.get(service) else {
            return Err(self.unknown_service(service, span));
        };
        let is_all = matches!(reference.placeholder, Placeholder::Other(..))
            && port.singular().is_some_and(|one| ports.contains_key(one));
        if is_all || ports.contains_key(port) {
            Ok(())
        } else {
            Err(unknown_port(service, ports, port, span))
        }
    }

    /// A service that has a port of that name, for hints; any service otherwise.
    fn example(&self, port: &PortName) -> &str {
        let mut services = self.services.iter();
        services
            .find(|(_, ports)| ports.contains_key(port))
            .or_else(|| self.services.first())
            .map_or("service", |(service, _)| service)
    }

    fn unknown_service(&self, service: &str, span: &Span) -> Problem {
        let names = || self.services.keys().map(String::as_str);
        let message = format!("there is no service `{service}`");
        let problem = Problem::error(code::UNKNOWN_SERVICE, message, span);
        match nearest(service, names()) {
            Some(meant) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!(
                    "write `{}`",
                    span.text().replacen(service, meant, 1)
                )),
            None => problem.hint(format!("the services are {}", list(names()))),
        }
    }
}

fn unknown_port(service: &str, ports: &Ports, port: &PortName, span: &Span) -> Problem {
    let names = || ports.keys().map(PortName::as_str);
    let message = format!("the service `{service}` declares no port `{port}`");
    let problem = Problem::error(code::UNKNOWN_PORT, message, span);
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

fn misplaced(message: String, span: &Span, hint: &str) -> Problem {
    Problem::error(code::MISPLACED_PLACEHOLDER, message, span).hint(hint)
}
