//! Health checks: defaults, targets, and which port is asked.

use std::time::Duration;

use super::Project;
use crate::plan::code;
use crate::plan::model::{HealthPlan, HttpProbePlan, ProbePlan};

#[track_caller]
fn health(command: &str, check: &str) -> HealthPlan {
    let lines = format!("command: {command}\nhealthcheck: {check}");
    Project::service(&lines).unit().health.unwrap()
}

#[track_caller]
fn http(command: &str, check: &str) -> HttpProbePlan {
    match health(command, check).probe {
        ProbePlan::Http(http) => http,
        other @ (ProbePlan::Command(_)
        | ProbePlan::Tcp { .. }
        | ProbePlan::Log { .. }
        | ProbePlan::Notify { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_said_is_as_in_the_engine_and_so_is_zero() {
    let seconds = Duration::from_secs;
    for check in [
        "{tcp: 80}",
        "{tcp: 80, interval: 0s, timeout: 0s, retries: 0, start_period: 0s, start_interval: 0s}",
    ] {
        let health = health("x", check);
        let times = (
            health.interval,
            health.timeout,
            health.start_period,
            health.start_interval,
        );
        assert_eq!(
            times,
            (seconds(30), seconds(30), seconds(0), seconds(5)),
            "{check}"
        );
        assert_eq!(health.retries, 3);
    }
}

#[test]
fn an_http_check_asks_the_services_own_port_unless_told_otherwise() {
    for (command, check, host, port, path) in [
        ("x $<PORT:auto>", "{http: /h}", "localhost", 8000, "/h"),
        (
            "x $<ADMIN:auto> $<PORT:auto>",
            "{http: /h}",
            "localhost",
            8001,
            "/h",
        ),
        (
            "x $<WEB:auto> $<ADMIN:auto>",
            "{http: /h}",
            "localhost",
            8000,
            "/h",
        ),
        (
            "x $<PORT:auto>",
            "{http: {path: /h, port: 9}}",
            "localhost",
            9,
            "/h",
        ),
        ("x $<PORT:auto>", "{http: {port: 9}}", "localhost", 9, "/"),
        (
            "x",
            "{http: {path: /, port: '${P:-7}'}}",
            "localhost",
            7,
            "/",
        ),
        (
            "x $<PORT:auto>",
            "{http: 'http://db:81/x?y'}",
            "db",
            81,
            "/x?y",
        ),
        ("x $<PORT:auto>", "{http: 'http://db'}", "db", 80, "/"),
        (
            "x",
            "{http: {path: 'http://db:81', port: 81}}",
            "db",
            81,
            "/",
        ),
        (
            "x $<PORT:auto>",
            "{http: 'http://[::1]:$<PORT>/'}",
            "::1",
            8000,
            "/",
        ),
    ] {
        let http = http(command, check);
        let found = (http.host.as_str(), http.port, http.path.as_str());
        assert_eq!(found, (host, port, path), "{check}");
    }
}

#[test]
fn statuses_and_headers_have_defaults_and_forms() {
    assert_eq!(http("x", "{http: {port: 1}}").status, [(200, 399)]);
    let given = http(
        "x",
        "{http: {port: 1, status: [204, '${S}-399', 401], headers: {A: b}}}"
            .replace("${S}", "300")
            .as_str(),
    );
    assert_eq!(given.status, [(204, 204), (300, 399), (401, 401)]);
    assert_eq!(given.headers, [("A".to_owned(), "b".to_owned())]);
}

#[test]
fn a_target_that_is_none_is_refused_once_it_is_known() {
    for (check, code) in [
        ("{http: '${V}'}", code::HTTP_TARGET),
        ("{http: 'http://user@db/'}", code::HTTP_TARGET),
        ("{http: \"/a\\r\\nb\"}", code::HTTP_TARGET),
        ("{http: /}", code::HTTP_PORT),
        ("{http: {path: 'http://db:1/', port: 2}}", code::HTTP_PORT),
        ("{http: {port: 1, headers: {'a b': c}}}", code::HTTP_HEADER),
        (
            "{http: {port: 1, headers: {A: \"b\\nc\"}}}",
            code::HTTP_HEADER,
        ),
        ("{tcp: '${V}'}", code::TCP_TARGET),
        ("{tcp: '${V}:80:80'}", code::TCP_TARGET),
    ] {
        let project = Project::service(&format!("healthcheck: {check}"));
        let problem = project.caller(&[("V", "web")]).problem();
        assert_eq!(problem.code, code, "{check}");
        assert!(problem.hint.is_some());
    }
}

#[test]
fn what_could_not_be_resolved_is_not_called_a_bad_target_too() {
    for check in ["{http: '${V:?no}'}", "{http: {path: /, port: '${V:-x}'}}"] {
        let project = Project::service(&format!("healthcheck: {check}"));
        assert_eq!(project.codes().len(), 1, "{check}");
    }
}

#[test]
fn commands_are_executed_like_those_of_services() {
    for (check, expected) in [
        ("{test: pg_isready -q}", vec!["pg_isready", "-q"]),
        ("{test: a || exit 1}", vec!["/bin/sh", "-c", "a || exit 1"]),
        ("{test: [CMD-SHELL, a; b]}", vec!["/bin/sh", "-c", "a; b"]),
        ("{test: [CMD, a, '; b']}", vec!["a", "; b"]),
    ] {
        let ProbePlan::Command(execution) = health("x", check).probe else {
            panic!("{check}");
        };
        assert_eq!(execution.argv, expected, "{check}");
    }
}

#[test]
fn a_placeholder_in_a_regular_expression_stands_for_itself() {
    let yaml =
        "services: { a: { command: x, healthcheck: { log: 'at $<project.dir>/(x|${Y})$' } } }";
    for name in ["a+b", "a(b"] {
        let project = Project::in_directory(name, yaml)
            .named("shop")
            .caller(&[("Y", "y+")]);
        let health = project.unit().health.unwrap();
        let ProbePlan::Log { pattern } = &health.probe else {
            panic!("{health:?}");
        };
        let line = format!("at {}/yy", project.directory.display());
        assert!(
            regex::Regex::new(pattern).unwrap().is_match(&line),
            "{pattern}"
        );
        // It is shown so that it means the same again.
        let text = crate::support::yaml::to_string(&project.good().show(None)).unwrap();
        let again = Project {
            yaml: text,
            ..project
        };
        assert_eq!(again.unit().health.unwrap().probe, health.probe);
    }
}
