//! Moments in words, in the time zone of whoever reads them.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// When something comes, both in milliseconds since the Unix epoch: `in 4 m`, `at 14:05` or
/// `on 2026-12-01 at 03:00`.
pub(crate) fn to_come(at: u64, now: u64) -> String {
    to_come_in(at, now, TimeZone::system())
}

fn to_come_in(at: u64, now: u64, zone: TimeZone) -> String {
    // Rounded up: nothing is due "in 0 s" while there is time left.
    let seconds = at.saturating_sub(now).div_ceil(1_000);
    let form = match seconds {
        0..120 => return format!("in {seconds} s"),
        120..3_600 => return format!("in {} m", seconds / 60),
        3_600..86_400 => "at %H:%M",
        _ => "on %Y-%m-%d at %H:%M",
    };
    moment(at, zone).strftime(form).to_string()
}

/// When something was: `at 03:00 on 2026-12-01`.
pub(super) fn past(at: u64) -> String {
    let moment = moment(at, TimeZone::system());
    moment.strftime("at %H:%M on %Y-%m-%d").to_string()
}

fn moment(at: u64, zone: TimeZone) -> ZonedDateTime {
    let at = i64::try_from(at).ok();
    let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
    at.unwrap_or_default().to_zoned_datetime(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_come_is_as_exact_as_it_is_near() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // 14:20:00 in Berlin.
        let now = 1_795_872_000_000;
        for (seconds, text) in [
            (0, "in 0 s"),
            (119, "in 119 s"),
            (300, "in 5 m"),
            (2 * 3_600, "at 16:20"),
            (86_400, "on 2026-11-29 at 14:20"),
        ] {
            assert_eq!(to_come_in(now + seconds * 1_000, now, berlin.clone()), text);
        }
        assert_eq!(to_come_in(now - 5_000, now, berlin.clone()), "in 0 s");
        assert_eq!(to_come_in(now + 300, now, berlin.clone()), "in 1 s");
    }
}
