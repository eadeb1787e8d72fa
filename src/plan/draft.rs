//! The draft: a plan without its ports.
//!
//! [`Draft::new`] checks everything that can be checked before a port is touched, and says which
//! ports are wanted; [`Draft::finish`] makes the plan once they are known. The check makes the
//! whole plan with stand-in ports and throws it away, so that no mistake can hide until later.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::identity::{instance_id, project_name};
use super::model::{DotenvPlan, Plan};
use super::unit::unit_plan;
use super::variables::{Caller, Variables};
use super::{dependencies, graph};
use crate::ports::request::{Pool, PortKey, PortRequest, Want, Wish};
use crate::spec::model::{PortWant, ServiceSpec, StackSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Lookup, Placeholder, Template};
use crate::support::hash::fnv1a;
use crate::support::name::{PortName, ProjectName, ServiceName};
use crate::support::port_range::parse_port;

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
    fingerprint: String,
}

/// The ports of a plan: the number of every key.
pub type Assignment = HashMap<PortKey, u16>;

/// What placeholders are resolved against.
pub(super) struct Resolver<'a> {
    pub(super) draft: &'a Draft,
    /// The service in which the text stands.
    pub(super) service: Option<&'a ServiceSpec>,
    pub(super) ports: Ports<'a>,
}

/// Where the numbers of ports come from.
#[derive(Clone, Copy)]
pub(super) enum Ports<'a> {
    /// Every port is this one: for a check.
    StandIn(u16),
    /// They were allocated.
    Assigned(&'a Assignment),
}

impl Ports<'_> {
    fn get(self, key: &PortKey) -> Option<u16> {
        match self {
            Self::StandIn(port) => Some(port),
            Self::Assigned(assignment) => assignment.get(key).copied(),
        }
    }
}

/// The port that stands in for all of them in a check.
const STAND_IN: u16 = 65535;

impl Draft {
    /// Drafts a plan; what is wrong goes to `problems`. Nothing comes back without a name.
    pub fn new(spec: StackSpec, inputs: &Inputs, problems: &mut Vec<Problem>) -> Option<Self> {
        problems.extend(graph::check(&spec));
        let (variables, mut dotenv) = Variables::collect(&spec, &inputs.caller, problems);
        let project = project_name(inputs.project_name.as_deref(), &spec, &variables, problems)?;
        if let Some(path) = &mut dotenv {
            keep_apart(path, &project, &spec, &variables);
        }
        let instance = instance_id(&project, &spec.project_dir);
        let mut draft = Self {
            spec,
            variables,
            caller: inputs.caller.clone(),
            project,
            instance,
            dotenv,
            fingerprint: String::new(),
        };
        draft.check_generated_keys(problems);
        let trial = draft.make(Ports::StandIn(STAND_IN), problems);
        draft.fingerprint = fingerprint(&trial);
        Some(draft)
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

    /// Every port that is wanted, in the order of the file, with the callers' wishes. A wish that is
    /// no port number is left out, with a warning.
    pub fn requests(&self, problems: &mut Vec<Problem>) -> Vec<PortRequest> {
        let mut requests = Vec::new();
        for service in self.spec.services.values() {
            for (name, declaration) in &service.ports {
                let want = match declaration.want {
                    PortWant::Auto => Want::Auto,
                    PortWant::Prefer(port) => Want::Prefer(port),
                    PortWant::Within(range) => Want::Within(range),
                    PortWant::Fixed(port) => Want::Fixed(port),
                };
                let wish = self.wish(&service.name, name, problems);
                let key = PortKey {
                    service: service.name.clone(),
                    name: name.clone(),
                };
                requests.push(PortRequest { key, want, wish });
            }
        }
        requests
    }

    fn wish(
        &self,
        service: &ServiceName,
        name: &PortName,
        problems: &mut Vec<Problem>,
    ) -> Option<Wish> {
        let key = name.env_key(service);
        let shown = self
            .dotenv
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let from_caller = self
            .variables
            .of_caller(&key)
            .map(|value| (value, format!("`{key}` in the environment")));
        let from_dotenv = || {
            let value = self.variables.of_own_dotenv(&key)?;
            Some((value, format!("`{key}` in `{shown}`")))
        };
        let (value, origin) = from_caller.or_else(from_dotenv)?;
        if let Ok(port) = parse_port(value) {
            return Some(Wish { port, origin });
        }
        let mut problem = Problem::without_place(
            "stack::plan::wish",
            format!("{origin} is `{value}`, which is no port number; it is ignored"),
        )
        .hint("set it to a number from 1 to 65535, or remove it");
        problem.severity = crate::spec::Severity::Warning;
        problems.push(problem);
        None
    }

    /// The plan with the given ports.
    pub fn finish(&self, assignment: &Assignment, problems: &mut Vec<Problem>) -> Plan {
        self.make(Ports::Assigned(assignment), problems)
    }

    /// The plan with stand-in ports, for a look at everything else.
    pub fn trial(&self) -> Plan {
        self.make(Ports::StandIn(STAND_IN), &mut Vec::new())
    }

    fn make(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Plan {
        let values = self.values(ports, problems);
        let files: Vec<(String, Option<String>)> = self.variables.files.clone();
        let shared = super::unit::Shared {
            draft: self,
            ports,
            caller: &self.caller,
            files: &files,
            values: &values,
            shell: self.shell(problems),
        };
        let units: Vec<_> = self
            .spec
            .services
            .values()
            .map(|service| unit_plan(service, &shared, problems))
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

    /// The generated keys with their values: every port, then `dotenv.vars`.
    fn values(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for service in self.spec.services.values() {
            for name in service.ports.keys() {
                let key = PortKey {
                    service: service.name.clone(),
                    name: name.clone(),
                };
                if let Some(port) = ports.get(&key) {
                    values.push((name.env_key(&service.name), port.to_string()));
                }
            }
        }
        let resolver = Resolver {
            draft: self,
            service: None,
            ports,
        };
        for (key, variable) in self.spec.dotenv.iter().flat_map(|dotenv| &dotenv.vars) {
            if let Some(value) = &variable.value {
                values.push((key.clone(), value.resolve(&resolver, problems)));
            }
        }
        values
    }

    fn shell(&self, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        self.spec.shell.as_ref().map(|words| {
            words
                .iter()
                .map(|word| self.variables.resolve(word, problems))
                .collect()
        })
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Two services, or a service and a line of `dotenv.vars`, must not want one generated key.
    fn check_generated_keys(&self, problems: &mut Vec<Problem>) {
        let mut seen: HashMap<String, (Span, String)> = HashMap::new();
        let ports = self.spec.services.values().flat_map(|service| {
            service.ports.iter().map(|(name, declaration)| {
                let what = format!("port `{name}` of service `{}`", service.name);
                (name.env_key(&service.name), declaration.span.clone(), what)
            })
        });
        let vars =
            self.spec
                .dotenv
                .iter()
                .flat_map(|dotenv| &dotenv.vars)
                .map(|(key, variable)| {
                    (
                        key.clone(),
                        variable.key_span.clone(),
                        format!("`dotenv.vars` key `{key}`"),
                    )
                });
        for (key, span, what) in ports.chain(vars) {
            if let Some((first, other)) = seen.get(&key) {
                problems.push(
                    Problem::error(
                        "stack::plan::key_collision",
                        format!("{what} and {other} would both be exported as `{key}`"),
                        &span,
                    )
                    .also(first, "the first one")
                    .hint("rename one of them"),
                );
            } else {
                seen.insert(key, (span, what));
            }
        }
    }

    /// The indices of a service's dependencies.
    pub(super) fn dependencies(&self, service: &ServiceSpec) -> Vec<super::model::DependencyPlan> {
        dependencies(&self.spec, service)
    }
}

/// A second copy in one directory (`-p other`) must not write into the first one's file: it gets
/// one of its own beside it.
fn keep_apart(path: &mut PathBuf, project: &ProjectName, spec: &StackSpec, variables: &Variables) {
    let usual = project_name(None, spec, variables, &mut Vec::new());
    if usual.as_ref() != Some(project)
        && let Some(name) = path.file_name()
    {
        let name = format!("{}.{project}", name.to_string_lossy());
        path.set_file_name(name);
    }
}

/// Hashes what is configured, in the form in which it would run.
fn fingerprint(plan: &Plan) -> String {
    let mut text = format!("{:?}{:?}", plan.dotenv, plan.values);
    for unit in &plan.units {
        let changes: Vec<_> = unit.environment.changes.iter().collect();
        let parts = (
            (
                &unit.service,
                &unit.execution,
                &unit.directory,
                changes,
                &unit.labels,
            ),
            (
                unit.stop_signal,
                unit.grace,
                unit.restart,
                &unit.success_exit_codes,
            ),
            (&unit.health, &unit.depends_on, &unit.ports),
        );
        // Writing to a string cannot fail.
        let _ = write!(text, "{parts:?}");
    }
    format!("{:016x}", fnv1a(text.as_bytes()))
}

impl Lookup for Resolver<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.draft.variables.get(name)
    }

    fn placeholder(&self, placeholder: &Placeholder, span: &Span) -> Result<String, Problem> {
        let port = |service: &ServiceName, name: &PortName| {
            let key = PortKey {
                service: service.clone(),
                name: name.clone(),
            };
            self.ports
                .get(&key)
                .map(|port| port.to_string())
                .ok_or_else(|| {
                    Problem::error(
                        "stack::plan::unknown_port",
                        format!("service `{service}` has no port `{name}`"),
                        span,
                    )
                })
        };
        let own = |name: &PortName| match self.service {
            Some(service) => port(&service.name, name),
            None => Err(outside(span)),
        };
        match placeholder {
            Placeholder::Declare(name, _) | Placeholder::Own(name) => own(name),
            Placeholder::Other(service, name) | Placeholder::All(service, name) => {
                port(service, name)
            }
            Placeholder::ProjectName => Ok(self.draft.project.to_string()),
            Placeholder::ProjectDir => Ok(self.draft.project_dir().to_string_lossy().into_owned()),
            Placeholder::Instance => Ok(self.draft.instance.clone()),
            Placeholder::Service => match self.service {
                Some(service) => Ok(service.name.to_string()),
                None => Err(outside(span)),
            },
            Placeholder::Replica => match self.service {
                Some(_) => Ok("1".to_owned()),
                None => Err(outside(span)),
            },
        }
    }
}

fn outside(span: &Span) -> Problem {
    Problem::error(
        "stack::plan::outside_service",
        "this placeholder means something only within a service",
        span,
    )
    .hint("name the service: `$<api.PORT>`")
}

/// A text within a service, resolved.
pub(super) fn text(
    template: &Template,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> String {
    template.resolve(resolver, problems)
}
