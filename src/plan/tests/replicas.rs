//! Several units of one service: how many, with which ports, and how others see them.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Project, at, value};
use crate::plan::model::UnitPlan;
use crate::plan::{Plan, code};
use crate::ports::request::Want;
use crate::spec::code as spec_code;
use crate::spec::model::{Condition, Handoff};

/// The units as `service-replica` of how many.
pub(super) fn units(plan: &Plan) -> Vec<String> {
    let units = plan.units.iter();
    units
        .map(|unit| format!("{}-{} of {}", unit.service, unit.replica, unit.replicas))
        .collect()
}

fn count(project: &Project) -> usize {
    units_of(&project.plan(), "a").len()
}

/// The indices of all replicas of a service, which stand beside each other.
fn units_of(plan: &Plan, service: &str) -> std::ops::Range<usize> {
    let first = plan.unit_of(service).unwrap_or_default();
    let rest = plan.units[first..].iter();
    let count = rest
        .take_while(|unit| unit.service.as_str() == service)
        .count();
    first..first + count
}

#[test]
fn a_number_may_stand_in_three_places_and_in_a_variable() {
    for (lines, expected) in [
        ("", 1),
        ("replicas: 3", 3),
        ("scale: 3", 3),
        ("deploy: {replicas: 3}", 3),
        ("deploy:", 1),
        ("replicas: ${N:-2}", 2),
        ("replicas: 0", 0),
        (
            "replicas: 3\nscale: 3\ndeploy: {replicas: '${THREE}', x-mine: 1}",
            3,
        ),
    ] {
        let project = Project::service(lines).caller(&[("THREE", "3")]);
        assert_eq!(count(&project), expected, "{lines}");
    }
}

#[test]
fn two_numbers_are_an_error_at_the_second() {
    let two = Project::service("scale: ${N:-2}\ndeploy:\n  replicas: 3").problem();
    assert_eq!(two.code, code::CONFLICTING_REPLICAS);
    assert_eq!(at(&two), (6, 17));
    assert_eq!(two.labels[1].span.location().line, 4);
}

#[test]
fn a_number_that_is_none_is_told_at_its_place() {
    for (lines, expected) in [
        ("replicas: -1", spec_code::BAD_VALUE),
        ("replicas: many", spec_code::BAD_VALUE),
        ("replicas: 1.5", spec_code::BAD_VALUE),
        ("replicas: 1001", spec_code::BAD_VALUE),
        ("replicas: ${N:-x}", spec_code::BAD_VALUE),
        ("replicas:", spec_code::WRONG_TYPE),
        ("replicas: [2]", spec_code::WRONG_TYPE),
        ("deploy: 2", spec_code::WRONG_TYPE),
        ("replicas: $<PORT:auto>", spec_code::MISPLACED_PLACEHOLDER),
        ("replicas: $<replica>", spec_code::MISPLACED_PLACEHOLDER),
        ("deploy: {mode: global}", spec_code::NEEDS_CONTAINER),
        ("deploy: {replica: 2}", spec_code::UNKNOWN_KEY),
    ] {
        assert_eq!(Project::service(lines).codes(), [expected], "{lines}");
    }
    let most = "replicas: 1000";
    assert_eq!(count(&Project::service(most)), 1000);
}

#[test]
fn a_slip_cannot_fill_the_machine_with_many_services_either() {
    let yaml = |services: usize| {
        let lines = (0..services).map(|n| format!("  s{n}: {{ command: x, replicas: 1000 }}\n"));
        format!("services:\n{}", lines.collect::<String>())
    };
    let problem = Project::new(&yaml(12)).problem();
    assert_eq!(problem.code, code::TOO_MANY_REPLICAS);
    assert_eq!(problem.labels[0].span.location().line, 12);
}

#[test]
fn the_caller_overrides_the_file() {
    let project = Project::service("replicas: 3").scaled("a", 2);
    assert_eq!(count(&project), 2);
    assert_eq!(count(&Project::service("").scaled("a", 0)), 0);
    // What the file says is checked all the same.
    let both = Project::service("replicas: 3\nscale: 2").scaled("a", 5);
    assert_eq!(both.codes(), [code::CONFLICTING_REPLICAS]);
}

#[test]
fn a_scale_that_cannot_be_followed_is_told_without_a_place() {
    let unknown = Project::service("").scaled("b", 2).problem();
    assert_eq!(unknown.code, code::SCALE_ARGUMENT);
    assert_eq!(unknown.hint.as_deref(), Some("did you mean `a`?"));
    let replica = Project::service("").scaled("a-2", 2).problem();
    let hint = "`a-2` names a replica of `a`: write `a`";
    assert_eq!(replica.hint.as_deref(), Some(hint));
    let far = Project::service("").scaled("something", 2).problem();
    assert_eq!(far.hint.as_deref(), Some("the services are: a"));
    let many = Project::service("").scaled("a", 1001).problem();
    assert_eq!(many.code, code::SCALE_ARGUMENT);
    assert!(many.labels.is_empty() && many.hint.is_some());
}

#[test]
fn every_replica_is_a_unit_with_its_own_port_and_texts() {
    let project = Project::new(
        "services:
  web:
    command: serve $<PORT:auto> $<replica>
    working_dir: data/$<replica>
    environment: { OWN: $<PORT>, FIRST: $<web.PORT>, ALL: $<web.PORTS> }
    healthcheck: { http: '/$<replica>' }
    labels: { l: '$<service>-$<replica>' }
    replicas: 3
  api:
    command: serve $<PORT:auto>
    environment: { WEB: $<web.PORT>, WEBS: $<web.PORTS> }
",
    );
    let plan = project.plan();
    assert_eq!(
        units(&plan),
        ["web-1 of 3", "web-2 of 3", "web-3 of 3", "api-1 of 1"]
    );
    let second = &plan.units[1];
    assert_eq!(second.execution.argv, ["serve", "8001", "2"]);
    assert_eq!(second.directory, project.path("data/2"));
    assert_eq!(second.labels["l"], "web-2");
    assert_eq!(second.ports[0].port, 8001);
    for (key, expected) in [
        ("OWN", "8001"),
        ("PORT", "8001"),
        ("FIRST", "8000"),
        ("ALL", "8000,8001,8002"),
        ("STACK_REPLICA", "2"),
        ("STACK_SERVICE", "web"),
        ("WEB_PORT", "8000"),
        ("API_PORT", "8003"),
    ] {
        assert_eq!(value(second, key).as_deref(), Some(expected), "{key}");
    }
    let Some(crate::plan::model::ProbePlan::Http(probe)) =
        second.health.as_ref().map(|health| &health.probe)
    else {
        panic!("{second:?}");
    };
    assert_eq!((probe.port, probe.path.as_str()), (8001, "/2"));
    assert_eq!(value(&plan.units[3], "WEB").as_deref(), Some("8000"));
    assert_eq!(
        value(&plan.units[3], "WEBS").as_deref(),
        Some("8000,8001,8002")
    );
    assert_eq!(
        (units_of(&plan, "web"), units_of(&plan, "api")),
        (0..3, 3..4)
    );
    assert_eq!(units_of(&plan, "none"), 0..0);
    assert_eq!(
        (plan.unit_of("web"), plan.unit_of("api")),
        (Some(0), Some(3))
    );
}

#[test]
fn an_edge_leads_to_every_replica() {
    let plan = Project::new(
        "services:
  a: { command: x, replicas: 2, depends_on: { c: { condition: service_healthy }, none: { condition: service_healthy } } }
  none: { command: x $<PORT:auto>, replicas: 0 }
  b: { command: x }
  c: { command: x $<PORT:auto>, scale: 2, depends_on: [b] }
",
    )
    .plan();
    let edges = |unit: usize| -> Vec<_> {
        let edges = plan.units[unit].depends_on.iter();
        edges
            .map(|edge| (edge.unit.label(2), edge.condition))
            .collect()
    };
    let both = ["c-1", "c-2"].map(|name| (name.to_owned(), Condition::Healthy));
    assert_eq!((edges(0), edges(1)), (both.to_vec(), both.to_vec()));
    assert_eq!(edges(4), [("b-1".to_owned(), Condition::Started)]);
}

#[test]
fn ports_are_asked_for_replica_by_replica_and_one_number_by_the_first() {
    let draft = Project::new(
        "services:
  b: { command: 'x $<PORT:auto:5173> $<R:auto:9100-9199>', replicas: 2 }
  a: { command: 'x $<PORT:auto>' }
",
    )
    .good();
    let found: Vec<_> = draft
        .requests(&mut Vec::new())
        .into_iter()
        .map(|request| {
            let key = request.key;
            (key.service.to_string(), key.replica, request.want)
        })
        .collect();
    let range = Want::Within("9100-9199".parse().unwrap());
    let expected = [
        ("b", 1, Want::Prefer(5173)),
        ("b", 1, range),
        ("b", 2, Want::Auto),
        ("b", 2, range),
        ("a", 1, Want::Auto),
    ];
    let expected: Vec<_> = expected
        .map(|(service, replica, want)| (service.to_owned(), replica, want))
        .into_iter()
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_fixed_port_is_that_of_one_replica_at_most() {
    let several = Project::service("command: x $<PORT:8080>\nreplicas: 2").problem();
    assert_eq!(several.code, code::FIXED_REPLICAS);
    assert_eq!(at(&several), (3, 16));
    assert!(several.hint.unwrap().contains("`$<PORT:auto:8080>`"));
    let udp = Project::service("command: x $<P:53/udp>\nreplicas: 2").problem();
    assert!(udp.hint.unwrap().contains("`$<P:auto:53/udp>`"));
    let scaled = Project::service("command: x $<PORT:8080>").scaled("a", 2);
    assert_eq!(scaled.codes(), [code::FIXED_REPLICAS]);
    for fine in ["replicas: 1", "replicas: 0"] {
        let project = Project::service(&format!("command: x $<PORT:8080>\n{fine}"));
        assert_eq!(project.codes(), [""; 0], "{fine}");
    }
}

#[test]
fn nothing_of_a_service_runs_and_others_go_without_it() {
    let yaml = "services:
  web: { command: 'x $<PORT:auto>', replicas: 0 }
  api: { command: 'x', environment: { ALL: $<web.PORTS> }, depends_on: { web: { condition: service_completed_successfully } } }
";
    let plan = Project::new(yaml).plan();
    assert_eq!(units(&plan), ["api-1 of 1"]);
    assert!(plan.units[0].depends_on.is_empty());
    assert_eq!(value(&plan.units[0], "ALL").as_deref(), Some(""));
    let one = Project::new(&yaml.replace("$<web.PORTS>", "$<web.PORT>")).problem();
    assert_eq!(one.code, code::NO_REPLICA);
    assert_eq!(at(&one), (3, 44));
    let outside = format!("environment: {{ P: $<web.PORT> }}\n{yaml}");
    assert_eq!(Project::new(&outside).codes(), [code::NO_REPLICA]);
}

#[test]
fn a_service_without_replicas_may_have_a_check_that_asks_its_port() {
    for check in [
        "{ http: / }",
        "{ http: 'http://localhost:$<PORT>/' }",
        "{ tcp: $<PORT> }",
    ] {
        let lines = format!("command: x $<PORT:auto>\nhealthcheck: {check}");
        let none = Project::service(&format!("{lines}\nreplicas: 0"));
        assert_eq!(none.codes(), [""; 0], "{check}");
        let scaled = Project::service(&lines).scaled("a", 0);
        assert_eq!(scaled.codes(), [""; 0], "{check}");
    }
    // What is wrong with the check is told all the same.
    let none = Project::service("replicas: 0\nhealthcheck: { http: / }");
    assert_eq!(none.codes(), [code::HTTP_PORT]);
    let udp = "command: x $<PORT:auto/udp>\nreplicas: 0\nhealthcheck: { http: / }";
    assert_eq!(Project::service(udp).codes(), [code::UDP_CHECK]);
}

#[test]
fn what_is_wrong_with_a_service_is_told_once_and_also_where_nothing_of_it_runs() {
    for replicas in [0, 1, 3] {
        let lines = format!("stop_signal: ${{V}}\nreplicas: {replicas}");
        let project = Project::service(&lines).caller(&[("V", "soon")]);
        assert_eq!(project.codes(), [spec_code::BAD_VALUE], "{replicas}");
    }
    // Unless it is wrong with each in its own way.
    let each = Project::service("env_file: e$<replica>\nreplicas: 3").file("e2", "");
    assert_eq!(each.codes(), [code::ENV_FILE, code::ENV_FILE]);
}

#[test]
fn an_env_file_may_be_each_replicas_own() {
    let project = Project::service("env_file: [all, 'e$<replica>']\nreplicas: 2")
        .file("all", "V=all\nW=all\n")
        .file("e1", "V=1\n")
        .file("e2", "V=2\n");
    let plan = project.plan();
    for (unit, expected) in plan.units.iter().zip(["1", "2"]) {
        assert_eq!(value(unit, "V").as_deref(), Some(expected));
        assert_eq!(value(unit, "W").as_deref(), Some("all"));
    }
}

#[test]
fn the_way_in_which_ports_are_handed_off_is_read() {
    for (lines, expected) in [
        ("", None),
        ("handoff: reuse", Some(Handoff::Reuse)),
        ("handoff: release", Some(Handoff::Release)),
        ("handoff: ${WAY:-fd}", Some(Handoff::Fd)),
    ] {
        let unit = Project::service(&format!("command: x $<PORT:auto>\n{lines}")).unit();
        assert_eq!(unit.handoff, expected, "{lines}");
    }
    for (way, code, hint) in [
        ("relase", spec_code::BAD_VALUE, "did you mean `release`?"),
        (
            "socket",
            spec_code::BAD_VALUE,
            "write one of `reuse`, `release`, `fd`",
        ),
        ("intercept", spec_code::NOT_SUPPORTED_YET, "leave it out"),
    ] {
        let lines = format!("command: x $<PORT:auto>\nhandoff: {way}");
        let problem = Project::service(&lines).problem();
        assert_eq!(problem.code, code);
        assert!(problem.hint.unwrap().starts_with(hint), "{way}");
    }
    let nothing = Project::service("handoff: fd").problem();
    assert_eq!(nothing.code, spec_code::HANDOFF_WITHOUT_PORTS);
    assert!(!nothing.is_error());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_the_numbers_every_unit_has_its_own_ports_and_edges_lead_to_units(
        counts in prop::collection::vec((0u32..4, 1usize..3, any::<bool>()), 1..5)
    ) {
        let mut yaml = String::from("services:\n");
        for (index, (count, ports, is_said)) in counts.iter().enumerate() {
            let ports = ["$<P0:auto>", "$<P1:auto>"][..*ports].join(" ");
            let replicas = if *is_said { format!(", replicas: {count}") } else { String::new() };
            let others: Vec<String> = (0..index).map(|other| format!("s{other}")).collect();
            let others = others.join(", ");
            writeln!(
                yaml,
                "  s{index}: {{ command: 'x {ports}'{replicas}, depends_on: [{others}] }}"
            )
            .unwrap();
        }
        let plan = Project::new(&yaml).plan();
        let expected: usize = counts
            .iter()
            .map(|(count, _, is_said)| if *is_said { *count as usize } else { 1 })
            .sum();
        prop_assert_eq!(plan.units.len(), expected);
        let mut numbers: Vec<u16> = plan
            .units
            .iter()
            .flat_map(|unit| unit.ports.iter().map(|port| port.port))
            .collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), all);
        for (index, unit) in plan.units.iter().enumerate() {
            let range = units_of(&plan, unit.service.as_str());
            prop_assert!(range.contains(&index));
            prop_assert_eq!(unit.replicas as usize, range.len());
            prop_assert_eq!(unit.replica as usize, index - range.start + 1);
            // Each depends on every unit before its own service, and on nothing else.
            let edges = unit.depends_on.iter().map(|edge| edge.unit.clone());
            let before = plan.units[..range.start].iter().map(UnitPlan::id);
            prop_assert!(edges.eq(before));
        }
        let mut keys: Vec<&String> = plan.values.iter().map(|(key, _)| key).collect();
        let lines = keys.len();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), lines);
    }
}
