//! Texts and settings, written so that the loader reads the same again.

use std::time::Duration;

use serde_json::{Value, json};

use super::secret::mask;
use crate::plan::resolver::Resolver;
use crate::spec::model::{CommandSpec, EnvFileSpec, EnvironmentSpec, Setting};
use crate::spec::template::{Lookup, Piece, Placeholder, Template, TemplateKind, Word};
use crate::support::duration;

/// What a text is shown with.
pub(super) struct View<'a>(pub(super) Resolver<'a>);

/// Texts as a list.
pub(super) fn texts(texts: impl Iterator<Item = String>) -> Value {
    texts.map(Value::from).collect()
}

impl View<'_> {
    pub(super) fn command(&self, command: &CommandSpec) -> Value {
        match command {
            CommandSpec::Line(line) => self.text(line).into(),
            CommandSpec::Words(words, _) => texts(words.iter().map(|word| self.text(word))),
        }
    }

    pub(super) fn environment(&self, environment: &EnvironmentSpec) -> Value {
        let entries = environment.iter().map(|(key, variable)| {
            let value = variable.value.as_ref();
            let shown = value.map(|value| mask(key, value, self.text(value)));
            (key.clone(), shown.map_or(Value::Null, Value::from))
        });
        Value::Object(entries.collect())
    }

    /// A typed value: as it was settled, or its text while that depends on a port without a number.
    pub(super) fn setting<T: Copy>(
        &self,
        setting: Option<&Setting<T>>,
        settled: impl FnOnce() -> Value,
    ) -> Value {
        match setting {
            Some(Setting::Deferred(template, _)) if self.is_open(template) => {
                self.text(template).into()
            }
            Some(_) | None => settled(),
        }
    }

    pub(super) fn time(&self, setting: Option<&Setting<Duration>>, settled: Duration) -> Value {
        self.setting(setting, || duration::format(settled).into())
    }

    pub(super) fn env_files(&self, files: &[EnvFileSpec]) -> Value {
        let files = files.iter();
        let show = |file: &EnvFileSpec| json!({"path": self.text(&file.path), "required": file.is_required});
        files.map(show).collect()
    }

    /// As [`Self::setting`], for a value that has no default and may be absent.
    pub(super) fn given<T: Copy>(
        &self,
        setting: Option<&Setting<T>>,
        show: impl FnOnce(T) -> Value,
    ) -> Option<Value> {
        match setting? {
            Setting::Known(known) => Some(show(known.value)),
            Setting::Deferred(template, _) if self.is_open(template) => {
                Some(self.text(template).into())
            }
            Setting::Deferred(..) => self.0.setting(setting).map(show),
        }
    }

    pub(super) fn all_given<T: Copy>(
        &self,
        settings: &[Setting<T>],
        show: impl Fn(T) -> Value,
    ) -> Value {
        let settings = settings.iter();
        settings
            .filter_map(|it| self.given(Some(it), &show))
            .collect()
    }

    /// Whether a placeholder of the text has no value yet.
    fn is_open(&self, template: &Template) -> bool {
        let mut placeholders = template.placeholders();
        placeholders.any(|(placeholder, span)| {
            !self.is_known(placeholder) || self.0.placeholder(placeholder, span).is_err()
        })
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

    /// Whether the value of a placeholder is shown. A thing's is not: it is this copy's, perhaps secret.
    fn is_known(&self, placeholder: &Placeholder) -> bool {
        match placeholder {
            Placeholder::Own(_) | Placeholder::Other(..) if self.0.thing(placeholder).is_some() => {
                false
            }
            Placeholder::Declare(..) | Placeholder::Own(_) => self.has_own_numbers(),
            Placeholder::Other(..) | Placeholder::AtHost(..) => self.0.ports.are_allocated,
            Placeholder::Thing(..) | Placeholder::File(..) | Placeholder::Word(Word::Bind) => false,
            Placeholder::Word(Word::Replica) => self.is_one(),
            Placeholder::Word(_) => true,
        }
    }

    pub(super) fn texts(&self, templates: &[Template]) -> Value {
        texts(templates.iter().map(|text| self.text(text)))
    }

    /// A text with what is known of its placeholders.
    pub(super) fn text(&self, template: &Template) -> String {
        let literal = |text: &str| match template.kind {
            TemplateKind::Plain => double(text),
            TemplateKind::Shell | TemplateKind::File => text.replace("$<", "$$<"),
        };
        let pieces = template.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => literal(text),
            Piece::Placeholder(placeholder, span) => {
                let is_known = self.is_known(placeholder);
                match self.0.placeholder(placeholder, span) {
                    Ok(value) if is_known => literal(&value),
                    Ok(_) | Err(_) => placeholder.to_string(),
                }
            }
        });
        pieces.collect()
    }
}

/// A text in which every `$` stands for itself.
pub(super) fn double(text: &str) -> String {
    text.replace('$', "$$")
}
