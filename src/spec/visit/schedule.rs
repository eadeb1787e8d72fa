//! `schedule`: when a service runs, again and again.

use super::keys::SCHEDULE;
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::ScheduleSpec;
use crate::spec::problem::Report;
use crate::spec::tree::Kind;

const FORMS: &str =
    "write `schedule: {every: 5m}`, or a cron expression: `schedule: '*/5 * * * *'`";

impl Reader<'_> {
    /// A cron expression, or a map that says one or a period.
    pub(super) fn schedule(&mut self, field: &Field<'_, '_>) -> Option<ScheduleSpec> {
        let mut schedule = ScheduleSpec {
            span: field.key.span(),
            every: None,
            cron: None,
        };
        match &field.value.kind {
            Kind::Scalar { .. } if field.value.is_null() => return None,
            Kind::Scalar { .. } => schedule.cron = self.setting(field, values::parse_cron),
            Kind::Sequence(_) => self.wrong_type("a text or a map", field, FORMS),
            Kind::Mapping(_) => {
                let before = self.problems.len();
                self.read(&SCHEDULE, &mut schedule, field.value);
                let message = match (&schedule.every, &schedule.cron) {
                    (Some(_), Some(_)) => Some("this `schedule` says two things"),
                    (None, None) if self.problems.len() == before => {
                        Some("this `schedule` does not say when")
                    }
                    (Some(_) | None, None) | (None, Some(_)) => None,
                };
                if let Some(message) = message {
                    self.error(code::BAD_SCHEDULE, &field.span(), message, FORMS);
                }
            }
        }
        Some(schedule)
    }
}
