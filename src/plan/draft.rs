//! The draft: a plan without its ports.
//!
//! [`Draft::new`] checks everything that can be checked before a port is touched, and says which
//! ports are wanted; [`Draft::finish`] makes the plan once they are known. The check makes the
//! whole plan with stand-in ports and throws it away, so that no mistake can hide until later.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::assignment::{Assignment, Ports, stand_ins};
use super::fingerprint::fingerprint;
use super::fixed;
use super::graph;
use super::home::Home;
use super::identity::{instance_id, project_name, stand_in_name};
use super::model::Plan;
use super::port_argument::asked as asked_ports;
use super::profiles::{keep_given_files, select};
use super::replicas::{Replicas, replicas};
use super::sources::{Caller, Sources};
use super::variables::{PROJECT_NAME, Variables};
use crate::ports::request::{Pool, PortKey};
use crate::spec::model::StackSpec;
use crate::spec::problem::{Problem, in_order};
use crate::spec::{VariableUse, load};
use crate::support::name::{ProjectName, ServiceName};

/// A plan without its ports.
#[derive(Debug, Clone)]
pub struct Draft {
    sources: Arc<Sources>,
    spec: StackSpec,
    pub(super) variables: Variables,
    pub(super) caller: Caller,
    project: ProjectName,
    instance: String,
    dotenv: Option<PathBuf>,
    /// How many there are of each service, in the order of the file.
    pub(super) replicas: Vec<Replicas>,
    /// What `--port` asks for.
    asked: IndexMap<PortKey, u16>,
    stand_ins: Assignment,
    home: Home,
    fingerprint: String,
    /// Every `${…}` of the files.
    pub(super) uses: Vec<VariableUse>,
}

impl Draft {
    /// Drafts a plan, and says all that is wrong, in the order in which one reads. Nothing comes
    /// back where the file cannot be read at all, or there is no name.
    pub fn new(sources: impl Into<Arc<Sources>>) -> (Option<Self>, Vec<Problem>) {
        let sources = sources.into();
        let first = sources.file.shown.clone();
        let mut problems = Vec::new();
        let mut variables = Variables::new(&sources, &mut problems);
        let texts = sources.bytes.iter().map(|bytes| bytes.0.clone()).collect();
        let loaded = load(sources.file.clone(), texts, &mut variables);
        problems.extend(loaded.problems);
        let mut draft = loaded
            .spec
            .and_then(|spec| Self::of_spec(spec, variables, sources, &mut problems));
        if let Some(draft) = &mut draft {
            draft.uses = loaded.variables;
        }
        (draft, in_order(problems, &first))
    }

    fn of_spec(
        mut spec: StackSpec,
        mut variables: Variables,
        sources: Arc<Sources>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let arguments = &sources.arguments;
        select(&mut spec, arguments, &variables);
        keep_given_files(&mut spec, problems);
        graph::check(&spec, problems);
        let own = variables
            .of_own_dotenv(PROJECT_NAME)
            .map(|(name, _)| name.to_owned());
        let asked = arguments.project_name.as_deref().or(own.as_deref());
        let name = project_name(asked, &spec, problems);
        let usual = project_name(own.as_deref(), &spec, &mut Vec::new());
        // Without a name everything else is checked all the same.
        let is_named = name.is_some();
        let project = name.unwrap_or_else(stand_in_name);
        let mut dotenv = spec
            .dotenv
            .as_ref()
            .map(|dotenv| spec.project_dir.join(&dotenv.path));
        if let Some(path) = &mut dotenv
            && keep_apart(path, &project, usual.as_ref())
        {
            variables.read_own(path, problems);
        }
        let replicas = replicas(&spec, &arguments.scale, problems);
        fixed::check(&spec, &replicas, problems);
        let mut draft = Self {
            instance: instance_id(&project, &spec.project_dir),
            stand_ins: stand_ins(&spec, &replicas),
            home: Home::usual(&project, &spec.project_dir),
            asked: asked_ports(&arguments.ports, &spec, &replicas, problems),
            replicas,
            spec,
            variables,
            caller: sources.caller(),
            project,
            dotenv,
            fingerprint: String::new(),
            uses: Vec::new(),
            sources,
        };
        let preview = draft.make(draft.unallocated(), problems);
        draft.check_generated(&preview.values, problems);
        draft.fingerprint = fingerprint(&preview, &draft.spec, &draft.replicas, draft.pool());
        // Where everything is does not change what is configured.
        if let Some(home) = draft.sources.home() {
            draft.home = home;
        }
        is_named.then_some(draft)
    }

    /// What it was made of: whoever drafts from this makes the same draft.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
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

    /// Where the instance keeps what is its own.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// The same draft for an instance whose places and secrets are known; whoever drafts from the same
    /// sources knows them, too. The fingerprint stays the same.
    #[must_use]
    pub fn at_home(self, home: Home) -> Self {
        self.sources.set_home(home.clone());
        Self { home, ..self }
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
    pub fn pool(&self) -> &Pool {
        &self.spec.ports
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
        self
    }

    /// How many there are of a service; `None` if it does not exist.
    pub(super) fn replicas_of(&self, service: &ServiceName) -> Option<Replicas> {
        let index = self.spec.services.get_index_of(service)?;
        self.replicas.get(index).copied()
    }

    /// The plan with the given ports. What is wrong with several replicas is told once.
    pub fn finish(&self, assignment: &Assignment, problems: &mut Vec<Problem>) -> Plan {
        let ports = Ports {
            numbers: assignment,
            are_allocated: true,
        };
        let plan = self.make(ports, problems);
        *problems = in_order(std::mem::take(problems), &self.sources.file.shown);
        Plan {
            // Everything that is needed was read.
            contents: self.sources.contents(),
            ..plan
        }
    }

    /// The plan with stand-in ports, for a look at everything else.
    pub fn preview(&self) -> Plan {
        self.make(self.unallocated(), &mut Vec::new())
    }

    /// The stand-in ports.
    pub(super) fn unallocated(&self) -> Ports<'_> {
        Ports {
            numbers: &self.stand_ins,
            are_allocated: false,
        }
    }
}

/// A second copy in one directory (`-p other`) must not write into the first one's file: it gets
/// one of its own beside it. Says whether it did.
fn keep_apart(path: &mut PathBuf, project: &ProjectName, usual: Option<&ProjectName>) -> bool {
    match path.file_name() {
        Some(name) if usual != Some(project) => {
            let name = format!("{}.{project}", name.to_string_lossy());
            path.set_file_name(name);
            true
        }
        Some(_) | None => false,
    }
}
