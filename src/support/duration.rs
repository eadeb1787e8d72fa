//! Durations as Compose writes them: `1h5m30s20ms`, `1.5s`, `2d`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit, such as `10` or the tail of `1m30`.
    #[error("`{0}` has no unit")]
    MissingUnit(String),
    /// A unit other than `ns us ms s m h d w`.
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    /// A sign, an empty text, or other characters where a number is expected.
    #[error("`{0}` is not a duration")]
    Malformed(String),
    /// More than about 584 years.
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// The units in nanoseconds, the largest first.
const UNITS: [(&str, u128); 9] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// Parses a duration: one or more of a decimal number and a unit, without spaces.
///
/// Units are `ns`, `us`, `ms`, `s`, `m`, `h`, `d` (24 h) and `w` (7 d), as in the Compose
/// loader. A bare `0` is zero; every other number needs its unit.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(DurationError::Malformed(text.to_owned()));
    }
    let mut rest = text;
    let mut total_nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return Err(DurationError::Malformed(text.to_owned()));
        }
        let unit_length = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_length);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(number.to_owned()));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let unknown = || DurationError::UnknownUnit(unit.to_owned());
        let (_, unit_nanos) = *known.ok_or_else(unknown)?;
        total_nanos = nanos(number, unit_nanos)
            .and_then(|part| total_nanos.checked_add(part))
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        rest = next;
    }
    u64::try_from(total_nanos)
        .map(Duration::from_nanos)
        .map_err(|_| DurationError::TooLong(text.to_owned()))
}

/// `number` (digits with at most one point) times `unit`, rounded down to whole nanoseconds.
fn nanos(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        total = total.checked_add(u128::from(digit - b'0').checked_mul(place)?)?;
    }
    Some(total)
}

/// Renders a duration for people: `80 ms`, `1.2 s`, `3 m 20 s`, `2 h 5 m`.
pub fn human(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        _ if millis < 1_000 => format!("{millis} ms"),
        _ if millis < 59_950 && millis.is_multiple_of(1_000) => format!("{seconds} s"),
        _ if millis < 59_950 => format!("{:.1} s", duration.as_secs_f64()),
        0..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Renders a duration so that [`parse`] reads it back: `1m30s`, `500ms`.
pub fn format(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in &UNITS[2..] {
        let count = rest / nanos;
        rest %= nanos;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_compose_reads() {
        for (text, millis) in [
            ("1h5m30s20ms", 3_930_020),
            ("1.5s", 1_500),
            ("1w2d", 216 * 3_600_000),
            ("0", 0),
            ("100us", 0),
            (".5s", 500),
        ] {
            assert_eq!(parse(text).map(|d| d.as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_bare_numbers_signs_and_unknown_units() {
        assert_eq!(parse("10"), Err(DurationError::MissingUnit("10".into())));
        assert_eq!(parse("1m30"), Err(DurationError::MissingUnit("30".into())));
        assert_eq!(parse("10 s"), Err(DurationError::UnknownUnit(" s".into())));
        assert_eq!(parse("-1s"), Err(DurationError::Malformed("-1s".into())));
        assert_eq!(
            parse("1.2.3s"),
            Err(DurationError::Malformed("1.2.3s".into()))
        );
        assert!(matches!(
            parse("99999999999999w"),
            Err(DurationError::TooLong(_))
        ));
    }

    #[test]
    fn human_text_keeps_its_units_at_the_edges() {
        let cases = [
            (80, "80 ms"),
            (1_200, "1.2 s"),
            (5_000, "5 s"),
            (59_990, "0 m 59 s"),
            (200_000, "3 m 20 s"),
        ];
        for (millis, text) in cases {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn formatted_durations_read_back(nanos in 0u64..u64::MAX / 2) {
            let duration = Duration::from_nanos(nanos);
            proptest::prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
