//! The plan of a health check.

mod target;

use std::time::Duration;

use super::code;
use super::model::{Execution, HealthPlan, HttpProbePlan, PortPlan, ProbePlan};
use super::resolver::Resolver;
use super::unit::{Shared, line_execution};
use crate::spec::model::{HealthcheckSpec, HttpProbeSpec, ProbeSpec, Setting};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Lookup as _, Template};
use crate::support::name::PortName;

use self::target::{LOCALHOST, Target, host_and_port};

/// The engine's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
const START_PERIOD: Duration = Duration::ZERO;
const START_INTERVAL: Duration = Duration::from_secs(5);

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
            ProbePlan::Command(line_execution(&line, shared.shell))
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
            refuse_udp(template, port, resolver, problems);
            ProbePlan::Tcp { host, port }
        }
    };
    let retries = resolver.setting(health.times.retries.as_ref(), problems);
    let mut time = |value, default| resolver.setting(value, problems).unwrap_or(default);
    // Zero means the default, as in the engine.
    let or_default = |value: Duration, default| if value.is_zero() { default } else { value };
    HealthPlan {
        probe,
        interval: or_default(time(health.times.interval.as_ref(), INTERVAL), INTERVAL),
        timeout: or_default(time(health.times.timeout.as_ref(), TIMEOUT), TIMEOUT),
        retries: retries.filter(|&retries| retries > 0).unwrap_or(RETRIES),
        start_period: time(health.times.start_period.as_ref(), START_PERIOD),
        start_interval: or_default(
            time(health.times.start_interval.as_ref(), START_INTERVAL),
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
    let is_broken = http.path.is_broken || (http.port.is_some() && given.is_none());
    let is_known = !is_broken && !problems[before..].iter().any(Problem::is_error);
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
    if let Some(port) = target.port.filter(|_| is_known) {
        refuse_udp(&http.path, port, resolver, problems);
    }
    if let (Some(port), Some(Setting::Deferred(template, _))) = (given, &http.port) {
        refuse_udp(template, port, resolver, problems);
    }
    let port = given.or(target.port).or_else(|| own_port(ports));
    let port = port.unwrap_or_else(|| {
        match ports.first() {
            _ if !is_known => {}
            Some(udp) => problems.push(udp_port(&udp.name, span)),
            None => problems.push(no_port(span)),
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
                    format!(
                        "`{}` is not a header that HTTP can carry",
                        name.escape_debug()
                    ),
                    &template.span,
                )
                .hint("a name is one word, such as `X-Probe`; a value is one line"),
            );
        }
        headers.push((name.clone(), value));
    }
    headers
}

/// The service's own TCP port: the one called `PORT`, else the first.
fn own_port(ports: &[PortPlan]) -> Option<u16> {
    let mut tcp = ports.iter().filter(|port| port.protocol.has_tcp());
    tcp.clone()
        .find(|port| port.name.as_str() == "PORT")
        .or_else(|| tcp.next())
        .map(|port| port.port)
}

/// Refuses a check of a port that a placeholder in `template` gave, and that is one of UDP.
fn refuse_udp(
    template: &Template,
    port: u16,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) {
    // The stand-ins all differ, so that a number tells whose it is. Later a TCP and a UDP port may
    // have one number.
    if resolver.ports.are_allocated {
        return;
    }
    let number = port.to_string();
    for (placeholder, span) in template.placeholders() {
        if let Some((name, declaration)) = resolver.declared(placeholder)
            && !declaration.protocol.has_tcp()
            && resolver.placeholder(placeholder, span).as_ref() == Ok(&number)
        {
            problems.push(udp_port(name, span));
        }
    }
}

fn udp_port(name: &PortName, span: &Span) -> Problem {
    Problem::error(
        code::UDP_CHECK,
        format!("`{name}` is a UDP port, which cannot be asked over TCP"),
        span,
    )
    .hint(format!(
        "ask with a command (`test: …`), or leave the check out: without one a service is ready \
         when its ports are bound. `$<{name}:auto/tcp+udp>` asks for both"
    ))
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
