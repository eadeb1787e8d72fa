//! The plan of one replica of a service: commands, environment layers, policies.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;

use super::belongings::belongings;
use super::code;
use super::draft::Draft;
use super::env_file::Entries;
use super::execution::{command_execution, execution};
use super::health::health_plan;
use super::hook::hook_plans;
use super::model::{
    Changes, DependencyPlan, Environment, Execution, HealthPlan, LoggingPlan, PortPlan, Reaction,
    UnitPlan, WatchPlan,
};
use super::process::process_plan;
use super::resolver::{Inside, Resolver};
use super::restart::restart;
use super::schedule::schedule;
use crate::spec::model::{
    EnvFileSpec, EnvironmentSpec, PortDeclaration, ServiceSpec, WatchAction, WatchSpec,
};
use crate::spec::problem::{Report, Span};
use crate::spec::template::Template;
use crate::support::fs::below;
use crate::support::name::{PortName, UnitId};

/// SIGTERM (signal(7)).
const DEFAULT_STOP_SIGNAL: i32 = 15;

/// The grace period, as in Compose.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Plans one replica of `replicas`; `shared` are the layers of the environment that are the same
/// for all.
pub(super) fn unit_plan(
    inside: Inside<'_>,
    replicas: u32,
    resolver: &Resolver<'_>,
    shared: &Environment,
) -> UnitPlan {
    let Inside { service, replica } = inside;
    let directory = match &service.working_dir {
        Some(directory) => directory.span.dir().join(resolver.text(directory)),
        None => service.name_span.dir().to_path_buf(),
    };
    let directory: PathBuf = directory.components().collect();
    let port = |(name, declaration): (&PortName, &PortDeclaration)| {
        Some(PortPlan {
            name: name.clone(),
            protocol: declaration.protocol,
            port: resolver.ports.get(&service.name, replica, name)?,
        })
    };
    let ports: Vec<PortPlan> = service.ports.iter().filter_map(port).collect();
    let execution = execution(service, resolver);
    let changes = changes(inside, resolver, &ports, &directory, &shared.common);
    for word in &execution.argv {
        let what = || format!("a word of the command of `{}`", service.name);
        check_length(what, word.len(), &service.name_span, resolver);
    }
    let place = |key: &str| {
        let own = service.environment.get(key).map(|own| &own.key_span);
        own.or_else(|| Some(&service.env_file.last()?.path.span))
    };
    check_variables(&changes, place, resolver);
    let health = service.healthcheck.as_ref();
    let texts = |texts: &IndexMap<String, Template>| -> IndexMap<String, String> {
        let texts = texts.iter();
        texts
            .map(|(key, value)| (key.clone(), resolver.text(value)))
            .collect()
    };
    let labels = texts(&service.labels);
    let of_files = entries_of(&service.label_file, resolver).into_iter();
    let of_files = of_files.map(|(key, value)| (key, value.unwrap_or_default()));
    let signal = resolver.setting(service.stop_signal.as_ref());
    let grace = resolver.setting(service.stop_grace_period.as_ref());
    let grace = grace.unwrap_or(DEFAULT_GRACE);
    let logging = LoggingPlan::default();
    let max_size = resolver.setting(service.logging.max_size.as_ref());
    let max_file = resolver.setting(service.logging.max_file.as_ref());
    UnitPlan {
        service: service.name.clone(),
        replica,
        replicas,
        handoff: resolver.setting(service.handoff.as_ref()),
        execution,
        environment: Environment {
            changes,
            ..shared.clone()
        },
        stop_signal: signal.unwrap_or(DEFAULT_STOP_SIGNAL),
        grace,
        restart: restart(service, resolver),
        schedule: schedule(service, resolver),
        success_exit_codes: resolver.settings(&service.success_exit_codes),
        health: health.map(|health| HealthPlan {
            restarts: resolver.setting(service.on_unhealthy.as_ref()) == Some(true),
            ..health_plan(health, &ports, resolver)
        }),
        depends_on: dependencies(service, resolver.draft),
        hooks: hook_plans(service, grace, resolver),
        logging: LoggingPlan {
            max_size: max_size.map_or(logging.max_size, NonZeroU64::get),
            max_file: max_file.unwrap_or(logging.max_file),
        },
        process: process_plan(service, resolver),
        belongings: belongings(inside, resolver),
        watch: service
            .watch
            .iter()
            .map(|watch| watch_plan(watch, resolver))
            .collect(),
        is_attached: service.is_attached,
        labels: of_files.chain(labels).collect(),
        annotations: texts(&service.annotations),
        directory,
        ports,
    }
}

fn watch_plan(watch: &WatchSpec, resolver: &Resolver<'_>) -> WatchPlan {
    let texts = |texts: &[_]| texts.iter().map(|text| resolver.text(text)).collect();
    let project_dir = resolver.draft.project_dir();
    let place = |path: &Template| path.span.dir().join(resolver.text(path));
    let path = watch.path.as_ref().map(place).unwrap_or_default();
    let signal = || resolver.setting(watch.signal.as_ref());
    // What an action lacks has been reported.
    let reaction = match watch.action {
        Some(WatchAction::Restart) | None => Reaction::Restart,
        Some(WatchAction::Rebuild) => {
            let command = watch.command.as_ref();
            let command = command.map(|command| command_execution(command, resolver));
            Reaction::Rebuild(command.unwrap_or_else(|| Execution::words(Vec::new())))
        }
        Some(WatchAction::Signal) => Reaction::Signal(signal().unwrap_or(DEFAULT_STOP_SIGNAL)),
    };
    WatchPlan {
        path: below(&path, project_dir),
        ignore: texts(&watch.ignore),
        include: texts(&watch.include),
        reaction,
    }
}

/// The edges of one service: to every replica of what it depends on. What leads nowhere has been
/// reported by the graph.
fn dependencies(service: &ServiceSpec, draft: &Draft) -> Vec<DependencyPlan> {
    let mut edges = Vec::new();
    for (name, dependency) in &service.depends_on {
        let Some(replicas) = draft.replicas_of(name) else {
            continue;
        };
        edges.extend(replicas.numbers().map(|replica| DependencyPlan {
            unit: UnitId {
                service: name.clone(),
                replica,
            },
            condition: dependency.condition,
            is_required: dependency.is_required,
            restart: dependency.restart,
        }));
    }
    edges
}

/// The layers of a service's environment that are its own; later ones win (design: 2.5).
fn changes(
    inside: Inside<'_>,
    resolver: &Resolver<'_>,
    ports: &[PortPlan],
    directory: &Path,
    common: &Changes,
) -> Changes {
    let Inside { service, replica } = inside;
    let mut changes = included(service, resolver, common);
    if let Some(port) = ports.iter().find(|port| port.name.as_str() == "PORT") {
        changes.insert("PORT".to_owned(), Some(port.port.to_string()));
    }
    // A shell would correct a stale one; whoever is executed directly must not be told a lie.
    let directory = directory.to_string_lossy().into_owned();
    changes.insert("PWD".to_owned(), Some(directory));
    changes.extend(entries_of(&service.env_file, resolver));
    layer(&service.environment, resolver, &mut changes);
    let marks = [
        ("STACK_PROJECT", resolver.draft.project().to_string()),
        ("STACK_INSTANCE", resolver.draft.instance().to_owned()),
        ("STACK_SERVICE", service.name.to_string()),
        ("STACK_REPLICA", replica.to_string()),
    ];
    changes.extend(marks.map(|(key, value)| (key.to_owned(), Some(value))));
    changes
}

/// What the file of a service that is included says for all of its services. What the including file
/// says, and every generated key, is stronger.
fn included(service: &ServiceSpec, resolver: &Resolver<'_>, common: &Changes) -> Changes {
    let draft = resolver.draft;
    let mut changes = Changes::new();
    for realm in draft
        .variables
        .outwards(service.name_span.source.home.realm)
    {
        // The project's own is what is common to all.
        let Some(index) = realm.checked_sub(1) else {
            break;
        };
        changes.extend(draft.variables.files(realm).clone());
        if let Some(included) = draft.spec().included.get(index) {
            layer(&included.environment, resolver, &mut changes);
        }
    }
    changes.retain(|key, _| !common.contains_key(key));
    changes
}

/// The entries of a replica's `env_file`s or `label_file`s. What is in a path that depends on a port cannot be known
/// before the ports are.
fn entries_of(files: &[EnvFileSpec], resolver: &Resolver<'_>) -> Entries {
    let mut entries = Entries::new();
    for file in files {
        let shown = resolver.known(&file.path);
        let mut placeholders = file.path.placeholders();
        let is_later = !resolver.ports.are_allocated && placeholders.any(|(it, _)| it.is_port());
        if let Some(shown) = shown.filter(|_| !is_later) {
            let problems = &mut resolver.told();
            let variables = &resolver.draft.variables;
            entries.extend(variables.read_env_file(file, &shown, problems));
        }
    }
    entries
}

/// Reports a text that no program can be given, and for which the kernel would blame the program:
/// more than 32 pages in one piece, its end included (execve(2)).
fn check_length(
    what: impl FnOnce() -> String,
    length: usize,
    span: &Span,
    resolver: &Resolver<'_>,
) {
    let most = 32 * rustix::param::page_size() - 1;
    if length > most {
        let what = what();
        let message = format!("{what} has {length} bytes, and the system takes {most} at most");
        let hint = "put it into a file, and the path of the file in its place";
        resolver.told().error(code::TOO_LONG, span, message, hint);
    }
}

/// As [`check_length`], for variables; `place` says where one was given its value.
pub(super) fn check_variables<'a>(
    changes: &Changes,
    place: impl Fn(&str) -> Option<&'a Span>,
    resolver: &Resolver<'_>,
) {
    for (key, value) in changes {
        if let (Some(value), Some(span)) = (value, place(key)) {
            let length = key.len() + 1 + value.len();
            check_length(|| format!("the variable `{key}`"), length, span, resolver);
        }
    }
}

/// Puts an `environment` over what is there.
pub(super) fn layer(environment: &EnvironmentSpec, resolver: &Resolver<'_>, changes: &mut Changes) {
    for (key, variable) in environment {
        let value = variable.value.as_ref();
        let value = value.map(|template| resolver.text(template));
        changes.insert(key.clone(), value);
    }
}
