//! The file as it was understood, for `stack config`: every default filled in, every variable
//! resolved, the ports as numbers where they are known and as placeholders where they are not.
//!
//! What is printed is a `stack.yaml` again: a literal `$` comes out doubled where the loader would
//! read it, and lists stay lists. Values of keys that look secret are masked.

use indexmap::IndexMap;
use serde::Serialize;

use super::draft::{Assignment, Draft, Ports, Resolver};
use super::model::{RestartPolicy, RestartWhen};
use super::unit::setting;
use crate::spec::model::{
    CommandSpec, Condition, EnvironmentSpec, HealthcheckSpec, ProbeSpec, ServiceSpec,
};
use crate::spec::problem::Problem;
use crate::spec::template::{Lookup, Piece, Template, TemplateKind};
use crate::support::duration;
use crate::support::port_range::PortRange;

/// What stands for a value that must not be shown.
const MASK: &str = "********";

/// Parts of a key that make its value a secret.
const SECRET_WORDS: [&str; 8] = [
    "SECRET",
    "SECRETS",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "KEY",
    "CREDENTIAL",
    "CREDENTIALS",
];

/// A stack as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    name: String,
    ports: ShownPorts,
    dotenv: ShownDotenv,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    environment: IndexMap<String, Option<String>>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    success_exit_codes: Vec<u8>,
    stop_signal: String,
    stop_grace_period: String,
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownHealth {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<ShownCommand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<ShownHttp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    interval: String,
    timeout: String,
    retries: u32,
    start_period: String,
    start_interval: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownHttp {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<String>,
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

/// What a text is shown with.
struct View<'a> {
    resolver: Resolver<'a>,
    /// Whether ports are known.
    has_ports: bool,
}

impl Draft {
    /// The file as it was understood, with the ports of `assignment`, or with placeholders.
    pub fn show(&self, assignment: Option<&Assignment>) -> Shown {
        let trial = self.trial();
        let view = |service| View {
            resolver: Resolver {
                draft: self,
                service,
                ports: assignment.map_or(Ports::StandIn(1), Ports::Assigned),
            },
            has_ports: assignment.is_some(),
        };
        let spec = self.spec();
        let outside = view(None);
        let dotenv = match (&spec.dotenv, self.dotenv_path()) {
            (Some(dotenv), Some(path)) => ShownDotenv::File {
                path: path
                    .strip_prefix(self.project_dir())
                    .unwrap_or(path)
                    .to_string_lossy()
                    .into_owned(),
                vars: outside.environment(&dotenv.vars),
            },
            (Some(_) | None, _) => ShownDotenv::Off(false),
        };
        let ranges = |ranges: &[PortRange]| ranges.iter().map(ToString::to_string).collect();
        let services = spec
            .services
            .values()
            .zip(&trial.units)
            .map(|(service, unit)| {
                let shown = show_service(service, unit, &view(Some(service)));
                (service.name.to_string(), shown)
            })
            .collect();
        Shown {
            name: self.project().to_string(),
            ports: ShownPorts {
                range: ranges(&spec.ports.ranges),
                exclude: ranges(&spec.ports.exclude),
            },
            dotenv,
            environment: outside.environment(&spec.environment),
            services,
        }
    }
}

fn show_service(
    service: &ServiceSpec,
    unit: &super::model::UnitPlan,
    view: &View<'_>,
) -> ShownService {
    ShownService {
        entrypoint: service
            .entrypoint
            .as_ref()
            .map(|command| view.command(command)),
        command: service
            .command
            .as_ref()
            .map(|command| view.command(command)),
        working_dir: service.working_dir.as_ref().map(|text| view.text(text)),
        environment: view.environment(&service.environment),
        env_file: service
            .env_file
            .iter()
            .map(|file| ShownEnvFile {
                path: view.text(&file.path),
                required: file.is_required,
            })
            .collect(),
        depends_on: service
            .depends_on
            .iter()
            .map(|(name, dependency)| {
                let condition = match dependency.condition {
                    Condition::Started => "service_started",
                    Condition::Healthy => "service_healthy",
                    Condition::CompletedSuccessfully => "service_completed_successfully",
                };
                let (required, restart) = (dependency.is_required, dependency.restart);
                (
                    name.to_string(),
                    ShownDependency {
                        condition,
                        required,
                        restart,
                    },
                )
            })
            .collect(),
        healthcheck: service
            .healthcheck
            .as_ref()
            .zip(unit.health.as_ref())
            .map(|(spec, plan)| show_health(spec, plan, view)),
        restart: restart_words(&unit.restart),
        success_exit_codes: unit.success_exit_codes.clone(),
        stop_signal: match nix::sys::signal::Signal::try_from(unit.stop_signal) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => unit.stop_signal.to_string(),
        },
        stop_grace_period: duration::format(unit.grace),
        labels: service
            .labels
            .iter()
            .map(|(key, text)| (key.clone(), view.text(text)))
            .collect(),
    }
}

fn show_health(
    spec: &HealthcheckSpec,
    plan: &super::model::HealthPlan,
    view: &View<'_>,
) -> ShownHealth {
    let mut shown = ShownHealth {
        test: None,
        http: None,
        tcp: None,
        interval: duration::format(plan.interval),
        timeout: duration::format(plan.timeout),
        retries: plan.retries,
        start_period: duration::format(plan.start_period),
        start_interval: duration::format(plan.start_interval),
    };
    match &spec.probe {
        ProbeSpec::Shell(line) => shown.test = Some(ShownCommand::Line(view.text(line))),
        ProbeSpec::Command(words, _) => {
            let words = words.iter().map(|word| view.text(word));
            shown.test = Some(ShownCommand::Words(
                std::iter::once("CMD".to_owned()).chain(words).collect(),
            ));
        }
        ProbeSpec::Tcp(target) => shown.tcp = Some(view.text(target)),
        ProbeSpec::Http(http) => {
            let mut ignored = Vec::new();
            shown.http = Some(ShownHttp {
                path: view.text(&http.path),
                port: setting(http.port.as_ref(), &view.resolver, &mut ignored),
                status: http
                    .status
                    .iter()
                    .filter_map(|status| setting(Some(status), &view.resolver, &mut ignored))
                    .map(|(low, high)| {
                        if low == high {
                            low.to_string()
                        } else {
                            format!("{low}-{high}")
                        }
                    })
                    .collect(),
                headers: http
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), mask(name, view.text(value))))
                    .collect(),
            });
        }
    }
    shown
}

fn restart_words(policy: &RestartPolicy) -> String {
    match (policy.when, policy.max_attempts) {
        (RestartWhen::Never, _) => "no".to_owned(),
        (RestartWhen::OnFailure, Some(limit)) => format!("on-failure:{limit}"),
        (RestartWhen::OnFailure, None) => "on-failure".to_owned(),
        (RestartWhen::Always, _) => "always".to_owned(),
    }
}

/// Whether a key's name says that its value is a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    key.split(['_', '-', '.'])
        .any(|word| SECRET_WORDS.contains(&word))
}

fn mask(key: &str, value: String) -> String {
    if is_secret(key) {
        MASK.to_owned()
    } else {
        value
    }
}

impl View<'_> {
    fn command(&self, command: &CommandSpec) -> ShownCommand {
        match command {
            CommandSpec::Line(line) => ShownCommand::Line(self.text(line)),
            CommandSpec::Words(words, _) => {
                ShownCommand::Words(words.iter().map(|word| self.text(word)).collect())
            }
        }
    }

    fn environment(&self, environment: &EnvironmentSpec) -> IndexMap<String, Option<String>> {
        environment
            .iter()
            .map(|(key, variable)| {
                let value = match &variable.value {
                    Some(template) => Some(mask(key, self.text(template))),
                    None if variable.is_inherited => self
                        .resolver
                        .variable(key)
                        .map(|value| mask(key, double(&value))),
                    None => None,
                };
                (key.clone(), value)
            })
            .collect()
    }

    /// A text with its variables resolved, written so that the loader reads the same again.
    fn text(&self, template: &Template) -> String {
        let is_plain = template.kind == TemplateKind::Plain;
        let literal = |text: &str| {
            if is_plain {
                double(text)
            } else {
                text.replace("$<", "$$<")
            }
        };
        let mut shown = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => shown.push_str(&literal(text)),
                Piece::BareVariable(name, _) => {
                    shown.push('$');
                    shown.push_str(name);
                }
                Piece::Placeholder(_, span) if !self.has_ports => shown.push_str(span.text()),
                Piece::Placeholder(placeholder, span) => {
                    match self.resolver.placeholder(placeholder, span) {
                        Ok(value) => shown.push_str(&literal(&value)),
                        Err(_) => shown.push_str(span.text()),
                    }
                }
                Piece::Variable(_) => {
                    let one = Template {
                        pieces: vec![piece.clone()],
                        span: template.span.clone(),
                        kind: template.kind,
                    };
                    let mut ignored: Vec<Problem> = Vec::new();
                    shown.push_str(&literal(&one.resolve(&self.resolver, &mut ignored)));
                }
            }
        }
        shown
    }
}

fn double(text: &str) -> String {
    text.replace('$', "$$")
}
