//! Texts to typed values; the same functions serve now and, for deferred settings, in `plan`.

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use super::suggest::{list, nearest};
use crate::spec::code;
use crate::spec::model::{Answerer, Handoff, MAX_REPLICAS, RestartSpec, SettingError, WatchAction};
use crate::support::protocol::Protocol;
use crate::support::{duration, port_range, size};

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

fn bad(message: impl Into<String>, hint: impl Into<String>) -> SettingError {
    error(code::BAD_VALUE, message, hint)
}

/// One of several words. `what` is what they are: "condition".
pub(super) fn word<T: Copy>(text: &str, what: &str, words: &[(&'static str, T)]) -> Parsed<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names = || words.iter().map(|(word, _)| *word);
    // Half of a long word is not a misspelling of it: `healthy` for `service_healthy`.
    let is_half = |word: &&str| text.len() > 3 && word.contains(text);
    let meant = nearest(text, names()).or_else(|| names().find(is_half));
    Err(bad(
        format!("`{text}` is not a valid {what}"),
        match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write one of {}", list(names())),
        },
    ))
}

/// A whole number, of digits alone.
fn number<T: FromStr>(text: &str, what: &str, hint: &str) -> Parsed<T> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let message = || format!("`{text}` is not a valid {what}");
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| bad(message(), hint))
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
        bad(why.to_string(), hint)
    })
}

pub(super) fn parse_count(text: &str) -> Parsed<u32> {
    number(text, "number", "write a whole number, 0 or more")
}

/// `max-size` of `logging`.
pub(super) fn parse_size(text: &str) -> Parsed<NonZeroU64> {
    let size = size::parse(text).and_then(NonZeroU64::new);
    size.ok_or_else(|| {
        bad(
            format!("`{text}` is not a valid size"),
            "write it as `10m`, `512k` or `1g`",
        )
    })
}

/// `max-file` of `logging`.
pub(super) fn parse_files(text: &str) -> Parsed<NonZeroU32> {
    number(text, "number of files", "write a whole number, 1 or more")
}

/// `umask`, in octal digits as everywhere.
pub(super) fn parse_umask(text: &str) -> Parsed<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let mask = u32::from_str_radix(digits, 8).ok();
    mask.filter(|&mask| is_octal && mask <= 0o777)
        .ok_or_else(|| {
            bad(
                format!("`{text}` is not a valid umask"),
                "write it in octal digits, such as `022` or `077`",
            )
        })
}

/// A whole number within limits, which are said.
fn within(text: &str, what: &str, (least, most): (i32, i32)) -> Parsed<i32> {
    let number = text.parse().ok().filter(|it| (least..=most).contains(it));
    number.ok_or_else(|| {
        bad(
            format!("`{text}` is not a valid {what}"),
            format!("write a whole number from {least} to {most}"),
        )
    })
}

pub(super) fn parse_nice(text: &str) -> Parsed<i32> {
    within(text, "nice value", (-20, 19))
}

pub(super) fn parse_oom_score_adj(text: &str) -> Parsed<i32> {
    within(text, "`oom_score_adj`", (-1000, 1000))
}

pub(super) fn parse_protocol(text: &str) -> Parsed<Protocol> {
    word(
        text,
        "protocol",
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
    )
}

/// An entry of `ports` or `expose`: the number on which a process listens. One that is mapped to
/// another is for containers.
pub(super) fn parse_listed_port(text: &str) -> Parsed<(u16, Protocol)> {
    let (numbers, protocol) = match text.split_once('/') {
        Some((numbers, protocol)) => (numbers, parse_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    if numbers.contains('-') {
        return Err(error(
            code::NEEDS_CONTAINER,
            format!("`{text}` is a range, and a process listens on one port"),
            {
                let mut parts = numbers.split(':');
                let range = parts.find(|part| part.contains('-')).unwrap_or(numbers);
                format!("write `$<PORT:auto:{range}>` in the command, or list the ports")
            },
        ));
    }
    let parts: Vec<&str> = numbers.split(':').collect();
    match parts[..] {
        [one] => Ok((parse_port(one)?, protocol)),
        [host, container] => {
            let (host, container) = (parse_port(host)?, parse_port(container)?);
            if host == container {
                Ok((host, protocol))
            } else {
                Err(mapped(host, container))
            }
        }
        _ => Err(error(
            code::NEEDS_CONTAINER,
            format!("`{text}` names an address, and a process chooses its own"),
            "write the port alone, and the address into the command; `$<BIND>` is the usual one",
        )),
    }
}

/// Two numbers for one port of a process.
pub(super) fn mapped(host: u16, container: u16) -> SettingError {
    error(
        code::NEEDS_CONTAINER,
        format!("port {host} cannot be mapped to {container}: a process listens itself"),
        format!(
            "let the command listen on {host} and write `{host}`, or `$<PORT:auto>` in the command"
        ),
    )
}

/// One limit of `ulimits`.
pub(super) fn parse_limit(text: &str) -> Parsed<u64> {
    match text {
        "-1" | "unlimited" => Ok(libc::RLIM_INFINITY),
        _ => number(text, "limit", "write a whole number, or -1 for no limit"),
    }
}

/// `driver` of `logging`: what is kept is kept in files, as these two of the engine do it.
pub(super) fn parse_log_driver(text: &str) -> Parsed<()> {
    match text {
        "json-file" | "local" => Ok(()),
        _ => Err(bad(
            format!("`{text}` is not a log driver of a process"),
            "remove it: output is kept in files, and `stack logs` shows it",
        )),
    }
}

pub(super) fn parse_replicas(text: &str) -> Parsed<u32> {
    let count = parse_count(text)?;
    if count > MAX_REPLICAS {
        return Err(bad(
            format!("a service can have {MAX_REPLICAS} replicas at most, and this says {count}"),
            "write a smaller number",
        ));
    }
    Ok(count)
}

/// `handoff`.
pub(super) fn parse_handoff(text: &str) -> Parsed<Handoff> {
    if text == "intercept" {
        return Err(error(
            code::NOT_SUPPORTED_YET,
            "`handoff: intercept` is not supported yet",
            "leave it out, or write `release` for a server that never sets `SO_REUSEADDR`",
        ));
    }
    word(text, "handoff", &Handoff::WORDS)
}

/// `action` of `watch`.
pub(super) fn parse_watch_action(text: &str) -> Parsed<WatchAction> {
    match text {
        "sync" | "sync+restart" | "sync+exec" => Err(bad(
            format!("`{text}` is not needed: a process sees your files as they are"),
            match text {
                "sync" => "remove this item if the program reloads by itself, else write `restart`",
                "sync+restart" => "write `action: restart`",
                _ => "write `action: rebuild` and `command: …`, which restarts it as well",
            },
        )),
        _ => word(text, "action", &WatchAction::WORDS),
    }
}

/// `log` of a health check.
pub(super) fn parse_pattern(text: &str) -> Parsed<String> {
    if text.is_empty() {
        let hint = "write a part of the line that says that it is ready";
        return Err(bad("an empty regular expression fits every line", hint));
    }
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => {
            // The last line says it; those before show where, which we do as well.
            let why = why.to_string();
            let why = why.lines().last().unwrap_or_default();
            let why = why.strip_prefix("error: ").unwrap_or(why);
            Err(bad(
                format!("`{text}` is not a valid regular expression: {why}"),
                "put a backslash before what is meant as it stands: `\\(`, `\\[`, `\\.`",
            ))
        }
    }
}

/// `listener` of a health check.
pub(super) fn parse_answerer(text: &str) -> Parsed<Answerer> {
    word(text, "listener", &Answerer::WORDS)
}

/// `on_unhealthy`: whether it is restarted.
pub(super) fn parse_on_unhealthy(text: &str) -> Parsed<bool> {
    let words = [("none", false), ("restart", true)];
    word(text, "word for `on_unhealthy`", &words)
}

/// One port of `ports.range` or `ports.exclude`, or a range of them.
pub(super) fn parse_range(text: &str) -> Parsed<port_range::PortRange> {
    text.parse().map_err(|why: port_range::PortRangeError| {
        let hint = "write a range such as `8000-9000`, both ends included";
        error(code::BAD_PORT, why.to_string(), hint)
    })
}

pub(super) fn parse_exit_code(text: &str) -> Parsed<u8> {
    let hint = "exit codes are numbers from 0 to 255; 128 + n is the signal n";
    number(text, "exit code", hint)
}

pub(super) fn parse_port(text: &str) -> Parsed<u16> {
    port_range::parse_port(text).map_err(|why| {
        let hint = "write a number, or a placeholder such as `$<PORT>`";
        error(code::BAD_PORT, why.to_string(), hint)
    })
}

pub(super) fn parse_status(text: &str) -> Parsed<(u16, u16)> {
    const HINT: &str = "write a status such as `204`, or a range such as `200-299`";
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (start.trim(), end.trim());
    let status = |text| number(text, "HTTP status", HINT);
    match (status(start), status(end)) {
        (Ok(low), Ok(high)) if 100 <= low && low <= high && high <= 599 => Ok((low, high)),
        _ => Err(bad(format!("`{text}` is not a valid HTTP status"), HINT)),
    }
}

pub(super) fn parse_restart(text: &str) -> Parsed<RestartSpec> {
    match text {
        // `no` becomes `false` where a YAML 1.1 tool wrote the file anew.
        "false" => return Ok(RestartSpec::No),
        "true" => {
            return Err(bad(
                "`restart: true` does not say when",
                "write `restart: always` or `restart: on-failure`",
            ));
        }
        _ => {}
    }
    if let Some(most) = text.strip_prefix("on-failure:") {
        return parse_count(most).map(|most| RestartSpec::OnFailure(Some(most)));
    }
    word(
        text,
        "restart policy",
        &[
            ("no", RestartSpec::No),
            ("always", RestartSpec::Always),
            ("on-failure", RestartSpec::OnFailure(None)),
            ("unless-stopped", RestartSpec::UnlessStopped),
        ],
    )
}

/// `restart_policy.condition`, as the policy of the same meaning.
pub(super) fn parse_restart_condition(text: &str) -> Parsed<RestartSpec> {
    word(
        text,
        "condition for a restart",
        &[
            ("any", RestartSpec::Always),
            ("on-failure", RestartSpec::OnFailure(None)),
            ("none", RestartSpec::No),
        ],
    )
}

/// A signal by its name, with or without `SIG`, or by its number, as Docker reads them.
pub(super) fn parse_signal(text: &str) -> Parsed<i32> {
    let unknown = |hint: String| bad(format!("`{text}` is not a signal of this system"), hint);
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
        _ => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match name.strip_prefix("RTMIN") {
        Some(rest) => first + offset(rest, '+')?,
        None => last - offset(name.strip_prefix("RTMAX")?, '-')?,
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
        for bad in ["", "99", "2xx", "300-200", "600", "+20", "+200"] {
            assert!(parse_status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_number_is_told_its_unit() {
        let hint = parse_duration("10").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("write `10s` for seconds, or `10ms`"));
    }
}
