//! The top level.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::keys::{DOTENV, TOP};
use super::scope::{Declared, Place};
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{DotenvSpec, PortsSpec, ServiceSpec, StackSpec, VariableSpec};
use crate::spec::problem::{Problem, Source};
use crate::spec::problems::Problems;
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::name::{ProjectName, ServiceName};

/// Keys of the Haskell build tool whose file has the same name.
const HASKELL_KEYS: [&str; 4] = ["resolver", "snapshot", "packages", "extra-deps"];

/// Reads the whole file. `None` when there is nothing to build a spec of.
pub(in crate::spec) fn stack(
    root: Option<&Node<'_>>,
    source: &Arc<Source>,
    file: PathBuf,
    project_dir: PathBuf,
    problems: &mut Problems,
) -> Option<StackSpec> {
    let Some(root) = root.filter(|root| !root.is_null()) else {
        problems.push(empty_file(source));
        return None;
    };
    let mut reader = Reader {
        source,
        problems,
        declared: Declared::default(),
        place: Place::Nowhere(String::new()),
    };
    if !matches!(root.kind, Kind::Mapping(_)) {
        let hint = "it begins with `services:`, and below it one entry for each process";
        reader.wrong_node("a `stack.yaml`", "a map", root, None, hint);
        return None;
    }
    let fields = reader.own_fields(root);
    if let Some(problem) = other_tool(&reader, &fields) {
        reader.problems.push(problem);
        return None;
    }
    let mut spec = StackSpec {
        file,
        project_dir,
        name: None,
        ports: PortsSpec::default(),
        dotenv: Some(empty_dotenv()),
        env_file: Vec::new(),
        environment: IndexMap::new(),
        shell: None,
        services: IndexMap::new(),
    };
    if let Some(services) = fields.iter().find(|field| field.name == "services")
        && let Kind::Mapping(entries) = &services.value.kind
    {
        reader.declared = Declared::collect(
            entries
                .iter()
                .filter_map(|entry| Some((entry.key.text()?, entry.value.as_ref())))
                .filter(|(name, _)| !name.starts_with("x-")),
        );
    }
    for field in &fields {
        reader.top_key(&mut spec, field);
    }
    let is_given = |field: &Field<'_, '_>| {
        field.name == "services" || TOP.suggest(field.name) == Some("services")
    };
    if !fields.iter().any(is_given) {
        let span = reader.span(root);
        let problem = no_services("there is no `services`", &span);
        reader.problems.push(problem);
    }
    Some(spec)
}

impl Reader<'_> {
    fn top_key(&mut self, spec: &mut StackSpec, field: &Field<'_, '_>) {
        self.place = Place::Nowhere(format!("`{}`", field.name));
        match field.name {
            "name" => spec.name = self.project_name(field),
            "services" => spec.services = self.services(field),
            "ports" => spec.ports = self.ports(field),
            "dotenv" => spec.dotenv = self.dotenv(field),
            "env_file" => spec.env_file = self.env_files(field),
            "environment" => {
                self.place = Place::Stack("top-level `environment`");
                spec.environment = self.environment(field);
            }
            "shell" => spec.shell = self.shell(field),
            "version" => {
                let span = self.span(field.key);
                self.problems.push(
                    Problem::warning(code::VERSION_IGNORED, "`version` does nothing", &span)
                        .hint("remove the line"),
                );
            }
            _ => self.refuse_key(&TOP, field.key, None),
        }
    }

    fn project_name(
        &mut self,
        field: &Field<'_, '_>,
    ) -> Option<crate::spec::problem::Spanned<Template>> {
        let value = self.filled_template(field, TemplateKind::Plain)?;
        let span = value.span.clone();
        if let Some(text) = value.as_literal()
            && ProjectName::normalised(&text).is_none()
        {
            self.problems.push(
                Problem::error(
                    code::BAD_NAME,
                    format!("`{text}` is no name for a project"),
                    &span,
                )
                .hint("a name has at least one letter or digit of a-z and 0-9"),
            );
            return None;
        }
        Some(crate::spec::problem::Spanned { value, span })
    }

    fn services(&mut self, field: &Field<'_, '_>) -> IndexMap<ServiceName, ServiceSpec> {
        let mut services = IndexMap::new();
        let entries = match &field.value.kind {
            Kind::Mapping(_) => self.own_fields(field.value),
            Kind::Scalar { .. } if field.value.is_null() => Vec::new(),
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                let hint = "write each service as `name:`, and below it `command: …`, indented";
                self.wrong_type("`services`", "a map", field, hint);
                return services;
            }
        };
        if entries.is_empty() {
            let span = self.span(field.key);
            self.problems
                .push(no_services("there are no services in `services`", &span));
        }
        for entry in &entries {
            if let Some(service) = self.service(entry) {
                services.insert(service.name.clone(), service);
            }
        }
        services
    }

    fn dotenv(&mut self, field: &Field<'_, '_>) -> Option<DotenvSpec> {
        let mut dotenv = empty_dotenv();
        match &field.value.kind {
            Kind::Mapping(_) => {}
            Kind::Scalar { text, .. } if text == "false" => return None,
            Kind::Scalar { text, .. } if text == "true" || field.value.is_null() => {
                return Some(dotenv);
            }
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                let hint = "write `dotenv: {path: .env}`, or `dotenv: false` for no file";
                self.wrong_type("`dotenv`", "a map or `false`", field, hint);
                return Some(dotenv);
            }
        }
        for entry in self.own_fields(field.value) {
            match entry.name {
                "path" => {
                    self.place = Place::Nowhere("`dotenv.path`".to_owned());
                    dotenv.path = self.filled_template(&entry, TemplateKind::Plain);
                }
                "vars" => {
                    self.place = Place::Stack("`dotenv.vars`");
                    dotenv.vars = self.dotenv_vars(&entry);
                }
                _ => self.refuse_key(&DOTENV, entry.key, None),
            }
        }
        Some(dotenv)
    }

    /// The map form of an environment; a key of nothing is an empty line.
    fn dotenv_vars(&mut self, field: &Field<'_, '_>) -> IndexMap<String, VariableSpec> {
        if !matches!(field.value.kind, Kind::Mapping(_)) && !field.value.is_null() {
            self.wrong_type("`vars`", "a map", field, "write `KEY: value` for each line");
            return IndexMap::new();
        }
        self.environment(field)
    }

    fn shell(&mut self, field: &Field<'_, '_>) -> Option<Vec<Template>> {
        const HINT: &str = "write the shell as a list: `shell: [/bin/bash, -c]`";
        let Kind::Sequence(items) = &field.value.kind else {
            self.wrong_type("`shell`", "a list", field, HINT);
            return None;
        };
        let items: Vec<&Node<'_>> = items.iter().map(AsRef::as_ref).collect();
        let words = self.words("shell", &items);
        if items.is_empty() {
            let span = self.span(field.value);
            self.problems
                .push(Problem::error(code::EMPTY_COMMAND, "`shell` is empty", &span).hint(HINT));
        }
        (!words.is_empty()).then_some(words)
    }
}

fn empty_dotenv() -> DotenvSpec {
    DotenvSpec {
        path: None,
        vars: IndexMap::new(),
    }
}

fn no_services(message: &str, span: &crate::spec::problem::Span) -> Problem {
    Problem::error(code::NO_SERVICES, message, span).hint(
        "a stack has at least one: `services:`, below it `web:`, below that `command: npm run dev`",
    )
}

fn empty_file(source: &Arc<Source>) -> Problem {
    let span = crate::spec::problem::Span {
        source: Arc::clone(source),
        start: 0,
        end: 0,
    };
    Problem::error(code::EMPTY_FILE, "the file is empty", &span)
        .hint(format!("write at least:\n\n{}", crate::spec::find::STARTER))
}

/// `stack.yaml` is also the file of the Haskell tool Stack.
fn other_tool(reader: &Reader<'_>, fields: &[Field<'_, '_>]) -> Option<Problem> {
    let is_ours = fields.iter().any(|field| field.name == "services");
    let theirs = fields
        .iter()
        .find(|field| HASKELL_KEYS.contains(&field.name))?;
    (!is_ours).then(|| {
        Problem::error(
            code::OTHER_TOOL,
            "this is a file of the Haskell tool Stack, not of this `stack`",
            &reader.span(theirs.key),
        )
        .hint("keep ours under another name, and use `stack -f FILE` or `STACK_FILE`")
    })
}
