//! Text with `${VAR}` and `$<…>` in it: cut into pieces, the variables replaced while the file is
//! read, the placeholders once the ports are known.

mod placeholder;
mod read;

#[cfg(test)]
mod tests;

pub(super) use read::read;

use std::fmt;

use super::code;
use super::model::{FileKind, PortWant, Thing, word_of};
use super::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};
use crate::support::protocol::Protocol;

/// A text in pieces, its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// Where the whole text stands.
    pub span: Span,
    /// Which of the two grammars it follows.
    pub kind: TemplateKind,
    /// Whether a variable stood in it.
    pub had_variable: bool,
    /// Whether a part of it could not be read, which was reported: what it comes to means nothing.
    pub is_broken: bool,
}

/// How the text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// Text that a shell will read: only `$<…>` and `$$<` are ours.
    Shell,
    /// Every other text: `${VAR…}` and `$$` too.
    Plain,
    /// The same for a regular expression, in which a placeholder's value stands for itself.
    Pattern,
    /// The text of another file: only `$<…>` and `$$<` are ours, and anything may stand beside them.
    File,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// The same, from a variable whose name says that it is a secret. It is not shown.
    Secret(String),
    /// `$<…>`.
    Placeholder(Placeholder, Span),
}

/// `$<…>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `$<PORT:auto>`: declares a port of the service in which it stands, and is that port.
    Declare(PortName, PortWant, Protocol),
    /// `$<DATA:dir>`: declares something else of the service's own, and is that.
    Thing(PortName, Thing),
    /// `$<PORT>`: a port or thing of the service in which it stands.
    Own(PortName),
    /// `$<api.PORT>`: another service's port or thing. `$<api.PORTS>` is the `PORT` of every replica,
    /// comma-separated, `$<api.HOST>` where it is reached and `$<api.URL>` under which URL, unless
    /// there is a port of that name.
    Other(ServiceName, PortName),
    /// `$<api.PORT@host>`: another service's port as the machine itself sees it.
    AtHost(ServiceName, PortName),
    /// `$<configs.NAME>`: the path of a file that the service is given.
    File(FileKind, String),
    /// Anything else: `$<project.name>`.
    Word(Word),
}

/// A placeholder that is not a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The project's name.
    ProjectName,
    /// The project directory.
    ProjectDir,
    /// The instance's id.
    Instance,
    /// The service in which it stands.
    Service,
    /// The number of the replica in whose text it stands.
    Replica,
    /// The address to listen on.
    Bind,
}

impl Word {
    /// All of them, as they are written.
    pub const WORDS: [(&str, Self); 6] = [
        ("project.name", Self::ProjectName),
        ("project.dir", Self::ProjectDir),
        ("instance", Self::Instance),
        ("service", Self::Service),
        ("replica", Self::Replica),
        ("BIND", Self::Bind),
    ];
}

/// A `${…}`, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableUse {
    /// The variable.
    pub name: String,
    /// The text of `${NAME:-text}`.
    pub default: Option<String>,
    /// The text of `${NAME:+text}`.
    pub alternate: Option<String>,
    /// Whether it must be set: `${NAME:?message}`.
    pub is_required: bool,
    /// Where it stands.
    pub span: Span,
}

/// What a template is resolved against.
pub trait Lookup {
    /// The value of a placeholder. The error becomes a problem at `span`.
    fn placeholder(&self, placeholder: &Placeholder, span: &Span) -> Result<String, Problem>;
}

impl Template {
    /// A text without anything to resolve.
    pub fn literal(text: impl Into<String>, span: Span) -> Self {
        Self {
            pieces: vec![Piece::Text(text.into())],
            span,
            kind: TemplateKind::Plain,
            had_variable: false,
            is_broken: false,
        }
    }

    /// The text itself, when nothing in it is to be resolved.
    pub fn as_literal(&self) -> Option<String> {
        let texts = self.pieces.iter().map(|piece| match piece {
            Piece::Text(part) | Piece::Secret(part) => Some(part.as_str()),
            Piece::Placeholder(..) => None,
        });
        texts.collect()
    }

    /// Every placeholder in the text, with its place.
    pub fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, &Span)> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) | Piece::Secret(_) => None,
            Piece::Placeholder(placeholder, span) => Some((placeholder, span)),
        })
    }

    /// The text with every placeholder replaced. A value is never looked at again.
    ///
    /// Adds what is wrong to `problems`; the result then has an empty text in its place. In shell
    /// text a value is put in only if it is made of harmless characters.
    pub fn resolve(&self, lookup: &dyn Lookup, problems: &mut Vec<Problem>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) | Piece::Secret(part) => text.push_str(part),
                Piece::Placeholder(placeholder, span) => {
                    match lookup.placeholder(placeholder, span) {
                        Ok(value) if self.kind == TemplateKind::Shell && !is_harmless(&value) => {
                            problems.push(unsafe_in_shell(placeholder, &value, span));
                        }
                        Ok(value) if self.kind == TemplateKind::Pattern => {
                            text.push_str(&regex::escape(&value));
                        }
                        Ok(value) => text.push_str(&value),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
        }
        text
    }
}

impl Placeholder {
    /// Whether it may stand for a port, or for several.
    pub fn is_port(&self) -> bool {
        match self {
            Self::Declare(..) | Self::Own(_) | Self::Other(..) | Self::AtHost(..) => true,
            Self::Thing(..) | Self::File(..) | Self::Word(_) => false,
        }
    }

    /// Whether it declares something.
    pub fn is_declaration(&self) -> bool {
        matches!(self, Self::Declare(..) | Self::Thing(..))
    }
}

impl fmt::Display for Placeholder {
    /// As it is written, whatever escapes or quotes stood around it in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declare(name, want, protocol) => {
                match want {
                    PortWant::Auto => write!(f, "$<{name}:auto")?,
                    PortWant::Prefer(port) => write!(f, "$<{name}:auto:{port}")?,
                    PortWant::Within(range) => {
                        write!(f, "$<{name}:auto:{}-{}", range.start(), range.end())?;
                    }
                    PortWant::Fixed(port) => write!(f, "$<{name}:{port}")?,
                }
                match protocol {
                    Protocol::Tcp => f.write_str(">"),
                    Protocol::Udp | Protocol::Both => write!(f, "/{protocol}>"),
                }
            }
            Self::Thing(name, thing) => {
                write!(f, "$<{name}:{}>", word_of(&Thing::WORDS, thing))
            }
            Self::Own(name) => write!(f, "$<{name}>"),
            Self::Other(service, name) => write!(f, "$<{service}.{name}>"),
            Self::AtHost(service, name) => write!(f, "$<{service}.{name}@host>"),
            Self::File(kind, name) => write!(f, "$<{}.{name}>", kind.key()),
            Self::Word(word) => write!(f, "$<{}>", word_of(&Word::WORDS, word)),
        }
    }
}

/// Whether a value can stand in shell text without ever becoming syntax.
fn is_harmless(value: &str) -> bool {
    value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./:,+=@%".contains(c))
}

fn unsafe_in_shell(placeholder: &Placeholder, value: &str, span: &Span) -> Problem {
    let shown = match placeholder {
        Placeholder::Word(_) | Placeholder::File(..) => format!("{value:?}"),
        Placeholder::Thing(_, Thing::Dir | Thing::Socket) => format!("{value:?}"),
        // It may be a secret.
        Placeholder::Thing(_, Thing::Secret)
        | Placeholder::Declare(..)
        | Placeholder::Own(_)
        | Placeholder::Other(..)
        | Placeholder::AtHost(..) => format!("of `{placeholder}`"),
    };
    Problem::error(
        code::UNSAFE_IN_SHELL,
        format!("the value {shown} has characters that a shell would read as syntax"),
        span,
    )
    .hint("use the exported variable in quotes, or write the command as a list")
}
