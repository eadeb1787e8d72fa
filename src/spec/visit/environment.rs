//! `environment`, `env_file`, `labels` and other maps of texts.

use indexmap::IndexMap;

use super::keys::ENV_FILE;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{EnvFileSpec, EnvironmentSpec, VariableSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::scalar::Text;
use crate::spec::template::{Template, TemplateKind, name_length};
use crate::spec::tree::{Kind, Node};

const FORMS: &str = "write a map, `KEY: value`, or a list of `KEY=value`";

impl Reader<'_> {
    /// `environment:` as a map or a list.
    pub(super) fn environment(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        let mut environment = EnvironmentSpec::new();
        match &field.value.kind {
            Kind::Mapping(_) => {
                for entry in self.fields(field.value) {
                    let key_span = self.span(entry.key);
                    if self.check_key(entry.name, &key_span)
                        && let Some(value) = self.variable_value(&entry)
                    {
                        let variable = VariableSpec {
                            key_span,
                            value,
                            is_inherited: false,
                        };
                        environment.insert(entry.name.to_owned(), variable);
                    }
                }
            }
            Kind::Sequence(items) => {
                for item in items {
                    let Some((key, variable)) = self.variable_item(field.name, item) else {
                        continue;
                    };
                    if let Some(first) = environment.get(&key) {
                        let problem = repeated(&key, &variable.key_span, &first.key_span);
                        self.problems.push(problem);
                        continue;
                    }
                    environment.insert(key, variable);
                }
            }
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { .. } => {
                let what = format!("`{}`", field.name);
                self.wrong_type(&what, "a map or a list", field, FORMS);
            }
        }
        environment
    }

    /// The value of an environment key; the inner `None` removes the key, the outer is an error.
    #[expect(
        clippy::option_option,
        reason = "absent, removed and given are three things"
    )]
    fn variable_value(&mut self, entry: &Field<'_, '_>) -> Option<Option<Template>> {
        if entry.value.is_null() {
            return Some(None);
        }
        let what = format!("the value of `{}`", entry.name);
        self.template(&what, entry.value, TemplateKind::Plain)
            .map(Some)
    }

    /// `KEY=value`, or `KEY` alone for the caller's value.
    fn variable_item(&mut self, list: &str, item: &Node<'_>) -> Option<(String, VariableSpec)> {
        let Some(text) = Text::of(item, self.source) else {
            let hint = "write `KEY=value`, without a blank after a `:`";
            self.wrong_node(&format!("an item of `{list}`"), "a text", item, None, hint);
            return None;
        };
        let equals = text.value.find('=');
        let key = &text.value[..equals.unwrap_or(text.value.len())];
        let key_span = text.span_of(0..key.len());
        if !self.check_key(key, &key_span) {
            return None;
        }
        let key = key.to_owned();
        let value = equals.map(|at| self.template_of(&text.after(at + 1), TemplateKind::Plain));
        let is_inherited = value.is_none();
        let variable = VariableSpec {
            key_span,
            value,
            is_inherited,
        };
        Some((key, variable))
    }

    /// Whether a text can be an environment key; if not, says why.
    pub(super) fn check_key(&mut self, key: &str, span: &Span) -> bool {
        if !key.is_empty() && name_length(key) == key.len() {
            return true;
        }
        let trimmed = key.trim();
        let problem = if key.contains("$<") {
            placeholder_in_key(span)
        } else {
            Problem::error(
                code::BAD_KEY,
                format!("`{key}` cannot be the name of an environment variable"),
                span,
            )
            .hint(if trimmed != key && name_length(trimmed) == trimmed.len() {
                format!("remove the blank: `{trimmed}=…`")
            } else if key.starts_with(|c: char| c.is_ascii_digit()) {
                "names do not start with a digit".to_owned()
            } else {
                "names are made of letters, digits and `_`".to_owned()
            })
        };
        self.problems.push(problem);
        false
    }

    /// `env_file:` as a path, a map or a list of them.
    pub(super) fn env_files(&mut self, field: &Field<'_, '_>) -> Vec<EnvFileSpec> {
        let mut files = Vec::new();
        for item in field.value.items() {
            files.extend(match &item.kind {
                Kind::Scalar { .. } => self.path_item(field.name, item).map(|path| EnvFileSpec {
                    path,
                    is_required: true,
                }),
                Kind::Mapping(_) => self.env_file(item),
                Kind::Sequence(_) => {
                    let hint = "write a path, or `{path: .env.local, required: false}`";
                    self.wrong_node("an item of `env_file`", "a path", item, None, hint);
                    None
                }
            });
        }
        files
    }

    fn path_item(&mut self, list: &str, item: &Node<'_>) -> Option<Template> {
        if item.is_null() || item.text() == Some("") {
            let what = format!("an item of `{list}`");
            self.wrong_node(&what, "a path", item, None, "give it a value, or remove it");
            return None;
        }
        self.template("`env_file`", item, TemplateKind::Plain)
    }

    fn env_file(&mut self, node: &Node<'_>) -> Option<EnvFileSpec> {
        let mut path = None;
        let mut is_path_given = false;
        let mut is_required = true;
        for field in self.own_fields(node) {
            match field.name {
                "path" => {
                    is_path_given = true;
                    path = self.filled_template(&field, TemplateKind::Plain);
                }
                "required" => is_required = self.flag(&field).unwrap_or(true),
                _ => self.refuse_key(&ENV_FILE, field.key, None),
            }
        }
        if !is_path_given {
            let hint = "write `{path: .env.local, required: false}`";
            let span = self.span(node);
            self.problems.push(
                Problem::error(code::WRONG_TYPE, "an `env_file` without a `path`", &span)
                    .hint(hint),
            );
        }
        path.map(|path| EnvFileSpec { path, is_required })
    }

    /// `labels:`, from a map or a list; `headers:`, from a map. A value of nothing is empty.
    pub(super) fn texts(&mut self, field: &Field<'_, '_>) -> IndexMap<String, Template> {
        let mut texts: IndexMap<String, Template> = IndexMap::new();
        let mut places: IndexMap<String, Span> = IndexMap::new();
        if let Kind::Sequence(items) = &field.value.kind {
            for item in items {
                let Some(text) = Text::of(item, self.source) else {
                    let what = format!("an item of `{}`", field.name);
                    self.wrong_node(&what, "a text", item, None, "write `key=value`");
                    continue;
                };
                let equals = text.value.find('=').unwrap_or(text.value.len());
                let key = text.value[..equals].to_owned();
                let key_span = text.span_of(0..equals);
                if key.contains("$<") {
                    self.problems.push(placeholder_in_key(&key_span));
                    continue;
                }
                if let Some(first) = places.get(&key) {
                    self.problems.push(repeated(&key, &key_span, first));
                    continue;
                }
                places.insert(key.clone(), key_span);
                let rest = (equals + 1).min(text.value.len());
                let value = self.template_of(&text.after(rest), TemplateKind::Plain);
                texts.insert(key, value);
            }
            return texts;
        }
        for entry in self.map(field, "write a map, `key: value`") {
            let value = if entry.value.is_null() {
                let span = self.span(entry.key);
                Some(Template::literal("", span, TemplateKind::Plain))
            } else {
                let what = format!("the value of `{}`", entry.name);
                self.template(&what, entry.value, TemplateKind::Plain)
            };
            if let Some(value) = value {
                texts.insert(entry.name.to_owned(), value);
            }
        }
        texts
    }
}

fn placeholder_in_key(span: &Span) -> Problem {
    Problem::error(
        code::MISPLACED_PLACEHOLDER,
        "a placeholder cannot stand in a key",
        span,
    )
    .hint("placeholders stand in values: `KEY=$<PORT>`")
}

fn repeated(key: &str, again: &Span, first: &Span) -> Problem {
    Problem::error(
        code::DUPLICATE_KEY,
        format!("the key `{key}` is here twice"),
        again,
    )
    .label("again here")
    .also(first, "first here")
    .hint("keep one of the two")
}
