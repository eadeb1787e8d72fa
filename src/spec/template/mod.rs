//! Text with `${VAR}` and `$<…>` in it, cut into pieces once and resolved later.

mod parse;
mod placeholder;

#[cfg(test)]
mod tests;

pub(super) use parse::{name_length, parse};

use super::model::PortWant;
use super::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};

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
    Declare(PortName, PortWant),
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
        let value = lookup.variable(&variable.name);
        let counts = |or_empty: bool| match &value {
            Some(value) => !(or_empty && value.is_empty()),
            None => false,
        };
        match &variable.otherwise {
            Otherwise::Empty => match value {
                Some(value) => text.push_str(&value),
                None => problems.push(unset_variable(variable)),
            },
            Otherwise::Default {
                or_empty,
                text: default,
            } => {
                if counts(*or_empty) {
                    text.push_str(value.as_deref().unwrap_or_default());
                } else {
                    self.resolve_pieces(default, lookup, problems, text);
                }
            }
            Otherwise::Required { or_empty, message } => {
                if counts(*or_empty) {
                    text.push_str(value.as_deref().unwrap_or_default());
                } else {
                    let mut reason = String::new();
                    self.resolve_pieces(message, lookup, problems, &mut reason);
                    problems.push(required_variable(variable, &reason));
                }
            }
            Otherwise::Alternative {
                or_empty,
                text: alternative,
            } => {
                if counts(*or_empty) {
                    self.resolve_pieces(alternative, lookup, problems, text);
                }
            }
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
        "stack::spec::bare_variable",
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
        "stack::spec::unset_variable",
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
    Problem::error("stack::spec::required_variable", message, &variable.span).hint(format!(
        "run with `{name}=… stack up`, or put it into an `env_file`"
    ))
}

fn unsafe_in_shell(value: &str, span: &Span) -> Problem {
    Problem::error(
        "stack::spec::unsafe_in_shell",
        format!("the value {value:?} has characters that a shell would read as syntax"),
        span,
    )
    .hint("use the exported variable in quotes, or write the command as a list")
}
