//! `stack config`: what it prints is a `stack.yaml` that means the same.

use proptest::prelude::*;

use super::{Plan, Project, numbered, port_key};
use crate::support::yaml;

/// What is printed, without and with the ports.
fn shown(project: &Project) -> [String; 2] {
    let draft = project.good();
    [None, Some(numbered(&draft))]
        .map(|ports| yaml::to_string(&draft.show(ports.as_ref())).unwrap())
}

/// The same for a snapshot, in which the project directory is `/shop`.
fn shown_anywhere(project: &Project) -> [String; 2] {
    let directory = project.directory.to_string_lossy();
    shown(project).map(|text| text.replace(&*directory, "/shop"))
}

/// Prints a project, reads what was printed in its place, and holds the two against each other.
#[track_caller]
fn round_trip(project: Project) -> Project {
    let before = project.good();
    let [text, _] = shown(&project);
    let again = Project {
        yaml: text.clone(),
        ..project
    };
    let after = again.good();
    let [printed, _] = shown(&again);
    assert_eq!(printed, text);
    assert_eq!(after.fingerprint(), before.fingerprint(), "{text}");
    again
}

/// Everything that can be said, with variables and placeholders.
fn full() -> Project {
    Project::new(
        "version: '3'
name: My Shop
x-mine: [1]
ports: { range: [8000-8100, 9000-9100], exclude: [8050, 8060-8070] }
configs:
  text: { content: 'listen $<a.PORT> $$x $<BIND>' }
  file: { file: '${E:-e}' }
secrets: { variable: { environment: INHERITED } }
dotenv: { path: 'conf/$${x}.env', secrets: true, vars: { URL: 'http://localhost:$<a.PORT>', API_TOKEN: abc, EMPTY: } }
env_file: ['${E:-e}', { path: gone, required: false }]
environment: { TOP: '${TOP:-a $$b}', GONE: null, PGPASSWORD: hunter2 }
shell: [/bin/bash, -c]
services:
  a:
    entrypoint: [nice, '$${x}']
    command: |
      first $HOME $$<PORT>
      second --port $<PORT:auto:5173>

      third \"$(date)\"
    working_dir: ./sub
    environment: { OWN: '${NONE:-$<PORT>} $<b.PORTS>', BARE: $TOP, DB_PASSWORD: '${PW}', KEYBOARD: de, 'NULL': '', N: 010 }
    env_file: [e]
    depends_on: { b: { condition: service_healthy, required: false, restart: true }, c: { condition: service_completed_successfully } }
    healthcheck: { http: { path: '/h?$$x', port: $<b.PORT>, status: [204, 300-399], headers: { X: $<service>, Authorization: Bearer x } }, interval: '${I:-90s}', start_period: 1m }
    restart: on-failure:5
    restart_policy: { delay: 1s, max_delay: 2m, window: 500ms }
    success_exit_codes: [3, '${CODE:-4}']
    stop_signal: '${SIG:-int}'
    stop_grace_period: 1500ms
    logging: { driver: local, max-size: 1536kb, options: { max-file: '${FILES:-3}' } }
    labels: [a=b, empty, 'c=$$d $<replica>']
    label_file: ['${E:-e}']
    annotations: { x: '$$y' }
    attach: false
    on_unhealthy: restart
    user: '${WHO:-nobody}:$<replica>'
    group_add: [audio, '4711']
    umask: '0o27'
    nice: -5
    oom_score_adj: '${SCORE:-500}'
    ulimits: { nofile: 4096, core: { soft: 0, hard: -1 } }
    configs: [text, { source: file }]
    secrets: [variable]
  b:
    ports: ['$<PORT>', '8081:8081', { target: 8082, name: web-ui, protocol: udp }]
    expose: [8083/udp]
    command: [serve, $<PORT:auto>, '$<DATA:dir>', '$<TOKEN:secret>', '$<configs.text>', '$<a.URL>', '$<a.PORT@host>', 'null', '', no, '$<X:auto:9000-9000>', '$<F:8080>']
    healthcheck: { test: [CMD, 'check', '$$HOME'], retries: 7 }
    restart: unless-stopped
    restart_policy: { max_attempts: 9 }
    stop_signal: RTMIN+3
  c:
    command: '$$<x> $HOME a$'
    healthcheck: { test: [CMD-SHELL, NONE] }
    restart_policy: { condition: any, delay: 0s }
  d:
    entrypoint: x
    healthcheck: { tcp: 'localhost:$<b.PORT>' }
    restart: on-failure
    schedule: '0 3 * * MON-FRI'
    environment: [INHERITED, UNSET]
  e:
    command: [serve, $<PORT:auto>, $<DNS:auto/udp>, '$<PAIR:auto:5353/udp+tcp>', $<replica>, $<e.PORT>, $<e.PORTS>]
    healthcheck: { http: / }
    stop_grace_period: 1$<replica>s
    deploy: { replicas: '${N:-2}' }
    handoff: ${WAY:-release}
  f: { command: 'x $<PORT:auto> $<e.DNSS>', scale: 1 }
  g: { command: 'x $<PORT:auto> $<replica>', replicas: 0 }
",
    )
    .file("e", "")
    .caller(&[("PW", "hunter2"), ("INHERITED", "${x} $y")])
}

#[test]
fn everything_that_can_be_said_is_shown() {
    let [placeholders, ports] = shown_anywhere(&full());
    insta::assert_snapshot!("with_placeholders", placeholders);
    let differing: Vec<String> = ports
        .lines()
        .zip(placeholders.lines())
        .filter(|(port, placeholder)| port != placeholder)
        .map(|(port, _)| port.to_owned())
        .collect();
    insta::assert_snapshot!("with_ports", differing.join("\n"));
    assert_eq!(ports.lines().count(), placeholders.lines().count());
    assert!(!placeholders.contains("hunter2") && !placeholders.contains("Bearer"));
}

#[test]
fn what_is_shown_is_shown_again() {
    let mut project = full();
    for text in shown(&project) {
        project.yaml.clone_from(&text);
        // What was masked is not known any more, which is said.
        let codes = project.codes();
        let is_masked = |code: &&str| *code == "stack::spec::masked_value";
        assert_eq!(
            (codes.len(), codes.iter().all(is_masked)),
            (4, true),
            "{codes:?} {text}"
        );
        let printed = yaml::to_string(&project.good().show(None)).unwrap();
        assert_eq!(printed, text);
    }
}

#[test]
fn what_is_shown_means_the_same_in_another_directory() {
    let project = Project::new(
        "dotenv: { path: conf/.env }
configs: { c: { file: ./c.conf } }
services:
  a: { command: run, configs: [c], label_file: l, watch: [src, .], pre_start: { command: x, working_dir: ./w } }
  b: { command: run, working_dir: $<DATA:dir>/x, environment: { P: $<PORT:auto>, Q: $<PORT> } }",
    )
    .file("c.conf", "config")
    .file("l", "label=1\n");
    for (text, number) in shown(&project).iter().zip(["$<PORT:auto>", "$<PORT:8000>"]) {
        assert!(text.contains(&format!("P: {number}\n")), "{text}");
        assert!(text.contains("working_dir: $<DATA:dir>/x\n"), "{text}");
        let other = Project::new(text);
        let (here, there) = (project.plan(), other.plan());
        let dotenv = |plan: &Plan| plan.dotenv.as_ref().map(|it| it.path.clone());
        assert_eq!(dotenv(&here), dotenv(&there));
        for (here, there) in here.units.iter().zip(&there.units) {
            assert_eq!(here.hooks, there.hooks);
            assert_eq!(here.ports, there.ports);
            assert_eq!(here.labels, there.labels);
            assert_eq!(here.belongings.files.len(), there.belongings.files.len());
        }
        assert_eq!(there.units[0].directory, project.directory);
        let watched = there.units[0].watch.iter().map(|watch| &watch.path);
        let watched: Vec<_> = watched.collect();
        assert_eq!(watched, [&project.path("src"), &project.directory]);
    }
}

#[test]
fn a_second_copy_is_shown_as_what_it_is() {
    let project = Project::service("command: x $<PORT:auto>").named("other");
    let again = round_trip(project);
    assert!(again.yaml.contains(".env.other"), "{}", again.yaml);
}

#[test]
fn a_port_that_has_no_number_stays_a_placeholder() {
    let draft = Project::service(
        "command: x $<PORT:auto> $<NEW:auto>
healthcheck: { http: { path: /, port: $<NEW> } }
stop_grace_period: $<PORT>ms",
    )
    .good();
    let old = [(port_key("a", "PORT"), 8000)].into();
    let text = yaml::to_string(&draft.show(Some(&old))).unwrap();
    assert!(
        text.contains("command: x $<PORT:8000> $<NEW:auto>"),
        "{text}"
    );
    assert!(text.contains("port: $<NEW>"), "{text}");
    assert!(text.contains("stop_grace_period: 8s"), "{text}");
}

#[test]
fn a_restart_policy_is_never_lost() {
    for (lines, restart, policy) in [
        ("", "no", false),
        ("restart: unless-stopped", "unless-stopped", false),
        ("restart_policy: {}", "always", false),
        ("restart_policy: {condition: none}", "no", false),
        (
            "restart_policy: {condition: on-failure, max_attempts: 3}",
            "on-failure:3",
            false,
        ),
        ("restart_policy: {max_attempts: 3}", "always", true),
        ("restart: no\nrestart_policy: {max_attempts: 3}", "no", true),
        (
            "restart: on-failure:2\nrestart_policy: {window: 1s}",
            "on-failure:2",
            true,
        ),
        ("restart: on-failure:0", "on-failure", false),
        (
            "restart_policy: {delay: 100ms, max_delay: 60s, window: 10s}",
            "always",
            false,
        ),
        ("restart_policy: {max_delay: 61s}", "always", true),
    ] {
        let text = round_trip(Project::service(lines)).yaml;
        assert!(
            text.contains(&format!("restart: {restart}\n"))
                || text.contains(&format!("restart: '{restart}'\n")),
            "{lines}\n{text}"
        );
        assert_eq!(text.contains("restart_policy:"), policy, "{lines}\n{text}");
    }
}

#[test]
fn a_line_of_several_lines_stays_readable() {
    let text = round_trip(Project::service("command: |\n  one\n  two $<PORT:auto>")).yaml;
    let block = "command: |\n      one\n      two $<PORT:auto>\n";
    assert!(text.contains(block), "{text}");
}

/// Texts that YAML, the shell or the templates might take for something else. Not among them are
/// U+0085, U+2028 and U+2029: the library that writes YAML takes them for line ends, as YAML 1.1 did.
pub(super) fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "null",
        "~",
        "no",
        "010",
        "1.10",
        "- x",
        "a: b",
        "# x",
        "'",
        "\"",
        "\\",
        "$$",
        "$$$$",
        "$${",
        "$$<",
        "${SET}",
        "${NONE:-d}",
        "${NONE:-$<PORT>}",
        "$<PORT>",
        "$<b.PORT>",
        "$<project.name>",
        "$<service>",
        "$SET",
        "a\nb\n",
        "\ta",
        "x ",
        "é",
        "\u{1f980}",
        "%",
        "@",
        "|",
        ">",
        "{",
        "[",
        "!x",
        "&x",
        "*x",
        "?",
        ":",
        "\u{feff}",
        "\u{7f}",
        "\u{1b}",
    ]);
    prop::collection::vec(prop_oneof![odd.prop_map(str::to_owned), "[ -~]{0,4}"], 0..4).prop_map(
        |pieces| {
            let text = pieces.concat();
            // What cannot be read is not what this is about.
            if crate::plan::tests::show::is_readable(&text) {
                text
            } else {
                String::new()
            }
        },
    )
}

/// Whether a text is one without a mistake in plain text and in shell text.
fn is_readable(text: &str) -> bool {
    let quoted = serde_json::to_string(text).unwrap();
    let yaml = format!(
        "services: {{ a: {{ command: [x, {quoted}], healthcheck: {{ test: [CMD-SHELL, {quoted}] }}, \
         environment: {{ P: '$<PORT:auto>', Q: {quoted} }} }}, b: {{ command: 'x $<PORT:auto>' }} }}"
    );
    let (_, problems) = project(&yaml).draft();
    problems.iter().all(|problem| !problem.is_error())
}

fn project(yaml: &str) -> Project {
    Project::new(yaml).caller(&[("SET", "v $<PORT> ${x} $$ '\"")])
}

prop_compose! {
    pub(super) fn service()(
        texts in prop::collection::vec(text(), 6),
        form in 0..4usize,
        probe in 0..5usize,
        times in prop::collection::vec(0u32..200_000, 5),
        restart in prop::sample::select(vec![
            "", "restart: no, ", "restart: on-failure:3, ", "restart: unless-stopped, ",
            "restart: ${R:-always}, ", "restart: no, schedule: {every: 90s}, ",
            "restart: on-failure, schedule: '*/5 1 * * *', ",
        ]),
        replicas in prop::sample::select(vec!["", "replicas: 1, ", "scale: 3, "]),
        tuned in prop::sample::select(vec![
            "", "restart_policy: {delay: 1s}, ", "restart_policy: {max_delay: 5m, window: 1s}, ",
        ]),
        codes in prop::collection::vec(0u8..255, 0..3),
        signal in prop::sample::select(vec!["INT", "9", "RTMAX-1", "${S:-HUP}"]),
    ) -> String {
        let quoted: Vec<String> =
            texts.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
        let [a, b, c, d, e, f] = &quoted[..] else { unreachable!() };
        // A program's name is never empty.
        let line = serde_json::to_string(&format!("x {}", texts[0])).unwrap();
        let command = match form {
            0 => format!("command: {line}"),
            1 => format!("command: [x, {a}, {b}]"),
            2 => format!("entrypoint: [x, {b}], command: {line}"),
            _ => format!("entrypoint: [x, {a}], command: [{b}]"),
        };
        let probe = match probe {
            0 => String::new(),
            1 => format!("test: {line}, "),
            2 => format!("test: [CMD-SHELL, {a}], "),
            3 => format!("test: [CMD, x, {a}], "),
            _ => "http: {path: '/${SET:+x}$$', port: $<PORT>, status: [200, 201-204]}, ".to_owned(),
        };
        let health = if probe.is_empty() {
            String::new()
        } else {
            format!(
                "healthcheck: {{{probe}interval: {}ms, timeout: {}us, retries: {}, start_period: \
                 {}ms}}, ",
                times[0], times[1], times[2], times[3]
            )
        };
        format!(
            "{command}, working_dir: {d}, environment: {{P: '$<PORT:auto>', A: {c}, B: null}}, \
             {health}{restart}{tuned}{replicas}success_exit_codes: {codes:?}, stop_signal: '{signal}', \
             stop_grace_period: {}ms, logging: {{max-size: {}}}, labels: {{l: {e}, 'm n': {f}}}",
            times[4], times[0] + 1
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn showing_is_a_fixed_point_with_the_same_fingerprint(
        a in service(), b in service(), top in text(), shell in any::<bool>()
    ) {
        let shell = if shell { "shell: [sh, -c, '$$x']\n" } else { "" };
        // Only what names the service has a meaning outside of one.
        let top = top.replace("$<PORT>", "$<b.PORT>").replace("$<service>", "x");
        let top = serde_json::to_string(&top).unwrap();
        let yaml = format!(
            "{shell}environment: {{T: {top}}}\nservices: {{ a: {{{a}, depends_on: [b]}}, b: {{{b}}} }}\n"
        );
        let (_, problems) = project(&yaml).draft();
        prop_assume!(problems.iter().all(|problem| !problem.is_error()));
        round_trip(project(&yaml));
    }
}
