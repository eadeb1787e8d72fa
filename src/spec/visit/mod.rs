//! From the tree to the spec: small visitors that collect every problem.
//!
//! [`keys`] is the table of all keys, [`table`] its mechanism. [`Reader`] holds what the visitors
//! share; each of the other files reads one part of `stack.yaml`. Variables get their values here,
//! once, by the file in which they stand; placeholders stay in their templates for `plan`.

mod environment;
mod extends;
mod files;
mod given_files;
mod healthcheck;
mod hook;
mod keys;
mod listed_ports;
mod process;
mod required;
mod schedule;
mod scope;
mod service;
mod stack;
mod suggest;
mod table;
mod values;
mod watch;

use self::scope::{Declared, Place};
use super::code;
use super::load::Scope;
use super::model::{Setting, SettingError};
use super::problem::{Problem, Report, Span, Spanned};

use super::scalar::Text;
use super::template::{Template, TemplateKind, VariableUse, read};
use super::tree::{Kind, Node};
use crate::support::secret::MASK;

pub use keys::reference;
pub(super) use stack::{Whole, stack};
pub use table::{KeyDoc, Section};

/// What all visitors share.
pub(super) struct Reader<'s> {
    problems: &'s mut Vec<Problem>,
    /// Where variables get their values.
    scope: &'s mut dyn Scope,
    /// Every variable that was met.
    variables: Vec<VariableUse>,
    /// Which ports every service declares, as far as it was read.
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

impl Field<'_, '_> {
    /// The value if it has a text to underline, else the key.
    fn span(&self) -> Span {
        let is_empty = self.value.range.is_empty();
        if is_empty { self.key } else { self.value }.span()
    }
}

impl Report for Reader<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.report(problem);
    }

    fn is_full(&self) -> bool {
        self.problems.is_full()
    }
}

impl Reader<'_> {
    /// Reports a value of the wrong kind: `expected` says what it should be.
    fn wrong_type(&mut self, expected: &str, field: &Field<'_, '_>, hint: &str) {
        self.wrong_value(&format!("`{}`", field.name), expected, field, hint);
    }

    /// As [`Self::wrong_type`], with another name for the value.
    fn wrong_value(&mut self, what: &str, expected: &str, field: &Field<'_, '_>, hint: &str) {
        self.wrong_node(what, expected, field.value, &field.span(), hint);
    }

    /// As [`Self::wrong_type`], for an item of a list.
    fn wrong_item(&mut self, what: &str, expected: &str, item: &Node<'_>, hint: &str) {
        self.wrong_node(what, expected, item, &item.span(), hint);
    }

    fn wrong_node(&mut self, what: &str, expected: &str, node: &Node<'_>, span: &Span, hint: &str) {
        let message = format!("{what} must be {expected}, and this is {}", node.describe());
        // `command:npm` is a text; whoever wrote it meant a key.
        let glued = node.text().and_then(|text| {
            let (key, rest) = text.split_once(':')?;
            let is_key =
                !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let is_meant = is_key && !rest.starts_with("//") && expected.contains("a map");
            is_meant.then(|| format!("write a space after the colon: `{key}: {rest}`"))
        });
        let hint = glued.unwrap_or_else(|| hint.to_owned());
        self.error(code::WRONG_TYPE, span, message, hint);
    }

    /// Whether a value is a map or nothing; anything else is reported.
    fn is_map_or_nothing(&mut self, field: &Field<'_, '_>, hint: &str) -> bool {
        let is_map = matches!(field.value.kind, Kind::Mapping(_)) || field.value.is_null();
        if !is_map {
            self.wrong_type("a map", field, hint);
        }
        is_map
    }

    /// The entries of a node that is a map; keys other than texts are reported and left out.
    fn fields<'n, 't>(&mut self, node: &'n Node<'t>) -> Vec<Field<'n, 't>> {
        let Kind::Mapping(entries) = &node.kind else {
            return Vec::new();
        };
        let mut fields = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(name) = entry.key.text() else {
                self.wrong_item("a key", "a text", &entry.key, "put it in quotes");
                continue;
            };
            if let Some(at) = name.find("$<") {
                let span = match Text::of(&entry.key) {
                    Some(text) => text.span_of(at..name.len()),
                    None => entry.key.span(),
                };
                self.placeholder_in_key(&span, "KEY: $<PORT>");
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

    fn placeholder_in_key(&mut self, span: &Span, form: &str) {
        self.error(
            code::MISPLACED_PLACEHOLDER,
            span,
            "a placeholder cannot stand in a key",
            format!("placeholders stand in values: `{form}`"),
        );
    }

    /// The entries of a map whose keys are ours: `x-…` is left out.
    fn own_fields<'n, 't>(&mut self, node: &'n Node<'t>) -> Vec<Field<'n, 't>> {
        let mut fields = self.fields(node);
        fields.retain(|field| !field.name.starts_with("x-"));
        fields
    }

    /// A text, its variables replaced. `what` names it in messages.
    fn template(&mut self, what: &str, node: &Node<'_>, kind: TemplateKind) -> Option<Template> {
        let Some(text) = Text::of(node) else {
            self.wrong_item(what, "a text", node, "write it on one line, in quotes");
            return None;
        };
        Some(self.template_of(&text, kind))
    }

    /// A text other than a shell line, and not nothing (`key:` without a value).
    fn text(&mut self, field: &Field<'_, '_>) -> Option<Template> {
        self.filled(field, TemplateKind::Plain)
    }

    fn filled(&mut self, field: &Field<'_, '_>, kind: TemplateKind) -> Option<Template> {
        if field.value.is_null() {
            self.wrong_type("a text", field, "give it a value, or remove the key");
            return None;
        }
        self.template(&format!("`{}`", field.name), field.value, kind)
    }

    fn template_of(&mut self, text: &Text<'_>, kind: TemplateKind) -> Template {
        let get = |name: &str| self.scope.variable(text.source, name);
        let (template, found) = read(text, kind, &get, self.problems);
        self.variables.extend(found.variables);
        if let Some(at) = text.value.find(MASK) {
            let message = "this is what `stack config` prints in place of a secret";
            let hint = "write the value, or a variable that has it: `${NAME}`";
            let span = text.span_of(at..at + MASK.len());
            self.warning(code::MASKED_VALUE, &span, message, hint);
        }
        for (placeholder, span) in &found.placeholders {
            if let Err(problem) = self.admit(placeholder, span) {
                self.report(problem);
            }
        }
        template
    }

    /// A text that is needed while reading: no placeholder can stand in it.
    fn literal(&mut self, what: &str, node: &Node<'_>) -> Option<Spanned<String>> {
        let template =
            self.without_placeholders(what, |r| r.template(what, node, TemplateKind::Plain))?;
        let value = template.as_literal().filter(|_| !template.is_broken)?;
        Some(Spanned {
            value,
            span: template.span,
        })
    }

    /// Reads something in which no placeholder can stand.
    fn without_placeholders<T>(&mut self, what: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.place, Place::Nowhere(what.to_owned()));
        let outcome = read(self);
        self.place = before;
        outcome
    }

    /// A typed value: parsed now, or by `plan` if it holds placeholders.
    fn setting<T>(
        &mut self,
        field: &Field<'_, '_>,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Option<Setting<T>> {
        let template = self.text(field)?;
        Some(self.settle(template, parse))
    }

    /// The typed values of a list, or the one that stands for a list of itself.
    fn settings<T>(
        &mut self,
        field: &Field<'_, '_>,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Vec<Setting<T>> {
        let what = format!("`{}`", field.name);
        let items = field.value.items().into_iter();
        items
            .filter_map(|item| {
                let template = self.template(&what, item, TemplateKind::Plain)?;
                Some(self.settle(template, parse))
            })
            .collect()
    }

    fn settle<T>(
        &mut self,
        mut template: Template,
        parse: fn(&str) -> Result<T, SettingError>,
    ) -> Setting<T> {
        let text = template.as_literal().filter(|_| !template.is_broken);
        let Some(text) = text else {
            return Setting::Deferred(template, parse);
        };
        match parse(&text) {
            Ok(value) => Setting::Known(Spanned {
                value,
                span: template.span,
            }),
            Err(error) => {
                let result = template.had_variable.then_some(text.as_str());
                self.report(error.into_problem(&template.span, result));
                template.is_broken = true;
                Setting::Deferred(template, parse)
            }
        }
    }

    /// `true` or `false`.
    fn flag(&mut self, field: &Field<'_, '_>) -> Option<bool> {
        let name = field.name;
        let text = self.literal(&format!("`{name}`"), field.value)?;
        match text.value.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                self.error(
                    code::BAD_VALUE,
                    &text.span,
                    format!("`{other}` is neither `true` nor `false`"),
                    format!("write `{name}: true` or `{name}: false`"),
                );
                None
            }
        }
    }
}

/// The value of a setting that cannot wait for a placeholder; what has none was reported.
fn known<T>(setting: Setting<T>) -> Option<Spanned<T>> {
    match setting {
        Setting::Known(value) => Some(value),
        Setting::Deferred(..) => None,
    }
}
