//! `environment`, `env_file`, `labels` and other maps of texts.

use indexmap::IndexMap;

use super::keys::ENV_FILE;
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::model::{EnvFileSpec, EnvironmentSpec, MARKS, VariableSpec};
use crate::spec::problem::{Problem, Report, Span};
use crate::spec::scalar::Text;
use crate::spec::template::{Piece, Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::text::is_variable;

/// A key, where it stands, and its value.
type Item = (String, Span, Given);

/// An entry of `env_file:` while it is read.
#[derive(Default)]
pub(super) struct EnvFile {
    pub(super) path: Option<Template>,
    pub(super) is_optional: bool,
    pub(super) is_raw: bool,
}

/// What stands at a key.
enum Given {
    Text(Template),
    /// Nothing, in a map.
    Nothing,
    /// Nothing, in a list: the key alone.
    Alone,
}

impl Reader<'_> {
    /// `environment:` as a map or a list.
    pub(super) fn environment(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        let mut environment = EnvironmentSpec::new();
        for (key, key_span, given) in self.pairs(field) {
            let value = match given {
                Given::Text(value) => Some(value),
                Given::Nothing => None,
                // A key alone takes its value from where `${KEY}` would.
                Given::Alone => {
                    let found = self.scope.variable(&key_span.source, &key);
                    found.map(|value| Template::literal(value, key_span.clone()))
                }
            };
            if self.check_key(&key, &key_span) {
                environment.insert(key, VariableSpec { key_span, value });
            }
        }
        environment
    }

    /// The same for services, who are told some things by `stack` itself.
    pub(super) fn own_environment(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        let environment = self.environment(field);
        for (key, variable) in &environment {
            if MARKS.contains(&key.as_str()) {
                let message = format!("`{key}` does nothing: `stack` sets it for every service");
                let hint = "remove it, or choose another name";
                self.warning(code::NO_EFFECT, &variable.key_span, message, hint);
            }
        }
        environment
    }

    /// `labels:` or `headers:`. A value of nothing is empty.
    pub(super) fn texts(&mut self, field: &Field<'_, '_>) -> IndexMap<String, Template> {
        let pairs = self.pairs(field).into_iter();
        pairs
            .map(|(key, span, given)| match given {
                Given::Text(value) => (key, value),
                Given::Nothing | Given::Alone => (key, Template::literal("", span)),
            })
            .collect()
    }

    /// The texts of a map, or of a list of `KEY=value`; those of a later file over those of an earlier.
    fn pairs(&mut self, field: &Field<'_, '_>) -> Vec<Item> {
        let own = self.own_pairs(field);
        let Some(value) = &field.value.under else {
            return own;
        };
        let mut pairs = self.pairs(&Field { value, ..*field });
        let places = pairs.iter().enumerate();
        let places: IndexMap<String, usize> = places
            .map(|(place, (key, ..))| (key.clone(), place))
            .collect();
        for item in own {
            match places.get(&item.0) {
                Some(&place) => pairs[place] = item,
                None => pairs.push(item),
            }
        }
        pairs
    }

    fn own_pairs(&mut self, field: &Field<'_, '_>) -> Vec<Item> {
        let mut pairs = Vec::new();
        match &field.value.kind {
            Kind::Mapping(_) => {
                for Field { name, key, value } in self.fields(field.value) {
                    let what = format!("the value of `{name}`");
                    let given = if value.is_null() {
                        Some(Given::Nothing)
                    } else {
                        let text = self.template(&what, value, TemplateKind::Plain);
                        text.map(Given::Text)
                    };
                    // What is not a text was reported.
                    pairs.extend(given.map(|given| (name.to_owned(), key.span(), given)));
                }
            }
            Kind::Sequence(items) => {
                let mut seen: IndexMap<String, Span> = IndexMap::new();
                for item in items {
                    let Some((key, span, value)) = self.keyed(field.name, item) else {
                        continue;
                    };
                    if let Some(first) = seen.get(&key) {
                        self.report(Problem::twice(&format!("key `{key}`"), &span, first));
                        continue;
                    }
                    seen.insert(key.clone(), span.clone());
                    pairs.push((key, span, value));
                }
            }
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { .. } => {
                let hint = "write a map, `KEY: value`, or a list of `KEY=value`";
                self.wrong_type("a map or a list", field, hint);
            }
        }
        pairs
    }

    /// An item of a list of `KEY=value`. Variables count in the key, too.
    fn keyed(&mut self, list: &str, item: &Node<'_>) -> Option<Item> {
        let Some(text) = Text::of(item) else {
            let what = format!("an item of `{list}`");
            let hint = "write `KEY=value`, without a blank after a `:`";
            self.wrong_item(&what, "a text", item, hint);
            return None;
        };
        let equals = text.value.find('=');
        let key = &text.value[..equals.unwrap_or(text.value.len())];
        let key_span = text.span_of(0..key.len());
        if key.contains("$<") {
            self.placeholder_in_key(&key_span, "KEY=$<PORT>");
            return None;
        }
        if !key.contains('$') {
            let key = key.to_owned();
            let value = match equals {
                None => Given::Alone,
                Some(at) => {
                    let text = text.after(at + 1);
                    Given::Text(self.template_of(&text, TemplateKind::Plain))
                }
            };
            return Some((key, key_span, value));
        }
        let mut template = self.template_of(&text, TemplateKind::Plain);
        let (is_alone, is_broken) = (template.pieces.len() == 1, template.is_broken);
        // The name of a secret is none.
        if let [Piece::Secret(start), Piece::Text(rest), ..] = template.pieces.as_mut_slice() {
            start.push_str(rest);
            template.pieces.remove(1);
        }
        let start = template.pieces.first_mut().filter(|_| !is_broken);
        let Some(Piece::Text(start) | Piece::Secret(start)) = start else {
            return None;
        };
        match start.split_once('=') {
            Some((key, rest)) => {
                let (key, rest) = (key.to_owned(), rest.to_owned());
                *start = rest;
                Some((key, key_span, Given::Text(template)))
            }
            None if is_alone => Some((start.clone(), key_span, Given::Alone)),
            None => {
                self.placeholder_in_key(&key_span, "KEY=$<PORT>");
                None
            }
        }
    }

    /// Whether a text can be an environment key; if not, says why.
    fn check_key(&mut self, key: &str, span: &Span) -> bool {
        if is_variable(key) {
            return true;
        }
        let trimmed = key.trim();
        let hint = if trimmed != key && is_variable(trimmed) {
            format!("remove the blank: `{trimmed}=…`")
        } else if key.starts_with(|c: char| c.is_ascii_digit()) {
            "names do not start with a digit".to_owned()
        } else {
            "names are made of letters, digits and `_`".to_owned()
        };
        let message = format!("`{key}` cannot be the name of an environment variable");
        self.error(code::BAD_KEY, span, message, hint);
        false
    }

    /// `env_file:` as a path, a map or a list of them.
    pub(super) fn env_files(&mut self, field: &Field<'_, '_>) -> Vec<EnvFileSpec> {
        let mut files: Vec<EnvFileSpec> = Vec::new();
        for file in field
            .value
            .items()
            .into_iter()
            .filter_map(|item| self.env_file(item))
        {
            let file = EnvFileSpec {
                is_labels: field.name == "label_file",
                ..file
            };
            let is_same = |other: &EnvFileSpec| {
                other.path.pieces == file.path.pieces
                    && other.path.span.dir() == file.path.span.dir()
            };
            // Of one that is named twice the later one counts, in the place of the earlier.
            match files.iter().position(is_same) {
                Some(place) => files[place] = file,
                None => files.push(file),
            }
        }
        files
    }

    /// `format:` of an `env_file`: whether it is the raw one.
    pub(super) fn env_file_format(&mut self, field: &Field<'_, '_>) -> bool {
        let parse = |text: &str| values::word(text, "format", &[("dotenv", false), ("raw", true)]);
        let is_raw = self.without_placeholders("`format`", |r| r.setting(field, parse));
        is_raw.and_then(known).is_some_and(|it| it.value)
    }

    /// One entry of `env_file:`.
    pub(super) fn env_file(&mut self, item: &Node<'_>) -> Option<EnvFileSpec> {
        let hint = "write a path, or `{path: .env.local, required: false}`";
        let mut file = EnvFile::default();
        match &item.kind {
            Kind::Scalar { text, .. } if !item.is_null() && !text.is_empty() => {
                file.path = self.template("`env_file`", item, TemplateKind::Plain);
            }
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                self.wrong_item("an item of `env_file`", "a path", item, hint);
            }
            Kind::Mapping(_) => {
                let fields = self.read(&ENV_FILE, &mut file, item);
                if !fields.iter().any(|field| field.name == "path") {
                    let message = "this `env_file` has no `path`";
                    self.error(code::WRONG_TYPE, &item.span(), message, hint);
                }
            }
        }
        file.path.map(|path| EnvFileSpec {
            path,
            is_required: !file.is_optional,
            is_raw: file.is_raw,
            is_labels: false,
        })
    }
}
