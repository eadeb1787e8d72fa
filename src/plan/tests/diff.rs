//! What differs between two plans, and which ports stay.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Project, numbered, port_key};
use crate::plan::{Arguments, Assignment, Difference, Draft, Effect, Held, Plan, Sources, diff};
use crate::ports::request::{PortKey, Want};
use crate::support::name::UnitId;
use crate::support::protocol::Protocol;

const YAML: &str = "\
ports: { range: 8000-8100 }
environment: { TOP: one }
configs: { c: { content: $<a.PORT> first } }
secrets: { s: { file: ./e } }
dotenv: { vars: { URL: 'http://localhost:$<a.PORT>' } }
services:
  a:
    command: [serve, $<PORT:auto>]
    environment: { OWN: one, NAME: $<service> }
    env_file: e
    working_dir: sub
    depends_on: { b: { condition: service_started } }
    healthcheck: { http: /, interval: 1s }
    restart: on-failure:1
    schedule: '@daily'
    success_exit_codes: [3]
    stop_signal: INT
    stop_grace_period: 1s
    logging: { max-size: 1m }
    labels: { l: one }
    label_file: [e]
    annotations: { n: one }
    on_unhealthy: none
    user: one
    group_add: [one]
    umask: 022
    tty: false
    stdin_open: false
    nice: 1
    oom_score_adj: 1
    ulimits: { core: 1 }
    configs: [c]
    secrets: [s]
    watch: [src]
    attach: true
    handoff: reuse
    pre_start: prepare
    post_start: [{ command: warm, working_dir: hooks, environment: { H: one } }]
    pre_stop: { command: drain, timeout: 300ms }
  b: { command: x $<PORT:auto> }
";

/// A difference as it is written below: its fields, the live ones in brackets.
fn shown(difference: &Difference) -> String {
    match difference {
        Difference::Same => String::new(),
        Difference::Added => "added".to_owned(),
        Difference::Removed => "removed".to_owned(),
        Difference::Changed(changes) => {
            let changes: Vec<String> = changes
                .iter()
                .map(|change| {
                    let variable = change.variable.iter().map(|name| format!(" {name}"));
                    let field: String = std::iter::once(change.field.to_owned())
                        .chain(variable)
                        .collect();
                    match change.effect {
                        Effect::Live => format!("({field})"),
                        Effect::Restarts => field,
                    }
                })
                .collect();
            assert_eq!(
                difference.restarts(),
                changes.iter().any(|field| !field.starts_with('(')),
            );
            changes.join(", ")
        }
    }
}

fn listed(old: &Plan, new: &Plan) -> Vec<(String, String)> {
    let differences = diff(old, new);
    differences
        .iter()
        .map(|(unit, difference)| (unit.label(1), shown(difference)))
        .collect()
}

/// A plan whose units have the ports that they had.
fn plan(project: &Project, ports: &Assignment) -> Plan {
    let draft = project.good();
    let mut numbers = numbered(&draft);
    for (number, port) in numbers.values_mut().zip(9000..) {
        *number = port;
    }
    numbers.extend(ports.iter().map(|(key, port)| (key.clone(), *port)));
    draft.finish(&numbers, &mut Vec::new())
}

#[test]
fn every_field_that_is_another_is_named_with_what_it_takes() {
    for (from, to, expected) in [
        ("[serve,", "[server,", "command"),
        ("sub", "other", "working_dir"),
        ("OWN: one", "OWN: two", "environment OWN"),
        ("OWN: one, ", "", "environment OWN"),
        ("OWN: one", "OWN: null", "environment OWN"),
        ("OWN: one", "OWN: one, MORE: 1", "environment MORE"),
        ("TOP: one", "TOP: two", "environment TOP"),
        ("TOP: one", "MORE: one", "environment MORE, environment TOP"),
        ("OWN: one", "OWN: $<a.PORT>", "environment OWN"),
        ("OWN: one", "OWN: one, PORT: 1", "environment PORT"),
        ("OWN: one", "OWN: one, PWD: /", "environment PWD"),
        ("env_file: e", "env_file: f", "environment F"),
        ("INT", "HUP", "(stop_signal)"),
        ("'@daily'", "{ every: 5m }", "(schedule)"),
        ("    schedule: '@daily'\n", "", "schedule"),
        (
            "grace_period: 1s",
            "grace_period: 2s",
            "(stop_grace_period)",
        ),
        ("on-failure:1", "on-failure:2", "(restart)"),
        ("[3]", "[4]", "(success_exit_codes)"),
        ("interval: 1s", "interval: 2s", "(healthcheck)"),
        ("healthcheck:", "x-not:", "(healthcheck)"),
        ("service_started", "service_healthy", "(depends_on)"),
        ("1m", "2m", "(logging)"),
        ("l: one", "l: two", "(labels)"),
        ("label_file: [e]", "label_file: [f]", "(labels)"),
        ("n: one", "n: two", "(annotations)"),
        (
            "on_unhealthy: none",
            "on_unhealthy: restart",
            "(healthcheck)",
        ),
        ("user: one", "user: two", "user"),
        ("group_add: [one]", "group_add: [two]", "group_add"),
        ("umask: 022", "umask: 077", "umask"),
        ("tty: false", "tty: true", "tty"),
        ("stdin_open: false", "stdin_open: true", "stdin_open"),
        ("nice: 1", "nice: 2", "nice"),
        ("oom_score_adj: 1", "oom_score_adj: 2", "oom_score_adj"),
        ("core: 1", "core: 2", "ulimits"),
        ("core: 1", "core: { soft: 0, hard: 1 }", "ulimits"),
        ("first", "second", "configs"),
        ("./e", "./f", "secrets"),
        ("configs: [c]", "x-c: [c]", "configs"),
        ("umask: 022", "umask: 0o22", ""),
        ("watch: [src]", "watch: [lib]", "(watch)"),
        ("attach: true", "attach: false", "(attach)"),
        ("handoff: reuse", "handoff: release", "handoff"),
        (
            "$<PORT:auto>]",
            "$<PORT:auto>, $<P:auto>]",
            "command, ports",
        ),
        ("$<PORT:auto>]", "$<PORT:auto/tcp+udp>]", "ports"),
        ("pre_start: prepare", "pre_start: repair", "(pre_start)"),
        ("working_dir: hooks", "working_dir: nooks", "(post_start)"),
        ("H: one", "H: two", "(post_start)"),
        ("timeout: 300ms", "timeout: 400ms", "(pre_stop)"),
        ("http: /,", "log: up,", "(healthcheck)"),
        (
            "http: /,",
            "notify: true,",
            "(healthcheck), healthcheck.notify",
        ),
        // What only others see.
        ("URL:", "ADDRESS:", ""),
        ("8000-8100", "8000-9000", ""),
        ("b: { command: x", "b: { command: y", ""),
        ("INT", "SIGINT", ""),
        ("TOP: one", "TOP: '${NONE:-one}'", ""),
    ] {
        let yaml = YAML.replacen(from, to, 1);
        assert_ne!(yaml, YAML, "{from}");
        let project = Project::new(YAML).file("e", "F=1\n").file("f", "F=2\n");
        let held: Assignment =
            [(port_key("a", "PORT"), 8000), (port_key("b", "PORT"), 8001)].into();
        let before = plan(&project, &held);
        let project = Project { yaml, ..project };
        let found = listed(&before, &plan(&project, &held));
        assert_eq!(found[0].0, "a");
        assert_eq!(found[0].1, expected, "{from} → {to}");
    }
}

#[test]
fn units_come_and_go_and_nobody_else_changes() {
    let project =
        Project::new("services: { a: { command: x }, b: { command: x, depends_on: [a] } }");
    let before = project.plan();
    let other = Project {
        yaml: "services: { c: { command: x, replicas: 2 }, b: { command: x, depends_on: [a] }, a: { command: x } }"
            .to_owned(),
        ..project
    };
    let after = other.plan();
    let units = |found: Vec<(UnitId, Difference)>| -> Vec<String> {
        let found = found.iter();
        found
            .map(|(unit, difference)| format!("{} {}", unit.label(2), shown(difference)))
            .collect()
    };
    assert_eq!(
        units(diff(&before, &after)),
        ["c-1 added", "c-2 added", "b-1 ", "a-1 "]
    );
    assert_eq!(
        units(diff(&after, &before)),
        ["a-1 ", "b-1 ", "c-1 removed", "c-2 removed"]
    );
}

#[test]
fn a_generated_key_of_an_earlier_plan_is_no_change_wherever_that_is_known() {
    let with = |top: &str, tool: &str| {
        let yaml =
            format!("{top}services: {{ db: {{ command: x }}, tool: {{ command: 'y{tool}' }} }}");
        plan(
            &Project::new(&yaml),
            &[(port_key("tool", "PORT"), 8000)].into(),
        )
    };
    let db = |before: &Plan, after: &Plan| listed(before, after)[0].clone();
    let same = ("db".to_owned(), String::new());
    // The stack says nothing of a key whose service was left as it was.
    let mut before = with("", " $<PORT:auto>");
    before.values.clear();
    for after in [with("", " $<PORT:auto>"), with("", "")] {
        assert_eq!(db(&before, &after), same);
    }
    // Once the files settle it, it counts, and once only.
    let settled = with("environment: { TOOL_PORT: '1' }\n", "");
    assert_eq!(db(&before, &settled).1, "environment TOOL_PORT");
    assert_eq!(db(&settled, &settled), same);
}

#[test]
fn another_caller_another_run_and_a_port_that_moves_elsewhere_are_no_change() {
    let project = Project::new(YAML).file("e", "");
    let held: Assignment = [(port_key("a", "PORT"), 8000), (port_key("b", "PORT"), 8001)].into();
    let before = plan(&project, &held);
    let project = project.caller(&[("HOME", "/elsewhere"), ("OWN", "caller")]);
    let moved = [(port_key("a", "PORT"), 8000), (port_key("b", "PORT"), 8009)].into();
    let mut after = plan(&project, &moved);
    for unit in &mut after.units {
        let run = ("STACK_RUN".to_owned(), Some("other".to_owned()));
        unit.environment.changes.extend([run]);
    }
    let found = listed(&before, &after);
    assert_eq!(found[0], ("a".to_owned(), String::new()));
    assert_eq!(found[1], ("b".to_owned(), "command, ports".to_owned()));
}

/// A service of which everything that counts is chosen.
fn service() -> impl Strategy<Value = String> {
    let pick = |values: &[&'static str]| prop::sample::select(values.to_vec());
    (
        pick(&["x", "y", "x $<PORT:auto>", "y $<PORT:auto> $<B:auto>"]),
        pick(&[
            "",
            "environment: {A: 1}, ",
            "environment: {A: 2, B: null}, ",
        ]),
        pick(&["", "replicas: 0, ", "replicas: 2, ", "replicas: 3, "]),
        pick(&["", "stop_signal: INT, ", "stop_grace_period: 1s, "]),
        pick(&["", "restart: always, ", "schedule: '@daily', "]),
    )
        .prop_map(|(command, environment, replicas, stop, rest)| {
            format!("{{{environment}{replicas}{stop}{rest}command: '{command}'}}")
        })
}

fn file() -> impl Strategy<Value = String> {
    let services = prop::collection::btree_map("[a-d]", service(), 1..4);
    let top = prop::sample::select(vec!["", "environment: {T: 1}\n", "environment: {T: 2}\n"]);
    (services, top).prop_map(|(services, top)| {
        let services: Vec<String> = services
            .iter()
            .map(|(name, service)| format!("{name}: {service}"))
            .collect();
        format!("{top}services: {{ {} }}", services.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_diff_names_every_unit_once_and_is_empty_only_between_equals(a in file(), b in file()) {
        let project = Project::new(&a);
        let first = project.good();
        let old = plan(&project, &Assignment::new());
        let project = Project { yaml: b.clone(), ..project };
        let second = project.good();
        let held: Assignment = old
            .units
            .iter()
            .flat_map(|unit| unit.ports.iter().map(|port| {
                let key = PortKey { service: unit.service.clone(), replica: unit.replica, name: port.name.clone() };
                (key, port.port)
            }))
            .collect();
        let new = plan(&project, &held);
        prop_assert!(diff(&old, &old).iter().all(|(_, difference)| *difference == Difference::Same));
        let found = diff(&old, &new);
        let back = diff(&new, &old);
        let mut names: Vec<&UnitId> = found.iter().map(|(unit, _)| unit).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), found.len());
        prop_assert_eq!(found.len(), back.len());
        for (unit, difference) in &found {
            let (_, reverse) = back.iter().find(|(other, _)| other == unit).unwrap();
            match (difference, reverse) {
                (Difference::Same, Difference::Same)
                | (Difference::Added, Difference::Removed)
                | (Difference::Removed, Difference::Added) => {}
                (Difference::Changed(there), Difference::Changed(back)) => {
                    prop_assert_eq!(there, back);
                }
                _ => prop_assert!(false, "{unit:?}: {difference:?} {reverse:?}"),
            }
        }
        if first.fingerprint() == second.fingerprint() {
            prop_assert!(found.iter().all(|(_, difference)| *difference == Difference::Same));
        }
    }
}

/// What is held since a draft.
fn held_since(
    draft: &Draft,
    held: impl IntoIterator<Item = (PortKey, u16)>,
) -> HashMap<PortKey, Vec<Held>> {
    let asked = Arc::new(draft.requested());
    let held = held.into_iter().map(|(key, port)| {
        let asked = Arc::clone(&asked);
        (key, vec![Held { port, asked }])
    });
    held.collect()
}

/// The ports that stay of `held` when `before` becomes `after`.
fn kept(before: &Project, after: &Project, held: &[(&str, u16)]) -> Vec<(String, u16)> {
    let (old, new) = (before.good(), after.good());
    let held: Vec<_> = held
        .iter()
        .map(|&(name, port)| (port_key("a", name), port))
        .collect();
    let outcome = new.requests_beside(&held_since(&old, held), |_| false, &mut Vec::new());
    assert_eq!(
        outcome.kept.len() + outcome.wanted.len(),
        new.requests(&mut Vec::new()).len()
    );
    let is_kept = |key: &PortKey| outcome.kept.contains_key(key);
    assert!(outcome.wanted.iter().all(|request| !is_kept(&request.key)));
    let mut kept: Vec<(String, u16)> = outcome
        .kept
        .iter()
        .map(|(key, port)| (key.name.to_string(), *port))
        .collect();
    kept.sort();
    kept
}

#[test]
fn a_port_stays_wherever_its_number_still_fits() {
    let yaml = |want: &str| format!("services: {{ a: {{ command: x $<PORT:{want}> }} }}");
    let excluding = |port: &str| {
        format!(
            "ports: {{ range: 8000-8100, exclude: [{port}] }}\n{}",
            yaml("auto")
        )
    };
    let ranged = |range: &str| format!("ports: {{ range: {range} }}\n{}", yaml("auto"));
    for (before, after, held, stays) in [
        (yaml("auto"), yaml("auto"), 8000, true),
        // Wherever it came from: nobody asks for another one.
        (yaml("auto"), yaml("auto"), 15_000, true),
        (yaml("auto"), yaml("auto:8000"), 8001, true),
        (yaml("auto"), yaml("8000"), 8000, true),
        (yaml("auto"), yaml("8000"), 8001, false),
        (yaml("auto"), yaml("auto:9100-9199"), 8000, false),
        (yaml("auto:9100-9199"), yaml("auto"), 9100, false),
        (yaml("auto"), yaml("auto/udp"), 8000, false),
        (ranged("8000-8100"), ranged("8000-8050"), 8050, true),
        (ranged("8000-8100"), ranged("8000-8050"), 8051, false),
        (ranged("8000-8100"), excluding("8050"), 8050, false),
        (ranged("8000-8100"), excluding("8050"), 8051, true),
        (
            format!("ports: {{ range: 8000-8100 }}\n{}", yaml("auto:5173")),
            format!("ports: {{ range: 8000-8050 }}\n{}", yaml("auto:5173")),
            5173,
            true,
        ),
        (
            yaml("auto"),
            "services: { a: { command: x $<OTHER:auto> } }".to_owned(),
            8000,
            false,
        ),
    ] {
        let project = Project::new(&before);
        let old = Project::new(&before);
        let new = Project {
            yaml: after.clone(),
            ..project
        };
        let expected: Vec<_> = stays
            .then(|| ("PORT".to_owned(), held))
            .into_iter()
            .collect();
        assert_eq!(
            kept(&old, &new, &[("PORT", held)]),
            expected,
            "{before} → {after}, {held}"
        );
    }
}

#[test]
fn a_fixed_port_that_another_service_gives_up_is_passed_on() {
    let yaml = |a: &str, b: &str| {
        Project::new(&format!(
            "services: {{ {a}: {{ command: x $<PORT:8080> }}, {b}: {{ command: x $<PORT:8081> }} }}"
        ))
    };
    let held = [("a", 8080), ("b", 8081)];
    let held = held.map(|(service, port)| (port_key(service, "PORT"), port));
    let held = held_since(&yaml("a", "b").good(), held);
    for (a, b) in [("b", "a"), ("renamed", "b")] {
        let after = yaml(a, b).good();
        let outcome = after.requests_beside(&held, |_| false, &mut Vec::new());
        let wanted = outcome.wanted.iter();
        let wanted: Vec<_> = wanted.map(|request| request.want).collect();
        let given_up = |port| outcome.given_up.contains(&(Protocol::Tcp, port));
        if b == "a" {
            assert_eq!(wanted, [Want::Fixed(8080), Want::Fixed(8081)]);
            assert!(given_up(8080) && given_up(8081));
        } else {
            assert_eq!(wanted, [Want::Fixed(8080)]);
            assert!(given_up(8080) && !given_up(8081));
        }
    }
}

#[test]
fn who_could_have_any_port_makes_room_for_one_that_must_have_this() {
    let yaml = |a: &str, b: &str| {
        Project::new(&format!(
            "services: {{ a: {{ command: x $<PORT:{a}> }}, b: {{ command: x $<PORT:{b}> }} }}"
        ))
    };
    let held = [("a", 8080), ("b", 8000)];
    let held = held.map(|(service, port)| (port_key(service, "PORT"), port));
    let held = held_since(&yaml("8080", "auto").good(), held);
    let after = yaml("auto", "8080").good();
    let keys = |pinned: &str| {
        let is_pinned = |key: &PortKey| key.service.as_str() == pinned;
        let outcome = after.requests_beside(&held, is_pinned, &mut Vec::new());
        let wanted = outcome.wanted.iter();
        wanted
            .map(|it| it.key.service.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys("nobody"), ["a", "b"]);
    // Who is left as it is keeps its own and takes nothing from anybody.
    assert_eq!(keys("a"), ["b"]);
    assert_eq!(keys("b"), Vec::<String>::new());
}

#[test]
fn no_wish_but_that_of_the_command_line_moves_a_port() {
    let project = || Project::service("command: x $<PORT:auto>");
    let wishing = |port: &'static str| project().caller(&[("A_PORT", port)]);
    for (before, after, held, stays) in [
        (project(), wishing("8500"), 8000, true),
        (project(), wishing("8000"), 8000, true),
        // It was not to be had then.
        (wishing("8500"), wishing("8500"), 8000, true),
        (wishing("15000"), project(), 15_000, true),
        (project(), project().asking("a", 8500), 8000, false),
    ] {
        let expected: Vec<_> = stays
            .then(|| ("PORT".to_owned(), held))
            .into_iter()
            .collect();
        assert_eq!(kept(&before, &after, &[("PORT", held)]), expected, "{held}");
    }
}

#[test]
fn a_draft_is_made_again_from_its_sources_wherever_they_are_sent() {
    let project = Project::new(
        "name: '${NAME}'
env_file: [top.env, { path: gone.env, required: false }]
services:
  a: { command: 'x $<PORT:auto>', env_file: ['$<service>.env', linked.env], environment: { MINE: '${MINE} ${ODD:-}' } }
",
    )
    .file("top.env", "NAME=shop\n")
    .file("a.env", "A=1\n")
    .file(".env", "MINE=own\n")
    .caller(&[("PATH", "/bin")])
    .scaled("a", 2)
    .asking("a", 8123);
    std::os::unix::fs::symlink(".env", project.path("linked.env")).unwrap();
    let odd = std::os::unix::ffi::OsStringExt::from_vec(b"\x01\xff".to_vec());
    let project = Project {
        caller: project
            .caller
            .iter()
            .cloned()
            .chain([("ODD".into(), odd)])
            .collect(),
        ..project
    };
    let draft = project.good();
    let sent = serde_json::to_string(draft.sources()).unwrap();
    // Nothing of it is read again.
    fs_err::remove_dir_all(&project.directory).unwrap();
    let received: Sources = serde_json::from_str(&sent).unwrap();
    assert_eq!(received.arguments.scale.len(), 1);
    let (again, problems) = Draft::new(received);
    assert_eq!(problems, []);
    let again = again.unwrap();
    assert_eq!(again.fingerprint(), draft.fingerprint());
    assert_eq!(
        again.requests(&mut Vec::new()),
        draft.requests(&mut Vec::new())
    );
    let [one, two] = [&draft, &again].map(|draft| draft.finish(&numbered(draft), &mut Vec::new()));
    assert!(
        diff(&one, &two)
            .iter()
            .all(|(_, difference)| *difference == Difference::Same)
    );
    let environment = |plan: &Plan| format!("{:?}", plan.units[0].environment.entries());
    assert_eq!(environment(&one), environment(&two));
    assert_eq!(super::value(&two.units[0], "A").as_deref(), Some("1"));
    assert_eq!(super::value(&two.units[0], "MINE").as_deref(), Some("own "));
    let arguments = serde_json::to_string(&Arguments::default()).unwrap();
    assert_eq!(arguments, r#"{"project_name":null,"scale":{},"ports":[]}"#);
}
