//! Tests of the room as a whole: a text goes in, a plan comes out.

mod commands;
mod corpus;
mod dependencies;
mod diff;
mod environment;
mod files;
mod fingerprints;
mod health;
mod limits;
mod names;
mod port_arguments;
mod profiles;
mod protocols;
mod replica_keys;
mod replicas;
mod settings;
mod several;
mod show;
mod texts;
mod things;
mod variables;
mod views;
mod wishes;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Arguments, Assignment, Draft, Plan, PortArgument, Sources, UnitPlan};
use crate::ports::request::PortKey;
use crate::spec::find::Request;
use crate::spec::problem::Problem;
use crate::support::name::ServiceName;

/// A project directory called `shop`, and whoever calls `stack` in it.
struct Project {
    /// Removed when the test ends.
    _parent: TempDir,
    directory: PathBuf,
    yaml: String,
    caller: Vec<(OsString, OsString)>,
    arguments: Arguments,
    /// Those of `-f`.
    files: Vec<PathBuf>,
}

impl Project {
    fn new(yaml: &str) -> Self {
        Self::in_directory("shop", yaml)
    }

    /// A project of one service, `a`, with these lines.
    fn service(lines: &str) -> Self {
        Self::new(&one_service(lines))
    }

    fn in_directory(name: &str, yaml: &str) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let directory = fs_err::canonicalize(parent.path()).unwrap().join(name);
        fs_err::create_dir(&directory).unwrap();
        Self {
            _parent: parent,
            directory,
            yaml: yaml.to_owned(),
            caller: Vec::new(),
            arguments: Arguments::default(),
            files: Vec::new(),
        }
    }

    fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.directory.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
        self
    }

    fn caller(mut self, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into()));
        self.caller.extend(variables);
        self
    }

    fn named(mut self, name: &str) -> Self {
        self.arguments.project_name = Some(name.to_owned());
        self
    }

    /// As with `--scale SERVICE=COUNT`.
    fn scaled(mut self, service: &str, count: u32) -> Self {
        let service = ServiceName::new(service).unwrap();
        self.arguments.scale.insert(service, count);
        self
    }

    /// As with `--port PORT=NUMBER`.
    fn asking(mut self, port: &str, number: u16) -> Self {
        let port = port.to_owned();
        self.arguments.ports.push(PortArgument { port, number });
        self
    }

    /// What a plan of it is made of.
    fn sources(&self) -> Sources {
        fs_err::write(self.path("stack.yaml"), &self.yaml).unwrap();
        let request = Request {
            files: &self.files,
            stack_file: None,
            origin: None,
            working_dir: &self.directory,
        };
        let arguments = self.arguments.clone();
        let caller = Arc::new(self.caller.clone());
        Sources::read(&request, &mut std::io::empty(), &caller, arguments).unwrap()
    }

    /// The draft, and all that is wrong.
    fn draft(&self) -> (Option<Draft>, Vec<Problem>) {
        Draft::new(self.sources())
    }

    /// The draft of a file without errors.
    #[track_caller]
    fn good(&self) -> Draft {
        let (draft, problems) = self.draft();
        let errors: Vec<_> = problems.iter().filter(|p| p.is_error()).collect();
        assert!(errors.is_empty(), "{}\n{errors:#?}", self.yaml);
        draft.unwrap()
    }

    /// The plan with the ports 8000, 8001, … in the order of the file.
    #[track_caller]
    fn plan(&self) -> Plan {
        let draft = self.good();
        let mut problems = Vec::new();
        let plan = draft.finish(&numbered(&draft), &mut problems);
        assert!(problems.iter().all(|p| !p.is_error()), "{problems:#?}");
        plan
    }

    /// The plan of the service `a`.
    #[track_caller]
    fn unit(&self) -> UnitPlan {
        let plan = self.plan();
        let index = plan.unit_of("a").unwrap();
        plan.units[index].clone()
    }

    /// The value of a key in the environment of the service `a`.
    #[track_caller]
    fn value(&self, key: &str) -> Option<String> {
        value(&self.unit(), key)
    }

    /// The codes of everything that is wrong, in order.
    fn codes(&self) -> Vec<&'static str> {
        self.draft().1.iter().map(|problem| problem.code).collect()
    }

    /// The one thing that is wrong.
    #[track_caller]
    fn problem(&self) -> Problem {
        let (_, mut problems) = self.draft();
        assert_eq!(problems.len(), 1, "{}\n{problems:#?}", self.yaml);
        problems.remove(0)
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }
}

/// The text of a stack with the service `a` that has these lines.
fn one_service(lines: &str) -> String {
    let command = ["command:", "entrypoint:"];
    let has_command = lines
        .lines()
        .any(|line| command.iter().any(|key| line.starts_with(key)));
    let mut text = String::from("services:\n  a:\n");
    if !has_command {
        text.push_str("    command: serve\n");
    }
    for line in lines.lines() {
        writeln!(text, "    {line}").unwrap();
    }
    text
}

/// Ports from 8000 on for everything that is asked for.
fn numbered(draft: &Draft) -> Assignment {
    let requests = draft.requests(&mut Vec::new());
    requests
        .into_iter()
        .map(|request| request.key)
        .zip(8000..)
        .collect()
}

fn value(unit: &UnitPlan, key: &str) -> Option<String> {
    unit.environment
        .get(key)
        .map(|value| value.to_str().unwrap().to_owned())
}

fn port_key(service: &str, name: &str) -> PortKey {
    PortKey {
        replica: 1,
        service: ServiceName::new(service).unwrap(),
        name: crate::support::name::PortName::new(name).unwrap(),
    }
}

/// Line and column of a problem's main place.
fn at(problem: &Problem) -> (usize, usize) {
    let location = problem.labels[0].span.location();
    (location.line, location.column)
}
