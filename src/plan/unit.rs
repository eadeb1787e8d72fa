//! The plan of one replica of a service: commands, environment layers, policies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::code;
use super::command::{Execution as Decision, decide};
use super::draft::Draft;
use super::env_file::Entries;
use super::health::health_plan;
use super::model::{Changes, DependencyPlan, Environment, Execution, PortPlan, UnitPlan};
use super::resolver::{Inside, Ports, Resolver};
use super::restart::restart;
use crate::spec::model::{CommandSpec, EnvironmentSpec, ServiceSpec};
use crate::spec::problem::{Problem, Span};
use crate::support::name::UnitId;

/// The shell of string commands, unless the file names another one.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// SIGTERM (signal(7)).
const DEFAULT_STOP_SIGNAL: i32 = 15;

/// The grace period, as in Compose.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What all services have in common.
pub(super) struct Shared<'a> {
    pub(super) draft: &'a Draft,
    pub(super) ports: Ports<'a>,
    /// The layers that are the same for all: the top-level `env_file`s and `environment`, and every
    /// generated key.
    pub(super) common: Arc<Changes>,
    /// The words of `shell:`, if it is set.
    pub(super) shell: Option<&'a [String]>,
}

/// Plans one replica of `replicas`. `files` are the entries of the service's `env_file`s.
pub(super) fn unit_plan(
    inside: Inside<'_>,
    replicas: u32,
    files: &Entries,
    shared: &Shared<'_>,
    problems: &mut Vec<Problem>,
) -> UnitPlan {
    let Inside { service, replica } = inside;
    let resolver = Resolver {
        draft: shared.draft,
        inside: Some(inside),
        ports: shared.ports,
    };
    let directory = match &service.working_dir {
        Some(directory) => shared
            .draft
            .project_dir()
            .join(resolver.text(directory, problems)),
        None => shared.draft.project_dir().to_path_buf(),
    };
    let directory: PathBuf = directory.components().collect();
    let ports: Vec<PortPlan> = service
        .ports
        .iter()
        .filter_map(|(name, declaration)| {
            Some(PortPlan {
                name: name.clone(),
                protocol: declaration.protocol,
                port: shared.ports.get(&service.name, replica, name)?,
            })
        })
        .collect();
    let execution = execution(service, shared, &resolver, problems);
    let environment = environment(
        inside, files, shared, &resolver, &ports, &directory, problems,
    );
    for word in &execution.argv {
        let what = || format!("a word of the command of `{}`", service.name);
        check_length(what, word.len(), &service.name_span, problems);
    }
    let place = |key: &str| {
        let own = service.environment.get(key).map(|own| &own.key_span);
        own.or_else(|| Some(&service.env_file.last()?.path.span))
    };
    check_variables(&environment.changes, place, problems);
    UnitPlan {
        service: service.name.clone(),
        replica,
        replicas,
        handoff: resolver.setting(service.handoff.as_ref(), problems),
        execution,
        environment,
        stop_signal: resolver
            .setting(service.stop_signal.as_ref(), problems)
            .unwrap_or(DEFAULT_STOP_SIGNAL),
        grace: resolver
            .setting(service.stop_grace_period.as_ref(), problems)
            .unwrap_or(DEFAULT_GRACE),
        restart: restart(service, &resolver, problems),
        success_exit_codes: service
            .success_exit_codes
            .iter()
            .filter_map(|code| resolver.setting(Some(code), problems))
            .collect(),
        health: service
            .healthcheck
            .as_ref()
            .map(|health| health_plan(health, &ports, shared, &resolver, problems)),
        depends_on: dependencies(service, shared),
        labels: service
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), resolver.text(value, problems)))
            .collect(),
        directory,
        ports,
    }
}

/// The edges of one service: to every replica of what it depends on. What leads nowhere has been
/// reported by the graph.
fn dependencies(service: &ServiceSpec, shared: &Shared<'_>) -> Vec<DependencyPlan> {
    let mut edges = Vec::new();
    for (name, dependency) in &service.depends_on {
        let Some(replicas) = shared.draft.replicas_of(name) else {
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

/// A command as it is executed: its words, or a shell with its line.
pub(super) fn line_execution(line: &str, shell: Option<&[String]>) -> Execution {
    match decide(line, shell.is_some()) {
        Decision::Direct(argv) => Execution {
            argv,
            is_shell_line: false,
        },
        Decision::Shell => {
            let mut argv: Vec<String> = match shell {
                Some(words) => words.to_vec(),
                None => DEFAULT_SHELL.map(str::to_owned).to_vec(),
            };
            argv.push(line.to_owned());
            Execution {
                argv,
                is_shell_line: true,
            }
        }
    }
}

fn execution(
    service: &ServiceSpec,
    shared: &Shared<'_>,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Execution {
    let mut one = |command: &CommandSpec| match command {
        CommandSpec::Line(line) => line_execution(&resolver.text(line, problems), shared.shell),
        CommandSpec::Words(list, _) => Execution {
            argv: resolver.words(list, problems),
            is_shell_line: false,
        },
    };
    let entrypoint = service.entrypoint.as_ref().map(&mut one);
    let command = service.command.as_ref().map(&mut one);
    match (entrypoint, command) {
        (Some(entrypoint), Some(command)) => {
            if entrypoint.is_shell_line {
                problems.push(
                    Problem::error(
                        code::ENTRYPOINT_LINE,
                        "an `entrypoint` that needs a shell cannot be followed by a `command`",
                        entrypoint_span(service),
                    )
                    .hint("write the entrypoint as a list: `entrypoint: [nice, -n, \"5\"]`"),
                );
            }
            let argv = entrypoint.argv.into_iter().chain(command.argv).collect();
            Execution {
                argv,
                is_shell_line: command.is_shell_line,
            }
        }
        (Some(one), None) | (None, Some(one)) => one,
        // The spec has reported it.
        (None, None) => Execution {
            argv: Vec::new(),
            is_shell_line: false,
        },
    }
}

fn entrypoint_span(service: &ServiceSpec) -> &Span {
    match &service.entrypoint {
        Some(CommandSpec::Line(line)) => &line.span,
        Some(CommandSpec::Words(_, span)) => span,
        None => &service.name_span,
    }
}

/// The layers of a service's environment; later ones win (design: 2.5).
fn environment(
    inside: Inside<'_>,
    files: &Entries,
    shared: &Shared<'_>,
    resolver: &Resolver<'_>,
    ports: &[PortPlan],
    directory: &Path,
    problems: &mut Vec<Problem>,
) -> Environment {
    let Inside { service, replica } = inside;
    let mut changes = Changes::new();
    if let Some(port) = ports.iter().find(|port| port.name.as_str() == "PORT") {
        changes.insert("PORT".to_owned(), Some(port.port.to_string()));
    }
    // A shell would correct a stale one; whoever is executed directly must not be told a lie.
    changes.insert(
        "PWD".to_owned(),
        Some(directory.to_string_lossy().into_owned()),
    );
    changes.extend(files.iter().cloned());
    layer(&service.environment, resolver, &mut changes, problems);
    let marks = [
        ("STACK_PROJECT", shared.draft.project().to_string()),
        ("STACK_INSTANCE", shared.draft.instance().to_owned()),
        ("STACK_SERVICE", service.name.to_string()),
        ("STACK_REPLICA", replica.to_string()),
    ];
    changes.extend(marks.map(|(key, value)| (key.to_owned(), Some(value))));
    Environment {
        base: shared.draft.caller().clone(),
        common: Arc::clone(&shared.common),
        changes,
    }
}

/// Reports a text that no program can be given, and for which the kernel would blame the program:
/// more than 32 pages in one piece, its end included (execve(2)).
fn check_length(
    what: impl FnOnce() -> String,
    length: usize,
    span: &Span,
    problems: &mut Vec<Problem>,
) {
    let most = 32 * page_size() - 1;
    if length > most {
        let what = what();
        let message = format!("{what} has {length} bytes, and the system takes {most} at most");
        problems.push(
            Problem::error(code::TOO_LONG, message, span)
                .hint("put it into a file, and the path of the file in its place"),
        );
    }
}

/// As [`check_length`], for variables; `place` says where one was given its value.
pub(super) fn check_variables<'a>(
    changes: &Changes,
    place: impl Fn(&str) -> Option<&'a Span>,
    problems: &mut Vec<Problem>,
) {
    for (key, value) in changes {
        if let (Some(value), Some(span)) = (value, place(key)) {
            let length = key.len() + 1 + value.len();
            check_length(|| format!("the variable `{key}`"), length, span, problems);
        }
    }
}

/// How large a page of memory is, in bytes.
fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let size = size
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok());
    size.unwrap_or(4096)
}

/// Puts an `environment` over what is there.
pub(super) fn layer(
    environment: &EnvironmentSpec,
    resolver: &Resolver<'_>,
    changes: &mut Changes,
    problems: &mut Vec<Problem>,
) {
    for (key, variable) in environment {
        let value = variable.value.as_ref();
        let value = value.map(|template| resolver.text(template, problems));
        changes.insert(key.clone(), value);
    }
}
