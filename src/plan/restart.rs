//! When a service is started again: `restart` and `restart_policy` made one.

use super::model::{RestartPolicy, RestartWhen};
use super::resolver::Resolver;
use crate::spec::code as spec_code;
use crate::spec::model::{RestartSpec, ServiceSpec};
use crate::spec::problem::{Report, Spanned};

/// The restart policy of a service, every value settled.
pub(super) fn restart(service: &ServiceSpec, resolver: &Resolver<'_>) -> RestartPolicy {
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
