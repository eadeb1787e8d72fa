//! The plan of a health check.

use std::time::Duration;

use super::draft::{Resolver, text};
use super::model::{HealthPlan, HttpProbePlan, PortPlan, ProbePlan};
use super::unit::{Shared, line_execution, setting, words};
use crate::spec::model::{HealthcheckSpec, HttpProbeSpec, ProbeSpec};
use crate::spec::problem::{Problem, Span};
use crate::support::port_range::parse_port;

/// The engine's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
const START_PERIOD: Duration = Duration::ZERO;
const START_INTERVAL: Duration = Duration::from_secs(5);

/// The host of a check that names none.
const LOCALHOST: &str = "localhost";

/// What passes an HTTP check that names no status: 2xx and 3xx.
const PASSING: (u16, u16) = (200, 399);

/// Plans a health check.
pub(super) fn health_plan(
    health: &HealthcheckSpec,
    ports: &[PortPlan],
    shared: &Shared<'_>,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> HealthPlan {
    let probe = match &health.probe {
        ProbeSpec::Shell(line) => {
            let line = text(line, resolver, problems);
            ProbePlan::Command(line_execution(&line, shared.shell.as_deref()))
        }
        ProbeSpec::Command(list, _) => ProbePlan::Command(super::model::Execution {
            argv: words(list, resolver, problems),
            is_shell_line: false,
        }),
        ProbeSpec::Http(http) => ProbePlan::Http(http_plan(http, ports, resolver, problems)),
        ProbeSpec::Tcp(template) => {
            let target = text(template, resolver, problems);
            let (host, port) = host_and_port(&target).unwrap_or_else(|| {
                problems.push(
                    Problem::error(
                        "stack::plan::tcp_target",
                        format!("`{target}` is neither a port nor `host:port`"),
                        &template.span,
                    )
                    .hint("write `tcp: $<PORT>`, or `tcp: localhost:5432`"),
                );
                (LOCALHOST.to_owned(), 0)
            });
            ProbePlan::Tcp { host, port }
        }
    };
    let retries = setting(health.retries.as_ref(), resolver, problems);
    let mut time = |value, default| setting(value, resolver, problems).unwrap_or(default);
    // Zero means the default, as in the engine.
    let or_default = |value: Duration, default| if value.is_zero() { default } else { value };
    HealthPlan {
        probe,
        interval: or_default(time(health.interval.as_ref(), INTERVAL), INTERVAL),
        timeout: or_default(time(health.timeout.as_ref(), TIMEOUT), TIMEOUT),
        retries: retries.filter(|&retries| retries > 0).unwrap_or(RETRIES),
        start_period: time(health.start_period.as_ref(), START_PERIOD),
        start_interval: or_default(
            time(health.start_interval.as_ref(), START_INTERVAL),
            START_INTERVAL,
        ),
    }
}

fn http_plan(
    http: &HttpProbeSpec,
    ports: &[PortPlan],
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> HttpProbePlan {
    let written = text(&http.path, resolver, problems);
    let span = &http.path.span;
    let (host, url_port, path) = match written.strip_prefix("http://") {
        Some(rest) => {
            let (authority, path) = match rest.find(['/', '?']) {
                Some(at) => rest.split_at(at),
                None => (rest, "/"),
            };
            match host_and_port(authority) {
                Some((host, port)) => (host, Some(port), path.to_owned()),
                None if !authority.is_empty() && !authority.contains([':', '@']) => {
                    (authority.to_owned(), Some(80), path.to_owned())
                }
                None => {
                    problems.push(bad_target(&written, span));
                    (LOCALHOST.to_owned(), Some(80), path.to_owned())
                }
            }
        }
        None if written.starts_with('/') => (LOCALHOST.to_owned(), None, written.clone()),
        None => {
            problems.push(bad_target(&written, span));
            (LOCALHOST.to_owned(), Some(80), "/".to_owned())
        }
    };
    let path = if path.starts_with('?') {
        format!("/{path}")
    } else {
        path
    };
    let given = setting(http.port.as_ref(), resolver, problems);
    let port = given.or(url_port).or_else(|| own_port(ports)).unwrap_or_else(|| {
        problems.push(
            Problem::error(
                "stack::plan::http_port",
                "it is not known which port to ask",
                span,
            )
            .hint("give the service a port (`$<PORT:auto>`), or write `http: {path: /health, port: 8080}`"),
        );
        0
    });
    let status: Vec<(u16, u16)> = http
        .status
        .iter()
        .filter_map(|status| setting(Some(status), resolver, problems))
        .collect();
    HttpProbePlan {
        host,
        port,
        path,
        status: if status.is_empty() {
            vec![PASSING]
        } else {
            status
        },
        headers: http
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value, resolver, problems)))
            .collect(),
    }
}

/// The service's own port: the one called `PORT`, else the first.
fn own_port(ports: &[PortPlan]) -> Option<u16> {
    ports
        .iter()
        .find(|port| port.name.as_str() == "PORT")
        .or_else(|| ports.first())
        .map(|port| port.port)
}

/// `8080`, `host:8080`, `[::1]:8080`.
fn host_and_port(target: &str) -> Option<(String, u16)> {
    if let Ok(port) = parse_port(target) {
        return Some((LOCALHOST.to_owned(), port));
    }
    let (host, port) = target.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty() && !host.contains(char::is_whitespace))
        .then_some(host.to_owned())
        .zip(parse_port(port).ok())
}

fn bad_target(written: &str, span: &Span) -> Problem {
    let hint = if written.starts_with("https://") {
        "TLS is not checked over; ask the plain HTTP port, or use `test: curl -fk …`"
    } else {
        "write a path such as `/health`, or a URL such as `http://localhost:8080/health`"
    };
    Problem::error(
        "stack::plan::http_target",
        format!("`{written}` is neither a path nor an http URL"),
        span,
    )
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets() {
        for (text, expected) in [
            ("8080", Some(("localhost", 8080))),
            ("db:5432", Some(("db", 5432))),
            ("[::1]:80", Some(("::1", 80))),
            ("::1:80", None),
            (":80", None),
            ("db:", None),
            ("db", None),
        ] {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }
}
