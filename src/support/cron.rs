//! Cron expressions: `*/5 * * * *`, `0 3 * * MON-FRI`, `@hourly`, with seconds in front if there are six
//! fields.
//!
//! The `croner` crate reads and searches them. It brings a date library along if it is asked to; here it
//! searches over the one that is there already. Of a time that a change of the clock leaves out, the first
//! moment after it counts; one that comes twice counts once, unless the hour is `*`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use serde::{Serialize, Serializer};

/// What the fields are, the last five of which always stand there.
const FIELDS: [&str; 6] = [
    "second",
    "minute",
    "hour",
    "day of the month",
    "month",
    "day of the week",
];

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// As it was written.
    text: String,
    /// Large, and never changed.
    pattern: Arc<croner::Cron>,
}

/// Why a text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCron {
    /// Neither five nor six fields.
    #[error("a cron expression has five fields, and this has {0}")]
    Fields(usize),
    /// A field that says nothing.
    #[error("`{text}` is not a valid {field} of a cron expression")]
    Field {
        /// What is wrong.
        text: String,
        /// Which field it is.
        field: &'static str,
    },
    /// `@weekday`, say.
    #[error("`{0}` is not a known name for a schedule")]
    Name(String),
    /// The 30th of February.
    #[error("`{0}` never comes")]
    Never(String),
}

impl FromStr for Cron {
    type Err = BadCron;

    fn from_str(text: &str) -> Result<Self, BadCron> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let pattern = match fields[..] {
            // The crate does not know this one.
            ["@midnight"] => parse("@daily"),
            [name] if name.starts_with('@') => parse(name),
            _ if !matches!(fields.len(), 5 | 6) => return Err(BadCron::Fields(fields.len())),
            _ => parse(text),
        };
        let pattern = pattern.ok_or_else(|| what_is_wrong(text, &fields))?;
        let cron = Self {
            text: text.to_owned(),
            pattern: Arc::new(pattern),
        };
        // Any moment will do: in eight years there is every date.
        match cron.next_after(&Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC)) {
            Some(_) => Ok(cron),
            None => Err(BadCron::Never(text.to_owned())),
        }
    }
}

fn parse(text: &str) -> Option<croner::Cron> {
    let parser = CronParser::builder().year(Year::Disallowed).build();
    parser.parse(text).ok()
}

/// The first field that cannot be read by itself.
fn what_is_wrong(text: &str, fields: &[&str]) -> BadCron {
    let places = FIELDS
        .iter()
        .enumerate()
        .skip(FIELDS.len() - fields.len().clamp(1, 6));
    let is_bad = |(place, field): (usize, &str)| {
        let mut all = ["*"; FIELDS.len()];
        all[place] = field;
        parse(&all.join(" ")).is_none()
    };
    let mut pairs = places.zip(fields);
    match pairs.find(|&((place, _), field)| is_bad((place, field))) {
        Some(((_, &field), &text)) if fields.len() > 1 => BadCron::Field {
            text: text.to_owned(),
            field,
        },
        Some(_) | None => BadCron::Name(text.to_owned()),
    }
}

impl Cron {
    /// The first time after `time` that it means, in the zone of that; nothing after the year 5000.
    pub fn next_after(&self, time: &ZonedDateTime) -> Option<Timestamp> {
        let next = self
            .pattern
            .find_next_occurrence(&Local(time.clone()), false);
        next.ok().map(|next| next.0.timestamp())
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A time in a zone, as the crate wants it.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let unsigned = |part: i8| u32::try_from(part).unwrap_or(0);
        let time = &self.0;
        let (month, day) = (unsigned(time.month()), unsigned(time.day()));
        let (hour, minute) = (unsigned(time.hour()), unsigned(time.minute()));
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(time.year()), month, day),
            CivilTime::from_parts_unchecked(hour, minute, unsigned(time.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::try_from(days).unwrap_or(0))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let small = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let (month, day) = (small(civil.month())?, small(civil.day())?);
        let (hour, minute) = (small(civil.hour())?, small(civil.minute())?);
        let datetime = DateTime::new(year, month, day, hour, minute, small(civil.second())?, 0);
        let datetime = datetime.map_err(|_| CronError::InvalidDate)?;
        let zoned = self.0.time_zone().to_ambiguous_zoned_datetime(datetime);
        let one = |zoned: Result<ZonedDateTime, jiff::Error>| {
            zoned.map(Self).map_err(|_| CronError::InvalidTime)
        };
        Ok(match zoned.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(one(zoned.unambiguous())?),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(one(zoned.clone().earlier())?, one(zoned.later())?)
            }
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let later = self.0.checked_add(SignedDuration::from_secs(seconds));
        later.ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The next three times after one, in Berlin.
    fn next(cron: &str, after: &str) -> Vec<String> {
        let cron: Cron = cron.parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let after: DateTime = after.parse().unwrap();
        let mut time = zone.to_zoned_datetime(after).unwrap();
        let times = (0..3).map(|_| {
            time = cron
                .next_after(&time)
                .unwrap()
                .to_zoned_datetime(zone.clone());
            time.strftime("%a %d %H:%M:%S %z").to_string()
        });
        times.collect()
    }

    #[test]
    fn expressions_mean_what_cron_means() {
        for (cron, first, second) in [
            ("*/5 * * * *", "Fri 27 15:05:00", "Fri 27 15:10:00"),
            ("0 3 * * *", "Sat 28 03:00:00", "Sun 29 03:00:00"),
            ("30 8 * * MON-FRI", "Mon 30 08:30:00", "Tue 01 08:30:00"),
            // Either day, as everywhere.
            ("0 0 1 * 0", "Sun 29 00:00:00", "Tue 01 00:00:00"),
            ("@hourly", "Fri 27 16:00:00", "Fri 27 17:00:00"),
            ("@midnight", "Sat 28 00:00:00", "Sun 29 00:00:00"),
            ("@weekly", "Sun 29 00:00:00", "Sun 06 00:00:00"),
            ("*/20 * * * * *", "Fri 27 15:03:20", "Fri 27 15:03:40"),
        ] {
            let times = next(cron, "2026-11-27T15:03:00");
            assert_eq!(times[0], format!("{first} +0100"), "{cron}");
            assert_eq!(times[1], format!("{second} +0100"), "{cron}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_comes_right_after_the_gap() {
        assert_eq!(
            next("30 2 * * *", "2026-03-28T12:00:00"),
            [
                "Sun 29 03:00:00 +0200",
                "Mon 30 02:30:00 +0200",
                "Tue 31 02:30:00 +0200"
            ]
        );
    }

    #[test]
    fn a_time_that_comes_twice_comes_once_unless_every_hour_is_meant() {
        assert_eq!(
            next("30 2 * * *", "2026-10-24T12:00:00"),
            [
                "Sun 25 02:30:00 +0200",
                "Mon 26 02:30:00 +0100",
                "Tue 27 02:30:00 +0100"
            ]
        );
        assert_eq!(
            next("30 * * * *", "2026-10-25T01:31:00"),
            [
                "Sun 25 02:30:00 +0200",
                "Sun 25 02:30:00 +0100",
                "Sun 25 03:30:00 +0100"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (
                "61 * * * *",
                "`61` is not a valid minute of a cron expression",
            ),
            (
                "* * * * * 9",
                "`9` is not a valid day of the week of a cron expression",
            ),
            (
                "0 3 * *",
                "a cron expression has five fields, and this has 4",
            ),
            (
                "0 0 1 1 * 2030 1",
                "a cron expression has five fields, and this has 7",
            ),
            ("", "a cron expression has five fields, and this has 0"),
            (
                "@fortnightly",
                "`@fortnightly` is not a known name for a schedule",
            ),
            ("0 0 30 2 *", "`0 0 30 2 *` never comes"),
            (
                "*/0 * * * *",
                "`*/0` is not a valid minute of a cron expression",
            ),
            (
                "5-1 * * * *",
                "`5-1` is not a valid minute of a cron expression",
            ),
            (
                "0 0 * JANU *",
                "`JANU` is not a valid month of a cron expression",
            ),
        ] {
            assert_eq!(
                text.parse::<Cron>().unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
        assert!("0 0 29 2 *".parse::<Cron>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_ahead(
            fields in prop::collection::vec("[0-9*/,#LW?+-]{1,5}|[A-Z]{3}|[0-9]{1,2}-[0-9]{1,2}/[0-9]|\\PC{0,3}", 0..8),
            seconds in 0i64..4_000_000_000,
        ) {
            let time = Timestamp::from_second(seconds).unwrap();
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            if let Ok(cron) = fields.join(" ").parse::<Cron>() {
                let next = cron.next_after(&time.to_zoned_datetime(zone));
                prop_assert!(next.is_none_or(|next| next > time), "{cron}");
            }
        }
    }
}
