//! The draft: a plan without its ports.
//!
//! [`Draft::new`] checks everything that can be checked before a port is touched, and says which
//! ports are wanted; [`Draft::finish`] makes the plan once they are known. The check makes the
//! whole plan with stand-in ports and throws it away, so that no mistake can hide until later.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::env_file::Entries;
use super::fingerprint::fingerprint;
use super::graph;
use super::identity::{instance_id, project_name, stand_in_name};
use super::model::{DotenvPlan, Plan};
use super::resolver::{Assignment, Ports, Resolver, stand_ins};
use super::unit::{Shared, layer, unit_plan};
use super::variables::{Caller, Variables};
use crate::ports::request::Pool;
use crate::spec::model::{EnvFileSpec, ServiceSpec, StackSpec};
use crate::spec::problem::Problem;
use crate::support::name::ProjectName;

/// What a plan depends on besides the file.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The caller's environment.
    pub caller: Caller,
    /// The project's name as the caller wants it (`-p`, `STACK_PROJECT_NAME`).
    pub project_name: Option<String>,
}

/// A plan without its ports.
#[derive(Debug, Clone)]
pub struct Draft {
    spec: StackSpec,
    variables: Variables,
    caller: Caller,
    project: ProjectName,
    instance: String,
    dotenv: Option<PathBuf>,
    /// For each service, its `env_file`s: each is read once, so that every plan of a draft says the
    /// same. `None` where the path is known only once the ports are.
    env_files: Vec<Vec<Option<Entries>>>,
    stand_ins: Assignment,
    fingerprint: String,
}

impl Draft {
    /// Drafts a plan; what is wrong joins `problems`, which then are in the order of the file.
    /// Nothing comes back without a name.
    pub fn new(spec: StackSpec, inputs: &Inputs, problems: &mut Vec<Problem>) -> Option<Self> {
        graph::check(&spec, problems);
        let (mut variables, mut dotenv) = Variables::collect(&spec, &inputs.caller, problems);
        let name = project_name(inputs.project_name.as_deref(), &spec, &variables, problems);
        // Without a name everything else is checked all the same.
        let is_named = name.is_some();
        let project = name.unwrap_or_else(stand_in_name);
        if let Some(path) = &mut dotenv
            && keep_apart(path, &project, &spec, &variables)
        {
            variables.read_own(path, &spec.project_dir, problems);
        }
        let mut draft = Self {
            instance: instance_id(&project, &spec.project_dir),
            stand_ins: stand_ins(&spec),
            spec,
            variables,
            caller: inputs.caller.clone(),
            project,
            dotenv,
            env_files: Vec::new(),
            fingerprint: String::new(),
        };
        draft.env_files = draft.read_env_files(problems);
        let trial = draft.make(draft.unallocated(), problems);
        draft.check_generated(&trial.values, problems);
        draft.fingerprint = fingerprint(&trial, &draft.spec);
        sort(problems, &draft.spec);
        is_named.then_some(draft)
    }

    /// The project's name.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The instance's id.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Where relative paths start.
    pub fn project_dir(&self) -> &Path {
        &self.spec.project_dir
    }

    /// The spec.
    pub fn spec(&self) -> &StackSpec {
        &self.spec
    }

    /// The path of the generated file; `None` with `dotenv: false`.
    pub fn dotenv_path(&self) -> Option<&Path> {
        self.dotenv.as_deref()
    }

    /// A fingerprint of what is configured, ports aside.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Where ports are taken from.
    pub fn pool(&self) -> Pool {
        Pool {
            ranges: self.spec.ports.ranges.clone(),
            exclude: self.spec.ports.exclude.clone(),
        }
    }

    /// The plan with the given ports.
    pub fn finish(&self, assignment: &Assignment, problems: &mut Vec<Problem>) -> Plan {
        let ports = Ports {
            numbers: assignment,
            are_allocated: true,
        };
        self.make(ports, problems)
    }

    /// The plan with stand-in ports, for a look at everything else.
    pub fn trial(&self) -> Plan {
        self.make(self.unallocated(), &mut Vec::new())
    }

    /// The stand-in ports.
    pub(super) fn unallocated(&self) -> Ports<'_> {
        Ports {
            numbers: &self.stand_ins,
            are_allocated: false,
        }
    }

    pub(super) fn make(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Plan {
        let values = self.values(ports, problems);
        let mut common = self.variables.files().clone();
        // What stands at the top level is the same for every service and belongs to none of them.
        let outside = Resolver {
            draft: self,
            service: None,
            ports,
        };
        layer(&self.spec.environment, &outside, &mut common, problems);
        let generated = values.iter().cloned();
        common.extend(generated.map(|(key, value)| (key, Some(value))));
        let shared = Shared {
            draft: self,
            ports,
            caller: &self.caller,
            common: &Arc::new(common),
            shell: self.shell(problems),
        };
        let units = self
            .spec
            .services
            .values()
            .enumerate()
            .map(|(index, service)| {
                let files = self.env_files_of(index, service, ports, problems);
                unit_plan(service, &files, &shared, problems)
            })
            .collect();
        Plan {
            project: self.project.clone(),
            instance: self.instance.clone(),
            project_dir: self.spec.project_dir.clone(),
            file: self.spec.file.clone(),
            dotenv: self.dotenv.clone().map(|path| DotenvPlan {
                path,
                entries: values.clone(),
            }),
            values,
            units,
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// Reads the services' `env_file`s, but for those whose path depends on a port.
    fn read_env_files(&self, problems: &mut Vec<Problem>) -> Vec<Vec<Option<Entries>>> {
        let services = self.spec.services.values();
        services
            .map(|service| {
                let files = service.env_file.iter();
                files
                    .map(|file| {
                        (!file.path.depends_on_ports()).then(|| {
                            self.read_env_file(file, service, self.unallocated(), problems)
                        })
                    })
                    .collect()
            })
            .collect()
    }

    fn env_files_of(
        &self,
        index: usize,
        service: &ServiceSpec,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let read = self.env_files.get(index).into_iter().flatten();
        let mut entries = Entries::new();
        for (file, read) in service.env_file.iter().zip(read) {
            match read {
                Some(read) => entries.extend(read.iter().cloned()),
                None if ports.are_allocated => {
                    entries.extend(self.read_env_file(file, service, ports, problems));
                }
                None => {}
            }
        }
        entries
    }

    fn read_env_file(
        &self,
        file: &EnvFileSpec,
        service: &ServiceSpec,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let resolver = Resolver {
            draft: self,
            service: Some(service),
            ports,
        };
        let before = problems.len();
        let shown = resolver.text(&file.path, problems);
        // A path that could not be made has its problem already.
        if problems[before..].iter().any(Problem::is_error) {
            return Entries::new();
        }
        self.variables
            .read_env_file(file, &shown, self.project_dir(), problems)
    }

    fn shell(&self, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        let words = self.spec.shell.as_ref()?.iter();
        Some(
            words
                .map(|word| self.variables.resolve(word, problems))
                .collect(),
        )
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.variables
    }
}

/// Puts problems in the order of the file: those of no file first, those of other files last.
fn sort(problems: &mut [Problem], spec: &StackSpec) {
    let service = spec.services.values().next();
    let own = service.map(|service| service.name_span.path().to_path_buf());
    problems.sort_by_cached_key(|problem| {
        let span = problem.labels.first().map(|label| &label.span);
        let path = span.map(|span| span.path().to_path_buf());
        (
            path.is_some(),
            path != own,
            path,
            span.map(|span| span.start),
        )
    });
}

/// A second copy in one directory (`-p other`) must not write into the first one's file: it gets
/// one of its own beside it. Says whether it did.
fn keep_apart(
    path: &mut PathBuf,
    project: &ProjectName,
    spec: &StackSpec,
    variables: &Variables,
) -> bool {
    let usual = project_name(None, spec, variables, &mut Vec::new());
    match path.file_name() {
        Some(name) if usual.as_ref() != Some(project) => {
            let name = format!("{}.{project}", name.to_string_lossy());
            path.set_file_name(name);
            true
        }
        Some(_) | None => false,
    }
}
