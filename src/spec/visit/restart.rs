//! `restart`, `restart_policy` and what else says how a service ends.

use super::keys::RESTART_POLICY;
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::{RestartPolicySpec, RestartSpec, ServiceSpec, Setting};
use crate::spec::problem::Problem;

impl Reader<'_> {
    pub(super) fn restart_policy(&mut self, field: &Field<'_, '_>) -> RestartPolicySpec {
        let mut policy = RestartPolicySpec {
            span: self.span(field.key),
            condition: None,
            delay: None,
            max_delay: None,
            max_attempts: None,
            window: None,
        };
        for entry in self.map(field, "write `restart_policy: {condition: on-failure}`") {
            match entry.name {
                "condition" => {
                    policy.condition = self.setting(&entry, values::parse_restart_condition);
                }
                "delay" => policy.delay = self.setting(&entry, values::parse_duration),
                "max_delay" => policy.max_delay = self.setting(&entry, values::parse_duration),
                "max_attempts" => policy.max_attempts = self.setting(&entry, values::parse_count),
                "window" => policy.window = self.setting(&entry, values::parse_duration),
                name if name.starts_with("x-") => {}
                _ => self.refuse_key(&RESTART_POLICY, entry.key, None),
            }
        }
        policy
    }

    pub(super) fn exit_codes(&mut self, field: &Field<'_, '_>) -> Vec<Setting<u8>> {
        field
            .value
            .items()
            .into_iter()
            .filter_map(|item| {
                self.setting_of("`success_exit_codes`", item, values::parse_exit_code)
            })
            .collect()
    }

    /// `restart` and `restart_policy.condition` say the same thing twice; they must agree.
    pub(super) fn check_restart(&mut self, service: &ServiceSpec) {
        let condition = service
            .restart_policy
            .as_ref()
            .and_then(|policy| policy.condition.as_ref());
        let (Some(Setting::Known(restart)), Some(Setting::Known(condition))) =
            (&service.restart, condition)
        else {
            return;
        };
        let agrees = match restart.value {
            RestartSpec::No => condition.value == RestartSpec::No,
            RestartSpec::Always | RestartSpec::UnlessStopped => {
                condition.value == RestartSpec::Always
            }
            RestartSpec::OnFailure(_) => condition.value == RestartSpec::OnFailure(None),
        };
        if !agrees {
            self.problems.push(
                Problem::error(
                    code::CONFLICTING_RESTART,
                    format!(
                        "`restart` and `restart_policy` of `{}` disagree",
                        service.name
                    ),
                    &condition.span,
                )
                .label("this says one thing")
                .also(&restart.span, "this another")
                .hint("keep `restart` and leave `condition` out"),
            );
        }
    }
}
