//! Whether two plans are the same, ports aside.

use super::diff::fields;
use super::draft::Draft;
use super::model::Plan;
use crate::support::hash::fnv1a;

/// Hashes what is configured, by the named fields of every unit, in the form in which it would run
/// with the stand-in ports. How a port was asked for counts; which one was found does not.
pub(super) fn fingerprint(plan: &Plan, draft: &Draft) -> String {
    let pool = draft.pool();
    let common = plan.units.first().map(|unit| &unit.environment.common);
    let dotenv = plan.dotenv.as_ref();
    let dotenv = dotenv.map(|file| (file.path.to_string_lossy(), &file.entries));
    let services: Vec<_> = draft
        .spec()
        .services
        .values()
        .zip(draft.replicas())
        .map(|(service, replicas)| {
            let ports: Vec<_> = service
                .ports
                .iter()
                .map(|(name, declaration)| (name, declaration.want, declaration.protocol))
                .collect();
            (&service.name, replicas, ports)
        })
        .collect();
    let units: Vec<_> = plan
        .units
        .iter()
        .map(|unit| (fields(unit), &unit.environment.changes))
        .collect();
    let all = (pool.ranges, pool.exclude, dotenv, common, services, units);
    // Plain data, which always has a form.
    let text = serde_json::to_vec(&all).unwrap_or_default();
    format!("{:016x}", fnv1a(&text))
}
