//! `up` where the stack runs already: start what is missing, then stay and watch, or not.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::detached::{Waiting, follow, target};
use super::show::Failures;
use super::warn;
use crate::api::client::{BlockingClient, Client, ClientError, LogFollower, Start};
use crate::api::messages::{Update, code};
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Ready, Stop};
use crate::cli::printer::Printer;
use crate::cli::viewer::show;
use crate::plan::Draft;
use crate::run::control::{Command, StackSnapshot};
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// Joins a stack that runs. `None` if it has just ended, so that it can be started anew.
pub(super) fn join(
    invocation: &Invocation,
    ready: &Ready,
    client: &BlockingClient,
    stack: &StackSnapshot,
    args: &UpArgs,
) -> Result<Option<ExitCode>, Stop> {
    if stack.fingerprint != ready.draft.fingerprint() {
        if let Some(stop) = scaled(&ready.draft, stack) {
            return Err(stop);
        }
        return Err(Stop::new(
            ExitCode::Busy,
            "the stack runs with another configuration than the file has now",
            Some(
                "run `stack down`, then `stack up`; taking changes over while it runs is not supported yet",
            ),
        ));
    }
    let without_effect = ports_without_effect(&ready.draft, stack);
    let command = Command::Up {
        services: args.services.clone(),
        no_deps: args.no_deps,
    };
    let reply = match client.command(&command) {
        Ok(reply) => reply,
        Err(error) if has_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // From here on it is joined, and nothing is forked any more.
    let runtime = crate::cli::verbs::runtime()?;
    let client = &Client::new(client.path());
    let units: Vec<UnitId> = stack.services.iter().map(ServiceSnapshot::unit).collect();
    let mut printing = invocation.printer_options(&units);
    printing.log_prefix = !args.no_log_prefix;
    printing.timestamps = args.timestamps;
    printing.has_the_stack = !(args.detach || args.wait);
    printing.log_dir = Some(invocation.instance(&ready.draft).log_dir());
    let printer = Arc::new(Printer::start(printing)?);
    if !ready.warnings.is_empty() {
        printer.message(ready.warnings.trim_end());
    }
    for warning in without_effect {
        printer.message(&warning);
    }
    let instance = invocation.instance(&ready.draft);
    let run = u64::from_str_radix(&stack.run, 16).unwrap_or_default();
    let failures = Failures::new(instance.log_dir(), run);
    let code = if args.detach || args.wait {
        if reply.affected.is_empty() {
            printer.line_err("the stack is running already; nothing to start");
        } else {
            printer.line_err(format!(
                "the stack is running already; starting {}",
                text::list(&reply.affected)
            ));
        }
        let asked = if args.wait {
            wanted(stack, args)
        } else {
            reply.affected
        };
        let waiting = Waiting {
            printer: &printer,
            last_path: &instance.last_path(),
            run: &stack.run,
            failures,
        };
        if asked.is_empty() {
            Ok(ExitCode::Done)
        } else {
            runtime.block_on(follow(client, waiting, target(args), Some(asked)))
        }
    } else {
        runtime.block_on(async {
            // Before it is said that this is attached, Ctrl-C must stop the stack.
            let strokes = Strokes::listen()?;
            printer.line_err("the stack is running already; attached to it");
            watch(
                client,
                &printer,
                instance.log_dir(),
                failures,
                strokes,
                args,
            )
            .await
        })
    };
    printer.finish();
    code.map(Some)
}

/// Why a stack with another number of replicas cannot be joined, if that is what differs.
fn scaled(draft: &Draft, stack: &StackSnapshot) -> Option<Stop> {
    let row = stack
        .services
        .iter()
        .find(|row| row.replicas != draft.replica_count(&row.service))?;
    let (service, running) = (&row.service, row.replicas);
    Some(Stop::new(
        ExitCode::Busy,
        format!(
            "the stack runs with {}, and {} asked for",
            text::count_of(
                running as usize,
                &format!("replica of `{service}`"),
                &format!("replicas of `{service}`")
            ),
            match draft.replica_count(service) {
                1 => "1 is".to_owned(),
                count => format!("{count} are"),
            },
        ),
        Some(&format!(
            "`--scale {service}={running}` joins it as it is; for another number `stack down` \
             first, as scaling while it runs is not supported yet"
        )),
    ))
}

/// What `--port` asks for and a stack that runs already cannot follow, as warnings.
fn ports_without_effect(draft: &Draft, stack: &StackSnapshot) -> Vec<String> {
    let asked = draft.asked_ports().iter();
    asked
        .filter_map(|(key, &number)| {
            let service = stack
                .services
                .iter()
                .find(|row| row.service == key.service && row.replica == key.replica)?;
            let port = service.ports.iter().find(|port| port.name == key.name)?;
            (port.port != number).then(|| {
                warn(
                    &format!(
                        "`--port {}.{}={number}` has no effect: the stack runs already, with {}",
                        key.service, key.name, port.port
                    ),
                    Some("`stack down` first, then `stack up` with it"),
                )
            })
        })
        .collect()
}

/// Whether a supervisor that has answered just before is no more.
fn has_gone(error: &ClientError) -> bool {
    match error {
        ClientError::NotRunning | ClientError::Closed => true,
        ClientError::Refused(body) => body.code == code::GONE,
        ClientError::NotAnswering { .. }
        | ClientError::Version { .. }
        | ClientError::ForeignServer { .. }
        | ClientError::Protocol(_)
        | ClientError::Io(_) => false,
    }
}

/// Who `--wait` waits for: those that were named, else everything that anybody wanted up.
fn wanted(stack: &StackSnapshot, args: &UpArgs) -> Vec<ServiceName> {
    if !args.services.is_empty() {
        return args.services.clone();
    }
    let mut services: Vec<ServiceName> = stack
        .services
        .iter()
        .map(|service| service.service.clone())
        .collect();
    // The replicas of a service stand together.
    services.dedup();
    services
}

/// Shows logs and changes until the stack ends. Ctrl-C stops the stack, a second one kills it.
async fn watch(
    client: &Client,
    printer: &Printer,
    log_dir: PathBuf,
    mut failures: Failures,
    mut strokes: Strokes,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    let mut events = client.events().await?;
    let mut logs = LogFollower::open(client, log_dir, &[], Start::Now).await?;
    let mut ended_by = None;
    let mut has_failed = false;
    let mut is_ended = false;
    let (mut is_open, mut has_logs) = (true, true);
    let mut is_known = false;
    while is_open {
        tokio::select! {
            update = events.next() => match update {
                Ok(Some(Update::Snapshot { mut stack })) if !is_known => {
                    is_known = true;
                    // It was not this command that brought it up.
                    stack.started_at = 0;
                    printer.summary(&stack);
                    failures.show_all(printer, &stack.services);
                }
                Ok(Some(Update::Snapshot { stack })) => {
                    for service in stack.services {
                        see(service, printer, &mut failures);
                    }
                }
                Ok(Some(Update::Service(service))) => see(*service, printer, &mut failures),
                Ok(Some(Update::Notice(notice))) => printer.notice(notice),
                Ok(Some(Update::Ended { failed })) => {
                    has_failed = !failed.is_empty();
                    is_ended = true;
                    printer.event(&Event::Ended { failed });
                }
                Ok(Some(Update::Lagged { .. })) => {}
                Ok(None) | Err(_) => is_open = false,
            },
            piece = logs.next(), if has_logs => match piece {
                Ok(Some(piece)) => show(printer, piece).await,
                Ok(None) | Err(_) => has_logs = false,
            },
            number = strokes.next() => {
                let command = if ended_by.is_none() {
                    printer.draining();
                    Command::Down { grace: args.timeout }
                } else {
                    Command::Kill {}
                };
                ended_by.get_or_insert(number);
                // One that cannot be reached has ended, which the streams tell.
                drop(client.command(&command).await);
            }
        }
    }
    while let Ok(Some(piece)) = logs.next().await {
        show(printer, piece).await;
    }
    if !is_ended {
        return Err(Stop::new(
            ExitCode::Failed,
            "the supervisor ended without a word",
            Some("`stack down` looks for what it may have left"),
        ));
    }
    Ok(match ended_by {
        Some(nix::libc::SIGINT) => ExitCode::Interrupted,
        Some(_) => ExitCode::Terminated,
        None if has_failed => ExitCode::Failed,
        None => ExitCode::Done,
    })
}

fn see(service: ServiceSnapshot, printer: &Printer, failures: &mut Failures) {
    let is_failed = service.phase == Phase::Failed;
    let event = Event::Service(Box::new(service));
    printer.event(&event);
    if is_failed && let Event::Service(service) = &event {
        failures.show(printer, service);
    }
}

/// Ctrl-C and SIGTERM, without echoes.
struct Strokes {
    interrupt: Signal,
    terminate: Signal,
    last: Option<tokio::time::Instant>,
}

impl Strokes {
    /// Takes the two signals from now on.
    fn listen() -> Result<Self, Stop> {
        let handler = |kind| signal(kind).map_err(|error| Stop::system(&error));
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            last: None,
        })
    }

    /// The number of the next signal that counts.
    async fn next(&mut self) -> i32 {
        loop {
            let number = tokio::select! {
                _ = self.interrupt.recv() => nix::libc::SIGINT,
                _ = self.terminate.recv() => nix::libc::SIGTERM,
            };
            let now = tokio::time::Instant::now();
            if self
                .last
                .is_none_or(|last| now - last >= crate::run::STROKE)
            {
                self.last = Some(now);
                return number;
            }
        }
    }
}
