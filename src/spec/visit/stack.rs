//! The top level.

use std::sync::Arc;

use indexmap::IndexMap;

use super::keys::{DOTENV, TOP};
use super::scope::{Declared, Place};
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::find::Found;
use crate::spec::load::Scope;
use crate::spec::model::{DotenvSpec, EnvironmentSpec, ServiceSpec, StackSpec};
use crate::spec::problem::{Problem, Report, Source, Span};

use crate::spec::template::Template;
use crate::spec::tree::{Kind, Node};
use crate::support::name::{ProjectName, ServiceName};
use crate::support::port_range::{Pool, PortRange};

/// Keys of the Haskell build tool whose file has the same name.
const HASKELL_KEYS: [&str; 4] = ["resolver", "snapshot", "packages", "extra-deps"];

/// The default path of the generated file.
const DEFAULT_DOTENV: &str = ".env";

/// Reads the whole file, of which the path and the project directory are given. `None` when there
/// is nothing to build a spec of.
pub(in crate::spec) fn stack(
    root: Option<&Node<'_>>,
    source: &Arc<Source>,
    found: Found,
    scope: &mut dyn Scope,
    problems: &mut Vec<Problem>,
) -> Option<StackSpec> {
    let Some(root) = root.filter(|root| !root.is_null()) else {
        let span = Span::new(source, 0..0);
        let hint = format!("write at least:\n\n{}", crate::spec::find::STARTER);
        problems.error(code::EMPTY_FILE, &span, "the file is empty", hint);
        return None;
    };
    let mut reader = Reader {
        problems,
        scope,
        declared: Declared::default(),
        place: Place::Nowhere(String::new()),
    };
    if !matches!(root.kind, Kind::Mapping(_)) {
        let hint = "it begins with `services:`, and below it one entry for each process";
        reader.wrong_item("a `stack.yaml`", "a map", root, hint);
        return None;
    }
    let fields = reader.own_fields(root);
    let mut keys = fields.iter();
    let is_ours = keys.clone().any(|field| field.name == "services");
    let theirs = keys.find(|field| HASKELL_KEYS.contains(&field.name));
    // `stack.yaml` is also the file of the Haskell tool Stack.
    if let Some(theirs) = theirs.filter(|_| !is_ours) {
        let message = "this is a file of the Haskell tool Stack, not of this `stack`";
        let hint = "keep ours under another name, and use `stack -f FILE` or `STACK_FILE`";
        reader.error(code::OTHER_TOOL, &theirs.key.span(), message, hint);
        return None;
    }
    let mut stack = StackSpec {
        file: found.file,
        project_dir: found.project_dir,
        name: None,
        ports: Pool::default(),
        dotenv: Some(empty_dotenv()),
        env_file: Vec::new(),
        environment: IndexMap::new(),
        shell: None,
        configs: IndexMap::new(),
        secrets: IndexMap::new(),
        services: IndexMap::new(),
    };
    reader.read_files(&mut stack, &fields);
    for field in &fields {
        reader.place = Place::Nowhere(format!("`{}`", field.name));
        reader.read_key(&TOP, &mut stack, field);
    }
    reader.check_references();
    let is_given = |field: &Field<'_, '_>| {
        field.name == "services" || TOP.suggest(field.name) == Some("services")
    };
    if !fields.iter().any(is_given) {
        reader.no_services("there is no `services`", &root.span());
    }
    Some(stack)
}

impl Reader<'_> {
    /// Reads the keys that name files with variables, in the order in which they count: what all
    /// other texts may use.
    fn read_files(&mut self, stack: &mut StackSpec, fields: &[Field<'_, '_>]) {
        let find = |name| {
            fields
                .iter()
                .find(move |field: &&Field<'_, '_>| field.name == name)
        };
        if let Some(field) = find("dotenv") {
            stack.dotenv = self.dotenv_path(field);
        }
        let path = stack.dotenv.as_ref().map(|dotenv| dotenv.path.as_str());
        self.scope.on_dotenv(path, self.problems);
        for item in find("env_file")
            .into_iter()
            .flat_map(|field| field.value.items())
        {
            let file = self.without_placeholders("`env_file`", |r| r.env_file(item));
            // A path that could not be made has its problem already.
            let Some(file) =
                file.filter(|file| file.path.as_literal().is_some() && !file.path.is_broken)
            else {
                continue;
            };
            self.scope.on_env_file(&file, self.problems);
            stack.env_file.push(file);
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
        self.environment(field)
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
