//! Texts to typed values; the same functions serve now and, for deferred settings, in `plan`.

use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use super::suggest::nearest;
use crate::spec::code;
use crate::spec::model::{Handoff, MAX_REPLICAS, RestartSpec, SettingError};
use crate::support::{duration, port_range};

type Parsed<T> = Result<T, SettingError>;

pub(super) fn error(
    code: &'static str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> SettingError {
    SettingError {
        code,
        message: message.into(),
        hint: Some(hint.into()),
    }
}

pub(super) fn parse_duration(text: &str) -> Parsed<Duration> {
    duration::parse(text).map_err(|why| {
        let hint = match &why {
            duration::DurationError::MissingUnit(number) if number == text => {
                format!("write `{text}s` for seconds, or `{text}ms`")
            }
            duration::DurationError::MissingUnit(_)
            | duration::DurationError::UnknownUnit(_)
            | duration::DurationError::Malformed(_)
            | duration::DurationError::TooLong(_) => {
                "write it as `10s`, `1m30s` or `500ms`".to_owned()
            }
        };
        error(code::BAD_VALUE, why.to_string(), hint)
    })
}

pub(super) fn parse_count(text: &str) -> Parsed<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| {
        error(
            code::BAD_VALUE,
            format!("`{text}` is no number"),
            "write a whole number, 0 or more",
        )
    })
}

pub(super) fn parse_replicas(text: &str) -> Parsed<u32> {
    let count = parse_count(text)?;
    if count > MAX_REPLICAS {
        return Err(error(
            code::BAD_VALUE,
            format!("{count} replicas are more than the {MAX_REPLICAS} that a service can have"),
            "write a smaller number",
        ));
    }
    Ok(count)
}

/// `handoff`.
pub(super) fn parse_handoff(text: &str) -> Parsed<Handoff> {
    const WAYS: [&str; 3] = ["reuse", "release", "fd"];
    match text {
        "reuse" => Ok(Handoff::Reuse),
        "release" => Ok(Handoff::Release),
        "fd" => Ok(Handoff::Fd),
        "intercept" => Err(error(
            code::NOT_SUPPORTED_YET,
            "`handoff: intercept` is not supported yet",
            "leave it out, or write `release` for a server that never sets `SO_REUSEADDR`",
        )),
        _ => Err(error(
            code::BAD_VALUE,
            format!("`{text}` is no way to hand off a port"),
            match nearest(text, WAYS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "the ways are `reuse`, `release` and `fd`".to_owned(),
            },
        )),
    }
}

/// One port of `ports.range` or `ports.exclude`, or a range of them.
pub(super) fn parse_range(text: &str) -> Parsed<port_range::PortRange> {
    text.parse().map_err(|why: port_range::PortRangeError| {
        error(
            code::BAD_PORT,
            why.to_string(),
            "write a range such as `8000-9000`, both ends included",
        )
    })
}

pub(super) fn parse_exit_code(text: &str) -> Parsed<u8> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| {
        error(
            code::BAD_VALUE,
            format!("`{text}` is no exit code"),
            "exit codes are numbers from 0 to 255; 128 + n is the signal n",
        )
    })
}

pub(super) fn parse_port(text: &str) -> Parsed<u16> {
    port_range::parse_port(text).map_err(|why| {
        error(
            code::BAD_PORT,
            why.to_string(),
            "write a number, or a placeholder such as `$<PORT>`",
        )
    })
}

pub(super) fn parse_status(text: &str) -> Parsed<(u16, u16)> {
    let number = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let status: Option<u16> = text.parse().ok();
        status.filter(|status| is_number && (100..=599).contains(status))
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    match (number(start.trim()), number(end.trim())) {
        (Some(start), Some(end)) if start <= end => Ok((start, end)),
        _ => Err(error(
            code::BAD_VALUE,
            format!("`{text}` is no status of HTTP"),
            "write a status such as `204`, or a range such as `200-299`",
        )),
    }
}

pub(super) fn parse_restart(text: &str) -> Parsed<RestartSpec> {
    const POLICIES: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];
    const HINT: &str = "the policies are `no`, `always`, `on-failure`, `on-failure:5` and \
                        `unless-stopped`";
    match text {
        // `no` becomes `false` where a YAML 1.1 tool wrote the file anew.
        "no" | "false" => return Ok(RestartSpec::No),
        "always" => return Ok(RestartSpec::Always),
        "on-failure" => return Ok(RestartSpec::OnFailure(None)),
        "unless-stopped" => return Ok(RestartSpec::UnlessStopped),
        "true" => {
            return Err(error(
                code::BAD_VALUE,
                "`restart: true` does not say when",
                "write `restart: always` or `restart: on-failure`",
            ));
        }
        _ => {}
    }
    if let Some(most) = text.strip_prefix("on-failure:") {
        return parse_count(most).map(|most| RestartSpec::OnFailure(Some(most)));
    }
    let hint = match nearest(text, POLICIES) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => HINT.to_owned(),
    };
    Err(error(
        code::BAD_VALUE,
        format!("`{text}` is no restart policy"),
        hint,
    ))
}

/// `restart_policy.condition`, as the policy of the same meaning.
pub(super) fn parse_restart_condition(text: &str) -> Parsed<RestartSpec> {
    match text {
        "any" => Ok(RestartSpec::Always),
        "on-failure" => Ok(RestartSpec::OnFailure(None)),
        "none" => Ok(RestartSpec::No),
        _ => Err(error(
            code::BAD_VALUE,
            format!("`{text}` is no condition for a restart"),
            "the conditions are `any`, `on-failure` and `none`",
        )),
    }
}

/// A signal by its name, with or without `SIG`, or by its number, as Docker reads them.
pub(super) fn parse_signal(text: &str) -> Parsed<i32> {
    let unknown = |hint: String| {
        error(
            code::BAD_VALUE,
            format!("`{text}` is no signal of this system"),
            hint,
        )
    };
    if let Ok(number) = text.parse::<i32>() {
        return (1..=libc::SIGRTMAX())
            .contains(&number)
            .then_some(number)
            .ok_or_else(|| unknown("write a name such as `SIGINT`".to_owned()));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(signal) = format!("SIG{name}").parse::<Signal>() {
        return Ok(signal as i32);
    }
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    let names = Signal::iterator().map(|signal| &signal.as_str()[3..]);
    Err(unknown(match nearest(name, names) {
        Some(meant) => format!("did you mean `SIG{meant}`?"),
        None => "write a name such as `SIGINT`, or a number".to_owned(),
    }))
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`.
fn real_time(name: &str) -> Option<i32> {
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest
            .strip_prefix(sign)?
            .parse::<i32>()
            .ok()
            .filter(|n| *n >= 0),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        first.checked_add(offset(rest, '+')?)?
    } else {
        last.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_with_or_without_sig_or_numbers() {
        for text in ["SIGINT", "INT", "int", "2"] {
            assert_eq!(parse_signal(text), Ok(2), "{text}");
        }
        assert_eq!(parse_signal("SIGRTMIN+3"), Ok(libc::SIGRTMIN() + 3));
        assert_eq!(parse_signal("RTMAX-1"), Ok(libc::SIGRTMAX() - 1));
        for bad in ["", "0", "-1", "65", "SIGNOPE", "RTMIN-1", "RTMIN+99", "SIG"] {
            assert!(parse_signal(bad).is_err(), "{bad}");
        }
        let hint = parse_signal("SIGTREM").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("did you mean `SIGTERM`?"));
    }

    #[test]
    fn restart_policies_are_read_by_their_source_text() {
        assert_eq!(parse_restart("no"), Ok(RestartSpec::No));
        assert_eq!(parse_restart("false"), Ok(RestartSpec::No));
        assert_eq!(
            parse_restart("on-failure:5"),
            Ok(RestartSpec::OnFailure(Some(5)))
        );
        for bad in [
            "true",
            "yes",
            "on-failure:",
            "on-failure:-1",
            "on-failure:x",
            "",
        ] {
            assert!(parse_restart(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_are_numbers_or_ranges() {
        assert_eq!(parse_status("204"), Ok((204, 204)));
        assert_eq!(parse_status("200-399"), Ok((200, 399)));
        for bad in ["", "99", "2xx", "300-200", "600", "+20"] {
            assert!(parse_status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_number_is_told_its_unit() {
        let hint = parse_duration("10").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("write `10s` for seconds, or `10ms`"));
    }
}
