//! When a service is started again: `restart` and `restart_policy` made one.

use super::code;
use super::model::{RestartPolicy, RestartWhen};
use super::resolver::Resolver;
use crate::spec::code as spec_code;
use crate::spec::model::{RestartSpec, ServiceSpec, Setting};
use crate::spec::problem::{Problem, Report, Spanned};

/// The restart policy of a service, every value settled. One that restarts after every end would never
/// let a run of a schedule end.
pub(super) fn restart(service: &ServiceSpec, resolver: &Resolver<'_>) -> RestartPolicy {
    let policy = settled(service, resolver);
    let said = service.restart.as_ref().map(Setting::span);
    let said = said.or_else(|| Some(&service.restart_policy.as_ref()?.span));
    if let (Some(schedule), Some(span), RestartWhen::Always) =
        (&service.schedule, said, policy.when)
    {
        let name = &service.name;
        let message =
            format!("`{name}` has a `schedule`, so it cannot also restart after every exit");
        let problem = Problem::error(code::SCHEDULED_RESTART, message, span)
            .also(&schedule.span, "this starts the next run")
            .hint("remove it, or write `restart: on-failure:3` to repeat a run that fails");
        resolver.told().report(problem);
    }
    policy
}

fn settled(service: &ServiceSpec, resolver: &Resolver<'_>) -> RestartPolicy {
    let short = resolver.setting(service.restart.as_ref());
    let Some(Spanned { value: tuned, span }) = &service.restart_policy else {
        return policy_of(short.unwrap_or(RestartSpec::No));
    };
    let condition = resolver.setting(tuned.condition.as_ref());
    // A policy without a condition restarts after every end, as in Compose.
    let mut policy = policy_of(short.or(condition).unwrap_or(RestartSpec::Always));
    let time = |value: &Option<_>, usual| resolver.setting(value.as_ref()).unwrap_or(usual);
    policy.delay = time(&tuned.delay, policy.delay);
    policy.max_delay = time(&tuned.max_delay, policy.max_delay).max(policy.delay);
    policy.window = time(&tuned.window, policy.window);
    // No limit is what 0 means to the engine, here as in `on-failure:0`.
    let attempts = resolver.setting(tuned.max_attempts.as_ref());
    if let Some(limit) = attempts.filter(|&limit| limit > 0) {
        if policy.max_attempts.is_some_and(|other| other != limit) {
            let name = &service.name;
            let message = format!("`restart` and `max_attempts` of `{name}` give two limits");
            let hint = "write `restart: on-failure`, and the limit once";
            let mut told = resolver.told();
            told.error(spec_code::CONFLICTING_RESTART, span, message, hint);
        }
        policy.max_attempts = Some(limit);
    }
    policy
}

/// The policy of the short form.
pub(super) fn policy_of(restart: RestartSpec) -> RestartPolicy {
    match restart {
        RestartSpec::No => RestartPolicy::with(RestartWhen::Never, None),
        // Without a limit, as in Compose; so is a limit of 0 there.
        RestartSpec::OnFailure(limit) => {
            RestartPolicy::with(RestartWhen::OnFailure, limit.filter(|&limit| limit > 0))
        }
        // The two differ only for what was stopped before a restart of the machine.
        RestartSpec::Always | RestartSpec::UnlessStopped => {
            RestartPolicy::with(RestartWhen::Always, None)
        }
    }
}
