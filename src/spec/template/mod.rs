//! Text with `${VAR}` and `$<…>` in it, cut into pieces once and resolved later.

mod parse;
mod placeholder;

#[cfg(test)]
mod tests;

pub(super) use parse::{name_length, parse};

use std::fmt;

use super::code;
use super::model::PortWant;
use super::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};
use crate::support::protocol::Protocol;

/// A text as written, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// Where the whole text stands.
    pub span: Span,
    /// Which of the two grammars it follows.
    pub kind: TemplateKind,
}

/// How the text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateKind {
    /// Text that a shell will read: only `$<…>` and `$$<` are ours.
    Shell,
    /// Every other text: `${VAR…}` and `$$` too.
    Plain,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// `${NAME…}`.
    Variable(Variable),
    /// `$NAME`: stands for itself, with a warning when such a variable is set.
    BareVariable(String, Span),
    /// `$<…>`.
    Placeholder(Placeholder, Span),
}

/// `${NAME…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name.
    pub name: String,
    /// What happens when it is unset or empty.
    pub otherwise: Otherwise,
    /// Where it stands, braces included.
    pub span: Span,
}

/// The operators of `${NAME…}`; the right side may hold variables and placeholders again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// `${NAME}`: empty, with a warning.
    Empty,
    /// `${NAME:-text}` (`or_empty`) or `${NAME-text}`.
    Default {
        /// Whether an empty value counts as unset.
        or_empty: bool,
        /// The text instead.
        text: Vec<Piece>,
    },
    /// `${NAME:?text}` (`or_empty`) or `${NAME?text}`: an error.
    Required {
        /// Whether an empty value counts as unset.
        or_empty: bool,
        /// What to say.
        message: Vec<Piece>,
    },
    /// `${NAME:+text}` (`or_empty`: only if not empty) or `${NAME+text}`: the text if it is set.
    Alternative {
        /// Whether an empty value counts as unset.
        or_empty: bool,
        /// The text instead of the value.
        text: Vec<Piece>,
    },
}

/// `$<…>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `$<PORT:auto>`: declares a port of the service in which it stands, and is that port.
    Declare(PortName, PortWant, Protocol),
    /// `$<PORT>`: a port of the service in which it stands.
    Own(PortName),
    /// `$<api.PORT>`: another service's port.
    Other(ServiceName, PortName),
    /// `$<api.PORTS>`: the port of every replica of a service, comma-separated.
    All(ServiceName, PortName),
    /// `$<project.name>`.
    ProjectName,
    /// `$<project.dir>`.
    ProjectDir,
    /// `$<instance>`.
    Instance,
    /// `$<service>`.
    Service,
    /// `$<replica>`.
    Replica,
}

/// What `${NAME…}` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The variable's value.
    Value(String),
    /// The text on the operator's right side, or nothing.
    Text(&'a [Piece]),
    /// Nothing, although a value was expected: a warning.
    Unset,
    /// Nothing, although a value is required: an error with this text.
    Required(&'a [Piece]),
}

/// What a template is resolved against.
pub trait Lookup {
    /// The value of a variable; `None` when it is unset.
    fn variable(&self, name: &str) -> Option<String>;

    /// The value of a placeholder. The error becomes a problem at `span`.
    fn placeholder(&self, placeholder: &Placeholder, span: &Span) -> Result<String, Problem>;
}

impl Template {
    /// A template without anything to resolve.
    pub fn literal(text: impl Into<String>, span: Span, kind: TemplateKind) -> Self {
        Self {
            pieces: vec![Piece::Text(text.into())],
            span,
            kind,
        }
    }

    /// The text itself, when nothing in it is to be resolved.
    pub fn as_literal(&self) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::BareVariable(name, _) => {
                    text.push('$');
                    text.push_str(name);
                }
                Piece::Variable(_) | Piece::Placeholder(..) => return None,
            }
        }
        Some(text)
    }

    /// Whether the text cannot be known before the ports are.
    pub fn depends_on_ports(&self) -> bool {
        any_placeholder(&self.pieces, &Placeholder::is_port)
    }

    /// Whether any placeholder stands in the text.
    pub fn holds_placeholder(&self) -> bool {
        any_placeholder(&self.pieces, &|_| true)
    }

    /// Whether the text differs from replica to replica even where the ports are the same.
    pub fn depends_on_replica(&self) -> bool {
        any_placeholder(&self.pieces, &|placeholder| {
            matches!(placeholder, Placeholder::Replica)
        })
    }

    /// Every placeholder in the text with its place, also those of defaults and alternatives.
    pub fn placeholders(&self) -> Vec<(&Placeholder, &Span)> {
        let mut found = Vec::new();
        collect_placeholders(&self.pieces, &mut found);
        found
    }

    /// Whether the text declares a port.
    pub fn declares_port(&self) -> bool {
        any_placeholder(&self.pieces, &|placeholder| {
            matches!(placeholder, Placeholder::Declare(..))
        })
    }

    /// The text with every variable and placeholder replaced, in one pass from left to right: a
    /// value that came from a variable or a placeholder is never looked at again.
    ///
    /// Adds what is wrong to `problems`; the result then has an empty text in its place. In shell
    /// text a placeholder's value is put in only if it is made of harmless characters.
    pub fn resolve(&self, lookup: &dyn Lookup, problems: &mut Vec<Problem>) -> String {
        let mut text = String::new();
        self.resolve_pieces(&self.pieces, lookup, problems, &mut text);
        text
    }

    fn resolve_pieces(
        &self,
        pieces: &[Piece],
        lookup: &dyn Lookup,
        problems: &mut Vec<Problem>,
        text: &mut String,
    ) {
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::BareVariable(name, span) => {
                    if lookup.variable(name).is_some() {
                        problems.push(bare_variable(name, span));
                    }
                    text.push('$');
                    text.push_str(name);
                }
                Piece::Variable(variable) => {
                    self.resolve_variable(variable, lookup, problems, text);
                }
                Piece::Placeholder(placeholder, span) => {
                    match lookup.placeholder(placeholder, span) {
                        Ok(value) if self.kind == TemplateKind::Shell && !is_harmless(&value) => {
                            problems.push(unsafe_in_shell(&value, span));
                        }
                        Ok(value) => text.push_str(&value),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
        }
    }

    fn resolve_variable(
        &self,
        variable: &Variable,
        lookup: &dyn Lookup,
        problems: &mut Vec<Problem>,
        text: &mut String,
    ) {
        match variable.outcome(lookup) {
            Outcome::Value(value) => text.push_str(&value),
            Outcome::Text(pieces) => self.resolve_pieces(pieces, lookup, problems, text),
            Outcome::Unset => problems.push(unset_variable(variable)),
            Outcome::Required(message) => {
                let mut reason = String::new();
                self.resolve_pieces(message, lookup, problems, &mut reason);
                problems.push(required_variable(variable, &reason));
            }
        }
    }
}

impl Variable {
    /// What stands to the right of its operator; nothing where there is none.
    fn right_side(&self) -> &[Piece] {
        match &self.otherwise {
            Otherwise::Empty => &[],
            Otherwise::Default { text: pieces, .. }
            | Otherwise::Alternative { text: pieces, .. }
            | Otherwise::Required {
                message: pieces, ..
            } => pieces,
        }
    }

    /// What it comes to with these variables.
    pub fn outcome(&self, lookup: &dyn Lookup) -> Outcome<'_> {
        let value = lookup.variable(&self.name);
        let if_it_counts = |or_empty: bool| value.clone().filter(|v| !(or_empty && v.is_empty()));
        match &self.otherwise {
            Otherwise::Empty => value.map_or(Outcome::Unset, Outcome::Value),
            Otherwise::Default { or_empty, text } => {
                if_it_counts(*or_empty).map_or(Outcome::Text(text), Outcome::Value)
            }
            Otherwise::Required { or_empty, message } => {
                if_it_counts(*or_empty).map_or(Outcome::Required(message), Outcome::Value)
            }
            Otherwise::Alternative { or_empty, text } => match if_it_counts(*or_empty) {
                Some(_) => Outcome::Text(text),
                None => Outcome::Text(&[]),
            },
        }
    }
}

impl Placeholder {
    /// Whether it stands for a port, or for several.
    pub fn is_port(&self) -> bool {
        match self {
            Self::Declare(..) | Self::Own(_) | Self::Other(..) | Self::All(..) => true,
            Self::ProjectName
            | Self::ProjectDir
            | Self::Instance
            | Self::Service
            | Self::Replica => false,
        }
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
            Self::Own(name) => write!(f, "$<{name}>"),
            Self::Other(service, name) => write!(f, "$<{service}.{name}>"),
            Self::All(service, name) => write!(f, "$<{service}.{name}S>"),
            Self::ProjectName => f.write_str("$<project.name>"),
            Self::ProjectDir => f.write_str("$<project.dir>"),
            Self::Instance => f.write_str("$<instance>"),
            Self::Service => f.write_str("$<service>"),
            Self::Replica => f.write_str("$<replica>"),
        }
    }
}

fn any_placeholder(pieces: &[Piece], is_meant: &dyn Fn(&Placeholder) -> bool) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Text(_) | Piece::BareVariable(..) => false,
        Piece::Placeholder(placeholder, _) => is_meant(placeholder),
        Piece::Variable(variable) => any_placeholder(variable.right_side(), is_meant),
    })
}

fn collect_placeholders<'a>(pieces: &'a [Piece], found: &mut Vec<(&'a Placeholder, &'a Span)>) {
    for piece in pieces {
        match piece {
            Piece::Text(_) | Piece::BareVariable(..) => {}
            Piece::Placeholder(placeholder, span) => found.push((placeholder, span)),
            Piece::Variable(variable) => collect_placeholders(variable.right_side(), found),
        }
    }
}

/// Whether a value can stand in shell text without ever becoming syntax.
fn is_harmless(value: &str) -> bool {
    value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./:,+=@%".contains(c))
}

fn bare_variable(name: &str, span: &Span) -> Problem {
    Problem::warning(
        code::BARE_VARIABLE,
        format!("`${name}` is left as it is, although a variable `{name}` is set"),
        span,
    )
    .hint(format!(
        "write `${{{name}}}` for its value, or `$${name}` for the text"
    ))
}

fn unset_variable(variable: &Variable) -> Problem {
    let name = &variable.name;
    Problem::warning(
        code::UNSET_VARIABLE,
        format!("the variable `{name}` is not set; its place stays empty"),
        &variable.span,
    )
    .hint(format!("set it, or give a default: `${{{name}:-text}}`"))
}

fn required_variable(variable: &Variable, reason: &str) -> Problem {
    let name = &variable.name;
    let message = if reason.is_empty() {
        format!("the variable `{name}` is required and not set")
    } else {
        format!("the variable `{name}` is required: {reason}")
    };
    Problem::error(code::REQUIRED_VARIABLE, message, &variable.span).hint(format!(
        "run with `{name}=… stack up`, or put it into an `env_file`"
    ))
}

fn unsafe_in_shell(value: &str, span: &Span) -> Problem {
    Problem::error(
        code::UNSAFE_IN_SHELL,
        format!("the value {value:?} has characters that a shell would read as syntax"),
        span,
    )
    .hint("use the exported variable in quotes, or write the command as a list")
}
