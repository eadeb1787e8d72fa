//! The top level.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use indexmap::IndexMap;

use super::files::{Assembly, Included, Tree};
use super::keys::{DOTENV, TOP};
use super::scope::{Declared, Place};
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::find::Found;
use crate::spec::load::Scope;
use crate::spec::merge::{merge, strip};
use crate::spec::model::{DotenvSpec, EnvironmentSpec, IncludedSpec, ServiceSpec, StackSpec};
use crate::spec::problem::{Home, Problem, Report, Span};
use crate::spec::template::{Template, VariableUse};
use crate::spec::texts::Texts;
use crate::spec::tree::{Entry, Kind, Node};
use crate::support::name::{ProjectName, ServiceName};
use crate::support::port_range::{Pool, PortRange};

/// Keys of the Haskell build tool whose file has the same name.
const HASKELL_KEYS: [&str; 4] = ["resolver", "snapshot", "packages", "extra-deps"];

/// The default path of the generated file.
const DEFAULT_DOTENV: &str = ".env";

/// All files as one tree.
pub(in crate::spec) struct Whole<'r, 't> {
    pub(in crate::spec) root: &'r Node<'t>,
    reader: Reader<'r>,
    stack: StackSpec,
    included: Vec<Included<'t>>,
    /// Every file, as it is alone.
    files: Vec<Tree<'t>>,
    /// The first line of the first file.
    start: Span,
}

/// Puts all files together, and makes something of them. `None` when there is nothing to make it of.
pub(in crate::spec) fn stack<T>(
    texts: &Texts,
    found: Found,
    bytes: Vec<Vec<u8>>,
    scope: &mut dyn Scope,
    problems: &mut Vec<Problem>,
    make: &mut dyn FnMut(Whole<'_, '_>) -> T,
) -> Option<T> {
    let mut reader = Reader {
        problems,
        scope,
        variables: Vec::new(),
        declared: Declared::default(),
        place: Place::Nowhere(String::new()),
    };
    let mut stack = StackSpec {
        file: found.file,
        project_dir: found.project_dir,
        name: None,
        ports: Pool::default(),
        dotenv: Some(empty_dotenv()),
        env_file: Vec::new(),
        environment: IndexMap::new(),
        included: Vec::new(),
        shell: None,
        configs: IndexMap::new(),
        secrets: IndexMap::new(),
        services: IndexMap::new(),
        lingering: HashSet::new(),
        inactive: IndexMap::new(),
    };
    let shown_dir = found.shown.parent().unwrap_or(Path::new(""));
    let project = (stack.project_dir.clone(), shown_dir.to_path_buf());
    let mut assembly = Assembly::new(&mut reader, texts, project);
    let home = Home {
        dir: stack.project_dir.clone(),
        realm: 0,
    };
    let over = found.over.iter().map(|over| (&over.file, &over.shown));
    let all = std::iter::once((&stack.file, &found.shown)).chain(over);
    let mut roots = Vec::new();
    let mut sources = Vec::new();
    let mut is_readable = true;
    for ((file, shown), bytes) in all.zip(bytes) {
        match assembly.parse(bytes, shown.clone(), home.clone()) {
            Some((source, root)) => {
                sources.push(source);
                roots.extend(root.map(|root| (file.clone(), root)));
            }
            None => is_readable = false,
        }
    }
    if !is_readable {
        return None;
    }
    let Some((_, first)) = roots.first() else {
        let hint = format!("write at least:\n\n{}", crate::spec::find::STARTER);
        let span = Span::new(sources.first()?, 0..0);
        reader.error(code::EMPTY_FILE, &span, "the file is empty", hint);
        return None;
    };
    let is_ours = first.get("services").is_some();
    let mut keys = first.entries().iter().map(|entry| &entry.key);
    let theirs = keys.find(|key| key.text().is_some_and(|key| HASKELL_KEYS.contains(&key)));
    // `stack.yaml` is also the file of the Haskell tool Stack.
    if let Some(theirs) = theirs.filter(|_| !is_ours) {
        let message = "this is a file of the Haskell tool Stack, not of this `stack`";
        let hint = "keep ours under another name, and use `stack -f FILE` or `STACK_FILE`";
        reader.error(code::OTHER_TOOL, &theirs.span(), message, hint);
        return None;
    }
    // What all other texts may use comes first.
    assembly.reader.read_files(&mut stack, &roots);
    let root = assembly.all(&roots)?;
    let included = std::mem::take(&mut assembly.included);
    let files = std::mem::take(&mut assembly.roots);
    let start = first.span();
    Some(make(Whole {
        root: &root,
        reader,
        stack,
        included,
        files,
        start,
    }))
}

impl Whole<'_, '_> {
    /// Reads the tree into a spec.
    pub(in crate::spec) fn read(self, variables: &mut Vec<VariableUse>) -> StackSpec {
        let Self {
            root,
            mut reader,
            mut stack,
            included,
            files,
            start,
        } = self;
        for file in &files {
            reader.check_required(file);
        }
        let fields = reader.own_fields(root);
        for field in &fields {
            reader.place = Place::Nowhere(format!("`{}`", field.name));
            reader.read_key(&TOP, &mut stack, field);
        }
        for (realm, env_file, environment) in included {
            let environment = environment.map(|Entry { key, value }| {
                let (name, key, value) = ("environment", &*key, &*value);
                reader.top_environment(&Field { name, key, value })
            });
            let before = stack.included.len().max(realm);
            stack.included.resize_with(before, IncludedSpec::default);
            stack.included[realm - 1] = IncludedSpec {
                env_file,
                environment: environment.unwrap_or_default(),
            };
        }
        reader.check_references();
        let is_given = |field: &Field<'_, '_>| {
            field.name == "services" || TOP.suggest(field.name) == Some("services")
        };
        if !fields.iter().any(is_given) {
            reader.no_services("there is no `services`", &start);
        }
        *variables = reader.variables;
        stack
    }
}

impl Reader<'_> {
    /// Reads the keys that name files with variables, in the order in which they count: what all
    /// other texts may use.
    fn read_files<'t>(&mut self, stack: &mut StackSpec, roots: &[(PathBuf, Rc<Node<'t>>)]) {
        let find = |name| {
            let mut found: Option<(Rc<Node<'t>>, Rc<Node<'t>>)> = None;
            for entry in roots.iter().filter_map(|(_, root)| root.entry(name)) {
                let value = match &found {
                    Some((_, earlier)) => merge(earlier, &entry.value, &[name]),
                    None => Rc::clone(&entry.value),
                };
                found = strip(&value).map(|value| (Rc::clone(&entry.key), value));
            }
            found
        };
        if let Some((key, value)) = find("dotenv") {
            let (key, value) = (&key, &value);
            let name = "dotenv";
            stack.dotenv = self.dotenv_path(&Field { name, key, value });
        }
        let path = stack.dotenv.as_ref().map(|dotenv| dotenv.path.as_str());
        self.scope.on_dotenv(path, self.problems);
        if let Some((_, files)) = find("env_file") {
            let files = files.items().into_iter();
            let read = files.filter_map(|item| self.top_env_file(item));
            stack.env_file = read.collect();
        }
        if let Some((_, value)) = find("name").filter(|(_, value)| !value.is_null()) {
            let name = self.without_placeholders("`name`", |r| r.literal("`name`", &value));
            let name = name.and_then(|name| ProjectName::normalised(&name.value));
            if let Some(name) = name {
                self.scope.on_name(name.as_str());
            }
        }
    }

    fn no_services(&mut self, message: &str, span: &Span) {
        let hint = "a stack has at least one: `services:`, below it `web:`, below that `command: \
                    npm run dev`";
        self.error(code::NO_SERVICES, span, message, hint);
    }

    pub(super) fn version(&mut self, field: &Field<'_, '_>) {
        let message = "`version` does nothing";
        let span = field.key.span();
        self.warning(code::VERSION_IGNORED, &span, message, "remove the line");
    }

    pub(super) fn project_name(&mut self, field: &Field<'_, '_>) -> Option<ProjectName> {
        let template = self.text(field)?;
        let text = template.as_literal().filter(|_| !template.is_broken)?;
        let name = ProjectName::normalised(&text);
        if name.is_none() {
            self.error(
                code::BAD_NAME,
                &template.span,
                format!("`{text}` is not a valid project name"),
                "a name has at least one letter or digit of a-z and 0-9",
            );
        }
        name
    }

    pub(super) fn services(&mut self, field: &Field<'_, '_>) -> IndexMap<ServiceName, ServiceSpec> {
        let hint = "write each service as `name:`, and below it `command: …`, indented";
        let mut services = IndexMap::new();
        if !self.is_map_or_nothing(field, hint) {
            return services;
        }
        let entries = self.own_fields(field.value);
        if entries.is_empty() {
            self.no_services("there are no services in `services`", &field.key.span());
        }
        for entry in &entries {
            if let Some(service) = self.service(entry) {
                services.insert(service.name.clone(), service);
            }
        }
        services
    }

    pub(super) fn top_environment(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        self.place = Place::Stack("top-level `environment`");
        self.own_environment(field)
    }

    /// `dotenv:` as far as it says whether and where there is a file.
    fn dotenv_path(&mut self, field: &Field<'_, '_>) -> Option<DotenvSpec> {
        let mut dotenv = empty_dotenv();
        if field.value.text() == Some("false") {
            return None;
        }
        for entry in self.own_fields(field.value) {
            if entry.name == "path" {
                let path = self.without_placeholders("`dotenv.path`", |r| r.text(&entry));
                let path = path.filter(|path| !path.is_broken);
                dotenv.path = path
                    .and_then(|path| path.as_literal())
                    .unwrap_or(dotenv.path);
            }
        }
        Some(dotenv)
    }

    /// All other keys of `dotenv:`.
    pub(super) fn dotenv(&mut self, stack: &mut StackSpec, field: &Field<'_, '_>) {
        match (&field.value.kind, &mut stack.dotenv) {
            (Kind::Mapping(_), Some(dotenv)) => {
                self.read(&DOTENV, dotenv, field.value);
            }
            (Kind::Scalar { text, .. }, _)
                if matches!(text.as_ref(), "true" | "false") || field.value.is_null() => {}
            (Kind::Mapping(_) | Kind::Scalar { .. } | Kind::Sequence(_), _) => {
                let hint = "write `dotenv: {path: .env}`, or `dotenv: false` for no file";
                self.wrong_type("a map or `false`", field, hint);
            }
        }
    }

    /// The map form of an environment; a key of nothing is an empty line.
    pub(super) fn dotenv_vars(&mut self, field: &Field<'_, '_>) -> EnvironmentSpec {
        self.place = Place::Stack("`dotenv.vars`");
        if self.is_map_or_nothing(field, "write `KEY: value` for each line") {
            self.environment(field)
        } else {
            EnvironmentSpec::new()
        }
    }

    /// `ports.range`; an empty list is as if the key were not there.
    pub(super) fn pool_ranges(&mut self, pool: &mut Pool, field: &Field<'_, '_>) {
        let ranges = self.ranges(field);
        if !ranges.is_empty() {
            pool.ranges = ranges;
        }
    }

    pub(super) fn ranges(&mut self, field: &Field<'_, '_>) -> Vec<PortRange> {
        let what = format!("`ports.{}`", field.name);
        let settings = self.without_placeholders(&what, |r| r.settings(field, values::parse_range));
        settings
            .into_iter()
            .filter_map(|range| Some(known(range)?.value))
            .collect()
    }

    pub(super) fn shell(&mut self, field: &Field<'_, '_>) -> Option<Vec<String>> {
        const HINT: &str = "write the shell as a list: `shell: [/bin/bash, -c]`";
        let Kind::Sequence(items) = &field.value.kind else {
            self.wrong_type("a list", field, HINT);
            return None;
        };
        if items.is_empty() {
            self.error(
                code::EMPTY_COMMAND,
                &field.value.span(),
                "`shell` is empty",
                HINT,
            );
        }
        let words = self.words("shell", items);
        let words: Vec<String> = words.iter().filter_map(Template::as_literal).collect();
        (!words.is_empty()).then_some(words)
    }
}

fn empty_dotenv() -> DotenvSpec {
    DotenvSpec {
        path: DEFAULT_DOTENV.to_owned(),
        vars: IndexMap::new(),
        secrets: false,
    }
}
