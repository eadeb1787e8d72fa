//! What the keys of a `stack.yaml` mean.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::{codes, good};
use crate::spec::code;
use crate::spec::model::{
    CommandSpec, Condition, PortWant, ProbeSpec, RestartSpec, ServiceSpec, Setting, WatchAction,
};
use crate::spec::template::{Template, TemplateKind};

fn service(body: &str) -> ServiceSpec {
    let indented = format!("    {}\n", body.replace('\n', "\n    "));
    let mut spec = good(&format!("services:\n  a:\n    command: x\n{indented}"));
    spec.services.swap_remove("a").unwrap()
}

fn literal(template: &Template) -> String {
    template.as_literal().unwrap()
}

fn known<T: Copy>(setting: Option<&Setting<T>>) -> Option<T> {
    match setting {
        Some(Setting::Known(value)) => Some(value.value),
        Some(Setting::Deferred(..)) | None => None,
    }
}

#[test]
fn scalars_keep_their_source_text() {
    let service = service("environment: {A: no, B: 010, C: 1.10, D: 22:22, E: 0x1F, F: true}");
    let texts: Vec<String> = service
        .environment
        .values()
        .map(|variable| literal(variable.value.as_ref().unwrap()))
        .collect();
    assert_eq!(texts, ["no", "010", "1.10", "22:22", "0x1F", "true"]);
}

#[test]
fn an_environment_may_remove_inherit_and_be_empty() {
    let map = service("environment: {GONE: , TILDE: ~, EMPTY: ''}").environment;
    assert!(map["GONE"].value.is_none() && map["TILDE"].value.is_none());
    assert_eq!(
        map["EMPTY"].value.as_ref().map(literal),
        Some(String::new())
    );
    let list = service("environment: [HOME, SET, EMPTY=, 'X=a=b']").environment;
    assert!(list["HOME"].value.is_none());
    assert_eq!(
        list["SET"].value.as_ref().map(literal).as_deref(),
        Some("value")
    );
    assert_eq!(
        list["EMPTY"].value.as_ref().map(literal),
        Some(String::new())
    );
    assert_eq!(
        list["X"].value.as_ref().map(literal).as_deref(),
        Some("a=b")
    );
    assert!(service("environment:").environment.is_empty());
}

#[test]
fn strings_are_shell_lines_and_lists_are_words() {
    let spec = good("services: {a: {command: 'echo ${HOME} $HOME', entrypoint: [nice, 5]}}");
    let service = &spec.services["a"];
    let Some(CommandSpec::Line(line)) = &service.command else {
        panic!("{service:?}");
    };
    assert_eq!(line.kind, TemplateKind::Shell);
    assert_eq!(literal(line), "echo ${HOME} $HOME");
    let Some(CommandSpec::Words(words, _)) = &service.entrypoint else {
        panic!("{service:?}");
    };
    assert_eq!(words.iter().map(literal).collect::<Vec<_>>(), ["nice", "5"]);
    assert_eq!(words[0].kind, TemplateKind::Plain);
}

#[test]
fn ports_are_declared_in_the_order_of_the_file() {
    let spec = good(
        "services:\n  a:\n    environment: {Z: '$<Z:8080>'}\n    command: x $<PORT:auto> $<PORT>\n    \
         labels: {a: '$<A:auto:9100-9199>', b: '${X:-$<B:auto:5173>}'}\n",
    );
    let ports = &spec.services["a"].ports;
    let wants: Vec<(&str, PortWant)> = ports
        .iter()
        .map(|(name, port)| (name.as_str(), port.want))
        .collect();
    assert_eq!(
        wants,
        [
            ("Z", PortWant::Fixed(8080)),
            ("PORT", PortWant::Auto),
            ("A", PortWant::Within("9100-9199".parse().unwrap())),
            ("B", PortWant::Prefer(5173)),
        ]
    );
}

#[test]
fn dependencies_have_a_short_and_a_long_form() {
    let spec = good(
        "services:\n  a:\n    command: x\n    depends_on: [b]\n  b:\n    command: x\n    \
         depends_on:\n      c: {condition: service_healthy, required: false, restart: true}\n  \
         c: {command: x}\n",
    );
    let short = &spec.services["a"].depends_on["b"];
    assert_eq!(short.condition, Condition::Started);
    assert!(short.is_required && !short.restart);
    let long = &spec.services["b"].depends_on["c"];
    assert_eq!(long.condition, Condition::Healthy);
    assert!(!long.is_required && long.restart);
}

#[test]
fn health_checks_have_all_their_forms() {
    let probe = |text: &str| service(&format!("healthcheck: {text}")).healthcheck;
    let kind = |text: &str| match probe(text).map(|check| check.probe) {
        None => "none",
        Some(ProbeSpec::Shell(_)) => "shell",
        Some(ProbeSpec::Command(..)) => "command",
        Some(ProbeSpec::Http(_)) => "http",
        Some(ProbeSpec::Tcp(_)) => "tcp",
        Some(ProbeSpec::Log(_)) => "log",
        Some(ProbeSpec::Notify) => "notify",
    };
    for (text, expected) in [
        ("{test: curl -f localhost}", "shell"),
        ("{test: [CMD-SHELL, 'curl || exit 1']}", "shell"),
        ("{test: [CMD, curl, localhost]}", "command"),
        ("{test: [NONE]}", "none"),
        ("{test: NONE}", "none"),
        ("{test: x, disable: true}", "none"),
        ("{disable: true}", "none"),
        ("{http: /health}", "http"),
        ("{http: 'http://localhost:${SET}/'}", "http"),
        ("{http: '${SET}/x'}", "http"),
        ("{log: 'ready in [0-9]+ ms'}", "log"),
        ("{log: 'port ${SET}$'}", "log"),
        ("{notify: true}", "notify"),
        ("{notify: false, tcp: 5432}", "tcp"),
        ("{tcp: 5432}", "tcp"),
        ("{tcp: 'localhost:$<PORT:auto>'}", "tcp"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
    let check = probe(
        "{http: {path: /, port: 80, status: [204, 200-299], headers: {x-a: b}}, interval: 5s, \
         retries: $<replica>}",
    )
    .unwrap();
    assert_eq!(
        known(check.times.interval.as_ref()),
        Some(Duration::from_secs(5))
    );
    assert!(matches!(check.times.retries, Some(Setting::Deferred(..))));
    let ProbeSpec::Http(http) = check.probe else {
        panic!();
    };
    let status: Vec<_> = http
        .status
        .iter()
        .map(|status| known(Some(status)))
        .collect();
    assert_eq!(status, [Some((204, 204)), Some((200, 299))]);
    assert_eq!(known(http.port.as_ref()), Some(80));
    assert_eq!(literal(&http.headers["x-a"]), "b");
}

#[test]
fn a_deferred_setting_knows_how_to_read_its_text() {
    let service = service("stop_grace_period: $<replica>s");
    let Some(Setting::Deferred(_, parse)) = service.stop_grace_period else {
        panic!();
    };
    assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
    assert_eq!(parse("5").unwrap_err().code, code::BAD_VALUE);
}

#[test]
fn how_much_of_a_log_is_kept_is_said_directly_or_as_in_compose() {
    for text in [
        "{max-size: 512k, max-file: 3}",
        "{driver: local, options: {max-size: '512K', max-file: '3'}}",
    ] {
        let logging = service(&format!("logging: {text}")).logging;
        assert_eq!(known(logging.max_size.as_ref()), NonZeroU64::new(512 << 10));
        assert_eq!(known(logging.max_file.as_ref()), NonZeroU32::new(3));
    }
    for (text, expected) in [
        ("{max-size: 0}", code::BAD_VALUE),
        ("{max-size: 10x}", code::BAD_VALUE),
        ("{max-file: 0}", code::BAD_VALUE),
        ("{driver: syslog}", code::BAD_VALUE),
        ("{max_size: 10m}", code::UNKNOWN_KEY),
        ("{options: {compress: true}}", code::NEEDS_CONTAINER),
        ("10m", code::WRONG_TYPE),
    ] {
        let yaml = format!("services: {{a: {{command: x, logging: {text}}}}}");
        assert_eq!(codes(yaml), [expected], "{text}");
    }
}

#[test]
fn restart_is_a_policy_and_a_boolean_only_when_false() {
    for (text, expected) in [
        ("no", RestartSpec::No),
        ("'no'", RestartSpec::No),
        ("false", RestartSpec::No),
        ("on-failure:3", RestartSpec::OnFailure(Some(3))),
    ] {
        let service = service(&format!("restart: {text}"));
        assert_eq!(known(service.restart.as_ref()), Some(expected), "{text}");
    }
}

#[test]
fn the_top_level_reads_all_its_keys() {
    let spec = good(
        "name: Shop\nports: {range: [8000-8010, 9000-9010], exclude: [8005, 9000-9001]}\n\
         dotenv: {path: .env.x, vars: {URL: 'http://localhost:$<a.PORT>/$<project.name>'}}\n\
         env_file: [.env.local, {path: .env.more, required: false}]\n\
         environment: [RUST_LOG=info]\nshell: [/bin/bash, -c]\nx-mine: {anything: [1]}\n\
         services: {a: {command: 'x $<PORT:auto>', x-mine: 1}}\n",
    );
    assert_eq!(spec.name.unwrap().as_str(), "shop");
    assert_eq!((spec.ports.ranges.len(), spec.ports.exclude.len()), (2, 2));
    assert_eq!(spec.dotenv.unwrap().vars.len(), 1);
    let required: Vec<bool> = spec.env_file.iter().map(|file| file.is_required).collect();
    assert_eq!(required, [true, false]);
    assert_eq!(spec.environment.len(), 1);
    assert_eq!(spec.shell.unwrap().len(), 2);
    assert!(
        good("dotenv: false\nservices: {a: {command: x}}")
            .dotenv
            .is_none()
    );
}

#[test]
fn variables_count_wherever_a_text_is_read() {
    let spec = good(
        "services:\n  value:\n    command: x\n  a:\n    command: [x]\n    depends_on: ['${SET}']\n    \
         env_file: {path: '${SET}', required: '${NO:-false}'}\n    environment: ['${SET}_KEY=a=${SET}', \
         '${SET}']\n    labels: ['${SET}=${SET}']\n",
    );
    let service = &spec.services["a"];
    assert!(service.depends_on.contains_key("value"));
    assert_eq!(literal(&service.env_file[0].path), "value");
    assert!(!service.env_file[0].is_required);
    let environment: Vec<_> = service
        .environment
        .iter()
        .map(|(key, variable)| (key.as_str(), variable.value.as_ref().map(literal)))
        .collect();
    let expected = Some("a=value".to_owned());
    assert_eq!(environment, [("value_KEY", expected), ("value", None)]);
    assert_eq!(literal(&service.labels["value"]), "value");
    let twice = "services: {a: {command: x, environment: ['value=1', '${SET}=2']}}";
    assert_eq!(codes(twice), [code::DUPLICATE_KEY]);
    let placeholder = "services: {a: {command: x, environment: ['${SET}$<service>=2']}}";
    assert_eq!(codes(placeholder), [code::MISPLACED_PLACEHOLDER]);
}

#[test]
fn all_mistakes_of_a_service_are_found_at_once() {
    let text = "services:\n  a:\n    comand: x\n    restart: maybe\n    stop_signal: NOPE\n    \
                environment: {1A: x, B: '${'}\n    volumes: []\n";
    assert_eq!(
        codes(text),
        [
            code::UNKNOWN_KEY,
            code::BAD_VALUE,
            code::BAD_VALUE,
            code::BAD_KEY,
            code::BAD_VARIABLE,
            code::NEEDS_CONTAINER,
        ]
    );
}

#[test]
fn merge_keys_let_what_is_written_win() {
    let spec = good(
        "x-a: &a {restart: always, stop_signal: INT, working_dir: a}\n\
         x-b: &b {restart: no, labels: {l: b}, working_dir: b}\n\
         services:\n  a:\n    <<: [*a, *b]\n    command: x\n    stop_signal: TERM\n",
    );
    let service = &spec.services["a"];
    assert_eq!(known(service.restart.as_ref()), Some(RestartSpec::Always));
    assert_eq!(known(service.stop_signal.as_ref()), Some(15));
    assert_eq!(literal(service.working_dir.as_ref().unwrap()), "a");
    assert_eq!(service.labels.len(), 1);
}

#[test]
fn a_watch_may_be_a_path_and_its_keys_tell_the_action() {
    let service = service(
        "watch: [src, {path: a, command: make}, {path: b, signal: HUP}]
develop: {watch: [{path: c, action: rebuild, command: [make, all], ignore: '*.md', include: [x, y]}]}",
    );
    let read: Vec<_> = service
        .watch
        .iter()
        .map(|watch| (literal(watch.path.as_ref().unwrap()), watch.action))
        .collect();
    let text = str::to_owned;
    let expected = [
        // Whoever names a path alone wants what is usual.
        (text("src"), None),
        (text("a"), Some(WatchAction::Rebuild)),
        (text("b"), Some(WatchAction::Signal)),
        (text("c"), Some(WatchAction::Rebuild)),
    ];
    assert_eq!(read, expected);
    assert_eq!(known(service.watch[2].signal.as_ref()), Some(1));
    let last = &service.watch[3];
    assert_eq!((last.ignore.len(), last.include.len()), (1, 2));
}
