//! Texts and settings, written so that the loader reads the same again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::Map;
use crate::plan::resolver::Resolver;
use crate::spec::model::{
    CommandSpec, EnvFileSpec, EnvironmentSpec, PortWant, ServiceSpec, Setting,
};
use crate::spec::template::{Lookup, Piece, Placeholder, Template, TemplateKind, Word};
use crate::support::duration;
use crate::support::name::ServiceName;
use crate::support::secret::{MASK, is_secret, mask_text, mask_value, mask_words};

/// What a text is shown with.
pub(super) struct View<'a>(pub(super) Resolver<'a>);

/// The value of a key, or the mask. A text that declares a port stays, since others refer to it, and so
/// does one that is but a reference.
pub(super) fn mask(key: &str, template: &Template, value: String) -> String {
    let mut placeholders = template.placeholders();
    let is_reference = template.placeholders().count() == template.pieces.len();
    if is_reference
        || placeholders.any(|(it, _)| it.is_declaration())
        || value.is_empty()
        || !is_secret(key)
    {
        value
    } else {
        MASK.to_owned()
    }
}

/// Texts as a list.
pub(super) fn texts(texts: impl Iterator<Item = String>) -> Value {
    texts.map(Value::from).collect()
}

impl View<'_> {
    pub(super) fn command(&self, command: &CommandSpec) -> Value {
        match command {
            CommandSpec::Line(line) => self.text(line).into(),
            CommandSpec::Words(words, _) => self.words(words),
        }
    }

    /// The words of an argv.
    pub(super) fn words(&self, words: &[Template]) -> Value {
        texts(mask_words(words.iter().map(|word| self.text(word))))
    }

    pub(super) fn environment(&self, environment: &EnvironmentSpec) -> Value {
        let mut all = Map::new();
        self.lay(environment, &mut all);
        Value::Object(all)
    }

    /// Puts an environment over what is there.
    fn lay(&self, environment: &EnvironmentSpec, all: &mut Map) {
        let entries = environment.iter().map(|(key, variable)| {
            let value = variable.value.as_ref();
            let shown = value.map(|value| mask(key, value, self.text(value)));
            (key.clone(), shown.map_or(Value::Null, Value::from))
        });
        all.extend(entries);
    }

    /// The top-level environment, over what is in the top-level `env_file`s.
    pub(super) fn top_environment(&self) -> Value {
        let mut all = Map::new();
        let draft = self.0.draft;
        lay_entries(draft.variables.files(0), &mut all);
        self.lay(&draft.spec().environment, &mut all);
        Value::Object(all)
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

    /// The environment of a service, over what is in its `env_file`s and what the files say for all of
    /// their services that are included with it.
    pub(super) fn all_environment(&self, service: &ServiceSpec) -> Value {
        let mut all = Map::new();
        let draft = self.0.draft;
        let realms = draft
            .variables
            .outwards(service.name_span.source.home.realm);
        for (realm, index) in realms.filter_map(|realm| Some((realm, realm.checked_sub(1)?))) {
            lay_entries(draft.variables.files(realm), &mut all);
            if let Some(included) = draft.spec().included.get(index) {
                self.lay(&included.environment, &mut all);
            }
        }
        // What the project says of a key is stronger.
        let (own, files) = (&draft.spec().environment, draft.variables.files(0));
        all.retain(|key, _| !own.contains_key(key) && !files.contains_key(key));
        for file in service
            .env_file
            .iter()
            .filter(|file| !self.is_open(&file.path))
        {
            // What is wrong with it was told when the draft was made.
            let path = self.0.text(&file.path);
            let entries = draft.variables.read_env_file(file, &path, &mut Vec::new());
            let entries: IndexMap<_, _> = entries.into_iter().collect();
            lay_entries(&entries, &mut all);
        }
        self.lay(&service.environment, &mut all);
        Value::Object(all)
    }

    /// The `env_file`s of a service that are not known before the ports are.
    pub(super) fn open_env_files(&self, service: &ServiceSpec) -> Value {
        let files = service.env_file.iter();
        self.env_files(files.filter(|file| self.is_open(&file.path)))
    }

    pub(super) fn env_files<'f>(&self, files: impl IntoIterator<Item = &'f EnvFileSpec>) -> Value {
        let show = |file: &EnvFileSpec| {
            let mut shown = json!({"path": self.path(&file.path), "required": file.is_required});
            if file.is_raw {
                shown["format"] = "raw".into();
            }
            shown
        };
        files.into_iter().map(show).collect()
    }

    /// Whether a service takes part.
    pub(super) fn has(&self, service: &ServiceName) -> bool {
        self.0.draft.spec().services.contains_key(service)
    }

    /// A path that stands in one of the files, from the root on: what is printed can be loaded from
    /// anywhere.
    pub(super) fn path(&self, template: &Template) -> String {
        let text = self.text(template);
        // What stands for a path of this copy is one already.
        if self.0.text(template).starts_with('/') {
            return text;
        }
        below(template.span.dir(), &text)
    }

    /// As [`Self::setting`], for a value that has no default and may be absent.
    pub(super) fn given<T: Clone>(
        &self,
        setting: Option<&Setting<T>>,
        show: impl FnOnce(T) -> Value,
    ) -> Option<Value> {
        match setting? {
            Setting::Known(known) => Some(show(known.value.clone())),
            Setting::Deferred(template, _) if self.is_open(template) => {
                Some(self.text(template).into())
            }
            Setting::Deferred(..) => self.0.setting(setting).map(show),
        }
    }

    pub(super) fn all_given<T: Clone>(
        &self,
        settings: &[Setting<T>],
        show: impl Fn(T) -> Value,
    ) -> Value {
        let settings = settings.iter();
        settings
            .filter_map(|it| self.given(Some(it), &show))
            .collect()
    }

    /// Whether a placeholder of the text has no value yet, or declares what others refer to.
    fn is_open(&self, template: &Template) -> bool {
        let mut placeholders = template.placeholders();
        placeholders.any(|(placeholder, span)| {
            placeholder.is_declaration()
                || !self.is_known(placeholder)
                || self.0.placeholder(placeholder, span).is_err()
        })
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
            Placeholder::Declare(..) | Placeholder::Own(_) => {
                self.0.ports.are_allocated && self.is_one()
            }
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
            TemplateKind::Plain | TemplateKind::Pattern => double(&mask_text(text)),
            TemplateKind::Shell | TemplateKind::File => mask_text(text).replace("$<", "$$<"),
        };
        let pieces = template.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => literal(text),
            Piece::Secret(text) if text.is_empty() => String::new(),
            Piece::Secret(_) => MASK.to_owned(),
            Piece::Placeholder(placeholder, span) => {
                let value = self.0.placeholder(placeholder, span).ok();
                let value = value.filter(|_| self.is_known(placeholder));
                match (value, placeholder) {
                    // Without its declaration there would be no such port for whoever loads this.
                    (Some(value), Placeholder::Declare(name, want, protocol)) => {
                        let want = value.parse().map_or(*want, PortWant::Fixed);
                        Placeholder::Declare(name.clone(), want, *protocol).to_string()
                    }
                    (Some(value), _) if template.kind == TemplateKind::Pattern => {
                        literal(&regex::escape(&value))
                    }
                    (Some(value), _) => literal(&value),
                    (None, _) => placeholder.to_string(),
                }
            }
        });
        pieces.collect()
    }
}

/// A path below a directory, written as a text of the file. It may hold placeholders.
pub(super) fn below(directory: &Path, text: &str) -> String {
    let directory = double(&directory.to_string_lossy());
    let path: PathBuf = Path::new(&directory).join(text).components().collect();
    path.to_string_lossy().into_owned()
}

/// A text in which every `$` stands for itself.
pub(super) fn double(text: &str) -> String {
    text.replace('$', "$$")
}

/// Puts what a file says over what is there.
fn lay_entries<'e>(
    entries: impl IntoIterator<Item = (&'e String, &'e Option<String>)>,
    all: &mut Map,
) {
    let entries = entries.into_iter().map(|(key, value)| {
        let shown = value.as_ref().map(|value| double(&mask_value(key, value)));
        (key.clone(), shown.map_or(Value::Null, Value::from))
    });
    all.extend(entries);
}
