//! Whether two plans are the same, ports aside.

use std::fmt::Write as _;

use super::model::Plan;
use crate::spec::model::StackSpec;
use crate::support::hash::fnv1a;

/// Hashes what is configured, in the form in which it would run with the stand-in ports. How a port
/// was asked for counts; which one was found does not.
pub(super) fn fingerprint(plan: &Plan, spec: &StackSpec) -> String {
    let common = plan.units.first().map(|unit| &unit.environment.common);
    let mut text = format!(
        "{:?}{:?}{:?}{common:?}",
        spec.ports.ranges, spec.ports.exclude, plan.dotenv
    );
    for (unit, service) in plan.units.iter().zip(spec.services.values()) {
        let changes: Vec<_> = unit.environment.changes.iter().collect();
        let wants: Vec<_> = service
            .ports
            .iter()
            .map(|(name, declaration)| (name, declaration.want))
            .collect();
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
            (&unit.health, &unit.depends_on, wants),
        );
        // Writing to a string cannot fail.
        let _ = write!(text, "{parts:?}");
    }
    format!("{:016x}", fnv1a(text.as_bytes()))
}
