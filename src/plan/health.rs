//! The plan of a health check.

use std::time::Duration;

use super::code;
use super::model::{Execution, HealthPlan, HttpProbePlan, PortPlan, ProbePlan};
use super::resolver::Resolver;
use super::unit::{Shared, line_execution};
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
            let line = resolver.text(line, problems);
            ProbePlan::Command(line_execution(&line, shared.shell.as_deref()))
        }
        ProbeSpec::Command(list, _) => ProbePlan::Command(Execution {
            argv: resolver.words(list, problems),
            is_shell_line: false,
        }),
        ProbeSpec::Http(http) => ProbePlan::Http(http_plan(http, ports, resolver, problems)),
        ProbeSpec::Tcp(template) => {
            let target = resolver.text(template, problems);
            let (host, port) = host_and_port(&target).unwrap_or_else(|| {
                problems.push(
                    Problem::error(
                        code::TCP_TARGET,
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
    let retries = resolver.setting(health.retries.as_ref(), problems);
    let mut time = |value, default| resolver.setting(value, problems).unwrap_or(default);
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
    let span = &http.path.span;
    let before = problems.len();
    let written = resolver.text(&http.path, problems);
    let given = resolver.setting(http.port.as_ref(), problems);
    let is_known = !problems[before..].iter().any(Problem::is_error);
    let target = Target::parse(&written).unwrap_or_else(|| {
        // What could not be resolved was reported, and is no target for that reason.
        if is_known {
            problems.push(bad_target(&written, span));
        }
        Target::unknown()
    });
    if let (Some(given), Some(other)) = (given, target.port)
        && given != other
        && is_known
    {
        problems.push(
            Problem::error(
                code::HTTP_PORT,
                format!("the URL asks port {other}, and `port` says {given}"),
                span,
            )
            .hint("keep one of the two"),
        );
    }
    let port = given.or(target.port).or_else(|| own_port(ports));
    let port = port.unwrap_or_else(|| {
        if is_known {
            problems.push(no_port(span));
        }
        0
    });
    let status: Vec<(u16, u16)> = http
        .status
        .iter()
        .filter_map(|status| resolver.setting(Some(status), problems))
        .collect();
    HttpProbePlan {
        host: target.host,
        port,
        path: target.path,
        status: if status.is_empty() {
            vec![PASSING]
        } else {
            status
        },
        headers: headers(http, resolver, problems),
    }
}

fn headers(
    http: &HttpProbeSpec,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let is_name = |name: &str| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !name.is_empty() && name.chars().all(is_token)
    };
    let is_value = |value: &str| value.chars().all(|c| c == '\t' || !c.is_control());
    let mut headers = Vec::new();
    for (name, template) in &http.headers {
        let value = resolver.text(template, problems);
        if !is_name(name) || !is_value(&value) {
            problems.push(
                Problem::error(
                    code::HTTP_HEADER,
                    format!("`{}` is no header that HTTP can carry", name.escape_debug()),
                    &template.span,
                )
                .hint("a name is one word, such as `X-Probe`; a value is one line"),
            );
        }
        headers.push((name.clone(), value));
    }
    headers
}

/// What an `http` check asks.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    /// The port of a URL; a path alone has none.
    port: Option<u16>,
    path: String,
}

impl Target {
    /// A path, or a URL.
    fn parse(written: &str) -> Option<Self> {
        // A fragment is never sent.
        let (written, _) = written.split_once('#').unwrap_or((written, ""));
        let can_stand = |c: char| !c.is_whitespace() && !c.is_control() && !"<>`".contains(c);
        if !written.chars().all(can_stand) {
            return None;
        }
        let Some(rest) = written.strip_prefix("http://") else {
            return written.starts_with('/').then(|| Self {
                host: LOCALHOST.to_owned(),
                port: None,
                path: written.to_owned(),
            });
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = if authority.contains('@') {
            return None;
        } else if let Some(pair) = split_host(authority) {
            pair
        } else if let Some(host) = authority
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            (host.to_owned(), 80)
        } else if !authority.is_empty() && !authority.contains([':', '[', ']']) {
            (authority.to_owned(), 80)
        } else {
            return None;
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self {
            host,
            port: Some(port),
            path: format!("{slash}{path}"),
        })
    }

    /// Stands in for one that was reported.
    fn unknown() -> Self {
        Self {
            host: LOCALHOST.to_owned(),
            port: Some(80),
            path: "/".to_owned(),
        }
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
    match parse_port(target) {
        Ok(port) => Some((LOCALHOST.to_owned(), port)),
        Err(_) => split_host(target),
    }
}

/// `host:8080`, `[::1]:8080`.
fn split_host(target: &str) -> Option<(String, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_host = |c: char| !c.is_whitespace() && !c.is_control() && !"/@[]".contains(c);
    (!host.is_empty() && host.chars().all(is_host))
        .then_some(host.to_owned())
        .zip(parse_port(port).ok())
}

fn no_port(span: &Span) -> Problem {
    Problem::error(code::HTTP_PORT, "it is not known which port to ask", span).hint(
        "give the service a port (`$<PORT:auto>`), or write `http: {path: /health, port: 8080}`",
    )
}

fn bad_target(written: &str, span: &Span) -> Problem {
    let hint = if written.starts_with("https://") {
        "`https` is not supported yet: ask a plain HTTP port, or use `test: curl -fsk https://…`"
    } else {
        "write a path such as `/health`, or a URL such as `http://localhost:8080/health`"
    };
    Problem::error(
        code::HTTP_TARGET,
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
            ("http://db:80", None),
            ("user@db:80", None),
            ("a b:80", None),
        ] {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn an_http_target_is_a_path_or_a_url() {
        for (text, expected) in [
            ("/", Some(("localhost", None, "/"))),
            (
                "/health?deep=1",
                Some(("localhost", None, "/health?deep=1")),
            ),
            ("/health#top", Some(("localhost", None, "/health"))),
            ("http://db", Some(("db", Some(80), "/"))),
            ("http://db?x", Some(("db", Some(80), "/?x"))),
            ("http://db#x", Some(("db", Some(80), "/"))),
            ("http://db:81/x", Some(("db", Some(81), "/x"))),
            ("http://[::1]/x", Some(("::1", Some(80), "/x"))),
            ("http://[::1]:81", Some(("::1", Some(81), "/"))),
            ("http://", None),
            ("http:///x", None),
            ("http://db:x/", None),
            ("http://:80/", None),
            ("http://user@db:80/", None),
            ("http://user@db/", None),
            ("https://db/", None),
            ("health", None),
            ("", None),
            ("/a b", None),
            ("/x HTTP/1.1\r\nHost: other", None),
        ] {
            let found = Target::parse(text);
            let found = found
                .as_ref()
                .map(|target| (target.host.as_str(), target.port, target.path.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
