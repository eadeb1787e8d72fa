//! `environment`, `env_file`, `labels` and other maps of texts.

use indexmap::IndexMap;

use super::keys::ENV_FILE;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{EnvFileSpec, EnvironmentSpec, VariableSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::scalar::Text;
use crate::spec::template::{Piece, Template, TemplateKind, name_length};
use crate::spec::tree::{Kind, Node};

/// A `KEY=value`: the key, where it stands, and the value unless the key stands alone.
type Item = (String, Span, Option<Template>);

impl Reader<'_> {
    /// `environment:` as a map or a list.
    pub(super) fn environment(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        let mut environment = EnvironmentSpec::new();
        match &field.value.kind {
            Kind::Mapping(_) => {
                for entry in self.fields(field.value) {
                    let key_span = entry.key.span();
                    if !self.check_key(entry.name, &key_span) {
                        continue;
                    }
                    let what = format!("the value of `{}`", entry.name);
                    let value = if entry.value.is_null() {
                        None
                    } else {
                        let value = self.template(&what, entry.value, TemplateKind::Plain);
                        if value.is_none() {
                            continue;
                        }
                        value
                    };
                    environment.insert(entry.name.to_owned(), VariableSpec { key_span, value });
                }
            }
            Kind::Sequence(items) => {
                for item in items {
                    let Some((key, key_span, value)) = self.keyed(field.name, item) else {
                        continue;
                    };
                    if !self.check_key(&key, &key_span) {
                        continue;
                    }
                    if let Some(first) = environment.get(&key) {
                        let what = format!("key `{key}`");
                        let problem = Problem::twice(&what, &key_span, &first.key_span);
                        self.problems.push(problem);
                        continue;
                    }
                    // A key alone takes its value from where `${KEY}` would.
                    let value = value.or_else(|| {
                        let value = self.scope.variable(item.source, &key)?;
                        Some(Template::literal(value, key_span.clone()))
                    });
                    environment.insert(key, VariableSpec { key_span, value });
                }
            }
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { .. } => {
                let hint = "write a map, `KEY: value`, or a list of `KEY=value`";
                self.wrong_type("a map or a list", field, hint);
            }
        }
        environment
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
            let value = equals.map(|at| self.template_of(&text.after(at + 1), TemplateKind::Plain));
            return Some((key, key_span, value));
        }
        let mut template = self.template_of(&text, TemplateKind::Plain);
        let (is_alone, is_broken) = (template.pieces.len() == 1, template.is_broken);
        let Some(Piece::Text(start)) = template.pieces.first_mut().filter(|_| !is_broken) else {
            return None;
        };
        match start.split_once('=') {
            Some((key, rest)) => {
                let (key, rest) = (key.to_owned(), rest.to_owned());
                *start = rest;
                Some((key, key_span, Some(template)))
            }
            None if is_alone => Some((start.clone(), key_span, None)),
            None => {
                self.placeholder_in_key(&key_span, "KEY=$<PORT>");
                None
            }
        }
    }

    /// Whether a text can be an environment key; if not, says why.
    fn check_key(&mut self, key: &str, span: &Span) -> bool {
        if !key.is_empty() && name_length(key) == key.len() {
            return true;
        }
        let trimmed = key.trim();
        let hint = if trimmed != key && name_length(trimmed) == trimmed.len() {
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
        let items = field.value.items().into_iter();
        items.filter_map(|item| self.env_file(item)).collect()
    }

    /// One entry of `env_file:`.
    pub(super) fn env_file(&mut self, item: &Node<'_>) -> Option<EnvFileSpec> {
        let hint = "write a path, or `{path: .env.local, required: false}`";
        let mut file = (None, true);
        match &item.kind {
            Kind::Scalar { text, .. } if !item.is_null() && !text.is_empty() => {
                file.0 = self.template("`env_file`", item, TemplateKind::Plain);
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
        file.0.map(|path| EnvFileSpec {
            path,
            is_required: file.1,
        })
    }

    /// `labels:`, from a map or a list; `headers:`, from a map. A value of nothing is empty.
    pub(super) fn texts(&mut self, field: &Field<'_, '_>) -> IndexMap<String, Template> {
        let mut texts: IndexMap<String, Template> = IndexMap::new();
        if let Kind::Sequence(items) = &field.value.kind {
            let mut places: IndexMap<String, Span> = IndexMap::new();
            for item in items {
                let Some((key, span, value)) = self.keyed(field.name, item) else {
                    continue;
                };
                if let Some(first) = places.get(&key) {
                    let problem = Problem::twice(&format!("key `{key}`"), &span, first);
                    self.problems.push(problem);
                    continue;
                }
                places.insert(key.clone(), span.clone());
                texts.insert(key, value.unwrap_or_else(|| Template::literal("", span)));
            }
            return texts;
        }
        if !self.is_map_or_nothing(field, "write a map, `key: value`") {
            return texts;
        }
        for entry in self.fields(field.value) {
            let value = if entry.value.is_null() {
                Some(Template::literal("", entry.key.span()))
            } else {
                let what = format!("the value of `{}`", entry.name);
                self.template(&what, entry.value, TemplateKind::Plain)
            };
            texts.extend(value.map(|value| (entry.name.to_owned(), value)));
        }
        texts
    }
}
