//! The file as it was understood, for `stack config`: every default filled in, every variable
//! resolved, the ports as numbers where they are known and as placeholders where they are not.
//!
//! What is printed is a `stack.yaml` again, and one that means the same: a literal `$` comes out
//! doubled where the loader would read it, and lists stay lists. Values of keys that look secret
//! are masked, so those alone are lost. Where a service has several replicas, what differs between
//! them stays as it was written.

mod health;
mod secret;
mod view;

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use self::health::{ShownHealth, show_health};
use self::view::{Scalar, View};
use super::draft::Draft;
use super::model::{RestartPolicy, RestartWhen, UnitPlan};
use super::replicas::Replicas;
use super::resolver::{Assignment, Inside, Ports, Resolver};
use crate::spec::model::{CommandSpec, Condition, EnvFileSpec, Handoff, RestartSpec, ServiceSpec};
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
    /// Only where a number was said: then ports are exported by number, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handoff: Option<Scalar>,
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
        let view = |inside| {
            View(Resolver {
                draft: self,
                inside,
                ports,
            })
        };
        let spec = self.spec();
        let pool = self.pool();
        let outside = view(None);
        let ranges = |ranges: &[PortRange]| ranges.iter().map(ToString::to_string).collect();
        let units = self.first_of_each(ports);
        let services = spec.services.values().zip(self.replicas()).zip(&units);
        Shown {
            name: self.project().to_string(),
            ports: ShownPorts {
                range: ranges(&pool.ranges),
                exclude: ranges(&pool.exclude),
            },
            dotenv: self.show_dotenv(&outside),
            env_file: show_env_files(&spec.env_file, &outside),
            environment: outside.environment(&spec.environment),
            shell: spec.shell.as_ref().map(|words| outside.texts(words)),
            services: services
                .map(|((service, replicas), unit)| {
                    let inside = Inside {
                        service,
                        replica: 1,
                    };
                    let shown = show_service(service, *replicas, unit, &view(Some(inside)));
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

fn show_service(
    service: &ServiceSpec,
    replicas: Replicas,
    unit: &UnitPlan,
    view: &View<'_>,
) -> ShownService {
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
        replicas: replicas.is_said.then_some(replicas.count),
        handoff: view.given(service.handoff.as_ref(), |handoff| {
            Scalar::Text(
                match handoff {
                    Handoff::Reuse => "reuse",
                    Handoff::Release => "release",
                    Handoff::Fd => "fd",
                }
                .to_owned(),
            )
        }),
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
