//! The plan of one service: commands, environment layers, policies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;

use super::command::{Execution as Decision, decide};
use super::draft::{Draft, Ports, Resolver, text};
use super::health::health_plan;
use super::model::{Environment, Execution, PortPlan, RestartPolicy, RestartWhen, UnitPlan};
use super::variables::Caller;
use crate::ports::request::PortKey;
use crate::spec::model::{CommandSpec, EnvironmentSpec, RestartSpec, ServiceSpec, Setting};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::Template;

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
    pub(super) caller: &'a Caller,
    /// The entries of the top-level `env_file`s.
    pub(super) files: &'a [(String, Option<String>)],
    /// The generated keys.
    pub(super) values: &'a [(String, String)],
    /// The words of `shell:`, if it is set.
    pub(super) shell: Option<Vec<String>>,
}

/// Plans one service.
pub(super) fn unit_plan(
    service: &ServiceSpec,
    shared: &Shared<'_>,
    problems: &mut Vec<Problem>,
) -> UnitPlan {
    let resolver = Resolver {
        draft: shared.draft,
        service: Some(service),
        ports: shared.ports,
    };
    let directory = match &service.working_dir {
        Some(directory) => shared
            .draft
            .project_dir()
            .join(text(directory, &resolver, problems)),
        None => shared.draft.project_dir().to_path_buf(),
    };
    let directory: PathBuf = directory.components().collect();
    let ports: Vec<PortPlan> = service
        .ports
        .keys()
        .filter_map(|name| {
            let key = PortKey {
                service: service.name.clone(),
                name: name.clone(),
            };
            let port = match shared.ports {
                Ports::StandIn(port) => Some(port),
                Ports::Assigned(assignment) => assignment.get(&key).copied(),
            }?;
            Some(PortPlan {
                name: name.clone(),
                port,
            })
        })
        .collect();
    let execution = execution(service, shared, &resolver, problems);
    UnitPlan {
        service: service.name.clone(),
        replica: 1,
        execution,
        environment: environment(service, shared, &resolver, &ports, &directory, problems),
        stop_signal: setting(service.stop_signal.as_ref(), &resolver, problems)
            .unwrap_or(DEFAULT_STOP_SIGNAL),
        grace: setting(service.stop_grace_period.as_ref(), &resolver, problems)
            .unwrap_or(DEFAULT_GRACE),
        restart: restart(service, &resolver, problems),
        success_exit_codes: service
            .success_exit_codes
            .iter()
            .filter_map(|code| setting(Some(code), &resolver, problems))
            .collect(),
        health: service
            .healthcheck
            .as_ref()
            .map(|health| health_plan(health, &ports, shared, &resolver, problems)),
        depends_on: shared.draft.dependencies(service),
        labels: service
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), text(value, &resolver, problems)))
            .collect(),
        directory,
        ports,
    }
}

/// A typed value, or nothing when it is absent or wrong.
pub(super) fn setting<T: Copy>(
    setting: Option<&Setting<T>>,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match setting? {
        Setting::Known(value) => Some(value.value),
        Setting::Deferred(template, parse) => {
            let before = problems.len();
            let resolved = text(template, resolver, problems);
            if problems[before..].iter().any(Problem::is_error) {
                return None;
            }
            match parse(&resolved) {
                Ok(value) => Some(value),
                Err(error) => {
                    let mut problem = Problem::error(
                        error.code,
                        format!("{} (its text became `{resolved}`)", error.message),
                        &template.span,
                    );
                    problem.hint = error.hint;
                    problems.push(problem);
                    None
                }
            }
        }
    }
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

/// The words of a list.
pub(super) fn words(
    words: &[Template],
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    words
        .iter()
        .map(|word| text(word, resolver, problems))
        .collect()
}

fn execution(
    service: &ServiceSpec,
    shared: &Shared<'_>,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> Execution {
    let mut one = |command: &CommandSpec| match command {
        CommandSpec::Line(line) => {
            line_execution(&text(line, resolver, problems), shared.shell.as_deref())
        }
        CommandSpec::Words(list, _) => Execution {
            argv: words(list, resolver, problems),
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
                        "stack::plan::entrypoint_line",
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
    service: &ServiceSpec,
    shared: &Shared<'_>,
    resolver: &Resolver<'_>,
    ports: &[PortPlan],
    directory: &Path,
    problems: &mut Vec<Problem>,
) -> Environment {
    let mut changes: IndexMap<String, Option<String>> = IndexMap::new();
    changes.extend(shared.files.iter().cloned());
    // What stands at the top level is the same for every service and belongs to none of them.
    let outside = Resolver {
        draft: shared.draft,
        service: None,
        ports: shared.ports,
    };
    layer(
        &shared.draft.spec().environment,
        &outside,
        &mut changes,
        problems,
    );
    changes.extend(
        shared
            .values
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone()))),
    );
    if let Some(port) = ports.iter().find(|port| port.name.as_str() == "PORT") {
        changes.insert("PORT".to_owned(), Some(port.port.to_string()));
    }
    // A shell would correct a stale one; whoever is executed directly must not be told a lie.
    changes.insert(
        "PWD".to_owned(),
        Some(directory.to_string_lossy().into_owned()),
    );
    for file in &service.env_file {
        let entries =
            shared
                .draft
                .variables()
                .read_env_file(file, shared.draft.project_dir(), problems);
        changes.extend(entries);
    }
    layer(&service.environment, resolver, &mut changes, problems);
    let marks = [
        ("STACK_PROJECT", shared.draft.project().to_string()),
        ("STACK_INSTANCE", shared.draft.instance().to_owned()),
        ("STACK_SERVICE", service.name.to_string()),
        ("STACK_REPLICA", "1".to_owned()),
    ];
    changes.extend(marks.map(|(key, value)| (key.to_owned(), Some(value))));
    Environment {
        base: shared.caller.clone(),
        changes,
    }
}

fn layer(
    environment: &EnvironmentSpec,
    resolver: &Resolver<'_>,
    changes: &mut IndexMap<String, Option<String>>,
    problems: &mut Vec<Problem>,
) {
    for (key, variable) in environment {
        let value = match &variable.value {
            Some(template) => Some(text(template, resolver, problems)),
            None if variable.is_inherited => resolver.draft.variables().get(key),
            None => None,
        };
        changes.insert(key.clone(), value);
    }
}

fn restart(
    service: &ServiceSpec,
    resolver: &Resolver<'_>,
    problems: &mut Vec<Problem>,
) -> RestartPolicy {
    let short = setting(service.restart.as_ref(), resolver, problems);
    let Some(tuned) = &service.restart_policy else {
        return policy_of(short.unwrap_or(RestartSpec::No));
    };
    let condition = setting(tuned.condition.as_ref(), resolver, problems);
    if let (Some(short), Some(condition)) = (short, condition)
        && policy_of(short).when != policy_of(condition).when
    {
        problems.push(
            Problem::error(
                "stack::plan::restart_twice",
                "`restart` and `restart_policy.condition` disagree",
                &tuned.span,
            )
            .hint("keep one of the two"),
        );
    }
    // A policy without a condition restarts after every end, as in Compose.
    let mut policy = policy_of(condition.or(short).unwrap_or(RestartSpec::Always));
    if let Some(RestartSpec::OnFailure(limit @ Some(_))) = short {
        policy.max_attempts = limit;
    }
    let mut duration = |value: &Option<Setting<Duration>>, target: &mut Duration| {
        if let Some(value) = setting(value.as_ref(), resolver, problems) {
            *target = value;
        }
    };
    duration(&tuned.delay, &mut policy.delay);
    duration(&tuned.max_delay, &mut policy.max_delay);
    duration(&tuned.window, &mut policy.window);
    policy.max_delay = policy.max_delay.max(policy.delay);
    if let Some(limit) = setting(tuned.max_attempts.as_ref(), resolver, problems) {
        policy.max_attempts = Some(limit);
    }
    policy
}

fn policy_of(restart: RestartSpec) -> RestartPolicy {
    match restart {
        RestartSpec::No => RestartPolicy::with(RestartWhen::Never, None),
        // Without a limit, as in Compose; so is a limit of 0 there.
        RestartSpec::OnFailure(limit) => {
            RestartPolicy::with(RestartWhen::OnFailure, limit.filter(|&limit| limit > 0))
        }
        // The two differ only for what was stopped before a restart of the machine.
        RestartSpec::Always | RestartSpec::UnlessStopped => {
            RestartPolicy::with(RestartWhen::Always, None)
        }
    }
}
