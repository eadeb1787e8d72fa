//! From a draft and its ports to the plan: what is the same for all, then one unit after another.

use std::sync::Arc;

use super::draft::Draft;
use super::env_file::Entries;
use super::model::{DotenvPlan, Plan, UnitPlan};
use super::resolver::{Inside, Ports, Resolver};
use super::unit::{Shared, check_variables, layer, unit_plan};
use crate::spec::problem::Problem;

impl Draft {
    pub(super) fn make(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Plan {
        let values = self.values(ports, problems);
        let shared = self.shared(ports, &values, problems);
        let mut units = Vec::new();
        for (index, replicas) in self.replicas().iter().enumerate() {
            for replica in replicas.numbers() {
                units.extend(self.unit(index, replica, &shared, problems));
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
        let spec = self.spec();
        let place = |key: &str| {
            let vars = spec.dotenv.iter().find_map(|dotenv| dotenv.vars.get(key));
            let own = vars.or_else(|| spec.environment.get(key));
            let file = || Some(&spec.env_file.last()?.path.span);
            own.map(|own| &own.key_span).or_else(file)
        };
        check_variables(&common, place, problems);
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
        let files = self.env_files(inside, shared.ports, problems);
        Some(unit_plan(inside, replicas.count, &files, shared, problems))
    }

    /// The entries of a replica's `env_file`s. What is in a path that depends on a port cannot be
    /// known before the ports are.
    fn env_files(
        &self,
        inside: Inside<'_>,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let resolver = Resolver {
            draft: self,
            inside: Some(inside),
            ports,
        };
        let mut entries = Entries::new();
        for file in &inside.service.env_file {
            let before = problems.len();
            let shown = resolver.text(&file.path, problems);
            // A path that could not be made has its problem already.
            let is_told = file.path.is_broken || problems[before..].iter().any(Problem::is_error);
            let mut placeholders = file.path.placeholders();
            let is_later = !ports.are_allocated && placeholders.any(|(it, _)| it.is_port());
            if !is_told && !is_later {
                entries.extend(self.variables().read_env_file(file, &shown, problems));
            }
        }
        entries
    }
}
