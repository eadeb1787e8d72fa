//! The plan of a health check.

mod target;

use std::time::Duration;

use super::code;
use super::execution::line_execution;
use super::model::{Execution, HealthPlan, HttpProbePlan, PortPlan, ProbePlan};
use super::resolver::{Inside, Resolver};
use crate::spec::model::{Answerer, HealthcheckSpec, HttpProbeSpec, ProbeSpec, Setting};
use crate::spec::problem::{Problem, Report, Span};
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
    resolver: &Resolver<'_>,
) -> HealthPlan {
    let probe = match &health.probe {
        ProbeSpec::Shell(line) => ProbePlan::Command(line_execution(line, resolver)),
        ProbeSpec::Command(list) => ProbePlan::Command(Execution::words(resolver.words(list))),
        ProbeSpec::Http(http) => ProbePlan::Http(http_plan(http, ports, resolver)),
        ProbeSpec::Log(pattern) => ProbePlan::Log {
            pattern: resolver.setting(Some(pattern)).unwrap_or_default(),
        },
        ProbeSpec::Notify => {
            let socket = resolver.inside.map(|Inside { service, replica }| {
                let home = resolver.draft.home();
                home.notify(&service.name, replica)
            });
            ProbePlan::Notify {
                socket: socket.unwrap_or_default(),
            }
        }
        ProbeSpec::Tcp(template) => {
            let target = resolver.text(template);
            let (host, port) = host_and_port(&target).unwrap_or_else(|| {
                let message = format!("`{target}` is neither a port nor `host:port`");
                let hint = "write `tcp: $<PORT>`, or `tcp: localhost:5432`";
                let mut told = resolver.told();
                told.error(code::TCP_TARGET, &template.span, message, hint);
                (LOCALHOST.to_owned(), 0)
            });
            refuse_udp(template, port, resolver);
            ProbePlan::Tcp { host, port }
        }
    };
    let times = &health.times;
    let time = |value: &Option<_>| resolver.setting(value.as_ref());
    // Zero means the default, as in the engine.
    let some = |value| time(value).filter(|value: &Duration| !value.is_zero());
    let retries = resolver.setting(times.retries.as_ref());
    HealthPlan {
        probe,
        interval: some(&times.interval).unwrap_or(INTERVAL),
        timeout: some(&times.timeout).unwrap_or(TIMEOUT),
        retries: retries.filter(|&retries| retries > 0).unwrap_or(RETRIES),
        start_period: time(&times.start_period).unwrap_or(START_PERIOD),
        start_interval: some(&times.start_interval).unwrap_or(START_INTERVAL),
        listener: resolver
            .setting(health.listener.as_ref())
            .unwrap_or(Answerer::New),
        restarts: false,
    }
}

fn http_plan(http: &HttpProbeSpec, ports: &[PortPlan], resolver: &Resolver<'_>) -> HttpProbePlan {
    let span = &http.path.span;
    let written = resolver.known(&http.path);
    let given = resolver.setting(http.port.as_ref());
    // What could not be resolved was reported, and is not a target for that reason.
    let is_known = written.is_some() && http.port.is_some() == given.is_some();
    let target = written.as_ref().and_then(|written| {
        let target = Target::parse(written);
        if target.is_none() && is_known {
            resolver.told().report(bad_target(written, span));
        }
        target
    });
    let target = target.unwrap_or_else(Target::unknown);
    if let (Some(given), Some(other)) = (given, target.port)
        && given != other
        && is_known
    {
        let message = format!("the URL asks port {other}, and `port` says {given}");
        let mut told = resolver.told();
        told.error(code::HTTP_PORT, span, message, "keep one of the two");
    }
    if let Some(port) = target.port.filter(|_| is_known) {
        refuse_udp(&http.path, port, resolver);
    }
    if let (Some(port), Some(Setting::Deferred(template, _))) = (given, &http.port) {
        refuse_udp(template, port, resolver);
    }
    let port = given.or(target.port).or_else(|| own_port(ports));
    if let Some(problem) = match ports.first() {
        _ if port.is_some() || !is_known => None,
        Some(udp) => Some(udp_port(&udp.name, span)),
        None => {
            let message = "it is not known which port to ask";
            let hint = "give the service a port (`$<PORT:auto>`), or write `http: {path: /health, \
                        port: 8080}`";
            Some(Problem::error(code::HTTP_PORT, message, span).hint(hint))
        }
    } {
        resolver.told().report(problem);
    }
    let mut status = resolver.settings(&http.status);
    if status.is_empty() {
        status.push(PASSING);
    }
    HttpProbePlan {
        host: target.host,
        port: port.unwrap_or_default(),
        path: target.path,
        status,
        headers: headers(http, resolver),
    }
}

fn headers(http: &HttpProbeSpec, resolver: &Resolver<'_>) -> Vec<(String, String)> {
    let is_name = |name: &str| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !name.is_empty() && name.chars().all(is_token)
    };
    let is_value = |value: &str| value.chars().all(|c| c == '\t' || !c.is_control());
    let mut headers = Vec::new();
    for (name, template) in &http.headers {
        let value = resolver.text(template);
        if !is_name(name) || !is_value(&value) {
            let name = name.escape_debug();
            let message = format!("`{name}` is not a header that HTTP can carry");
            let hint = "a name is one word, such as `X-Probe`; a value is one line";
            let mut told = resolver.told();
            told.error(code::HTTP_HEADER, &template.span, message, hint);
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
fn refuse_udp(template: &Template, port: u16, resolver: &Resolver<'_>) {
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
            resolver.told().report(udp_port(name, span));
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
