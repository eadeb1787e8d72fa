//! The draft: a plan without its ports.
//!
//! [`Draft::new`] checks everything that can be checked before a port is touched, and says which
//! ports are wanted; [`Draft::finish`] makes the plan once they are known. The check makes the
//! whole plan with stand-in ports and throws it away, so that no mistake can hide until later.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::fingerprint::fingerprint;
use super::fixed;
use super::graph;
use super::identity::{instance_id, project_name, stand_in_name};
use super::make::ReadEnvFile;
use super::model::Plan;
use super::port_argument::{PortArgument, asked};
use super::replicas::{Replicas, replicas};
use super::resolver::{Assignment, Ports, stand_ins};
use super::variables::{Caller, Variables};
use crate::ports::request::{Pool, PortKey};
use crate::spec::model::{PortsSpec, ServiceSpec, Setting, StackSpec};
use crate::spec::problem::Problem;
use crate::support::name::{ProjectName, ServiceName};
use crate::support::port_range::PortRange;

/// What a plan depends on besides the file.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The caller's environment.
    pub caller: Caller,
    /// The project's name as the caller wants it (`-p`, `STACK_PROJECT_NAME`).
    pub project_name: Option<String>,
    /// How many replicas services should have (`--scale`), whatever the file says.
    pub scale: IndexMap<ServiceName, u32>,
    /// Which ports should have which numbers (`--port`).
    pub ports: Vec<PortArgument>,
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
    pool: Pool,
    /// For each service, how many there are of it.
    replicas: Vec<Replicas>,
    /// What `--port` asks for.
    asked: IndexMap<PortKey, u16>,
    /// For each service, its `env_file`s.
    env_files: Vec<Vec<ReadEnvFile>>,
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
        let replicas = replicas(&spec, &inputs.scale, &variables, problems);
        fixed::check(&spec, &replicas, problems);
        let mut draft = Self {
            instance: instance_id(&project, &spec.project_dir),
            pool: pool(&spec.ports, &variables, problems),
            stand_ins: stand_ins(&spec, &replicas),
            asked: asked(&inputs.ports, &spec, &replicas, problems),
            replicas,
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
        draft.fingerprint = match draft.without_idle_scale(&inputs.scale) {
            None => fingerprint(&trial, &draft),
            Some(draft) => fingerprint(&draft.trial(), &draft),
        };
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
        self.pool.clone()
    }

    /// The ports that `--port` asks for, with the numbers.
    pub fn asked_ports(&self) -> &IndexMap<PortKey, u16> {
        &self.asked
    }

    /// How many replicas a service is to have; 0 where it does not exist.
    pub fn replica_count(&self, service: &ServiceName) -> u32 {
        let replicas = self.replicas_of(service);
        replicas.map_or(0, |replicas| replicas.count)
    }

    /// The same draft with the replicas of a stack that runs: `running` has the services that were
    /// scaled and how far; any other one has a single replica, of which nothing was said. A service
    /// that is not part of the running stack, as `is_known` says, stays as the file has it.
    ///
    /// The fingerprint stays that of the file.
    #[must_use]
    pub fn as_running(
        mut self,
        running: &IndexMap<ServiceName, u32>,
        is_known: impl Fn(&ServiceName) -> bool,
    ) -> Self {
        for (name, replicas) in self.spec.services.keys().zip(&mut self.replicas) {
            match running.get(name) {
                Some(&count) => {
                    *replicas = Replicas {
                        count,
                        is_said: true,
                    };
                }
                None if is_known(name) => {
                    *replicas = Replicas {
                        count: 1,
                        is_said: false,
                    };
                }
                None => {}
            }
        }
        self.stand_ins = stand_ins(&self.spec, &self.replicas);
        // Whatever is wrong with them was told when the draft was made.
        self.env_files = self.read_env_files(&mut Vec::new());
        self
    }

    /// The same draft without what `--scale` says and the file means anyway: that there is one of a
    /// service. It only makes the numbered keys, and a stack that runs must not look like another
    /// one for that. `None` where nothing of the kind was said.
    fn without_idle_scale(&self, scale: &IndexMap<ServiceName, u32>) -> Option<Self> {
        let is_idle = |service: &ServiceSpec| {
            service.replicas.is_empty() && scale.get(&service.name) == Some(&1)
        };
        if !self.spec.services.values().any(is_idle) {
            return None;
        }
        let mut draft = self.clone();
        for (service, replicas) in self.spec.services.values().zip(&mut draft.replicas) {
            replicas.is_said &= !is_idle(service);
        }
        Some(draft)
    }

    /// How many there are of each service, in the order of the file.
    pub(super) fn replicas(&self) -> &[Replicas] {
        &self.replicas
    }

    /// How many there are of a service; `None` if it does not exist.
    pub(super) fn replicas_of(&self, service: &ServiceName) -> Option<Replicas> {
        let index = self.spec.services.get_index_of(service)?;
        self.replicas.get(index).copied()
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

    pub(super) fn variables(&self) -> &Variables {
        &self.variables
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn env_files(&self) -> &[Vec<ReadEnvFile>] {
        &self.env_files
    }
}

/// Where ports are taken from, once the variables are known.
fn pool(ports: &PortsSpec, variables: &Variables, problems: &mut Vec<Problem>) -> Pool {
    let mut settle = |settings: &[Setting<PortRange>]| -> Vec<PortRange> {
        settings
            .iter()
            .filter_map(|setting| variables.setting(setting, problems))
            .collect()
    };
    let mut ranges = settle(&ports.ranges);
    if ranges.is_empty() {
        ranges.push(PortRange::DEFAULT);
    }
    Pool {
        ranges,
        exclude: settle(&ports.exclude),
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
