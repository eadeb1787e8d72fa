//! The rows of `schedule`.

use crate::spec::model::ScheduleSpec;
use crate::spec::visit::schedule::{parse_cron, parse_period};
use crate::spec::visit::table::{Key, KeyDoc, Keys, keys};

keys! {
    SCHEDULE: ScheduleSpec, "in `schedule`", "services.NAME.schedule";

    "every", "duration", "5m", ["interval"],
    "How long after the beginning of one run the next one begins; the first begins at once."
        => |r, schedule, field| schedule.every = r.setting(field, parse_period);
    "cron", "text", "'0 3 * * MON-FRI'", ["at"],
    "The times of the runs: five fields, six with seconds in front, or a name such as `@daily`."
        => |r, schedule, field| schedule.cron = r.setting(field, parse_cron);
}
