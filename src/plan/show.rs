//! The file as it was understood, for `stack config`: every default filled in, every variable
//! resolved, the ports as numbers where they are known and as placeholders where they are not.
//!
//! What is printed is a `stack.yaml` again, and one that means the same: a literal `$` comes out
//! doubled where the loader would read it, and lists stay lists. Values of keys that look secret
//! are masked, so those alone are lost. Where a service has several replicas, what differs between
//! them stays as it was written.

mod secret;
mod view;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use self::secret::mask;
use self::view::{View, double, texts};
use super::draft::Draft;
use super::model::{HealthPlan, ProbePlan, RestartPolicy, RestartWhen, UnitPlan};
use super::replicas::Replicas;
use super::resolver::{Assignment, Inside, Ports, Resolver};
use crate::spec::model::{
    Condition, EnvFileSpec, Handoff, HealthcheckSpec, HttpProbeSpec, ProbeSpec, RestartSpec,
    ServiceSpec, word_of,
};
use crate::support::duration;
use crate::support::port_range::PortRange;

/// A stack as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shown(Value);

/// A map whose entries are put in one after another.
#[derive(Default)]
struct Map(serde_json::Map<String, Value>);

impl Map {
    /// Adds an entry, unless there is nothing to say.
    fn put(&mut self, key: impl Into<String>, value: impl Into<Option<Value>>) {
        let is_empty = |value: &Value| match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if let Some(value) = value.into().filter(|value| !is_empty(value)) {
            self.0.insert(key.into(), value);
        }
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

impl Draft {
    /// The file as it was understood, with the ports of `assignment`, or with placeholders.
    pub fn show(&self, assignment: Option<&Assignment>) -> Shown {
        let ports = match assignment {
            Some(numbers) => Ports {
                numbers,
                are_allocated: true,
            },
            None => self.unallocated(),
        };
        let view = |inside| {
            View(Resolver {
                draft: self,
                inside,
                ports,
            })
        };
        let (spec, pool, outside) = (self.spec(), self.pool(), view(None));
        let ranges = |ranges: &[PortRange]| texts(ranges.iter().map(ToString::to_string));
        let mut pools = Map::default();
        pools.put("range", ranges(&pool.ranges));
        pools.put("exclude", ranges(&pool.exclude));
        let mut services = Map::default();
        let units = self.first_of_each(ports);
        for ((service, replicas), unit) in spec.services.values().zip(self.replicas()).zip(&units) {
            let inside = Inside {
                service,
                replica: 1,
            };
            let shown = show_service(service, *replicas, unit, &view(Some(inside)));
            services.put(service.name.as_str(), shown);
        }
        let mut shown = Map::default();
        shown.put("name", Value::from(self.project().as_str()));
        shown.put("ports", pools.done());
        shown.put("dotenv", self.show_dotenv(&outside));
        shown.put("env_file", show_env_files(&spec.env_file, &outside));
        shown.put("environment", outside.environment(&spec.environment));
        // Only where it was set: with the default, a line may run without a shell.
        let shell = spec.shell.as_ref();
        shown.put(
            "shell",
            shell.map(|words| texts(words.iter().map(|word| double(word)))),
        );
        shown.put("services", services.done());
        Shown(shown.done())
    }

    fn show_dotenv(&self, outside: &View<'_>) -> Value {
        let (Some(dotenv), Some(path)) = (&self.spec().dotenv, self.dotenv_path()) else {
            return Value::Bool(false);
        };
        let path = path.strip_prefix(self.project_dir()).unwrap_or(path);
        let mut shown = Map::default();
        shown.put("path", Value::from(double(&path.to_string_lossy())));
        shown.put("vars", outside.environment(&dotenv.vars));
        shown.done()
    }
}

fn show_service(
    service: &ServiceSpec,
    replicas: Replicas,
    unit: &UnitPlan,
    view: &View<'_>,
) -> Value {
    let command = |command| Option::map(command, |it| view.command(it));
    let health = service.healthcheck.as_ref().zip(unit.health.as_ref());
    let codes = service.success_exit_codes.iter();
    let labels = service.labels.iter();
    let mut shown = Map::default();
    shown.put("entrypoint", command(service.entrypoint.as_ref()));
    shown.put("command", command(service.command.as_ref()));
    let directory = service.working_dir.as_ref();
    shown.put("working_dir", directory.map(|text| view.value(text)));
    shown.put("environment", view.environment(&service.environment));
    shown.put("env_file", show_env_files(&service.env_file, view));
    shown.put("depends_on", show_dependencies(service));
    shown.put(
        "healthcheck",
        health.map(|(spec, plan)| show_health(spec, plan, view)),
    );
    shown.put("restart", show_restart(service, &unit.restart, view));
    shown.put(
        "restart_policy",
        show_restart_policy(service, &unit.restart, view),
    );
    let codes = codes.filter_map(|code| view.given(Some(code), Value::from));
    shown.put("success_exit_codes", Value::Array(codes.collect()));
    let signal = || match nix::sys::signal::Signal::try_from(unit.stop_signal) {
        Ok(signal) => signal.as_str().into(),
        // Real-time signals have no name of their own.
        Err(_) => unit.stop_signal.to_string().into(),
    };
    shown.put(
        "stop_signal",
        view.setting(service.stop_signal.as_ref(), signal),
    );
    shown.put(
        "stop_grace_period",
        view.setting(service.stop_grace_period.as_ref(), || time(unit.grace)),
    );
    let labels = labels.map(|(key, text)| (key.clone(), view.value(text)));
    shown.put("labels", Value::Object(labels.collect()));
    // Only where a number was said: then ports are exported by number, too.
    shown.put(
        "replicas",
        replicas.is_said.then_some(Value::from(replicas.count)),
    );
    shown.put(
        "handoff",
        view.given(service.handoff.as_ref(), |handoff| {
            word_of(&Handoff::WORDS, &handoff).into()
        }),
    );
    shown.done()
}

fn show_env_files(files: &[EnvFileSpec], view: &View<'_>) -> Value {
    let file =
        |file: &EnvFileSpec| json!({"path": view.text(&file.path), "required": file.is_required});
    files.iter().map(file).collect()
}

fn show_dependencies(service: &ServiceSpec) -> Value {
    let mut shown = Map::default();
    for (name, dependency) in &service.depends_on {
        let mut edge = Map::default();
        let condition = word_of(&Condition::WORDS, &dependency.condition);
        edge.put("condition", Value::from(condition));
        edge.put(
            "required",
            (!dependency.is_required).then_some(Value::Bool(false)),
        );
        edge.put("restart", dependency.restart.then_some(Value::Bool(true)));
        shown.put(name.as_str(), edge.done());
    }
    shown.done()
}

fn show_health(spec: &HealthcheckSpec, plan: &HealthPlan, view: &View<'_>) -> Value {
    let mut shown = Map::default();
    match &spec.probe {
        ProbeSpec::Shell(line) => {
            let line = view.text(line);
            // As a mere text some lines would mean something else.
            let is_plain = line != "NONE" && !line.trim().is_empty();
            let list = json!(["CMD-SHELL", line]);
            shown.put("test", if is_plain { Value::from(line) } else { list });
        }
        ProbeSpec::Command(words, _) => {
            let words = words.iter().map(|word| view.text(word));
            shown.put(
                "test",
                texts(std::iter::once("CMD".to_owned()).chain(words)),
            );
        }
        ProbeSpec::Tcp(target) => shown.put("tcp", view.value(target)),
        ProbeSpec::Http(http) => shown.put("http", show_http(http, &plan.probe, view)),
    }
    let mut put = |key: &str, setting, settled| {
        shown.put(key, view.setting(setting, || time(settled)));
    };
    put("interval", spec.times.interval.as_ref(), plan.interval);
    put("timeout", spec.times.timeout.as_ref(), plan.timeout);
    let retries = view.setting(spec.times.retries.as_ref(), || plan.retries.into());
    shown.put("retries", retries);
    let mut put = |key: &str, setting, settled| {
        shown.put(key, view.setting(setting, || time(settled)));
    };
    put(
        "start_period",
        spec.times.start_period.as_ref(),
        plan.start_period,
    );
    put(
        "start_interval",
        spec.times.start_interval.as_ref(),
        plan.start_interval,
    );
    shown.done()
}

fn show_http(http: &HttpProbeSpec, plan: &ProbePlan, view: &View<'_>) -> Value {
    let path = view.text(&http.path);
    // Once the number stands in the command, the declaration that gives a check its port is gone,
    // and what is shown must load again.
    let implied = match plan {
        ProbePlan::Http(plan) if view.has_own_numbers() && path.starts_with('/') => {
            Some(Value::from(plan.port))
        }
        ProbePlan::Http(_) | ProbePlan::Command(_) | ProbePlan::Tcp { .. } => None,
    };
    let status = |(low, high): (u16, u16)| {
        if low == high {
            Value::from(low)
        } else {
            Value::from(format!("{low}-{high}"))
        }
    };
    let given = http.status.iter();
    let headers = http.headers.iter().map(|(name, value)| {
        let shown = mask(name, value, view.text(value));
        (name.clone(), Value::from(shown))
    });
    let mut shown = Map::default();
    shown.put("path", Value::from(path));
    shown.put(
        "port",
        view.given(http.port.as_ref(), Value::from).or(implied),
    );
    let given = given.filter_map(|it| view.given(Some(it), status));
    shown.put("status", Value::Array(given.collect()));
    shown.put("headers", Value::Object(headers.collect()));
    shown.done()
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
    let tuned = service.restart_policy.as_ref()?;
    if *policy == usual && is_limit_said {
        return None;
    }
    let setting = |setting, settled| view.setting(setting, || time(settled));
    let limit = policy.max_attempts.filter(|_| !is_limit_said);
    let mut shown = Map::default();
    shown.put("delay", setting(tuned.delay.as_ref(), policy.delay));
    shown.put(
        "max_delay",
        setting(tuned.max_delay.as_ref(), policy.max_delay),
    );
    shown.put(
        "max_attempts",
        limit.map(|limit| view.setting(tuned.max_attempts.as_ref(), || limit.into())),
    );
    shown.put("window", setting(tuned.window.as_ref(), policy.window));
    Some(shown.done())
}

fn time(duration: Duration) -> Value {
    duration::format(duration).into()
}
