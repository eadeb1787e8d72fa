//! `configs` and `secrets`: at the top level what is in them, in a service which it is given.

use std::sync::Arc;

use indexmap::IndexMap;

use super::keys::{CONFIG, FILE_USE, SECRET};
use super::scope::{FILES, Place};
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{FileContent, FileForm, FileKind, FileSpec, FileUse};
use crate::spec::problem::{Problem, Report, Source, Span, Spanned};
use crate::spec::scalar::Text;
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::Kind;
use crate::support::name::ServiceName;

/// The definition of a file, as far as it was read.
pub(super) struct FileParts {
    kind: FileKind,
    found: Vec<(Span, Option<FileSpec>)>,
}

impl Reader<'_> {
    /// Top-level `configs:` or `secrets:`.
    pub(super) fn file_specs(
        &mut self,
        kind: FileKind,
        field: &Field<'_, '_>,
    ) -> IndexMap<String, FileSpec> {
        let hint = format!("write `{}: {{app: {{file: ./app.conf}}}}`", field.name);
        let mut specs = IndexMap::new();
        if !self.is_map_or_nothing(field, &hint) {
            return specs;
        }
        for entry in self.own_fields(field.value) {
            self.declared.files.push((kind, entry.name.to_owned()));
            // It becomes the name of a file, so it is held to the same as a service's.
            if let Err(error) = ServiceName::new(entry.name) {
                let message = format!("`{}` is not a valid name: {error}", entry.name);
                let hint = "names are made of letters, digits, `_`, `-` and `.`, at most 63";
                self.error(code::BAD_NAME, &entry.key.span(), message, hint);
                continue;
            }
            specs.extend(
                self.file_spec(kind, &entry)
                    .map(|spec| (entry.name.to_owned(), spec)),
            );
        }
        specs
    }

    fn file_spec(&mut self, kind: FileKind, entry: &Field<'_, '_>) -> Option<FileSpec> {
        let (what, forms) = (format!("the {} `{}`", kind.noun(), entry.name), forms(kind));
        if !matches!(entry.value.kind, Kind::Mapping(_)) {
            self.wrong_value(&what, "a map", entry, forms);
            return None;
        }
        let mut parts = FileParts {
            kind,
            found: Vec::new(),
        };
        let keys = match kind {
            FileKind::Config => &CONFIG,
            FileKind::Secret => &SECRET,
        };
        let fields = self.read(keys, &mut parts, entry.value);
        let mut found = parts.found.into_iter();
        match (found.next(), found.next()) {
            (Some((first, _)), Some((second, _))) => {
                let message = format!("{what} has two contents");
                let problem = Problem::error(code::BAD_FILE, message, &second);
                let hint = if first.source.path == second.source.path {
                    "keep one of them".to_owned()
                } else {
                    let name = entry.name;
                    format!(
                        "write `{name}: !override` in the later file, and the earlier one does not count"
                    )
                };
                self.report(problem.also(&first, "the other one").hint(hint));
                None
            }
            (Some((_, spec)), None) => spec,
            // What stands there instead was reported.
            (None, _) if fields.iter().any(|field| !keys.knows(field.name)) => None,
            (None, _) => {
                let message = format!("{what} has no content");
                self.error(code::BAD_FILE, &entry.key.span(), message, forms);
                None
            }
        }
    }

    /// `content:` of a config.
    pub(super) fn file_content(&mut self, parts: &mut FileParts, field: &Field<'_, '_>) {
        self.place = Place::Stack(FILES);
        let spec = self.text(field).map(|template| FileSpec {
            form: FileForm::Content,
            content: FileContent::Template(template),
        });
        parts.found.push((field.key.span(), spec));
    }

    /// `file:`. In that of a config placeholders may stand.
    pub(super) fn file_path(&mut self, parts: &mut FileParts, field: &Field<'_, '_>) {
        let path = self.without_placeholders("the path of a file", |r| r.text(field));
        let spec = path.and_then(|path| {
            let content = self.read_file(parts.kind, &path)?;
            let form = FileForm::File(path);
            Some(FileSpec { form, content })
        });
        parts.found.push((field.key.span(), spec));
    }

    fn read_file(&mut self, kind: FileKind, path: &Template) -> Option<FileContent> {
        let shown = path.as_literal().filter(|_| !path.is_broken)?;
        let bytes = match self.scope.read(&path.span.dir().join(&shown)) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let message = format!("the file `{shown}` cannot be read: {reason}");
                let hint = format!("the path starts at `{}`", path.span.dir().display());
                let problem = Problem::error(code::BAD_FILE, message, &path.span).hint(hint);
                return Some(FileContent::Missing(problem));
            }
        };
        let text = match (kind, String::from_utf8(bytes)) {
            (FileKind::Config, Ok(text)) if text.contains("$<") || text.contains(":auto") => text,
            (_, Ok(text)) => return Some(FileContent::Bytes(text.into_bytes())),
            (_, Err(error)) => return Some(FileContent::Bytes(error.into_bytes())),
        };
        let home = path.span.source.home.clone();
        let path = shown.into();
        let source = Arc::new(Source { path, text, home });
        self.place = Place::Stack(FILES);
        let template = self.template_of(&Text::whole(&source), TemplateKind::File);
        Some(FileContent::Template(template))
    }

    /// `environment:`, the name of a variable. What was in it is never looked at again.
    pub(super) fn file_variable(&mut self, parts: &mut FileParts, field: &Field<'_, '_>) {
        let name = self.literal("the name of a variable", field.value);
        let spec = name.map(|Spanned { value: name, span }| {
            let content = if let Some(value) = self.scope.variable(&span.source, &name) {
                FileContent::Bytes(value.into_bytes())
            } else {
                let message = format!("the variable `{name}` is required and not set");
                let hint = format!("run with `{name}=… stack up`, or put it into an `env_file`");
                let problem = Problem::error(code::REQUIRED_VARIABLE, message, &span);
                FileContent::Missing(problem.hint(hint))
            };
            let form = FileForm::Environment(name);
            FileSpec { form, content }
        });
        parts.found.push((field.key.span(), spec));
    }

    /// `configs:` or `secrets:` of a service.
    pub(super) fn file_uses(&mut self, kind: FileKind, field: &Field<'_, '_>) {
        let what = format!("an item of `{}`", field.name);
        let hint = format!("write the names: `{}: [app]`", field.name);
        for item in field.value.items() {
            let mut name = None;
            match &item.kind {
                Kind::Scalar { .. } => name = self.literal(&what, item),
                Kind::Mapping(_) => {
                    let fields = self.read(&FILE_USE, &mut name, item);
                    if !fields.iter().any(|field| field.name == "source") {
                        let message = format!("{what} has no `source`");
                        self.error(code::WRONG_TYPE, &item.span(), message, &hint);
                    }
                }
                Kind::Sequence(_) => self.wrong_item(&what, "a name", item, &hint),
            }
            if let Some(name) = name {
                self.use_file(FileUse {
                    kind,
                    name: name.value,
                    span: name.span,
                });
            }
        }
    }
}

fn forms(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Config => "write `content:`, `file:` or `environment:` below it",
        FileKind::Secret => "write `file:` or `environment:` below it",
    }
}
