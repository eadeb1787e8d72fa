//! `${VAR}` and its operators, replaced while the file is read.

use super::parse::{Operator, Raw, Variable};
use super::{Piece, Template, TemplateKind};
use crate::spec::code;
use crate::spec::problem::{Problem, Span};
use crate::spec::problems::Problems;

/// Replaces the variables of a text in one pass from left to right: a value that came from a
/// variable is never looked at again. Adds what is wrong to `problems`.
pub(in crate::spec) fn interpolate(
    raw: Vec<Raw>,
    span: Span,
    kind: TemplateKind,
    get: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Template {
    let mut template = Template {
        pieces: Vec::new(),
        span,
        kind,
        had_variable: false,
        is_broken: false,
    };
    template.append(raw, get, problems);
    if template.pieces.is_empty() {
        template.push("");
    }
    template
}

impl Template {
    fn append(
        &mut self,
        raw: Vec<Raw>,
        get: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) {
        for piece in raw {
            match piece {
                Raw::Text(text) => self.push(&text),
                Raw::Placeholder(placeholder, span) => {
                    self.pieces.push(Piece::Placeholder(placeholder, span));
                }
                Raw::BareVariable(name, span) => {
                    if get(&name).is_some() {
                        problems.push(bare_variable(&name, &span));
                    }
                    self.push("$");
                    self.push(&name);
                }
                Raw::Variable(variable) => {
                    self.had_variable = true;
                    self.append_variable(variable, get, problems);
                }
                Raw::Unreadable => self.is_broken = true,
            }
        }
    }

    fn append_variable(
        &mut self,
        variable: Variable,
        get: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) {
        let value = get(&variable.name);
        let counts = |value: &String| !(variable.or_empty && value.is_empty());
        let counting = value.clone().filter(counts);
        match (variable.operator, counting) {
            (Operator::None, _) => match value {
                Some(value) => self.push(&value),
                None => problems.push(unset_variable(&variable.name, &variable.span)),
            },
            (Operator::Default | Operator::Required, Some(value)) => self.push(&value),
            (Operator::Default, None) | (Operator::Alternative, Some(_)) => {
                self.append(variable.right, get, problems);
            }
            (Operator::Alternative, None) => {}
            (Operator::Required, None) => {
                let reason = interpolate(
                    variable.right,
                    variable.span.clone(),
                    self.kind,
                    get,
                    problems,
                );
                let reason: String = reason.pieces.iter().map(Piece::as_written).collect();
                problems.push(required_variable(&variable.name, &reason, &variable.span));
                self.is_broken = true;
            }
        }
    }

    fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            Some(Piece::Placeholder(..)) | None => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

impl Piece {
    fn as_written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Placeholder(placeholder, _) => placeholder.to_string(),
        }
    }
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

fn unset_variable(name: &str, span: &Span) -> Problem {
    Problem::warning(
        code::UNSET_VARIABLE,
        format!("the variable `{name}` is not set; its place stays empty"),
        span,
    )
    .hint(format!("set it, or give a default: `${{{name}:-text}}`"))
}

fn required_variable(name: &str, reason: &str, span: &Span) -> Problem {
    let message = if reason.is_empty() {
        format!("the variable `{name}` is required and not set")
    } else {
        format!("the variable `{name}` is required: {reason}")
    };
    Problem::error(code::REQUIRED_VARIABLE, message, span).hint(format!(
        "run with `{name}=… stack up`, or put it into an `env_file`"
    ))
}
