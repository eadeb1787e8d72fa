//! UDP beside TCP.

use super::{Project, at, numbered};
use crate::plan::code;
use crate::plan::model::ProbePlan;
use crate::spec::code as spec_code;
use crate::support::protocol::Protocol;

#[test]
fn a_protocol_reaches_the_request_and_the_plan() {
    let project = Project::service(
        "command: x $<PORT:auto> $<DNS:auto/udp> $<BOTH:auto:5353/tcp+udp> $<SAME:auto:9000-9009/udp+tcp> $<F:8080/udp> $<T:8080/tcp>",
    );
    let (tcp, udp, both) = (Protocol::Tcp, Protocol::Udp, Protocol::Both);
    let expected = [tcp, udp, both, both, udp, tcp];
    let draft = project.good();
    let requests = draft.requests(&mut Vec::new());
    let found: Vec<_> = requests.iter().map(|request| request.protocol).collect();
    assert_eq!(found, expected);
    let plan = draft.finish(&numbered(&draft), &mut Vec::new());
    let ports = plan.units[0].ports.iter();
    assert_eq!(
        ports.map(|port| port.protocol).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn one_name_has_one_protocol() {
    for (one, other, is_same) in [
        ("auto", "auto/udp", false),
        ("auto/tcp+udp", "auto/udp", false),
        ("auto/tcp+udp", "auto/udp+tcp", true),
        ("auto", "auto/tcp", true),
    ] {
        let project = Project::service(&format!("command: x $<P:{one}> $<P:{other}>"));
        let expected = if is_same {
            vec![]
        } else {
            vec![spec_code::CONFLICTING_PORTS]
        };
        assert_eq!(project.codes(), expected, "{one} {other}");
    }
}

#[test]
fn one_number_is_fixed_once_for_each_protocol() {
    for (first, second, is_fine) in [
        ("5353", "5353", false),
        ("5353", "5353/tcp", false),
        ("5353/tcp+udp", "5353/udp", false),
        ("5353", "5353/tcp+udp", false),
        ("5353", "5353/udp", true),
        ("5353", "5354", true),
        ("5353", "auto:5353", true),
    ] {
        for yaml in [
            format!("services: {{ a: {{ command: 'x $<A:{first}> $<B:{second}>' }} }}"),
            format!(
                "services: {{ a: {{ command: 'x $<A:{first}>' }}, b: {{ command: 'x $<B:{second}>' }} }}"
            ),
        ] {
            let expected = if is_fine {
                vec![]
            } else {
                vec![code::FIXED_TWICE]
            };
            assert_eq!(Project::new(&yaml).codes(), expected, "{yaml}");
        }
    }
}

#[test]
fn both_places_of_a_number_that_is_fixed_twice_are_shown() {
    let problem = Project::new(
        "services:
  a: { command: 'x $<PORT:8080>' }
  b: { command: 'x $<ADMIN:8080>' }
",
    )
    .problem();
    assert_eq!(
        problem.message,
        "port 8080 is fixed twice: PORT of service `a` and ADMIN of service `b`"
    );
    assert_eq!(at(&problem), (3, 20));
    assert_eq!(problem.labels[1].span.location().line, 2);
}

#[test]
fn what_does_not_run_takes_no_number() {
    let yaml = "services:
  a: { command: 'x $<PORT:8080>', replicas: 0 }
  b: { command: 'x $<PORT:8080>' }
";
    assert_eq!(Project::new(yaml).codes(), [""; 0]);
    let back = Project::new(yaml).scaled("a", 1);
    assert_eq!(back.codes(), [code::FIXED_TWICE]);
    let other = Project::new(yaml).scaled("a", 1).scaled("b", 0);
    assert_eq!(other.codes(), [""; 0]);
}

#[test]
fn a_check_cannot_ask_a_port_of_udp() {
    for (lines, column) in [
        ("healthcheck: {tcp: $<DNS>}", 24),
        ("healthcheck: {tcp: 'localhost:$<DNS>'}", 35),
        ("healthcheck: {tcp: $<b.DNS>}", 24),
        ("healthcheck: {http: 'http://localhost:$<DNS>/'}", 43),
        ("healthcheck: {http: {path: /, port: $<DNS>}}", 41),
        ("healthcheck: {http: /}", 25),
    ] {
        let problem = Project::new(&format!(
            "services:
  a:
    {lines}
    command: x $<DNS:auto/udp>
  b: {{ command: x $<DNS:auto/udp> }}
"
        ))
        .problem();
        assert_eq!(problem.code, code::UDP_CHECK, "{lines}");
        assert_eq!(at(&problem), (3, column), "{lines}");
        assert!(problem.hint.is_some());
    }
    for fine in [
        "healthcheck: {http: '/check?port=$<DNS>'}",
        "healthcheck: {http: 'http://localhost:$<WEB>/?port=$<DNS>'}",
        "healthcheck: {tcp: $<PAIR>}",
        "healthcheck: {test: 'dig @127.0.0.1 -p $<DNS>'}",
    ] {
        let command = "command: x $<DNS:auto/udp> $<WEB:auto> $<PAIR:auto/tcp+udp>";
        let project = Project::service(&format!("{command}\n{fine}"));
        assert_eq!(project.codes(), [""; 0], "{fine}");
        // Not even where a TCP port got the same number.
        let draft = project.good();
        let same = numbered(&draft)
            .into_keys()
            .map(|key| (key, 8053))
            .collect();
        let mut problems = Vec::new();
        draft.finish(&same, &mut problems);
        assert!(problems.is_empty(), "{fine}: {problems:?}");
    }
}

#[test]
fn a_check_without_a_port_asks_the_one_of_tcp() {
    for command in [
        "x $<DNS:auto/udp> $<WEB:auto>",
        "x $<PORT:auto/udp> $<WEB:auto>",
        "x $<DNS:auto/udp> $<WEB:auto/tcp+udp>",
    ] {
        let lines = format!("command: {command}\nhealthcheck: {{http: /}}");
        let unit = Project::service(&lines).unit();
        let Some(ProbePlan::Http(probe)) = unit.health.map(|health| health.probe) else {
            panic!("{command}");
        };
        assert_eq!(probe.port, 8001, "{command}");
    }
}

#[test]
fn others_may_wait_for_a_bound_port_of_udp() {
    let yaml = "services:
  a: { command: x, depends_on: { dns: { condition: service_healthy } } }
  dns: { command: 'x $<DNS:auto/udp>' }
";
    assert_eq!(Project::new(yaml).codes(), [""; 0]);
}

#[test]
fn one_number_for_tcp_and_for_udp_is_nobodys_business_here() {
    let yaml = "services: { a: { command: 'x $<T:5353> $<U:5353/udp>' } }";
    assert_eq!(Project::new(yaml).codes(), [""; 0]);
}
