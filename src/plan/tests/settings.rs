//! Typed values that wait for a variable or a port, and restart policies.

use std::time::Duration;

use super::{Project, at};
use crate::plan::model::{RestartPolicy, RestartWhen};
use crate::spec::code as spec_code;
use crate::spec::model::Answerer;

#[test]
fn a_setting_may_wait_for_its_variable() {
    let project = Project::service(
        "stop_signal: ${SIGNAL}
stop_grace_period: ${GRACE:-5s}
success_exit_codes: ['${CODE}', 3]
restart: ${RESTART}
restart_policy: { delay: '${DELAY:-1s}', max_delay: '${MAX:-2s}', window: '${WINDOW:-3s}' }
healthcheck:
  tcp: 80
  interval: ${INTERVAL:-6s}
  timeout: ${TIMEOUT:-7s}
  retries: ${RETRIES}
  start_period: ${PERIOD:-8s}
  start_interval: ${START:-9s}
  listener: ${LISTENER:-any}
",
    )
    .caller(&[
        ("SIGNAL", "INT"),
        ("CODE", "2"),
        ("RESTART", "on-failure:4"),
        ("RETRIES", "5"),
    ]);
    let unit = project.unit();
    let seconds = Duration::from_secs;
    assert_eq!((unit.stop_signal, unit.grace), (2, seconds(5)));
    assert_eq!(unit.success_exit_codes, [2, 3]);
    let expected = RestartPolicy {
        when: RestartWhen::OnFailure,
        max_attempts: Some(4),
        delay: seconds(1),
        max_delay: seconds(2),
        window: seconds(3),
    };
    assert_eq!(unit.restart, expected);
    let health = unit.health.unwrap();
    let times = (
        health.interval,
        health.timeout,
        health.start_period,
        health.start_interval,
    );
    assert_eq!(times, (seconds(6), seconds(7), seconds(8), seconds(9)));
    assert_eq!(health.retries, 5);
    assert_eq!(health.listener, Answerer::Any);
}

#[test]
fn the_ranges_of_ports_may_wait_for_a_variable() {
    let yaml = "ports: { range: ['${RANGE:-9000-9009}', 9100], exclude: '${NOT}' }
services: { a: { command: x } }";
    let project = Project::new(yaml).caller(&[("NOT", "9005")]);
    let draft = project.good();
    let pool = draft.pool();
    let texts: Vec<String> = pool.ranges.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["9000-9009", "9100"]);
    assert_eq!(pool.exclude[0].to_string(), "9005");
    let bad = project.caller(&[("RANGE", "soon")]).problem();
    assert_eq!((bad.code, at(&bad)), (spec_code::BAD_PORT, (1, 18)));
    let placeholder = yaml.replace("${NOT}", "$<a.PORT>");
    let codes = Project::new(&placeholder).codes();
    assert_eq!(codes, [spec_code::MISPLACED_PLACEHOLDER]);
}

#[test]
fn a_text_that_became_no_value_is_told_with_what_it_became() {
    for (lines, column) in [
        ("stop_grace_period: ${V}", 24),
        ("stop_signal: ${V}", 18),
        ("restart: ${V}", 14),
        ("success_exit_codes: ['${V}']", 26),
        ("restart_policy: {max_attempts: '${V}'}", 36),
        ("healthcheck: {tcp: 80, retries: '${V}'}", 37),
        ("healthcheck: {tcp: 80, interval: '${V}'}", 38),
        ("healthcheck: {http: {path: /, port: '${V}'}}", 41),
        (
            "healthcheck: {http: {path: /, port: 1, status: ['${V}']}}",
            53,
        ),
    ] {
        let project = Project::service(lines).caller(&[("V", "soon")]);
        let problem = project.problem();
        let codes = [spec_code::BAD_VALUE, spec_code::BAD_PORT];
        assert!(codes.contains(&problem.code), "{lines}: {problem:?}");
        assert_eq!(at(&problem), (4, column), "{lines}");
        assert_eq!(problem.labels[0].text, "this comes to `soon`");
        assert!(problem.hint.is_some());
    }
}

#[test]
fn a_port_may_be_a_setting() {
    let unit = Project::service(
        "command: x $<PORT:auto>\nhealthcheck: {http: {path: /, port: $<PORT>}}\n\
         stop_grace_period: $<PORT>ms",
    )
    .unit();
    assert_eq!(unit.grace, Duration::from_secs(8));
}

fn policy(lines: &str) -> RestartPolicy {
    Project::service(lines).unit().restart
}

#[test]
fn the_short_form_has_the_engines_figures() {
    let seconds = Duration::from_secs;
    for (lines, when, limit) in [
        ("", RestartWhen::Never, None),
        ("restart: no", RestartWhen::Never, None),
        ("restart: always", RestartWhen::Always, None),
        ("restart: unless-stopped", RestartWhen::Always, None),
        ("restart: on-failure", RestartWhen::OnFailure, None),
        ("restart: on-failure:5", RestartWhen::OnFailure, Some(5)),
        ("restart: on-failure:0", RestartWhen::OnFailure, None),
        ("restart_policy:", RestartWhen::Never, None),
    ] {
        let policy = policy(lines);
        assert_eq!((policy.when, policy.max_attempts), (when, limit), "{lines}");
        let times = (policy.delay, policy.max_delay, policy.window);
        assert_eq!(
            times,
            (Duration::from_millis(100), seconds(60), seconds(10))
        );
    }
}

#[test]
fn the_long_form_tunes_the_short_one() {
    for (lines, when, limit) in [
        ("restart_policy: {}", RestartWhen::Always, None),
        (
            "restart_policy: {condition: any}",
            RestartWhen::Always,
            None,
        ),
        (
            "restart_policy: {condition: none}",
            RestartWhen::Never,
            None,
        ),
        (
            "restart_policy: {condition: on-failure}",
            RestartWhen::OnFailure,
            None,
        ),
        (
            "restart_policy: {max_attempts: 3}",
            RestartWhen::Always,
            Some(3),
        ),
        (
            "restart_policy: {max_attempts: 0}",
            RestartWhen::Always,
            None,
        ),
        (
            "restart: no\nrestart_policy: {delay: 1s}",
            RestartWhen::Never,
            None,
        ),
        (
            "restart: always\nrestart_policy: {condition: any}",
            RestartWhen::Always,
            None,
        ),
        (
            "restart: on-failure:5\nrestart_policy: {delay: 1s}",
            RestartWhen::OnFailure,
            Some(5),
        ),
        (
            "restart: on-failure:0\nrestart_policy: {delay: 1s}",
            RestartWhen::OnFailure,
            None,
        ),
        (
            "restart: on-failure:5\nrestart_policy: {condition: on-failure, max_attempts: 5}",
            RestartWhen::OnFailure,
            Some(5),
        ),
        (
            "restart: on-failure\nrestart_policy: {max_attempts: 3}",
            RestartWhen::OnFailure,
            Some(3),
        ),
    ] {
        let policy = policy(lines);
        assert_eq!((policy.when, policy.max_attempts), (when, limit), "{lines}");
    }
    let tuned = policy("restart_policy: {delay: 0s, max_delay: 0s, window: 0s}");
    assert_eq!(
        (tuned.delay, tuned.max_delay, tuned.window),
        Default::default()
    );
    // A delay is never longer than the longest one.
    let long = policy("restart_policy: {delay: 2m}");
    assert_eq!(long.max_delay, Duration::from_secs(120));
}

#[test]
fn two_forms_that_disagree_are_one_error() {
    for lines in [
        "restart: always\nrestart_policy: {condition: none}",
        "restart: ${R}\nrestart_policy: {condition: none}",
        "restart: always\nrestart_policy: {condition: '${C}'}",
        "restart: on-failure:5\nrestart_policy: {max_attempts: 3}",
    ] {
        let project = Project::service(lines).caller(&[("R", "always"), ("C", "none")]);
        let problem = project.problem();
        assert_eq!(problem.code, spec_code::CONFLICTING_RESTART, "{lines}");
        assert!(problem.hint.is_some());
    }
}
