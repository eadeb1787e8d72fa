//! Whether two plans are the same, ports aside.

use std::fmt::Write as _;

use super::draft::Draft;
use super::model::Plan;
use crate::support::hash::fnv1a;

/// Hashes what is configured, in the form in which it would run with the stand-in ports. How a port
/// was asked for counts; which one was found does not.
pub(super) fn fingerprint(plan: &Plan, draft: &Draft) -> String {
    let pool = draft.pool();
    let mut text = format!("{:?}{:?}{:?}", pool.ranges, pool.exclude, plan.dotenv);
    if let Some(unit) = plan.units.first() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:?}", unit.environment.common);
    }
    let mut units = plan.units.iter();
    for (service, replicas) in draft.spec().services.values().zip(draft.replicas()) {
        let ports: Vec<_> = service
            .ports
            .iter()
            .map(|(name, declaration)| (name, declaration.want, declaration.protocol))
            .collect();
        let _ = write!(text, "{:?}", (&service.name, replicas, ports));
        for unit in units.by_ref().take(replicas.numbers().count()) {
            let changes: Vec<_> = unit.environment.changes.iter().collect();
            let parts = (
                (&unit.execution, &unit.directory, changes, &unit.labels),
                (
                    unit.stop_signal,
                    unit.grace,
                    unit.restart,
                    &unit.success_exit_codes,
                ),
                (&unit.health, &unit.depends_on, unit.handoff),
            );
            let _ = write!(text, "{parts:?}");
        }
    }
    format!("{:016x}", fnv1a(text.as_bytes()))
}
