//! What stands between `$<` and `>`.

use super::{Placeholder, Word};
use crate::spec::code;
use crate::spec::model::{FileKind, PortWant, Thing};
use crate::spec::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};
use crate::support::port_range::{PortRange, parse_port};
use crate::support::protocol::Protocol;
use crate::support::text::nearest;

/// The forms, for hints.
const FORMS: &str = "the forms are `$<PORT:auto>`, `$<PORT:auto:5173>`, `$<PORT:auto:9100-9199>`, \
                     `$<PORT:8080>`, `$<PORT>` and `$<service.PORT>`; `/udp` before the `>` \
                     asks for UDP; `$<NAME:dir>`, `$<NAME:socket>` and `$<NAME:secret>` are not ports";

/// Reads the inside of a placeholder. `span` is that of the whole of it, for the problem.
pub(super) fn parse(body: &str, span: &Span) -> Result<Placeholder, Problem> {
    if let Some((_, word)) = Word::WORDS.iter().find(|(word, _)| *word == body) {
        return Ok(Placeholder::Word(*word));
    }
    match body.split_once(':') {
        Some((name, want)) => declaration(name, want, span),
        None => reference(body, span),
    }
}

fn declaration(name: &str, want: &str, span: &Span) -> Result<Placeholder, Problem> {
    if name == "BIND" {
        return Err(bad(
            "`BIND` is the address to listen on, and cannot be declared".to_owned(),
            span,
            format!("give it another name: `$<PORT:{want}>`"),
        ));
    }
    if let Some((_, thing)) = Thing::WORDS.iter().find(|(word, _)| *word == want) {
        return Ok(Placeholder::Thing(port_name(name, span)?, *thing));
    }
    let (want, protocol) = match want.rsplit_once('/') {
        Some((want, "tcp")) => (want, Protocol::Tcp),
        Some((want, "udp")) => (want, Protocol::Udp),
        Some((want, "tcp+udp" | "udp+tcp")) => (want, Protocol::Both),
        Some((_, protocol)) => {
            return Err(bad(
                format!("`{protocol}` is not a protocol"),
                span,
                "write `/udp`, `/tcp+udp` for both on one number, or nothing for TCP".to_owned(),
            ));
        }
        None => (want, Protocol::Tcp),
    };
    let name = port_name(name, span)?;
    let port = |text: &str| parse_port(text).map_err(|error| bad_port(&error.to_string(), span));
    let want = match want.split_once(':') {
        None if want == "auto" => PortWant::Auto,
        None => {
            if want.contains('-') {
                return Err(bad(
                    format!("`{want}` is a range, and only `auto` picks from a range"),
                    span,
                    format!("write `$<{name}:auto:{want}>`"),
                ));
            }
            if !want.starts_with(|c: char| c.is_ascii_digit()) {
                let words = Thing::WORDS.iter().map(|(word, _)| *word);
                let meant = nearest(want, words.chain(["auto"]));
                let problem = bad(
                    format!("`{want}` does not say which port"),
                    span,
                    format!("write `$<{name}:{}>`", meant.unwrap_or("auto")),
                );
                return Err(match meant {
                    Some(meant) => problem.label(format!("did you mean `{meant}`?")),
                    None => problem.hint(format!("write `$<{name}:auto>` for any free port")),
                });
            }
            PortWant::Fixed(port(want)?)
        }
        Some(("auto", range)) if range.contains('-') => range
            .parse::<PortRange>()
            .map(PortWant::Within)
            .map_err(|error| bad_port(&error.to_string(), span))?,
        Some(("auto", preferred)) => PortWant::Prefer(port(preferred)?),
        Some(_) => {
            return Err(bad(
                format!("`$<{name}:{want}>` cannot be read"),
                span,
                FORMS.to_owned(),
            ));
        }
    };
    Ok(Placeholder::Declare(name, want, protocol))
}

fn reference(body: &str, span: &Span) -> Result<Placeholder, Problem> {
    for (key, kind) in FileKind::WORDS {
        if let Some(name) = body
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix('.'))
        {
            return Ok(Placeholder::File(kind, name.to_owned()));
        }
    }
    // A service's name may hold dots, a port's may not: the last dot separates them.
    let Some((service, port)) = body.rsplit_once('.') else {
        return Ok(Placeholder::Own(port_name(body, span)?));
    };
    let service = ServiceName::new(service).map_err(|error| {
        bad(
            format!("`{service}` is not a valid service name: {error}"),
            span,
            FORMS.to_owned(),
        )
    })?;
    Ok(match port.strip_suffix("@host") {
        Some(port) => Placeholder::AtHost(service, port_name(port, span)?),
        None => Placeholder::Other(service, port_name(port, span)?),
    })
}

fn port_name(text: &str, span: &Span) -> Result<PortName, Problem> {
    PortName::new(text).map_err(|error| {
        bad(
            format!("`{text}` is not a valid port name: {error}"),
            span,
            format!("a name is made of letters, digits and `_`, usually `PORT`; {FORMS}"),
        )
    })
}

fn bad(message: String, span: &Span, hint: String) -> Problem {
    Problem::error(code::BAD_PLACEHOLDER, message, span).hint(hint)
}

fn bad_port(message: &str, span: &Span) -> Problem {
    Problem::error(code::BAD_PORT, message, span)
        .hint("ports are numbers from 1 to 65535, a range is `9100-9199`")
}
