//! Whether two plans are the same, ports aside.

use super::diff::{Common, fields, is_derived};
use super::model::Plan;
use super::replicas::Replicas;
use crate::ports::request::Pool;
use crate::spec::model::StackSpec;
use crate::support::fs::below;
use crate::support::hash::fnv1a;

/// Hashes what is configured, by the named fields of every unit, in the form in which it would run
/// with the stand-in ports. How a port was asked for counts; which one was found does not, nor
/// which keys are generated for it.
pub(super) fn fingerprint(
    plan: &Plan,
    spec: &StackSpec,
    replicas: &[Replicas],
    pool: &Pool,
) -> String {
    let path = plan.dotenv.as_ref();
    let path = path.map(|file| below(&file.path, &plan.project_dir));
    let path = path.map(|path| path.to_string_lossy().into_owned());
    let has_secrets = spec.dotenv.as_ref().map(|dotenv| dotenv.secrets);
    let vars = spec.dotenv.as_ref().map(|dotenv| &dotenv.vars);
    let vars: Vec<_> = plan
        .values
        .iter()
        .filter(|(key, _)| vars.is_some_and(|vars| vars.contains_key(key)))
        .collect();
    let services: Vec<_> = spec
        .services
        .values()
        .zip(replicas)
        .map(|(service, replicas)| {
            let ports: Vec<_> = service
                .ports
                .iter()
                .map(|(name, declaration)| (name, declaration.want, declaration.protocol))
                .collect();
            // `--scale` to the one that there is anyway only makes the numbered keys.
            let is_said = !service.replicas.is_empty() || replicas.count != 1;
            let things: Vec<_> = service
                .things
                .iter()
                .map(|(name, declaration)| (name, declaration.thing))
                .collect();
            (&service.name, replicas.count, is_said, ports, things)
        })
        .collect();
    let units: Vec<_> = plan
        .units
        .iter()
        .map(|unit| {
            let changes = unit.environment.changes.iter();
            let changes: Vec<_> = changes
                .filter(|(key, value)| !is_derived(unit, key, value.as_deref()))
                .collect();
            (fields(unit, &plan.project_dir), changes)
        })
        .collect();
    let common = Common::of(plan);
    let pool = (&pool.ranges, &pool.exclude);
    // Plain data, which always has a form.
    let text = serde_json::to_vec(&(pool, path, has_secrets, vars, common, services, units))
        .unwrap_or_default();
    format!("{:016x}", fnv1a(&text))
}
