//! From a draft and its ports to the plan: what is the same for all, then one unit after another.

use std::cell::RefCell;
use std::sync::Arc;

use super::assignment::Ports;
use super::contents::Contents;
use super::draft::Draft;
use super::model::{Changes, DotenvPlan, Environment, Plan, UnitPlan};
use super::resolver::{Inside, Resolver};
use super::unit::{check_variables, layer, unit_plan};
use crate::spec::problem::Problem;

impl Draft {
    pub(super) fn make(&self, ports: Ports<'_>, problems: &mut Vec<Problem>) -> Plan {
        let told = RefCell::new(std::mem::take(problems));
        let outside = self.outside(ports, &told);
        let values = self.values(&outside);
        let shared = self.shared(&outside, &values);
        let mut units = Vec::new();
        for (index, replicas) in self.replicas.iter().enumerate() {
            for replica in replicas.numbers() {
                units.extend(self.unit(index, replica, &outside, &shared));
            }
            // What is wrong with a service must not come to light when it is scaled up.
            if replicas.count == 0 && !ports.are_allocated {
                self.unit(index, 1, &outside, &shared);
            }
        }
        *problems = told.into_inner();
        Plan {
            project: self.project().clone(),
            instance: self.instance().to_owned(),
            project_dir: self.project_dir().to_path_buf(),
            file: self.spec().file.clone(),
            files: self.sources().places(),
            dotenv: self.dotenv_path().map(|path| DotenvPlan {
                path: path.to_path_buf(),
                entries: values.clone(),
            }),
            values,
            owners: self.owners(),
            units,
            arguments: self.sources().arguments.clone(),
            fingerprint: self.fingerprint().to_owned(),
            contents: Contents::default(),
        }
    }

    /// The first replica of every service, in their order, also of one that has none. What is wrong
    /// was told when the draft was made.
    pub(super) fn first_of_each(&self, outside: &Resolver<'_>) -> Vec<UnitPlan> {
        let shared = self.shared(outside, &self.values(outside));
        (0..self.spec().services.len())
            .filter_map(|index| self.unit(index, 1, outside, &shared))
            .collect()
    }

    /// For the texts that stand at the top level: they are the same for every service and belong to
    /// none of them.
    pub(super) fn outside<'a>(
        &'a self,
        ports: Ports<'a>,
        problems: &'a RefCell<Vec<Problem>>,
    ) -> Resolver<'a> {
        Resolver {
            draft: self,
            inside: None,
            ports,
            problems,
        }
    }

    /// The layers of the environment that are the same for all units: the caller's, the top-level
    /// `env_file`s and `environment`, and every generated key.
    fn shared(&self, outside: &Resolver<'_>, values: &[(String, String)]) -> Environment {
        let spec = self.spec();
        let mut common = self.variables.files(0).clone();
        layer(&spec.environment, outside, &mut common);
        let all = values.iter().cloned();
        common.extend(all.map(|(key, value)| (key, Some(value))));
        let place = |key: &str| {
            let vars = spec.dotenv.iter().find_map(|dotenv| dotenv.vars.get(key));
            let own = vars.or_else(|| spec.environment.get(key));
            let file = || Some(&spec.env_file.last()?.path.span);
            own.map(|own| &own.key_span).or_else(file)
        };
        check_variables(&common, place, outside);
        Environment {
            base: self.caller.clone(),
            common: Arc::new(common),
            generated: Arc::new(values.iter().map(|(key, _)| key.clone()).collect()),
            changes: Changes::new(),
        }
    }

    /// Plans one replica of the service at an index.
    fn unit(
        &self,
        index: usize,
        replica: u32,
        outside: &Resolver<'_>,
        shared: &Environment,
    ) -> Option<UnitPlan> {
        let (_, service) = self.spec().services.get_index(index)?;
        let replicas = self.replicas.get(index)?;
        let inside = Inside { service, replica };
        let resolver = outside.within(inside);
        Some(unit_plan(inside, replicas.count, &resolver, shared))
    }
}
