//! From a draft and its ports to the plan: what is the same for all, then one unit after another.

use std::collections::HashSet;
use std::sync::Arc;

use super::draft::Draft;
use super::env_file::Entries;
use super::model::{DotenvPlan, Plan, UnitPlan};
use super::resolver::{Inside, Ports, Resolver};
use super::unit::{Shared, layer, unit_plan};
use crate::spec::model::EnvFileSpec;
use crate::spec::problem::Problem;
use crate::spec::template::Placeholder;

/// One of a service's `env_file`s. Each is read once, so that every plan of a draft says the same.
#[derive(Debug, Clone)]
pub(super) enum ReadEnvFile {
    /// The same for every replica.
    Same(Entries),
    /// The path names the replica: one for each, in their order.
    Each(Vec<Entries>),
    /// The path is known only once the ports are.
    Later,
}

impl Draft {
    pub(super) fn make(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Plan {
        let values = self.values(ports, problems);
        let shared = self.shared(ports, &values, problems);
        let mut units = Vec::new();
        for (index, replicas) in self.replicas().iter().enumerate() {
            let mut told = Told::new(problems);
            for replica in replicas.numbers() {
                let mut found = Vec::new();
                units.extend(self.unit(index, replica, &shared, &mut found));
                told.add(found, replica, problems);
            }
            // What is wrong with a service must not come to light when it is scaled up.
            if replicas.count == 0 && !ports.are_allocated {
                self.unit(index, 1, &shared, problems);
            }
        }
        Plan {
            project: self.project().clone(),
            instance: self.instance().to_owned(),
            project_dir: self.project_dir().to_path_buf(),
            file: self.spec().file.clone(),
            dotenv: self.dotenv_path().map(|path| DotenvPlan {
                path: path.to_path_buf(),
                entries: values.clone(),
            }),
            values,
            units,
            fingerprint: self.fingerprint().to_owned(),
        }
    }

    /// The first replica of every service, in their order, also of one that has none.
    pub(super) fn first_of_each(&self, ports: Ports<'_>) -> Vec<UnitPlan> {
        // What is wrong was told when the draft was made.
        let mut told = Vec::new();
        let values = self.values(ports, &mut told);
        let shared = self.shared(ports, &values, &mut told);
        (0..self.spec().services.len())
            .filter_map(|index| self.unit(index, 1, &shared, &mut told))
            .collect()
    }

    /// What all units have in common.
    fn shared<'a>(
        &'a self,
        ports: Ports<'a>,
        values: &[(String, String)],
        problems: &mut Vec<Problem>,
    ) -> Shared<'a> {
        let mut common = self.variables().files().clone();
        // What stands at the top level is the same for every service and belongs to none of them.
        let outside = Resolver {
            draft: self,
            inside: None,
            ports,
        };
        layer(&self.spec().environment, &outside, &mut common, problems);
        let generated = values.iter().cloned();
        common.extend(generated.map(|(key, value)| (key, Some(value))));
        Shared {
            draft: self,
            ports,
            common: Arc::new(common),
            shell: self.spec().shell.as_deref(),
        }
    }

    /// Plans one replica of the service at an index.
    fn unit(
        &self,
        index: usize,
        replica: u32,
        shared: &Shared<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<UnitPlan> {
        let (_, service) = self.spec().services.get_index(index)?;
        let replicas = self.replicas().get(index)?;
        let inside = Inside { service, replica };
        let files = self.env_files_of(index, inside, shared.ports, problems);
        Some(unit_plan(inside, replicas.count, &files, shared, problems))
    }

    /// Reads the services' `env_file`s, but for those whose path depends on a port.
    pub(super) fn read_env_files(&self, problems: &mut Vec<Problem>) -> Vec<Vec<ReadEnvFile>> {
        let ports = self.unallocated();
        let services = self.spec().services.values().zip(self.replicas());
        services
            .map(|(service, replicas)| {
                let mut read = |file: &EnvFileSpec, replica| {
                    let inside = Inside { service, replica };
                    self.read_env_file(file, inside, ports, problems)
                };
                let files = service.env_file.iter();
                files
                    .map(|file| {
                        if file.path.placeholders().any(|(it, _)| it.is_port()) {
                            ReadEnvFile::Later
                        } else if file
                            .path
                            .placeholders()
                            .any(|(it, _)| *it == Placeholder::Replica)
                        {
                            let numbers = 1..=replicas.count.max(1);
                            ReadEnvFile::Each(numbers.map(|number| read(file, number)).collect())
                        } else {
                            ReadEnvFile::Same(read(file, 1))
                        }
                    })
                    .collect()
            })
            .collect()
    }

    fn env_files_of(
        &self,
        index: usize,
        inside: Inside<'_>,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let read = self.env_files().get(index).into_iter().flatten();
        let mut entries = Entries::new();
        for (file, read) in inside.service.env_file.iter().zip(read) {
            match read {
                ReadEnvFile::Same(read) => entries.extend(read.iter().cloned()),
                ReadEnvFile::Each(read) => {
                    let own = read.get(inside.replica.saturating_sub(1) as usize);
                    entries.extend(own.into_iter().flatten().cloned());
                }
                ReadEnvFile::Later if ports.are_allocated => {
                    entries.extend(self.read_env_file(file, inside, ports, problems));
                }
                ReadEnvFile::Later => {}
            }
        }
        entries
    }

    fn read_env_file(
        &self,
        file: &EnvFileSpec,
        inside: Inside<'_>,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let resolver = Resolver {
            draft: self,
            inside: Some(inside),
            ports,
        };
        let before = problems.len();
        let shown = resolver.text(&file.path, problems);
        // A path that could not be made has its problem already.
        if file.path.is_broken || problems[before..].iter().any(Problem::is_error) {
            return Entries::new();
        }
        self.variables().read_env_file(file, &shown, problems)
    }
}

/// The problems of one service's replicas: what is wrong with all of them is told once.
struct Told {
    /// Where the problems of this service begin.
    start: usize,
    seen: HashSet<(&'static str, String, Option<usize>)>,
}

impl Told {
    fn new(problems: &[Problem]) -> Self {
        Self {
            start: problems.len(),
            seen: HashSet::new(),
        }
    }

    /// Adds what was found in a replica, and in no earlier one.
    fn add(&mut self, found: Vec<Problem>, replica: u32, problems: &mut Vec<Problem>) {
        if replica == 1 {
            problems.extend(found);
            return;
        }
        if found.is_empty() {
            return;
        }
        if self.seen.is_empty() {
            self.seen.extend(problems[self.start..].iter().map(finding));
        }
        let is_new = |problem: &Problem| self.seen.insert(finding(problem));
        problems.extend(found.into_iter().filter(is_new));
    }
}

fn finding(problem: &Problem) -> (&'static str, String, Option<usize>) {
    let place = problem.labels.first().map(|label| label.span.start);
    (problem.code, problem.message.clone(), place)
}
