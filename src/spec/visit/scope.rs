//! What a placeholder may mean where it stands.
//!
//! Ports are declared wherever they are used, in any order. So references are noted while the file
//! is read, and judged once all declarations are known.

use indexmap::IndexMap;

use super::Reader;
use super::suggest::{list, nearest};
use crate::spec::code;
use crate::spec::model::{FileKind, FileUse, PortDeclaration, PortWant, Thing, ThingDeclaration};
use crate::spec::problem::{Problem, Report, Span};
use crate::spec::template::{Placeholder, Word};
use crate::support::name::PortName;
use crate::support::protocol::Protocol;

/// The ports that a service declares, in the order of the file.
pub(super) type Ports = IndexMap<PortName, PortDeclaration>;

/// What a service has of its own, in the order of the file.
#[derive(Default, Clone)]
pub(super) struct Own {
    pub(super) ports: Ports,
    pub(super) things: IndexMap<PortName, ThingDeclaration>,
    /// The files that it is given.
    pub(super) files: Vec<FileUse>,
}

impl Own {
    /// Whether something is called that.
    pub(super) fn has(&self, name: &PortName) -> bool {
        self.ports.contains_key(name) || self.things.contains_key(name)
    }
}

/// How the text of a file is named.
pub(super) const FILES: &str = "`configs`";

/// Where the reader is.
pub(super) enum Place {
    /// In a service: everything makes sense.
    Service {
        /// Its name.
        name: String,
        /// What it has declared so far.
        own: Own,
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

/// What is known of the ports and things of all services, and of files.
#[derive(Default)]
pub(super) struct Declared {
    /// By the services' names, valid or not, in the order of the file.
    pub(super) services: IndexMap<String, Own>,
    /// The files that there are, valid or not.
    pub(super) files: Vec<(FileKind, String)>,
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
            (Placeholder::Declare(name, want, protocol), Place::Service { own, .. }) => {
                return declare(own, name, (*want, *protocol), span);
            }
            (Placeholder::Thing(name, thing), Place::Service { own, .. }) => {
                return declare_thing(own, name, *thing, span);
            }
            (Placeholder::Declare(..) | Placeholder::Thing(..), Place::Stack(what)) => {
                let thing = match placeholder {
                    Placeholder::Declare(..) => "a port",
                    _ => "something of a service",
                };
                let message =
                    format!("`{written}` declares {thing}, and {what} belongs to no service");
                let hint = "declare it in a service, and refer to it here with `$<service.PORT>`";
                return Err(misplaced(message, span, hint));
            }
            // A file is made for the service that is given it.
            (Placeholder::Word(Word::Bind), Place::Stack(FILES)) => return Ok(()),
            (
                Placeholder::Word(Word::Service | Word::Replica | Word::Bind)
                | Placeholder::File(..),
                Place::Stack(what),
            ) => {
                let message =
                    format!("`{written}` means nothing here: {what} belongs to no service");
                return Err(misplaced(message, span, "move it into a service"));
            }
            (Placeholder::Word(_), _) => return Ok(()),
            (Placeholder::File(kind, name), Place::Service { .. }) => {
                self.use_file(FileUse {
                    kind: *kind,
                    name: name.clone(),
                    span: span.clone(),
                });
                return Ok(());
            }
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

    /// Notes a file that the present service is given.
    pub(super) fn use_file(&mut self, file: FileUse) {
        let Place::Service { name, own } = &mut self.place else {
            return;
        };
        self.declared.references.push(Reference {
            place: Ok(name.clone()),
            placeholder: Placeholder::File(file.kind, file.name.clone()),
            span: file.span.clone(),
        });
        let mut files = own.files.iter();
        if !files.any(|other| other.kind == file.kind && other.name == file.name) {
            own.files.push(file);
        }
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
    own: &mut Own,
    name: &PortName,
    (want, protocol): (PortWant, Protocol),
    span: &Span,
) -> Result<(), Problem> {
    let declaration = PortDeclaration {
        want,
        protocol,
        span: span.clone(),
    };
    if let Some(first) = own.things.get(name) {
        return Err(declared_twice(name, span, &first.span));
    }
    let first = own.ports.entry(name.clone()).or_insert(declaration);
    if first.want == want && first.protocol == protocol {
        return Ok(());
    }
    Err(declared_twice(name, span, &first.span))
}

fn declare_thing(own: &mut Own, name: &PortName, thing: Thing, span: &Span) -> Result<(), Problem> {
    let declaration = ThingDeclaration {
        thing,
        span: span.clone(),
    };
    if let Some(first) = own.ports.get(name) {
        return Err(declared_twice(name, span, &first.span));
    }
    let first = own.things.entry(name.clone()).or_insert(declaration);
    if first.thing == thing {
        return Ok(());
    }
    Err(declared_twice(name, span, &first.span))
}

fn declared_twice(name: &PortName, span: &Span, first: &Span) -> Problem {
    Problem::error(
        code::CONFLICTING_PORTS,
        format!("`{name}` is declared in two ways in one service"),
        span,
    )
    .label("another way here")
    .also(first, "first declared here")
    .hint(format!(
        "declare it once and refer to it with `$<{name}>`, or give the second one a name of its own"
    ))
}

impl Declared {
    fn check(&self, reference: &Reference) -> Result<(), Problem> {
        let span = &reference.span;
        let (service, port) = match (&reference.placeholder, &reference.place) {
            (Placeholder::Own(port), Ok(service)) => (service.as_str(), port),
            (Placeholder::Other(service, port) | Placeholder::AtHost(service, port), _) => {
                (service.as_str(), port)
            }
            (Placeholder::File(kind, name), _) => return self.check_file(*kind, name, span),
            (Placeholder::Own(port), Err(what)) => {
                let written = span.text();
                let message = format!(
                    "`{written}` does not say whose port it is, and {what} belongs to no service"
                );
                let hint = format!("name the service: `$<{}.{port}>`", self.example(port));
                return Err(misplaced(message, span, &hint));
            }
            // None of them refers to anything.
            (Placeholder::Declare(..) | Placeholder::Thing(..) | Placeholder::Word(_), _) => {
                return Ok(());
            }
        };
        let Some(own) = self.services.get(service) else {
            return Err(self.unknown_service(service, span));
        };
        let ports = &own.ports;
        let is_there = ports.contains_key(port)
            || match &reference.placeholder {
                Placeholder::Other(..) => {
                    let one = port.singular();
                    own.things.contains_key(port)
                        || one.is_some_and(|one| ports.contains_key(one))
                        || is_address(port, ports)
                }
                Placeholder::Own(_) => own.things.contains_key(port) || is_address(port, ports),
                Placeholder::AtHost(..)
                | Placeholder::Declare(..)
                | Placeholder::Thing(..)
                | Placeholder::File(..)
                | Placeholder::Word(_) => false,
            };
        if is_there {
            Ok(())
        } else if port.as_str() == "URL" {
            let message = format!("the service `{service}` has no TCP port, and so no URL");
            let problem = Problem::error(code::UNKNOWN_PORT, message, span);
            Err(problem.hint(format!(
                "give `{service}` a port: `$<PORT:auto>` in its command"
            )))
        } else {
            Err(unknown_port(service, own, port, span))
        }
    }

    fn check_file(&self, kind: FileKind, name: &str, span: &Span) -> Result<(), Problem> {
        let mut files = self.files.iter();
        if files.any(|(other, there)| *other == kind && there == name) {
            return Ok(());
        }
        let names = || {
            let files = self.files.iter().filter(|(other, _)| *other == kind);
            files.map(|(_, name)| name.as_str())
        };
        let message = format!("there is no {} `{name}`", kind.noun());
        let problem = Problem::error(code::UNKNOWN_FILE, message, span);
        Err(match nearest(name, names()) {
            Some(meant) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!("write `{meant}`")),
            None => problem.hint(format!(
                "define it at the top level: `{}: {{{name}: {{file: ./{name}}}}}`",
                kind.key()
            )),
        })
    }

    /// A service that has a port of that name, for hints; any service otherwise.
    fn example(&self, port: &PortName) -> &str {
        let mut services = self.services.iter();
        services
            .find(|(_, own)| own.ports.contains_key(port) || own.things.contains_key(port))
            .or_else(|| self.services.first())
            .map_or("service", |(service, _)| service)
    }

    fn unknown_service(&self, service: &str, span: &Span) -> Problem {
        let names = || self.services.keys().map(String::as_str);
        let message = format!("there is no service `{service}`");
        let problem = Problem::error(code::UNKNOWN_SERVICE, message, span);
        // `project.nam` and `config.app` are nobody's port.
        let written = span.text();
        let body = written.trim_start_matches("$<").trim_end_matches('>');
        let words = Word::WORDS.iter().map(|(word, _)| *word);
        let word = || nearest(body, words.filter(|word| word.contains('.')));
        let files = FileKind::WORDS.iter().map(|(key, _)| *key);
        let part = nearest(service, names()).or_else(|| nearest(service, files));
        let part = part.map(|meant| (meant, written.replacen(service, meant, 1)));
        match part.or_else(|| word().map(|meant| (meant, format!("$<{meant}>")))) {
            Some((meant, form)) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!("write `{form}`")),
            None => problem.hint(format!("the services are {}", list(names()))),
        }
    }
}

/// Whether a name is that of an address, which a URL is only with a port that is reached over TCP.
fn is_address(name: &PortName, ports: &Ports) -> bool {
    let mut ports = ports.values();
    match name.as_str() {
        "HOST" => true,
        "URL" => ports.any(|port| port.protocol != Protocol::Udp),
        _ => false,
    }
}

fn unknown_port(service: &str, own: &Own, port: &PortName, span: &Span) -> Problem {
    let ports = own.ports.keys();
    let names: Vec<&str> = ports
        .chain(own.things.keys())
        .map(PortName::as_str)
        .collect();
    let names = || names.iter().copied();
    let message = format!("the service `{service}` declares no port `{port}`");
    let problem = Problem::error(code::UNKNOWN_PORT, message, span);
    match nearest(port.as_str(), names().chain(["HOST", "URL"])) {
        Some(meant) if !names().any(|name| name == meant) => problem
            .label(format!("did you mean `{meant}`?"))
            .hint(format!("write `{meant}` for where `{service}` is reached")),
        Some(meant) => problem
            .label(format!("did you mean `{meant}`?"))
            .hint(format!(
                "write `{meant}`, or declare `{port}` in `{service}` with `$<{port}:auto>`"
            )),
        None if own.ports.is_empty() => problem.hint(format!(
            "declare it in `{service}`, where the port is used: `$<{port}:auto>`"
        )),
        None => problem.hint(format!("its ports are {}", list(names()))),
    }
}

fn misplaced(message: String, span: &Span, hint: &str) -> Problem {
    Problem::error(code::MISPLACED_PLACEHOLDER, message, span).hint(hint)
}
