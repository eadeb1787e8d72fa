//! The file as it was understood, for `stack config`: every default filled in, every variable
//! resolved, the ports as numbers where they are known and as placeholders where they are not.
//!
//! What is printed is a `stack.yaml` again, and one that means the same wherever it is put: paths begin
//! at the root, a port that has a number is declared with it, a literal `$` comes out doubled where the
//! loader would read it, and lists stay lists. What is in an `env_file` is shown as
//! environment, as in Compose. Values of keys that look secret and passwords inside of URLs are masked,
//! so those alone are lost. Where a service has several replicas, what differs between
//! them stays as it was written.

mod view;

use std::cell::RefCell;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use self::view::{View, below, double, mask, texts};
use super::assignment::{Assignment, Ports};
use super::draft::Draft;
use super::model::{HealthPlan, RestartPolicy, RestartWhen, UnitPlan};
use super::replicas::Replicas;
use super::resolver::Inside;
use crate::spec::model::{
    Answerer, Condition, DependencySpec, FileContent, FileForm, FileKind, FileSpec, Handoff,
    HealthcheckSpec, HookTime, HttpProbeSpec, LIMITS, ListedPort, ProbeSpec, RestartSpec,
    ServiceSpec, WatchAction, WatchSpec, word_of,
};
use crate::spec::template::{Placeholder, Template};
use crate::support::duration;
use crate::support::name::ServiceName;
use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;
use crate::support::secret::mask_words;
use crate::support::size::format as size_text;

/// A stack as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shown(Value);

type Map = serde_json::Map<String, Value>;

/// A map without the entries of which there is nothing to say.
fn said(mut map: Value) -> Value {
    let has_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    if let Value::Object(entries) = &mut map {
        entries.retain(|_, value| has_something(value));
    }
    map
}

impl Draft {
    /// The file as it was understood, with the ports of `assignment`, or with placeholders.
    pub fn show(&self, assignment: Option<&Assignment>) -> Shown {
        let allocated = assignment.map(|numbers| Ports {
            numbers,
            are_allocated: true,
        });
        let told = RefCell::default();
        let outside = self.outside(allocated.unwrap_or(self.unallocated()), &told);
        let (spec, pool) = (self.spec(), self.pool());
        let units = self.first_of_each(&outside);
        let services = spec.services.values().zip(&self.replicas).zip(&units);
        let services: Map = services
            .map(|((service, replicas), unit)| {
                let view = View(outside.within(Inside {
                    service,
                    replica: 1,
                }));
                let shown = show_service(service, *replicas, unit, &view);
                (service.name.to_string(), shown)
            })
            .collect();
        let outside = View(outside);
        let ranges = |ranges: &[PortRange]| texts(ranges.iter().map(ToString::to_string));
        // Only where it was set: with the default, a line may run without a shell.
        let shell = spec.shell.as_ref();
        let mut shown = said(json!({
            "name": self.project(),
            "ports": said(json!({"range": ranges(&pool.ranges), "exclude": ranges(&pool.exclude)})),
            "dotenv": self.show_dotenv(&outside),
            "environment": outside.top_environment(),
            "configs": show_files(&spec.configs, &outside),
            "secrets": show_files(&spec.secrets, &outside),
            "shell": shell.map(|words| texts(words.iter().map(|word| double(word)))),
        }));
        // Moved in, where the others are copied.
        if !services.is_empty() {
            shown["services"] = services.into();
        }
        Shown(shown)
    }

    fn show_dotenv(&self, outside: &View<'_>) -> Value {
        let (Some(dotenv), Some(path)) = (&self.spec().dotenv, self.dotenv_path()) else {
            return Value::Bool(false);
        };
        said(json!({
            "path": double(&path.to_string_lossy()),
            "secrets": dotenv.secrets.then_some(true),
            "vars": outside.environment(&dotenv.vars),
        }))
    }
}

fn show_files(files: &IndexMap<String, FileSpec>, outside: &View<'_>) -> Map {
    let show = |(name, file): (&String, &FileSpec)| {
        let form = match (&file.form, &file.content) {
            (FileForm::File(path), _) => json!({"file": outside.path(path)}),
            (FileForm::Environment(name), _) => json!({"environment": double(name)}),
            (FileForm::Content, FileContent::Template(text)) => {
                json!({"content": outside.text(text)})
            }
            (FileForm::Content, FileContent::Bytes(_) | FileContent::Missing(_)) => json!({}),
        };
        (name.clone(), form)
    };
    files.iter().map(show).collect()
}

fn show_service(
    service: &ServiceSpec,
    replicas: Replicas,
    unit: &UnitPlan,
    view: &View<'_>,
) -> Value {
    let command = |command: &Option<_>| command.as_ref().map(|it| view.command(it));
    // Without one it is the directory of its file, and who loads this may stand in another one.
    let directory = match &service.working_dir {
        Some(text) => view.path(text),
        None => below(service.name_span.dir(), ""),
    };
    let environment = view.all_environment(service);
    let env_files = view.open_env_files(service);
    let health = service.healthcheck.as_ref().zip(unit.health.as_ref());
    let signal = || signal_text(unit.stop_signal);
    let handoff = |handoff| word_of(&Handoff::WORDS, &handoff).into();
    let logging = &service.logging;
    let size = || size_text(unit.logging.max_size).into();
    let files = || unit.logging.max_file.get().into();
    let labels = |texts: &IndexMap<String, Template>| -> Map {
        let texts = texts.iter();
        let shown = |(key, text): (&String, &Template)| {
            let shown = mask(key, text, view.text(text));
            (key.clone(), shown.into())
        };
        texts.map(shown).collect()
    };
    let on_unhealthy = |restarts| if restarts { "restart" } else { "none" }.into();
    let listed = service.listed_ports.iter().map(|listed| match listed {
        // A number would be another port beside the one that it means.
        ListedPort::Placeholder(text) => match text.placeholders().next() {
            Some((own @ Placeholder::Own(_), _)) => own.to_string().into(),
            Some(_) | None => view.text(text).into(),
        },
        ListedPort::Number {
            name: Some(name),
            port,
            protocol,
            span: _,
        } => json!({"name": name.as_str(), "target": port, "protocol": protocol.to_string()}),
        ListedPort::Number { port, protocol, .. } => match protocol {
            Protocol::Udp => format!("{port}/udp").into(),
            Protocol::Tcp | Protocol::Both => port.to_string().into(),
        },
    });
    let given_files = |kind| -> Vec<&str> {
        let files = service.files.iter().filter(|file| file.kind == kind);
        files.map(|file| file.name.as_str()).collect()
    };
    let process = &service.process;
    let limit = |limit: u64| match limit {
        u64::MAX => Value::from(-1),
        limit => Value::from(limit),
    };
    let ulimits = process.ulimits.iter().map(|(resource, pair)| {
        let shown = json!({
            "soft": view.given(Some(&pair.soft), limit),
            "hard": view.given(Some(&pair.hard), limit),
        });
        (word_of(&LIMITS, resource).to_owned(), shown)
    });
    said(json!({
        "entrypoint": command(&service.entrypoint),
        "command": command(&service.command),
        "working_dir": directory,
        "environment": environment,
        "env_file": env_files,
        "profiles": texts(service.profiles.iter().map(|it| it.value.clone())),
        "depends_on": show_dependencies(service, view),
        "on_unhealthy": view.given(service.on_unhealthy.as_ref(), on_unhealthy),
        "healthcheck": health.map(|(spec, plan)| show_health(spec, plan, view)),
        "restart": show_restart(service, &unit.restart, view),
        "schedule": show_schedule(service, view),
        "restart_policy": show_restart_policy(service, &unit.restart, view),
        "success_exit_codes": view.all_given(&service.success_exit_codes, Value::from),
        "stop_signal": view.setting(service.stop_signal.as_ref(), signal),
        "stop_grace_period": view.time(service.stop_grace_period.as_ref(), unit.grace),
        "logging": said(json!({
            "max-size": logging.max_size.as_ref().map(|it| view.setting(Some(it), size)),
            "max-file": logging.max_file.as_ref().map(|it| view.setting(Some(it), files)),
        })),
        "ports": listed.collect::<Value>(),
        "configs": given_files(FileKind::Config),
        "secrets": given_files(FileKind::Secret),
        "user": process.user.as_ref().map(|text| view.text(text)),
        "group_add": view.texts(&process.group_add),
        "umask": view.given(process.umask.as_ref(), |umask| format!("{umask:03o}").into()),
        "nice": view.given(process.nice.as_ref(), Value::from),
        "oom_score_adj": view.given(process.oom_score_adj.as_ref(), Value::from),
        "tty": process.tty.then_some(true),
        "stdin_open": process.stdin_open.then_some(true),
        "ulimits": ulimits.collect::<Map>(),
        "watch": service.watch.iter().map(|watch| show_watch(watch, view)).collect::<Value>(),
        "labels": labels(&service.labels),
        "label_file": view.env_files(&service.label_file),
        "annotations": labels(&service.annotations),
        "attach": (!service.is_attached).then_some(false),
        "pre_start": show_hooks(HookTime::PreStart, service, unit, view),
        "post_start": show_hooks(HookTime::PostStart, service, unit, view),
        "pre_stop": show_hooks(HookTime::PreStop, service, unit, view),
        // Only where a number was said: then ports are exported by number, too.
        "replicas": replicas.is_said.then_some(replicas.count),
        "handoff": view.given(service.handoff.as_ref(), handoff),
    }))
}

fn show_watch(watch: &WatchSpec, view: &View<'_>) -> Value {
    let action = watch.action.unwrap_or(WatchAction::Restart);
    let patterns = |texts: &[_]| texts.iter().map(|text| view.text(text)).collect::<Vec<_>>();
    said(json!({
        "path": watch.path.as_ref().map(|path| view.path(path)),
        "action": word_of(&WatchAction::WORDS, &action),
        "command": watch.command.as_ref().map(|command| view.command(command)),
        "signal": view.given(watch.signal.as_ref(), signal_text),
        "ignore": patterns(&watch.ignore),
        "include": patterns(&watch.include),
    }))
}

fn signal_text(signal: i32) -> Value {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => signal.as_str().into(),
        // Real-time signals have no name of their own.
        Err(_) => signal.to_string().into(),
    }
}

fn show_dependencies(service: &ServiceSpec, view: &View<'_>) -> Map {
    let edge = |(name, edge): (&ServiceName, &DependencySpec)| {
        let shown = said(json!({
            "condition": word_of(&Condition::WORDS, &edge.condition),
            "required": (!edge.is_required).then_some(false),
            "restart": edge.restart.then_some(true),
        }));
        (name.to_string(), shown)
    };
    // What takes no part is not there for whoever loads this.
    let is_active = |(name, _): &(&ServiceName, &DependencySpec)| view.has(name);
    service
        .depends_on
        .iter()
        .filter(is_active)
        .map(edge)
        .collect()
}

fn show_hooks(
    time: HookTime,
    service: &ServiceSpec,
    unit: &UnitPlan,
    view: &View<'_>,
) -> Vec<Value> {
    let specs = service.hooks.iter().filter(|hook| hook.time == time);
    let shown = specs.zip(unit.hooks(time)).map(|(spec, plan)| {
        said(json!({
            "command": spec.command.as_ref().map(|it| view.command(it)),
            "environment": view.environment(&spec.environment),
            "working_dir": spec.working_dir.as_ref().map(|text| view.path(text)),
            "user": spec.user.as_ref().map(|text| view.text(text)),
            "timeout": view.time(spec.timeout.as_ref(), plan.timeout),
        }))
    });
    shown.collect()
}

fn show_health(spec: &HealthcheckSpec, plan: &HealthPlan, view: &View<'_>) -> Value {
    let (way, probe) = match &spec.probe {
        ProbeSpec::Shell(line) => {
            let line = view.text(line);
            // As a mere text some lines would mean something else.
            let is_plain = line != "NONE" && !line.trim().is_empty();
            let list = json!(["CMD-SHELL", line]);
            ("test", if is_plain { Value::from(line) } else { list })
        }
        ProbeSpec::Command(words) => {
            let words = words.iter().map(|word| view.text(word));
            let words = std::iter::once("CMD".to_owned()).chain(words);
            ("test", texts(mask_words(words)))
        }
        ProbeSpec::Tcp(target) => ("tcp", view.text(target).into()),
        ProbeSpec::Log(pattern) => {
            let pattern = view.given(Some(pattern), |pattern| double(&pattern).into());
            ("log", pattern.unwrap_or_default())
        }
        ProbeSpec::Notify => ("notify", true.into()),
        ProbeSpec::Http(http) => ("http", show_http(http, view)),
    };
    let times = &spec.times;
    let listener = |listener| word_of(&Answerer::WORDS, &listener).into();
    said(json!({
        way: probe,
        "interval": view.time(times.interval.as_ref(), plan.interval),
        "timeout": view.time(times.timeout.as_ref(), plan.timeout),
        "retries": view.setting(times.retries.as_ref(), || plan.retries.into()),
        "start_period": view.time(times.start_period.as_ref(), plan.start_period),
        "start_interval": view.time(times.start_interval.as_ref(), plan.start_interval),
        "listener": view.given(spec.listener.as_ref(), listener),
    }))
}

fn show_http(http: &HttpProbeSpec, view: &View<'_>) -> Value {
    let status = |(low, high): (u16, u16)| match high - low {
        0 => Value::from(low),
        _ => Value::from(format!("{low}-{high}")),
    };
    let headers = http.headers.iter().map(|(name, value)| {
        let shown = mask(name, value, view.text(value));
        (name.clone(), Value::from(shown))
    });
    said(json!({
        "path": view.text(&http.path),
        "port": view.given(http.port.as_ref(), Value::from),
        "status": view.all_given(&http.status, status),
        "headers": headers.collect::<Map>(),
    }))
}

fn show_schedule(service: &ServiceSpec, view: &View<'_>) -> Option<Value> {
    let schedule = service.schedule.as_ref()?;
    let every = |period| duration::format(period).into();
    Some(said(json!({
        "every": view.given(schedule.every.as_ref(), every),
        "cron": view.given(schedule.cron.as_ref(), |cron| cron.to_string().into()),
    })))
}

/// The short form: as it was written, or what the condition of the long one amounts to.
fn show_restart(service: &ServiceSpec, policy: &RestartPolicy, view: &View<'_>) -> Value {
    let settled = || match (policy.when, policy.max_attempts) {
        (RestartWhen::Never, _) => "no".into(),
        (RestartWhen::OnFailure, Some(limit)) => format!("on-failure:{limit}").into(),
        (RestartWhen::OnFailure, None) => "on-failure".into(),
        (RestartWhen::Always, _) => "always".into(),
    };
    let short = view.given(service.restart.as_ref(), |short| match short {
        RestartSpec::UnlessStopped => "unless-stopped".into(),
        RestartSpec::No | RestartSpec::Always | RestartSpec::OnFailure(_) => settled(),
    });
    short.unwrap_or_else(settled)
}

/// The long form, where the short one does not say it all. Its condition is that of `restart`.
fn show_restart_policy(
    service: &ServiceSpec,
    policy: &RestartPolicy,
    view: &View<'_>,
) -> Option<Value> {
    let usual = RestartPolicy::with(policy.when, policy.max_attempts);
    let is_limit_said = policy.when == RestartWhen::OnFailure || policy.max_attempts.is_none();
    let tuned = &service.restart_policy.as_ref()?.value;
    if *policy == usual && is_limit_said {
        return None;
    }
    let limit = policy.max_attempts.filter(|_| !is_limit_said);
    let shown_limit = |limit: u32| view.setting(tuned.max_attempts.as_ref(), || limit.into());
    Some(said(json!({
        "delay": view.time(tuned.delay.as_ref(), policy.delay),
        "max_delay": view.time(tuned.max_delay.as_ref(), policy.max_delay),
        "max_attempts": limit.map(shown_limit),
        "window": view.time(tuned.window.as_ref(), policy.window),
    })))
}
