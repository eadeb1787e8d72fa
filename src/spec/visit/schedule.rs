//! `schedule`: when a service runs, again and again.

use std::str::FromStr;
use std::time::Duration;

use super::keys::SCHEDULE;
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::{ScheduleSpec, SettingError};
use crate::spec::problem::Report;
use crate::spec::tree::Kind;
use crate::support::cron::{BadCron, Cron};
use crate::support::duration;

const FORMS: &str =
    "write `schedule: {every: 5m}`, or a cron expression: `schedule: '*/5 * * * *'`";

/// A schedule is not a way to keep the machine busy.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

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
            Kind::Scalar { .. } => schedule.cron = self.setting(field, parse_cron),
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

/// `every` of `schedule`.
pub(super) fn parse_period(text: &str) -> Result<Duration, SettingError> {
    let period = values::parse_duration(text)?;
    if period < SHORTEST_PERIOD {
        let message = format!("`{text}` is too short");
        let hint = "write `100ms` or more; what never ends needs no `schedule`";
        return Err(values::error(code::BAD_SCHEDULE, message, hint));
    }
    Ok(period)
}

/// `cron` of `schedule`.
pub(super) fn parse_cron(text: &str) -> Result<Cron, SettingError> {
    Cron::from_str(text).map_err(|why| {
        let period = text.trim_start_matches('@').trim_start_matches("every");
        let hint = match &why {
            _ if duration::parse(period.trim()).is_ok() => {
                format!("write `schedule: {{every: {}}}`", period.trim())
            }
            BadCron::Name(_) => "the names are `@hourly`, `@daily`, `@midnight`, `@weekly`, \
                                 `@monthly` and `@yearly`"
                .to_owned(),
            BadCron::Never(_) => "use a day that exists in that month".to_owned(),
            BadCron::Fields(_) | BadCron::Field { .. } => {
                "the fields are minute, hour, day of the month, month and day of the week: \
                 `*/5 * * * *`, `0 3 * * MON-FRI`"
                    .to_owned()
            }
        };
        values::error(code::BAD_SCHEDULE, why.to_string(), hint)
    })
}
