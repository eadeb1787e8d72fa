//! The plan of the hooks of a unit.

use std::path::PathBuf;
use std::time::Duration;

use super::code;
use super::execution::command_execution;
use super::model::{Changes, HookPlan};
use super::resolver::Resolver;
use super::unit::layer;
use crate::spec::model::{HookSpec, HookTime, ServiceSpec};
use crate::spec::problem::{Problem, Report};
use crate::support::duration::human;

/// How long a hook may take for which nobody is asked to wait with a stop.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Plans the hooks of a unit that may take `grace` to stop.
pub(super) fn hook_plans(
    service: &ServiceSpec,
    grace: Duration,
    resolver: &Resolver<'_>,
) -> Vec<HookPlan> {
    let count = service
        .hooks
        .iter()
        .filter(|it| it.time == HookTime::PreStop);
    let count = u32::try_from(count.count()).unwrap_or(u32::MAX);
    let plan = |hook: &HookSpec| {
        let mut environment = Changes::new();
        let own = hook.working_dir.as_ref().map(|own| {
            let own = own.span.dir().join(resolver.text(own));
            let own: PathBuf = own.components().collect();
            let shown = own.to_string_lossy().into_owned();
            environment.insert("PWD".to_owned(), Some(shown));
            own
        });
        layer(&hook.environment, resolver, &mut environment);
        let usual = match hook.time {
            HookTime::PreStart | HookTime::PostStart => TIMEOUT,
            // The other half is the service's own.
            HookTime::PreStop => grace / 2 / count,
        };
        let timeout = resolver.setting(hook.timeout.as_ref());
        Some(HookPlan {
            time: hook.time,
            execution: command_execution(hook.command.as_ref()?, resolver),
            environment,
            directory: own,
            user: hook.user.as_ref().map(|user| resolver.text(user)),
            // Zero means the default, as everywhere.
            timeout: timeout.filter(|it| !it.is_zero()).unwrap_or(usual),
        })
    };
    let hooks: Vec<HookPlan> = service.hooks.iter().filter_map(plan).collect();
    let all: Duration = hooks
        .iter()
        .filter(|hook| hook.time == HookTime::PreStop)
        .map(|hook| hook.timeout)
        .sum();
    let mut stops = service
        .hooks
        .iter()
        .rev()
        .filter(|it| it.time == HookTime::PreStop);
    let last = stops.find_map(|hook| {
        let timeout = hook.timeout.as_ref();
        let is_set = resolver.setting(timeout).is_some_and(|it| !it.is_zero());
        timeout.filter(|_| is_set)
    });
    if let Some(last) = last.filter(|_| all >= grace && !grace.is_zero()) {
        let message = format!(
            "`pre_stop` may take {}, which leaves nothing of the {} that `{}` has to stop",
            human(all),
            human(grace),
            service.name
        );
        let problem = Problem::error(code::NO_TIME_TO_STOP, message, last.span()).hint(
            "write a shorter `timeout` or a longer `stop_grace_period`: what is left when that \
             is over is killed, without the stop signal",
        );
        resolver.told().report(problem);
    }
    hooks
}
