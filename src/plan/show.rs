//! The file as it was understood, for `stack config`: every default filled in, every variable
//! resolved, the ports as numbers where they are known and as placeholders where they are not.
//!
//! What is printed is a `stack.yaml` again, and one that means the same: a literal `$` comes out
//! doubled where the loader would read it, and lists stay lists. Values of keys that look secret
//! are masked, so those alone are lost.

mod secret;
mod view;

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use self::secret::mask;
use self::view::{Scalar, View};
use super::draft::Draft;
use super::model::{HealthPlan, ProbePlan, RestartPolicy, RestartWhen, UnitPlan};
use super::resolver::{Assignment, Ports, Resolver};
use crate::spec::model::{
    CommandSpec, Condition, EnvFileSpec, HealthcheckSpec, HttpProbeSpec, ProbeSpec, RestartSpec,
    ServiceSpec,
};
use crate::support::duration;
use crate::support::port_range::PortRange;

/// A stack as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    name: String,
    ports: ShownPorts,
    dotenv: ShownDotenv,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env_file: Vec<ShownEnvFile>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    environment: IndexMap<String, Option<String>>,
    /// Only where it was set: with the default, a line may run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<Vec<String>>,
    services: IndexMap<String, ShownService>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownPorts {
    range: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum ShownDotenv {
    Off(bool),
    File {
        path: String,
        #[serde(skip_serializing_if = "IndexMap::is_empty")]
        vars: IndexMap<String, Option<String>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownService {
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<ShownCommand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<ShownCommand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    environment: IndexMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env_file: Vec<ShownEnvFile>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    depends_on: IndexMap<String, ShownDependency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<ShownHealth>,
    restart: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<ShownRestartPolicy>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    success_exit_codes: Vec<Scalar>,
    stop_signal: Scalar,
    stop_grace_period: Scalar,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    labels: IndexMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum ShownCommand {
    Line(String),
    Words(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownEnvFile {
    path: String,
    required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownDependency {
    condition: &'static str,
    #[serde(skip_serializing_if = "is_true")]
    required: bool,
    #[serde(skip_serializing_if = "is_false")]
    restart: bool,
}

/// What `restart` alone does not say. Its condition is that of `restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownRestartPolicy {
    delay: Scalar,
    max_delay: Scalar,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<Scalar>,
    window: Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownHealth {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<ShownCommand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<ShownHttp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    interval: Scalar,
    timeout: Scalar,
    retries: Scalar,
    start_period: Scalar,
    start_interval: Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownHttp {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Scalar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<Scalar>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    headers: IndexMap<String, String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !*value
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
        // What is wrong with the file was told when the draft was made.
        let plan = self.make(ports, &mut Vec::new());
        let view = |service| {
            View(Resolver {
                draft: self,
                service,
                ports,
            })
        };
        let spec = self.spec();
        let outside = view(None);
        let ranges = |ranges: &[PortRange]| ranges.iter().map(ToString::to_string).collect();
        let services = spec.services.values().zip(&plan.units);
        Shown {
            name: self.project().to_string(),
            ports: ShownPorts {
                range: ranges(&spec.ports.ranges),
                exclude: ranges(&spec.ports.exclude),
            },
            dotenv: self.show_dotenv(&outside),
            env_file: show_env_files(&spec.env_file, &outside),
            environment: outside.environment(&spec.environment),
            shell: spec.shell.as_ref().map(|words| outside.texts(words)),
            services: services
                .map(|(service, unit)| {
                    let shown = show_service(service, unit, &view(Some(service)));
                    (service.name.to_string(), shown)
                })
                .collect(),
        }
    }

    fn show_dotenv(&self, outside: &View<'_>) -> ShownDotenv {
        let (Some(dotenv), Some(path)) = (&self.spec().dotenv, self.dotenv_path()) else {
            return ShownDotenv::Off(false);
        };
        let path = path.strip_prefix(self.project_dir()).unwrap_or(path);
        ShownDotenv::File {
            path: view::double(&path.to_string_lossy()),
            vars: outside.environment(&dotenv.vars),
        }
    }
}

fn show_service(service: &ServiceSpec, unit: &UnitPlan, view: &View<'_>) -> ShownService {
    let command = |command: &Option<CommandSpec>| command.as_ref().map(|it| view.command(it));
    ShownService {
        entrypoint: command(&service.entrypoint),
        command: command(&service.command),
        working_dir: service.working_dir.as_ref().map(|text| view.text(text)),
        environment: view.environment(&service.environment),
        env_file: show_env_files(&service.env_file, view),
        depends_on: show_dependencies(service),
        healthcheck: service
            .healthcheck
            .as_ref()
            .zip(unit.health.as_ref())
            .map(|(spec, plan)| show_health(spec, plan, view)),
        restart: show_restart(service, &unit.restart, view),
        restart_policy: show_restart_policy(service, &unit.restart, view),
        success_exit_codes: service
            .success_exit_codes
            .iter()
            .filter_map(|code| view.given(Some(code), Scalar::number))
            .collect(),
        stop_signal: view.setting(service.stop_signal.as_ref(), || {
            match nix::sys::signal::Signal::try_from(unit.stop_signal) {
                Ok(signal) => Scalar::Text(signal.as_str().to_owned()),
                // Real-time signals have no name of their own.
                Err(_) => Scalar::Text(unit.stop_signal.to_string()),
            }
        }),
        stop_grace_period: view.setting(service.stop_grace_period.as_ref(), || time(unit.grace)),
        labels: service
            .labels
            .iter()
            .map(|(key, text)| (key.clone(), view.text(text)))
            .collect(),
    }
}

fn show_env_files(files: &[EnvFileSpec], view: &View<'_>) -> Vec<ShownEnvFile> {
    files
        .iter()
        .map(|file| ShownEnvFile {
            path: view.text(&file.path),
            required: file.is_required,
        })
        .collect()
}

fn show_dependencies(service: &ServiceSpec) -> IndexMap<String, ShownDependency> {
    let dependencies = service.depends_on.iter();
    dependencies
        .map(|(name, dependency)| {
            let shown = ShownDependency {
                condition: match dependency.condition {
                    Condition::Started => "service_started",
                    Condition::Healthy => "service_healthy",
                    Condition::CompletedSuccessfully => "service_completed_successfully",
                },
                required: dependency.is_required,
                restart: dependency.restart,
            };
            (name.to_string(), shown)
        })
        .collect()
}

fn show_health(spec: &HealthcheckSpec, plan: &HealthPlan, view: &View<'_>) -> ShownHealth {
    let setting = |setting, settled| view.setting(setting, || time(settled));
    let mut shown = ShownHealth {
        test: None,
        http: None,
        tcp: None,
        interval: setting(spec.interval.as_ref(), plan.interval),
        timeout: setting(spec.timeout.as_ref(), plan.timeout),
        retries: view.setting(spec.retries.as_ref(), || Scalar::number(plan.retries)),
        start_period: setting(spec.start_period.as_ref(), plan.start_period),
        start_interval: setting(spec.start_interval.as_ref(), plan.start_interval),
    };
    match &spec.probe {
        ProbeSpec::Shell(line) => shown.test = Some(show_test(view.text(line))),
        ProbeSpec::Command(words, _) => {
            let kind = std::iter::once("CMD".to_owned());
            let words = kind.chain(view.texts(words)).collect();
            shown.test = Some(ShownCommand::Words(words));
        }
        ProbeSpec::Tcp(target) => shown.tcp = Some(view.text(target)),
        ProbeSpec::Http(http) => shown.http = Some(show_http(http, &plan.probe, view)),
    }
    shown
}

/// A shell line as the test of a health check. As a mere text some would mean something else.
fn show_test(line: String) -> ShownCommand {
    if line == "NONE" || line.trim().is_empty() {
        ShownCommand::Words(vec!["CMD-SHELL".to_owned(), line])
    } else {
        ShownCommand::Line(line)
    }
}

fn show_http(http: &HttpProbeSpec, plan: &ProbePlan, view: &View<'_>) -> ShownHttp {
    let status = |(low, high): (u16, u16)| {
        if low == high {
            Scalar::number(low)
        } else {
            Scalar::Text(format!("{low}-{high}"))
        }
    };
    let path = view.text(&http.path);
    // Once the number stands in the command, the declaration that gives a check its port is gone,
    // and what is shown must load again.
    let implied = match plan {
        ProbePlan::Http(plan) if view.0.ports.are_allocated && path.starts_with('/') => {
            Some(Scalar::number(plan.port))
        }
        ProbePlan::Http(_) | ProbePlan::Command(_) | ProbePlan::Tcp { .. } => None,
    };
    ShownHttp {
        path,
        port: view.given(http.port.as_ref(), Scalar::number).or(implied),
        status: http
            .status
            .iter()
            .filter_map(|it| view.given(Some(it), status))
            .collect(),
        headers: http
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), mask(name, value, view.text(value))))
            .collect(),
    }
}

/// The short form: as it was written, or what the condition of the long one amounts to.
fn show_restart(service: &ServiceSpec, policy: &RestartPolicy, view: &View<'_>) -> String {
    let settled = || match (policy.when, policy.max_attempts) {
        (RestartWhen::Never, _) => "no".to_owned(),
        (RestartWhen::OnFailure, Some(limit)) => format!("on-failure:{limit}"),
        (RestartWhen::OnFailure, None) => "on-failure".to_owned(),
        (RestartWhen::Always, _) => "always".to_owned(),
    };
    let short = view.given(service.restart.as_ref(), |short| {
        Scalar::Text(match short {
            RestartSpec::UnlessStopped => "unless-stopped".to_owned(),
            RestartSpec::No | RestartSpec::Always | RestartSpec::OnFailure(_) => settled(),
        })
    });
    match short {
        Some(Scalar::Text(text)) => text,
        Some(Scalar::Number(_)) | None => settled(),
    }
}

/// The long form, where the short one does not say it all.
fn show_restart_policy(
    service: &ServiceSpec,
    policy: &RestartPolicy,
    view: &View<'_>,
) -> Option<ShownRestartPolicy> {
    let usual = RestartPolicy::with(policy.when, policy.max_attempts);
    let is_limit_said = policy.when == RestartWhen::OnFailure || policy.max_attempts.is_none();
    let tuned = service.restart_policy.as_ref()?;
    if *policy == usual && is_limit_said {
        return None;
    }
    let setting = |setting, settled| view.setting(setting, || time(settled));
    let limit = policy.max_attempts.filter(|_| !is_limit_said);
    Some(ShownRestartPolicy {
        delay: setting(tuned.delay.as_ref(), policy.delay),
        max_delay: setting(tuned.max_delay.as_ref(), policy.max_delay),
        max_attempts: limit
            .map(|limit| view.setting(tuned.max_attempts.as_ref(), || Scalar::number(limit))),
        window: setting(tuned.window.as_ref(), policy.window),
    })
}

fn time(duration: Duration) -> Scalar {
    Scalar::Text(duration::format(duration))
}
