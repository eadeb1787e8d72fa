//! The two grammars of a text: `${VAR}`, `$$` and `$<…>`, or `$<…>` and `$$<` alone.
//!
//! Purely syntax: what may stand where, and whether a name exists, is asked in `visit`. Every
//! mistake is reported and stepped over, so that one text can show several.

use super::placeholder;
use super::{Placeholder, TemplateKind};
use crate::spec::code;
use crate::spec::problem::{Problem, Span};
use crate::spec::problems::Problems;
use crate::spec::scalar::Text;

/// How deep `${A:-${B:-…}}` may nest.
const MAX_NESTING: usize = 32;

/// How much of a wrong text a message quotes, in characters; the rest is in the source line.
const MAX_SHOWN: usize = 40;

/// A part of a text as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) enum Raw {
    /// Text that stands for itself.
    Text(String),
    /// `${NAME…}`.
    Variable(Variable),
    /// `$NAME`: stands for itself, with a warning when such a variable is set.
    BareVariable(String, Span),
    /// `$<…>`.
    Placeholder(Placeholder, Span),
    /// What could not be read, and was reported.
    Unreadable,
}

/// `${NAME…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) struct Variable {
    /// The variable's name.
    pub(super) name: String,
    /// What stands behind the name.
    pub(super) operator: Operator,
    /// Whether an empty value counts as unset (the operator begins with a colon).
    pub(super) or_empty: bool,
    /// The text to the right of the operator, which may hold variables and placeholders again.
    pub(in crate::spec) right: Vec<Raw>,
    /// Where it stands, braces included.
    pub(super) span: Span,
}

/// The operators of `${NAME…}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Operator {
    /// `${NAME}`: empty where it is unset, with a warning.
    None,
    /// `${NAME:-text}`: the text where it is unset.
    Default,
    /// `${NAME:?text}`: an error with the text where it is unset.
    Required,
    /// `${NAME:+text}`: the text where it is set.
    Alternative,
}

/// Cuts a text into pieces and adds what is wrong with it to `problems`.
pub(in crate::spec) fn parse(
    text: &Text<'_>,
    kind: TemplateKind,
    problems: &mut Problems,
) -> Vec<Raw> {
    placeholder_typos(text, kind, problems);
    let mut scanner = Scanner {
        input: text,
        kind,
        at: 0,
        is_cut: false,
        problems,
    };
    scanner.pieces(0).0
}

/// Warns of `${PORT:auto}` and `<PORT:auto>`: what newcomers write for `$<PORT:auto>`. Where `${…}`
/// is a variable the first one is an error.
fn placeholder_typos(text: &Text<'_>, kind: TemplateKind, problems: &mut Problems) {
    for (at, _) in text.value.match_indices(":auto") {
        let before =
            text.value[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let (opening, closing) = match before {
            _ if before.len() == at || before.ends_with("$<") => continue,
            _ if before.ends_with("${") && kind == TemplateKind::Plain => continue,
            _ if before.ends_with("${") => ("${", '}'),
            _ if before.ends_with('<') => ("<", '>'),
            _ => continue,
        };
        if let Some(length) = text.value[at..].find(closing) {
            let body = &text.value[before.len()..at + length];
            let start = before.len() - opening.len();
            problems.push(
                Problem::warning(
                    code::PLACEHOLDER_TYPO,
                    format!("`{opening}{body}{closing}` is not a placeholder"),
                    &text.span_of(start..at + length + 1),
                )
                .label(format!("did you mean `$<{body}>`?"))
                .hint(format!("write `$<{body}>` for a port of this service")),
            );
        }
    }
}

struct Scanner<'a, 'p> {
    input: &'a Text<'a>,
    kind: TemplateKind,
    /// The next byte to read.
    at: usize,
    /// Whether an unclosed `${` was reported: those around it follow from it.
    is_cut: bool,
    problems: &'p mut Problems,
}

impl Scanner<'_, '_> {
    fn rest(&self) -> &str {
        &self.input.value[self.at..]
    }

    /// Reads to the end, or inside of `${…}` (`depth` > 0) to the closing brace, which it takes;
    /// says whether there was one.
    fn pieces(&mut self, depth: usize) -> (Vec<Raw>, bool) {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut is_closed = false;
        loop {
            let stop = self
                .rest()
                .find(|c| c == '$' || (c == '}' && depth > 0))
                .unwrap_or(self.rest().len());
            text.push_str(&self.rest()[..stop]);
            self.at += stop;
            if self.rest().is_empty() {
                break;
            }
            if self.rest().starts_with('}') {
                self.at += 1;
                is_closed = true;
                break;
            }
            if let Some(piece) = self.dollar(&mut text, depth) {
                if !text.is_empty() {
                    pieces.push(Raw::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
            }
        }
        if !text.is_empty() {
            pieces.push(Raw::Text(text));
        }
        (pieces, is_closed)
    }

    /// Reads what begins with a dollar sign: text goes to `text`, anything else is returned.
    fn dollar(&mut self, text: &mut String, depth: usize) -> Option<Raw> {
        let start = self.at;
        let rest = self.rest();
        let next = rest.chars().nth(1);
        match (next, self.kind) {
            (Some('$'), _) if rest.starts_with("$$<") => {
                text.push_str("$<");
                self.at += 3;
                None
            }
            (Some('$'), TemplateKind::Plain) => {
                text.push('$');
                self.at += 2;
                None
            }
            (Some('$'), TemplateKind::Shell) => {
                let name = name_length(&rest[2..]);
                if name > 0 || rest[2..].starts_with('{') {
                    let shown = rest[2..2 + name.max(1)].to_owned();
                    let span = self.input.span_of(start..start + 2 + name.max(1));
                    self.problems.push(shell_dollar(&shown, &span));
                }
                text.push_str("$$");
                self.at += 2;
                None
            }
            (Some('<'), _) => Some(self.placeholder()),
            (Some('{'), TemplateKind::Plain) => Some(self.variable(depth)),
            (_, TemplateKind::Plain) if name_length(&rest[1..]) > 0 => {
                let length = 1 + name_length(&rest[1..]);
                let name = rest[1..length].to_owned();
                self.at += length;
                let span = self.input.span_of(start..self.at);
                Some(Raw::BareVariable(name, span))
            }
            (_, TemplateKind::Plain | TemplateKind::Shell) => {
                text.push('$');
                self.at += 1;
                None
            }
        }
    }

    fn placeholder(&mut self) -> Raw {
        let start = self.at;
        // A placeholder holds no white space and no second opening, so a forgotten `>` does not
        // swallow the rest of the text.
        let body = &self.rest()[2..];
        let length = body
            .find(|c: char| c == '>' || c == '<' || c.is_whitespace())
            .unwrap_or(body.len());
        let is_closed = body[length..].starts_with('>');
        let body = body[..length].to_owned();
        self.at = start + 2 + length + usize::from(is_closed);
        let span = self.input.span_of(start..self.at);
        if !is_closed {
            self.problems.push(
                Problem::error(
                    code::BAD_PLACEHOLDER,
                    format!("the placeholder `$<{body}` is not closed"),
                    &span,
                )
                .hint("close it with `>`, as in `$<PORT:auto>`; a literal `$<` is written `$$<`"),
            );
            return Raw::Unreadable;
        }
        match placeholder::parse(&body, &span) {
            Ok(placeholder) => Raw::Placeholder(placeholder, span),
            Err(problem) => {
                self.problems.push(problem);
                Raw::Unreadable
            }
        }
    }

    /// Reads `${…}`.
    fn variable(&mut self, depth: usize) -> Raw {
        let start = self.at;
        let body = &self.rest()[2..];
        let name = body[..name_length(body)].to_owned();
        let after = &body[name.len()..];
        if depth >= MAX_NESTING {
            let span = self.input.span_of(start..start + 2);
            self.problems.push(
                Problem::error(
                    code::BAD_VARIABLE,
                    format!("`${{…}}` nested more than {MAX_NESTING} deep"),
                    &span,
                )
                .hint("give the default in a variable of its own"),
            );
            self.is_cut = true;
            self.at = self.input.value.len();
            return Raw::Unreadable;
        }
        let operator = [":-", ":?", ":+", "-", "?", "+", "}"]
            .into_iter()
            .find(|operator| after.starts_with(operator));
        let Some(operator) = operator.filter(|_| !name.is_empty()) else {
            self.bad_variable(start);
            return Raw::Unreadable;
        };
        self.at = start + 2 + name.len() + operator.len();
        let (right, is_closed) = match operator {
            "}" => (Vec::new(), true),
            _ => self.pieces(depth + 1),
        };
        if !is_closed {
            let opening = self.input.span_of(start..start + 2 + name.len());
            self.cut_at(&name, &opening);
            return Raw::Unreadable;
        }
        let span = self.input.span_of(start..self.at);
        Raw::Variable(Variable {
            name,
            operator: match operator.trim_start_matches(':') {
                "-" => Operator::Default,
                "?" => Operator::Required,
                "+" => Operator::Alternative,
                _ => Operator::None,
            },
            or_empty: operator.starts_with(':'),
            right,
            span,
        })
    }

    /// Reports a `${…}` that is none and steps over it.
    fn bad_variable(&mut self, start: usize) {
        let body = &self.rest()[2..];
        let Some(length) = body.find('}') else {
            let span = self.input.span_of(start..start + 2);
            self.cut_at("", &span);
            return;
        };
        let inner = &body[..length];
        let message = if inner.is_empty() {
            "`${}` names no variable".to_owned()
        } else {
            let shown: String = inner.chars().take(MAX_SHOWN).collect();
            format!("`${{{shown}}}` is not a valid variable")
        };
        let hint = if inner.contains(":auto") {
            format!("did you mean `$<{inner}>`?")
        } else {
            "write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`".to_owned()
        };
        self.at = start + 2 + length + 1;
        let span = self.input.span_of(start..self.at);
        self.problems
            .push(Problem::error(code::BAD_VARIABLE, message, &span).hint(hint));
    }

    /// Reports a `${` that never ends, once, and gives up on the rest of the text.
    fn cut_at(&mut self, name: &str, span: &Span) {
        if !self.is_cut {
            self.problems.push(
                Problem::error(
                    code::BAD_VARIABLE,
                    format!("`${{{name}` is not closed"),
                    span,
                )
                .hint("close it with `}`; a literal `${` is written `$${`"),
            );
        }
        self.is_cut = true;
        self.at = self.input.value.len();
    }
}

fn shell_dollar(shown: &str, span: &Span) -> Problem {
    Problem::warning(
        code::SHELL_DOLLAR,
        format!("`$${shown}` in shell text is the shell's process id and the text `{shown}`"),
        span,
    )
    .hint(format!(
        "shell text needs no escape: write `${shown}` and the shell sees it as it is"
    ))
}

/// The length of the variable name at the start of a text, 0 if there is none.
pub(in crate::spec) fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}
