//! Points in time, as Compose and the engine take them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::support::duration;

/// Reads a point in time, in nanoseconds since the Unix epoch: RFC 3339 (without an offset in the zone
/// of this machine; a date alone is its midnight), seconds since the epoch, perhaps with a fraction, or
/// how long before `now` it was.
pub(super) fn parse_time(text: &str, now: u64) -> Result<u64, &'static str> {
    if let Ok(age) = duration::parse(text)
        && text != "0"
    {
        return Ok(now.saturating_sub(nanos(age)));
    }
    let is_seconds = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_seconds && let Ok(since) = duration::parse(&format!("{text}s")) {
        return Ok(nanos(since));
    }
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let local = text.parse::<DateTime>().ok()?;
        TimeZone::system().to_timestamp(local).ok()
    });
    let time = time.ok_or(
        "it is not a time such as `2026-11-27T15:04:05Z`, an age such as `10m`, or a number of seconds \
         since 1970",
    )?;
    Ok(u64::try_from(time.as_nanosecond()).unwrap_or(0))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_time_is_an_age_a_moment_or_seconds_as_in_compose() {
        let now = 2_000_000_000 * SECOND;
        for (text, expected) in [
            ("10m", now - 600 * SECOND),
            ("1h30m", now - 5_400 * SECOND),
            ("1000w", now - 1_000 * 604_800 * SECOND),
            ("9000w", 0),
            ("0", 0),
            ("1700000000", 1_700_000_000 * SECOND),
            ("1700000000.5", 1_700_000_000 * SECOND + SECOND / 2),
            ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
            (
                "2023-11-14T23:13:20.25+01:00",
                1_700_000_000 * SECOND + SECOND / 4,
            ),
            ("1960-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse_time(text, now), Ok(expected), "{text}");
        }
        let here = |text: &str| {
            let local: DateTime = text.parse().unwrap();
            let time = TimeZone::system().to_timestamp(local).unwrap();
            u64::try_from(time.as_nanosecond()).unwrap()
        };
        for text in ["2023-11-14T22:13:20", "2023-11-14 22:13", "2023-11-14"] {
            assert_eq!(parse_time(text, now), Ok(here(text)), "{text}");
        }
        for bad in ["", "yesterday", "10", "-5m", "10 m", "2023-13-01", "."] {
            let is_seconds = bad == "10";
            assert_eq!(parse_time(bad, now).is_ok(), is_seconds, "{bad}");
        }
    }
}
