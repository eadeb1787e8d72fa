//! From several files to one tree: `include`, `extends`, and one file over another.
//!
//! As Compose does it: of each file the included ones come in first, under what stands in the file
//! itself; then its services get what they extend, from it or from another file; then the next file
//! is laid over it. Every text keeps its [`Home`], so that paths and variables mean what they mean
//! where they stand, and every problem points there.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::extends::Model;
use super::keys::INCLUDE;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::load::{MAX_NODES, tree};
use crate::spec::merge::{merge, strip};
use crate::spec::model::{EnvFileSpec, IncludeSpec};
use crate::spec::problem::{Home, Report, Source, Span, Spanned};
use crate::spec::text::decode;
use crate::spec::texts::Texts;
use crate::spec::tree::{Entry, Kind, Node};

/// How many files one stack may be made of.
const MAX_FILES: usize = 2_000;

/// How long a chain of files or services may be.
pub(super) const MAX_CHAIN: usize = 64;

/// What helps where there is too much of it.
const MANY_FILES: &str = "use fewer files, or fewer services that extend large ones";

/// A file, or a part of one.
pub(super) type Tree<'t> = Rc<Node<'t>>;

/// What a file that is included says for all of its services: its realm, `env_file`, `environment`.
pub(super) type Included<'t> = (usize, Vec<EnvFileSpec>, Option<Entry<'t>>);

/// Makes one tree of all files.
pub(super) struct Assembly<'a, 's, 't> {
    pub(super) reader: &'a mut Reader<'s>,
    pub(super) texts: &'t Texts,
    /// The project directory, and how it is shown.
    pub(super) project: (PathBuf, PathBuf),
    /// Of every `include`.
    pub(super) included: Vec<Included<'t>>,
    /// Every file, as it is alone.
    pub(super) roots: Vec<Tree<'t>>,
    pub(super) models: Vec<Model<'t>>,
    /// Files of which services were extended, by path and realm.
    pub(super) others: HashMap<(PathBuf, usize), Option<usize>>,
    files: usize,
    nodes: u64,
    pub(super) is_full: bool,
}

impl<'a, 's, 't> Assembly<'a, 's, 't> {
    pub(super) fn new(
        reader: &'a mut Reader<'s>,
        texts: &'t Texts,
        project: (PathBuf, PathBuf),
    ) -> Self {
        Self {
            reader,
            texts,
            project,
            included: Vec::new(),
            roots: Vec::new(),
            models: Vec::new(),
            others: HashMap::new(),
            files: 0,
            nodes: 0,
            is_full: false,
        }
    }

    /// Lays the files over each other, each with all that it includes and extends.
    pub(super) fn all(&mut self, roots: &[(PathBuf, Tree<'t>)]) -> Option<Tree<'t>> {
        let mut whole: Option<Tree<'t>> = None;
        for (path, root) in roots {
            self.roots.push(Rc::clone(root));
            let root = self.of_file(root, std::slice::from_ref(path));
            whole = Some(match &whole {
                Some(whole) => merge(whole, &root, &[]),
                None => root,
            });
        }
        let whole = strip(&whole?)?;
        self.count(whole.expanded, &whole.span());
        (!self.is_full).then_some(whole)
    }

    /// One file with what it includes and extends. `trail` are the files that include it, and it.
    fn of_file(&mut self, root: &Tree<'t>, trail: &[PathBuf]) -> Tree<'t> {
        let root = self.with_included(root, trail);
        let Some(services) = root.get("services") else {
            return root;
        };
        if !services
            .entries()
            .iter()
            .any(|it| it.value.get("extends").is_some())
        {
            return root;
        }
        let path = trail.last().cloned().unwrap_or_default();
        let model = self.model(path, &root.source.path.clone(), services);
        let extended = services.entries().iter().map(|entry| {
            let value = entry
                .key
                .text()
                .and_then(|name| self.extended(model, name, &mut Vec::new()));
            Entry {
                key: Rc::clone(&entry.key),
                value: value.unwrap_or_else(|| Rc::clone(&entry.value)),
            }
        });
        let services = services.with(Kind::Mapping(extended.collect()));
        replaced(&root, "services", Some(&services))
    }

    /// A file over everything that it includes; of two that it includes the first one counts.
    fn with_included(&mut self, root: &Tree<'t>, trail: &[PathBuf]) -> Tree<'t> {
        let Some(entry) = root.entry("include") else {
            return Rc::clone(root);
        };
        let field = Field {
            name: "include",
            key: &entry.key,
            value: &entry.value,
        };
        let includes = self.reader.includes(&field);
        let mut whole = replaced(root, "include", None);
        let mut names = Vec::new();
        for include in includes {
            let Some(included) = self.included(&include, trail) else {
                continue;
            };
            names.extend(service_names(&included));
            whole = merge(&included, &whole, &[]);
        }
        names.extend(service_names(root));
        in_order_of(&whole, &names)
    }

    /// What one `include` brings in.
    fn included(&mut self, include: &IncludeSpec, trail: &[PathBuf]) -> Option<Tree<'t>> {
        let first = include.paths.first()?;
        let place = &first.span;
        let outer = place.source.home.clone();
        let main = normal(&outer.dir.join(&first.value));
        if trail.contains(&main) || trail.len() >= MAX_CHAIN {
            let names = trail.iter().chain([&main]).map(|path| self.shown(path));
            let names = chain(names.map(|path| path.display().to_string()));
            let message = format!("files include each other: {names}");
            let hint = "remove one of these `include` lines";
            self.reader.error(code::BAD_INCLUDE, place, message, hint);
            return None;
        }
        let dir = match &include.project_directory {
            Some(dir) => normal(&outer.dir.join(&dir.value)),
            None => main.parent().map(Path::to_path_buf).unwrap_or_default(),
        };
        let reader = &mut *self.reader;
        let realm = reader.scope.enter(
            outer.realm,
            &dir,
            include.env_file.as_deref(),
            reader.problems,
        );
        let home = Home { dir, realm };
        let mut roots = Vec::new();
        for path in &include.paths {
            let file = normal(&outer.dir.join(&path.value));
            roots.push((
                self.file(&file, &path.span, home.clone(), code::BAD_INCLUDE)?,
                file,
            ));
        }
        let files = roots.iter().filter_map(|(root, _)| root.get("env_file"));
        let items: Vec<&Node<'_>> = files.flat_map(|files| files.items()).collect();
        let env_files = items.into_iter();
        let env_files = env_files
            .filter_map(|item| self.reader.top_env_file(item))
            .collect();
        let mut whole: Option<Tree<'t>> = None;
        for (root, file) in &roots {
            self.roots.push(Rc::clone(root));
            let trail = [trail, std::slice::from_ref(file)].concat();
            let root = self.of_file(root, &trail);
            whole = Some(match &whole {
                Some(whole) => merge(whole, &root, &[]),
                None => root,
            });
        }
        let whole = strip(&whole?)?;
        let environment = whole.entry("environment").cloned();
        self.included.push((realm, env_files, environment));
        Some(self.brought_in(&whole))
    }

    /// What of an included file becomes part of the including one.
    fn brought_in(&mut self, root: &Tree<'t>) -> Tree<'t> {
        let entries = root
            .entries()
            .iter()
            .filter_map(|entry| match entry.key.text()? {
                "name" | "version" | "env_file" | "environment" => None,
                "dotenv" => {
                    let vars = entry.value.entry("vars")?.clone();
                    let value = entry.value.with(Kind::Mapping(vec![vars]));
                    let key = Rc::clone(&entry.key);
                    Some(Entry { key, value })
                }
                key @ ("ports" | "shell") => {
                    let message = format!("`{key}` cannot stand in a file that is included");
                    let hint = format!("move `{key}` into the file that includes this one");
                    self.reader
                        .error(code::BAD_INCLUDE, &entry.key.span(), message, hint);
                    None
                }
                // What is not known is reported with the rest.
                _ => Some(entry.clone()),
            });
        let entries = entries.collect();
        root.with(Kind::Mapping(entries))
    }

    /// Reads another file that is named at a place.
    pub(super) fn file(
        &mut self,
        path: &Path,
        place: &Span,
        home: Home,
        code: &'static str,
    ) -> Option<Tree<'t>> {
        let shown = self.shown(path);
        self.files += 1;
        if self.files > MAX_FILES {
            if self.files == MAX_FILES + 1 {
                let message = format!("a stack is made of {MAX_FILES} files at most");
                self.reader.error(code, place, message, MANY_FILES);
            }
            return None;
        }
        let bytes = match self.reader.scope.read(path) {
            Ok(bytes) => bytes,
            Err(reason) => {
                let message = format!("`{}` cannot be read: {reason}", shown.display());
                let hint = format!("the path starts at `{}`", place.dir().display());
                self.reader.error(code, place, message, hint);
                return None;
            }
        };
        let (_, root) = self.parse(bytes, shown, home)?;
        let Some(root) = root else {
            let hint = "it begins with `services:`";
            self.reader.error(code, place, "the file is empty", hint);
            return None;
        };
        self.count(root.expanded, place);
        Some(root)
    }

    /// Reads a text into a tree that is a map, or nothing at all. What it can be else is reported.
    pub(super) fn parse(
        &mut self,
        bytes: Vec<u8>,
        shown: PathBuf,
        home: Home,
    ) -> Option<(&'t Arc<Source>, Option<Tree<'t>>)> {
        let read = decode(bytes, shown, home).and_then(|source| {
            let source = self.texts.keep(source);
            Ok((source, tree(source, self.reader.problems)?))
        });
        let (source, root) = read.map_err(|problem| self.reader.report(problem)).ok()?;
        let root = root.filter(|root| !root.is_null());
        if let Some(root) = &root
            && !matches!(root.kind, Kind::Mapping(_))
        {
            let hint = "it begins with `services:`, and below it one entry for each process";
            self.reader
                .wrong_item("a `stack.yaml`", "a map", root, hint);
            return None;
        }
        Some((source, root))
    }

    /// Counts values that were read or made; too many are reported, once.
    pub(super) fn count(&mut self, nodes: u64, place: &Span) {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > 2 * MAX_NODES && !self.is_full {
            self.is_full = true;
            let message = format!("more than {MAX_NODES} values once all files are merged");
            self.reader
                .error(code::TOO_MANY_NODES, place, message, MANY_FILES);
        }
    }

    /// A path as the user knows it.
    fn shown(&self, path: &Path) -> PathBuf {
        let (dir, shown) = &self.project;
        match path.strip_prefix(dir) {
            Ok(rest) => shown.join(rest),
            Err(_) => path.to_path_buf(),
        }
    }
}

impl Reader<'_> {
    /// `include:`, a path, a map or a list of them.
    fn includes(&mut self, field: &Field<'_, '_>) -> Vec<IncludeSpec> {
        let items = field.value.items().into_iter();
        let read = |item: &Node<'_>| {
            let mut include = IncludeSpec::default();
            if let Kind::Mapping(_) = item.kind {
                self.read(&INCLUDE, &mut include, item);
                if include.paths.is_empty() && item.get("path").is_none() {
                    let hint = "write a path, or `{path: api/stack.yaml}`";
                    self.error(
                        code::WRONG_TYPE,
                        &item.span(),
                        "this `include` has no `path`",
                        hint,
                    );
                }
            } else {
                include.paths.extend(self.literal("`include`", item));
            }
            include
        };
        items.map(read).collect()
    }

    /// The texts of a list, or the one that stands for a list of itself, none of them a placeholder.
    pub(super) fn literals(&mut self, field: &Field<'_, '_>) -> Vec<Spanned<String>> {
        let what = format!("`{}`", field.name);
        let items = field.value.items().into_iter();
        items.filter_map(|item| self.literal(&what, item)).collect()
    }

    /// One `env_file` of a whole file: its variables count from now on.
    pub(super) fn top_env_file(&mut self, item: &Node<'_>) -> Option<EnvFileSpec> {
        let file = self.without_placeholders("`env_file`", |r| r.env_file(item))?;
        // A path that could not be made has its problem already.
        let is_known = file.path.as_literal().is_some() && !file.path.is_broken;
        is_known.then(|| self.scope.on_env_file(&file, self.problems))?;
        Some(file)
    }
}

/// Names with arrows between them.
pub(super) fn chain(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(" → ")
}

/// A map with another value for a key, or without it.
pub(super) fn replaced<'t>(map: &Tree<'t>, key: &str, value: Option<&Tree<'t>>) -> Tree<'t> {
    let is_other = |entry: &&Entry<'t>| value.is_some() || entry.key.text() != Some(key);
    let entries = map
        .entries()
        .iter()
        .filter(is_other)
        .map(|entry| match value {
            Some(value) if entry.key.text() == Some(key) => Entry {
                key: Rc::clone(&entry.key),
                value: Rc::clone(value),
            },
            Some(_) | None => entry.clone(),
        });
    map.with(Kind::Mapping(entries.collect()))
}

fn service_names(root: &Node<'_>) -> Vec<String> {
    let services = root.get("services").map(|services| services.entries());
    let entries = services.unwrap_or_default().iter();
    entries
        .filter_map(|entry| Some(entry.key.text()?.to_owned()))
        .collect()
}

/// The same with its services in the order in which one reads them: ports are given in it.
fn in_order_of<'t>(root: &Tree<'t>, names: &[String]) -> Tree<'t> {
    let Some(services) = root.get("services") else {
        return Rc::clone(root);
    };
    let mut seen = HashSet::new();
    let order: HashMap<&str, usize> = (names.iter().filter(|name| seen.insert(*name)))
        .enumerate()
        .map(|(place, name)| (name.as_str(), place))
        .collect();
    let mut entries = services.entries().to_vec();
    entries.sort_by_key(|entry| entry.key.text().and_then(|name| order.get(name)).copied());
    let services = services.with(Kind::Mapping(entries));
    replaced(root, "services", Some(&services))
}

/// A path without `.` and `..` in it.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(part),
        }
    }
    normal
}
