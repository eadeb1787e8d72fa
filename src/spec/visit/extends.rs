//! `extends`: a service over another one, of the same file or of another.
//!
//! A chain is followed to its end, and what was found is kept, so that a thousand services that
//! extend one cost what they say themselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::{Assembly, MAX_CHAIN, Tree, chain, normal, replaced};
use super::keys::EXTENDS;
use super::suggest::{list, nearest};
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::merge::{merge, strip};
use crate::spec::model::ExtendsSpec;
use crate::spec::problem::{Home, Report, Spanned};
use crate::spec::tree::{Kind, Node};

/// A file with all that it includes.
pub(super) struct Model<'t> {
    services: HashMap<String, Tree<'t>>,
    /// The services of which it is known what they extend.
    extended: HashMap<String, Tree<'t>>,
    /// Its path without dots, and as it is shown.
    path: PathBuf,
    shown: String,
}

impl<'t> Assembly<'_, '_, 't> {
    /// Knows the services of a file from now on.
    pub(super) fn model(&mut self, path: PathBuf, shown: &Path, services: &Node<'t>) -> usize {
        let named = services.entries().iter();
        let named = named.filter_map(|it| Some((it.key.text()?.to_owned(), Rc::clone(&it.value))));
        self.models.push(Model {
            services: named.collect(),
            extended: HashMap::new(),
            path,
            shown: shown.display().to_string(),
        });
        self.models.len() - 1
    }

    /// A service with all that it extends. `trail` are the services that extend it.
    pub(super) fn extended(
        &mut self,
        model: usize,
        name: &str,
        trail: &mut Vec<(PathBuf, String, String)>,
    ) -> Option<Tree<'t>> {
        if let Some(known) = self.models[model].extended.get(name) {
            return Some(Rc::clone(known));
        }
        // Nothing that is larger than a file may be is made over and over again.
        if self.is_full {
            return None;
        }
        let service = Rc::clone(self.models[model].services.get(name)?);
        let Some(entry) = service.entry("extends") else {
            return Some(service);
        };
        let field = Field {
            name: "extends",
            key: &entry.key,
            value: &entry.value,
        };
        let extends = self.reader.extends(&field);
        let own = replaced(&service, "extends", None);
        let (path, shown) = (&self.models[model].path, &self.models[model].shown);
        trail.push((path.clone(), name.to_owned(), shown.clone()));
        let base = extends.and_then(|extends| self.base(model, &extends, trail));
        trail.pop();
        // Where that failed, nobody need be told that the command is missing: `extends` stays.
        let mut whole = Rc::clone(&service);
        if let Some(base) = base.and_then(|base| strip(&base)) {
            whole = match base.kind {
                Kind::Mapping(_) => merge(&base, &own, &["services", name]),
                // A service of nothing has nothing; what else it may be is reported there.
                Kind::Scalar { .. } | Kind::Sequence(_) => own,
            };
            self.count(whole.expanded, &field.key.span());
        }
        self.models[model]
            .extended
            .insert(name.to_owned(), Rc::clone(&whole));
        Some(whole)
    }

    /// The service that is extended, with all that it extends in turn.
    fn base(
        &mut self,
        model: usize,
        extends: &ExtendsSpec,
        trail: &mut Vec<(PathBuf, String, String)>,
    ) -> Option<Tree<'t>> {
        let Spanned { value: name, span } = extends.service.as_ref()?;
        let model = match &extends.file {
            None => model,
            Some(file) => self.other(file)?,
        };
        let other = &self.models[model];
        if trail.len() >= MAX_CHAIN
            || trail
                .iter()
                .any(|(path, it, _)| (path, it) == (&other.path, name))
        {
            let names = trail
                .iter()
                .map(|(_, name, shown)| format!("{name} ({shown})"));
            let names = chain(names.chain([format!("{name} ({})", other.shown)]));
            let message = format!("services extend each other: {names}");
            self.reader.error(
                code::BAD_EXTENDS,
                span,
                message,
                "remove one of these `extends`",
            );
            return None;
        }
        if !other.services.contains_key(name) {
            let names = || other.services.keys().map(String::as_str);
            let hint = match nearest(name, names()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("its services are {}", list(sorted(names()).into_iter())),
            };
            let message = format!("there is no service `{name}` in `{}`", other.shown);
            self.reader.error(code::BAD_EXTENDS, span, message, hint);
            return None;
        }
        self.extended(model, name, trail)
    }

    /// The file of which a service is extended, read once.
    fn other(&mut self, file: &Spanned<String>) -> Option<usize> {
        let home = &file.span.source.home;
        let path = normal(&home.dir.join(&file.value));
        let key = (path.clone(), home.realm);
        if let Some(&known) = self.others.get(&key) {
            return known;
        }
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let home = Home {
            dir,
            realm: home.realm,
        };
        let root = self.file(&path, &file.span, home, code::BAD_EXTENDS);
        let model = root.map(|root| {
            self.roots.push(Rc::clone(&root));
            let shown = root.source.path.clone();
            let none = root.with(Kind::Mapping(Vec::new()));
            let services = root.get("services").unwrap_or(&none);
            self.model(path, &shown, services)
        });
        self.others.insert(key, model);
        model
    }
}

impl Reader<'_> {
    /// `extends:`, a service or a map.
    fn extends(&mut self, field: &Field<'_, '_>) -> Option<ExtendsSpec> {
        let mut extends = ExtendsSpec::default();
        match &field.value.kind {
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { .. } => extends.service = self.literal("`extends`", field.value),
            Kind::Mapping(_) => {
                self.read(&EXTENDS, &mut extends, field.value);
                if field.value.get("service").is_none() {
                    let hint =
                        "write `extends: {service: base}`, with `file:` if it is in another one";
                    let span = field.span();
                    self.error(
                        code::BAD_EXTENDS,
                        &span,
                        "this `extends` has no `service`",
                        hint,
                    );
                }
            }
            Kind::Sequence(_) => {
                self.wrong_type(
                    "a service or a map",
                    field,
                    "write `extends: {service: base}`",
                );
            }
        }
        extends.service.is_some().then_some(extends)
    }
}

fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
}
