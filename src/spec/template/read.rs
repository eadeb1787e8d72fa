//! The two grammars of a text: `${VAR}`, `$$` and `$<…>`, or `$<…>` and `$$<` alone.
//!
//! One pass, in which variables are replaced; what placeholders may stand where, and whether a name
//! exists, is asked in `visit`. Every mistake is reported and stepped over, so that one text can
//! show several.

use super::placeholder;
use super::{Piece, Placeholder, Template, TemplateKind, VariableUse};
use crate::spec::code;
use crate::spec::problem::{Problem, Report, Span};

use crate::spec::scalar::Text;
use crate::support::secret::is_secret;
use crate::support::text::name_length;

/// How deep `${A:-${B:-…}}` may nest.
const MAX_NESTING: usize = 32;

/// How much of a wrong text a message quotes, in characters; the rest is in the source line.
const MAX_SHOWN: usize = 40;

/// A text as a template, and every placeholder and variable in it, also in a default that is not used.
/// A variable gets its value from `get`, once: what it held is never looked at again. Adds what is
/// wrong to `problems`.
pub(in crate::spec) fn read(
    text: &Text<'_>,
    kind: TemplateKind,
    get: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> (Template, Found) {
    placeholder_typos(text, kind, problems);
    let mut reader = Reader {
        input: text,
        at: 0,
        depth: 0,
        is_cut: false,
        is_used: true,
        is_secret: false,
        template: Template {
            pieces: Vec::new(),
            span: text.span(),
            kind,
            had_variable: false,
            is_broken: false,
        },
        found: Found::default(),
        get,
        problems,
    };
    reader.read();
    if reader.template.pieces.is_empty() {
        reader.push("");
    }
    (reader.template, reader.found)
}

/// Warns of `${PORT:auto}` and `<PORT:auto>`: what newcomers write for `$<PORT:auto>`. Where `${…}`
/// is a variable the first one is an error.
fn placeholder_typos(text: &Text<'_>, kind: TemplateKind, problems: &mut Vec<Problem>) {
    for (at, _) in text.value.match_indices(":auto") {
        let before =
            text.value[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let (opening, closing) = match before {
            _ if before.len() == at || before.ends_with("$<") => continue,
            _ if before.ends_with("${")
                && matches!(kind, TemplateKind::Plain | TemplateKind::Pattern) =>
            {
                continue;
            }
            _ if before.ends_with("${") => ("${", '}'),
            _ if before.ends_with('<') => ("<", '>'),
            _ => continue,
        };
        if let Some(length) = text.value[at..].find(closing) {
            let body = &text.value[before.len()..at + length];
            let start = before.len() - opening.len();
            problems.report(
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

/// What stands in a text.
#[derive(Default)]
pub(in crate::spec) struct Found {
    pub(in crate::spec) placeholders: Vec<(Placeholder, Span)>,
    pub(in crate::spec) variables: Vec<VariableUse>,
}

struct Reader<'a, 'p> {
    input: &'a Text<'a>,
    /// The next byte to read.
    at: usize,
    /// How many `${…}` are open.
    depth: usize,
    /// Whether an unclosed `${` was reported: those around it follow from it.
    is_cut: bool,
    /// Whether what is read becomes part of the template. The default of a variable that is set
    /// does not.
    is_used: bool,
    /// Whether it is what a variable of a secret's name comes to.
    is_secret: bool,
    template: Template,
    found: Found,
    get: &'p dyn Fn(&str) -> Option<String>,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Reader<'a, '_> {
    fn rest(&self) -> &'a str {
        &self.input.value[self.at..]
    }

    fn push(&mut self, text: &str) {
        if !self.is_used {
            return;
        }
        let is_secret = self.is_secret;
        match self.template.pieces.last_mut() {
            Some(Piece::Text(last)) if !is_secret => last.push_str(text),
            Some(Piece::Secret(last)) if is_secret => last.push_str(text),
            Some(_) | None => self.template.pieces.push(if is_secret {
                Piece::Secret(text.to_owned())
            } else {
                Piece::Text(text.to_owned())
            }),
        }
    }

    /// Reads to the end, or inside of `${…}` to the closing brace, which it takes; says whether
    /// there was one.
    fn read(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let is_stop = |c| c == '$' || (c == '}' && self.depth > 0);
            let stop = rest.find(is_stop).unwrap_or(rest.len());
            if stop > 0 {
                self.push(&rest[..stop]);
            }
            self.at += stop;
            match rest[stop..].chars().next() {
                None => return false,
                Some('}') => {
                    self.at += 1;
                    return true;
                }
                Some(_) => self.dollar(),
            }
        }
    }

    /// Reads what begins with a dollar sign.
    fn dollar(&mut self) {
        let (start, rest) = (self.at, self.rest());
        let name = name_length(&rest[1..]);
        match (rest.chars().nth(1), self.template.kind) {
            (Some('$'), _) if rest.starts_with("$$<") => {
                self.push("$<");
                self.at += 3;
            }
            (Some('$'), TemplateKind::Plain | TemplateKind::Pattern) => {
                self.push("$");
                self.at += 2;
            }
            (Some('$'), TemplateKind::Shell) => {
                let name = name_length(&rest[2..]);
                if name > 0 || rest[2..].starts_with('{') {
                    let span = self.input.span_of(start..start + 2 + name.max(1));
                    let shown = &rest[2..2 + name.max(1)];
                    let message = format!(
                        "`$${shown}` in shell text is the shell's process id and the text `{shown}`"
                    );
                    let hint = format!(
                        "shell text needs no escape: write `${shown}` and the shell sees it as it is"
                    );
                    self.problems
                        .warning(code::SHELL_DOLLAR, &span, message, hint);
                }
                self.push("$$");
                self.at += 2;
            }
            (Some('<'), _) => self.placeholder(),
            (Some('{'), TemplateKind::Plain | TemplateKind::Pattern) => self.variable(),
            (_, TemplateKind::Plain | TemplateKind::Pattern) if name > 0 => {
                self.push(&rest[..=name]);
                self.at += 1 + name;
                let name = &rest[1..=name];
                if self.is_used && (self.get)(name).is_some() {
                    let span = self.input.span_of(start..self.at);
                    let message =
                        format!("`${name}` is left as it is, although a variable `{name}` is set");
                    let hint =
                        format!("write `${{{name}}}` for its value, or `$${name}` for the text");
                    self.problems
                        .warning(code::BARE_VARIABLE, &span, message, hint);
                }
            }
            (
                _,
                TemplateKind::Plain
                | TemplateKind::Pattern
                | TemplateKind::Shell
                | TemplateKind::File,
            ) => {
                self.push("$");
                self.at += 1;
            }
        }
    }

    fn placeholder(&mut self) {
        let start = self.at;
        // A placeholder holds no white space and no second opening, so a forgotten `>` does not
        // swallow the rest of the text.
        let body = &self.rest()[2..];
        let length = body
            .find(|c: char| c == '>' || c == '<' || c.is_whitespace())
            .unwrap_or(body.len());
        let is_closed = body[length..].starts_with('>');
        let body = &body[..length];
        self.at = start + 2 + length + usize::from(is_closed);
        let span = self.input.span_of(start..self.at);
        let parsed = if is_closed {
            placeholder::parse(body, &span)
        } else {
            let message = format!("the placeholder `$<{body}` is not closed");
            let hint = "close it with `>`, as in `$<PORT:auto>`; a literal `$<` is written `$$<`";
            Err(Problem::error(code::BAD_PLACEHOLDER, message, &span).hint(hint))
        };
        match parsed {
            Ok(placeholder) => {
                self.found
                    .placeholders
                    .push((placeholder.clone(), span.clone()));
                if self.is_used {
                    let piece = Piece::Placeholder(placeholder, span);
                    self.template.pieces.push(piece);
                }
            }
            Err(problem) => self.unreadable(problem),
        }
    }

    /// Reports what cannot be read.
    fn unreadable(&mut self, problem: Problem) {
        self.problems.report(problem);
        self.template.is_broken |= self.is_used;
    }

    /// Reads `${…}`.
    fn variable(&mut self) {
        let start = self.at;
        let body = &self.rest()[2..];
        let (name, after) = body.split_at(name_length(body));
        if self.depth >= MAX_NESTING {
            let span = self.input.span_of(start..start + 2);
            let message = format!("`${{…}}` nested more than {MAX_NESTING} deep");
            let hint = "give the default in a variable of its own";
            self.unreadable(Problem::error(code::BAD_VARIABLE, message, &span).hint(hint));
            self.is_cut = true;
            self.at = self.input.value.len();
            return;
        }
        let operator = [":-", ":?", ":+", "-", "?", "+", "}"]
            .into_iter()
            .find(|operator| after.starts_with(operator));
        let Some(operator) = operator.filter(|_| !name.is_empty()) else {
            return self.bad_variable(start);
        };
        self.at = start + 2 + name.len() + operator.len();
        let is_used = self.is_used;
        self.template.had_variable |= is_used;
        let value = (self.get)(name).filter(|_| is_used);
        // With a colon an empty value counts as none.
        let (sign, value) = match operator.strip_prefix(':') {
            Some(sign) => (sign, value.filter(|value| !value.is_empty())),
            None => (operator, value),
        };
        let is_set = value.is_some();
        let was_secret = self.is_secret;
        self.is_secret |= is_secret(name);
        if let Some(value) = value.filter(|_| sign != "+") {
            self.push(&value);
        }
        // What is said in its place, or where it is missing, is not.
        self.is_secret = was_secret || (self.is_secret && sign == "-");
        let place = self.found.variables.len();
        self.found.variables.push(VariableUse {
            name: name.to_owned(),
            default: None,
            alternate: None,
            is_required: sign == "?",
            span: self.input.span_of(start..self.at),
        });
        let inside = self.at;
        if sign == "}" {
            if is_used && !is_set {
                let span = self.input.span_of(start..self.at);
                let message = format!("the variable `{name}` is not set; its place stays empty");
                let hint = format!("set it, or give a default: `${{{name}:-text}}`");
                self.problems
                    .warning(code::UNSET_VARIABLE, &span, message, hint);
            }
            self.is_secret = was_secret;
            return;
        }
        let before = self.template.pieces.len();
        let is_required = sign == "?" && is_used && !is_set;
        if is_required {
            // So that nothing is added to a text before it.
            self.template.pieces.push(Piece::Text(String::new()));
        }
        self.is_used = is_used && is_set == (sign == "+");
        self.depth += 1;
        let told = self.problems.len();
        let is_closed = self.read();
        self.depth -= 1;
        self.is_used = is_used;
        self.is_secret = was_secret;
        let text = &self.input.value[inside..self.at - usize::from(is_closed)];
        let found = &mut self.found.variables[place];
        match sign {
            "-" => found.default = Some(text.to_owned()),
            "+" => found.alternate = Some(text.to_owned()),
            _ => {}
        }
        if !is_closed {
            self.template.is_broken |= is_used;
            // What would be worth a warning follows from it.
            let inside = self.problems.split_off(told);
            let errors = inside.into_iter().filter(Problem::is_error);
            self.problems.extend(errors);
            let opening = self.input.span_of(start..start + 2 + name.len());
            self.cut_at(name, &opening);
        } else if is_required {
            let reason = self.template.pieces.split_off(before);
            let written = |piece: &Piece| match piece {
                Piece::Text(text) | Piece::Secret(text) => text.clone(),
                Piece::Placeholder(placeholder, _) => placeholder.to_string(),
            };
            let reason: String = reason.iter().map(written).collect();
            let span = self.input.span_of(start..self.at);
            let why = if reason.is_empty() {
                " and not set"
            } else {
                ": "
            };
            let message = format!("the variable `{name}` is required{why}{reason}");
            let hint = format!("run with `{name}=… stack up`, or put it into an `env_file`");
            self.problems
                .error(code::REQUIRED_VARIABLE, &span, message, hint);
            self.template.is_broken = true;
        }
    }

    /// Reports a `${…}` that is none and steps over it.
    fn bad_variable(&mut self, start: usize) {
        self.template.is_broken |= self.is_used;
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
            .error(code::BAD_VARIABLE, &span, message, hint);
    }

    /// Reports a `${` that never ends, once, and gives up on the rest of the text.
    fn cut_at(&mut self, name: &str, span: &Span) {
        if !self.is_cut {
            let message = format!("`${{{name}` is not closed");
            let hint = "close it with `}`; a literal `${` is written `$${`";
            self.problems.error(code::BAD_VARIABLE, span, message, hint);
        }
        self.is_cut = true;
        self.at = self.input.value.len();
    }
}
