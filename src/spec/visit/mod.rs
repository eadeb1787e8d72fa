//! From the tree to the spec: small hand-written visitors that collect every problem.
//!
//! [`Reader`] holds what they share; each file beside this one reads one part of `stack.yaml`.
//! Nothing is resolved here: variables and placeholders stay in their templates for `plan`.

mod environment;
mod healthcheck;
mod keys;
mod ports;
mod replicas;
mod restart;
mod scope;
mod service;
mod stack;
mod suggest;
mod values;

use std::sync::Arc;

use self::scope::{Declared, Place};
use super::code;
use super::model::{Setting, SettingError};
use super::problem::{Problem, Source, Span, Spanned};
use super::problems::Problems;
use super::scalar::Text;
use super::template::{Template, TemplateKind, parse};
use super::tree::{Kind, Node};

pub(super) use stack::stack;

/// What all visitors share.
pub(super) struct Reader<'s> {
    source: &'s Arc<Source>,
    problems: &'s mut Problems,
    /// Which ports every service declares, known before anything is read.
    declared: Declared,
    /// Where the reader is, which decides what a placeholder can mean.
    place: Place,
}

/// A key of a map with its value.
#[derive(Clone, Copy)]
struct Field<'n, 's> {
    name: &'n str,
    key: &'n Node<'s>,
    value: &'n Node<'s>,
}

impl Reader<'_> {
    fn span(&self, node: &Node<'_>) -> Span {
        Span {
            source: Arc::clone(self.source),
            start: node.range.start,
            end: node.range.end,
        }
    }

    /// Reports a value of the wrong kind. `what` names it, `expected` says what it should be.
    fn wrong_type(&mut self, what: &str, expected: &str, field: &Field<'_, '_>, hint: &str) {
        self.wrong_node(what, expected, field.value, Some(field.key), hint);
    }

    fn wrong_node(
        &mut self,
        what: &str,
        expected: &str,
        node: &Node<'_>,
        key: Option<&Node<'_>>,
        hint: &str,
    ) {
        // Nothing has no text to underline; its key has.
        let at = match key {
            Some(key) if node.range.is_empty() => key,
            Some(_) | None => node,
        };
        let span = self.span(at);
        self.problems.push(
            Problem::error(
                code::WRONG_TYPE,
                format!("{what} must be {expected}, and this is {}", node.describe()),
                &span,
            )
            .hint(hint),
        );
    }

    /// The entries of a map, none for nothing; anything else is reported.
    fn map<'n, 't>(&mut self, field: &Field<'n, 't>, hint: &str) -> Vec<Field<'n, 't>> {
        if field.value.is_null() {
            return Vec::new();
        }
        match &field.value.kind {
            Kind::Mapping(_) => self.fields(field.value),
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                self.wrong_type(&format!("`{}`", field.name), "a map", field, hint);
                Vec::new()
            }
        }
    }

    /// The entries of a node that is a map; keys that are no text are reported and left out.
    fn fields<'n, 't>(&mut self, node: &'n Node<'t>) -> Vec<Field<'n, 't>> {
        let Kind::Mapping(entries) = &node.kind else {
            return Vec::new();
        };
        let mut fields = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(name) = entry.key.text() else {
                self.wrong_node("a key", "a text", &entry.key, None, "put it in quotes");
                continue;
            };
            if let Some(at) = name.find("$<") {
                let span = match Text::of(&entry.key, self.source) {
                    Some(text) => text.span_of(at..name.len()),
                    None => self.span(&entry.key),
                };
                self.problems.push(
                    Problem::error(
                        code::MISPLACED_PLACEHOLDER,
                        "a placeholder cannot stand in a key",
                        &span,
                    )
                    .hint("placeholders stand in values: `KEY: $<PORT>`"),
                );
                continue;
            }
            fields.push(Field {
                name,
                key: &entry.key,
                value: &entry.value,
            });
        }
        fields
    }

    /// The entries of a map whose keys are ours: `x-…` is left out.
    fn own_fields<'n, 't>(&mut self, node: &'n Node<'t>) -> Vec<Field<'n, 't>> {
        let mut fields = self.fields(node);
        fields.retain(|field| !field.name.starts_with("x-"));
        fields
    }

    /// A text with its variables and placeholders. `what` names it in messages.
    fn template(&mut self, what: &str, node: &Node<'_>, kind: TemplateKind) -> Option<Template> {
        let Some(text) = Text::of(node, self.source) else {
            self.wrong_node(
                what,
                "a text",
                node,
                None,
                "write it on one line, in quotes",
            );
            return None;
        };
        Some(self.template_of(&text, kind))
    }

    /// As [`Self::template`], and refuses nothing (`key:` without a value).
    fn filled_template(&mut self, field: &Field<'_, '_>, kind: TemplateKind) -> Option<Template> {
        let what = format!("`{}`", field.name);
        if field.value.is_null() {
            self.wrong_type(&what, "a text", field, "give it a value, or remove the key");
            return None;
        }
        self.template(&what, field.value, kind)
    }

    fn template_of(&mut self, text: &Text<'_>, kind: TemplateKind) -> Template {
        let mut template = parse(text, kind, self.problems);
        self.admit(&mut template.pieces);
        template
    }

    /// A text that is needed while reading: neither variables nor placeholders can stand in it.
    fn literal(&mut self, what: &str, node: &Node<'_>) -> Option<Spanned<String>> {
        let Some(text) = Text::of(node, self.source) else {
            self.wrong_node(what, "a text", node, None, "write it on one line");
            return None;
        };
        let before = std::mem::replace(&mut self.place, Place::Nowhere(what.to_owned()));
        let template = self.template_of(&text, TemplateKind::Plain);
        self.place = before;
        let span = text.span();
        if let Some(value) = template.as_literal() {
            return Some(Spanned { value, span });
        }
        let variable = template.pieces.iter().find_map(|piece| match piece {
            super::template::Piece::Variable(variable) => Some(&variable.span),
            super::template::Piece::Text(_)
            | super::template::Piece::BareVariable(..)
            | super::template::Piece::Placeholder(..) => None,
        });
        if let Some(at) = variable {
            self.problems.push(
                Problem::error(
                    code::NOT_SUPPORTED_YET,
                    format!("a variable in {what} is not supported yet"),
                    at,
                )
                .hint("write the value itself"),
            );
        }
        None
    }

    /// A typed value: parsed now, or by `plan` if it holds variables or placeholders.
    fn setting<T>(
        &mut self,
        field: &Field<'_, '_>,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Option<Setting<T>> {
        let template = self.filled_template(field, TemplateKind::Plain)?;
        self.settle(template, parse)
    }

    /// As [`Self::setting`], for an item of a list.
    fn setting_of<T>(
        &mut self,
        what: &str,
        node: &Node<'_>,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Option<Setting<T>> {
        let template = self.template(what, node, TemplateKind::Plain)?;
        self.settle(template, parse)
    }

    fn settle<T>(
        &mut self,
        template: Template,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Option<Setting<T>> {
        let Some(text) = template.as_literal() else {
            return Some(Setting::Deferred(template, parse));
        };
        match parse(&text) {
            Ok(value) => Some(Setting::Known(Spanned {
                value,
                span: template.span,
            })),
            Err(error) => {
                let mut problem = Problem::error(error.code, error.message, &template.span);
                problem.hint = error.hint;
                self.problems.push(problem);
                None
            }
        }
    }

    /// `true` or `false`.
    fn flag(&mut self, field: &Field<'_, '_>) -> Option<bool> {
        let text = self.literal(&format!("`{}`", field.name), field.value)?;
        match text.value.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                self.problems.push(
                    Problem::error(
                        code::BAD_VALUE,
                        format!("`{other}` is neither `true` nor `false`"),
                        &text.span,
                    )
                    .hint(format!(
                        "write `{}: true` or `{}: false`",
                        field.name, field.name
                    )),
                );
                None
            }
        }
    }
}
