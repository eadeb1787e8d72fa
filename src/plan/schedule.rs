//! When a service runs by itself, again and again.

use std::time::Duration;

use serde::Serialize;

use super::resolver::Resolver;
use crate::spec::model::ServiceSpec;
use crate::support::cron::Cron;

/// A schedule, its value settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulePlan {
    /// At once, and then this long after the beginning of the run before.
    Every(Duration),
    /// At these times of the day, in the zone of whoever called `up`.
    Cron(Cron),
}

/// The schedule of a service. What is wrong with it has been reported.
pub(super) fn schedule(service: &ServiceSpec, resolver: &Resolver<'_>) -> Option<SchedulePlan> {
    let spec = service.schedule.as_ref()?;
    let every = resolver.setting(spec.every.as_ref());
    let cron = || resolver.setting(spec.cron.as_ref()).map(SchedulePlan::Cron);
    every.map(SchedulePlan::Every).or_else(cron)
}
