//! The plan of the hooks of a unit.

use std::path::PathBuf;
use std::time::Duration;

use super::execution::command_execution;
use super::model::{Changes, HookPlan};
use super::resolver::Resolver;
use super::unit::layer;
use crate::spec::model::{HookSpec, HookTime, ServiceSpec};

/// How long a hook may take for which nobody is asked to wait with a stop.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Plans the hooks of a unit that may take `grace` to stop.
pub(super) fn hook_plans(
    service: &ServiceSpec,
    grace: Duration,
    resolver: &Resolver<'_>,
) -> Vec<HookPlan> {
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
            HookTime::PreStop => grace / 2,
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
    service.hooks.iter().filter_map(plan).collect()
}
