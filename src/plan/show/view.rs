//! Texts and settings, written so that the loader reads the same again.

use indexmap::IndexMap;
use serde::Serialize;

use super::ShownCommand;
use super::secret::{mask, mask_value};
use crate::plan::resolver::Resolver;
use crate::spec::model::{CommandSpec, EnvironmentSpec, Setting};
use crate::spec::template::{Lookup, Outcome, Piece, Placeholder, Template, TemplateKind};

/// What a text is shown with.
pub(super) struct View<'a>(pub(super) Resolver<'a>);

/// A value that is no mere text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// A whole number.
    Number(u64),
    /// Anything else.
    Text(String),
}

impl Scalar {
    pub(super) fn number(number: impl Into<u64>) -> Self {
        Self::Number(number.into())
    }
}

impl View<'_> {
    pub(super) fn command(&self, command: &CommandSpec) -> ShownCommand {
        match command {
            CommandSpec::Line(line) => ShownCommand::Line(self.text(line)),
            CommandSpec::Words(words, _) => ShownCommand::Words(self.texts(words)),
        }
    }

    pub(super) fn environment(
        &self,
        environment: &EnvironmentSpec,
    ) -> IndexMap<String, Option<String>> {
        environment
            .iter()
            .map(|(key, variable)| {
                let value = match &variable.value {
                    Some(template) => Some(mask(key, template, self.text(template))),
                    None if variable.is_inherited => self
                        .0
                        .variable(key)
                        .map(|value| mask_value(key, double(&value))),
                    None => None,
                };
                (key.clone(), value)
            })
            .collect()
    }

    /// A typed value: as it was settled, or its text while that depends on a port without a number.
    pub(super) fn setting<T: Copy>(
        &self,
        setting: Option<&Setting<T>>,
        settled: impl FnOnce() -> Scalar,
    ) -> Scalar {
        match setting {
            Some(Setting::Deferred(template, _)) if self.is_open(template) => {
                Scalar::Text(self.text(template))
            }
            Some(_) | None => settled(),
        }
    }

    /// As [`Self::setting`], for a value that has no default and may be absent.
    pub(super) fn given<T: Copy>(
        &self,
        setting: Option<&Setting<T>>,
        show: impl FnOnce(T) -> Scalar,
    ) -> Option<Scalar> {
        let given = setting?;
        if let Setting::Deferred(template, _) = given
            && self.is_open(template)
        {
            return Some(Scalar::Text(self.text(template)));
        }
        self.0.setting(Some(given), &mut Vec::new()).map(show)
    }

    fn is_open(&self, template: &Template) -> bool {
        let placeholders = template.placeholders();
        let is_known = |&(placeholder, _): &_| self.is_known(placeholder);
        !placeholders.iter().all(is_known) || {
            let mut missing = Vec::new();
            template.resolve(&self.0, &mut missing);
            template.depends_on_ports() && !missing.is_empty()
        }
    }

    /// Whether the service's own ports are shown as numbers.
    pub(super) fn has_own_numbers(&self) -> bool {
        self.0.ports.are_allocated && self.is_one()
    }

    /// Whether the text is that of the only replica. Of several each has its own.
    fn is_one(&self) -> bool {
        self.0.inside.is_none_or(|inside| {
            let replicas = self.0.draft.replicas_of(&inside.service.name);
            replicas.is_some_and(|replicas| replicas.count == 1)
        })
    }

    fn is_known(&self, placeholder: &Placeholder) -> bool {
        match placeholder {
            Placeholder::Declare(..) | Placeholder::Own(_) => self.has_own_numbers(),
            Placeholder::Other(..) | Placeholder::All(..) => self.0.ports.are_allocated,
            Placeholder::Replica => self.is_one(),
            Placeholder::ProjectName
            | Placeholder::ProjectDir
            | Placeholder::Instance
            | Placeholder::Service => true,
        }
    }

    pub(super) fn texts(&self, templates: &[Template]) -> Vec<String> {
        templates.iter().map(|text| self.text(text)).collect()
    }

    /// A text with its variables resolved.
    pub(super) fn text(&self, template: &Template) -> String {
        let mut shown = String::new();
        self.push(&template.pieces, template.kind, &mut shown);
        shown
    }

    fn push(&self, pieces: &[Piece], kind: TemplateKind, shown: &mut String) {
        let literal = |text: &str| match kind {
            TemplateKind::Plain => double(text),
            TemplateKind::Shell => text.replace("$<", "$$<"),
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => shown.push_str(&literal(text)),
                Piece::BareVariable(name, _) => {
                    shown.push('$');
                    shown.push_str(name);
                }
                Piece::Placeholder(placeholder, span) => {
                    let is_known = self.is_known(placeholder);
                    match self.0.placeholder(placeholder, span) {
                        Ok(value) if is_known => shown.push_str(&literal(&value)),
                        Ok(_) | Err(_) => shown.push_str(&placeholder.to_string()),
                    }
                }
                Piece::Variable(variable) => match variable.outcome(&self.0) {
                    Outcome::Value(value) => shown.push_str(&literal(&value)),
                    Outcome::Text(pieces) => self.push(pieces, kind, shown),
                    Outcome::Unset | Outcome::Required(_) => {}
                },
            }
        }
    }
}

/// A text in which every `$` stands for itself.
pub(super) fn double(text: &str) -> String {
    text.replace('$', "$$")
}
