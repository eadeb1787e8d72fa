//! `stack up`: start everything, in the foreground or in the background, or join what runs.

mod abort;
mod alone;
mod client;
mod dry_run;
mod failures;
mod feed;
mod goal;
mod join;
mod lead;
mod note;
mod prepare;
mod rights;
mod strokes;
mod supervise;
mod verdict;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::time::{Duration, Instant};

use abort::Abort;
use client::Place;
use goal::Goal;
use lead::Lead;

use super::ground::{TOLD_AFTER, actual, foreign, hidden, suspended, waiting_for_guardian};
use super::readiness::Asked;
use super::watching;
use crate::api::client::{BlockingClient, Client, ClientError};
use crate::cli::args::UpArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::{Invocation, Ready, check_service};
use crate::cli::logging::OwnLog;
use crate::cli::printer::{self, Printer};
use crate::cli::words;
use crate::plan::model::UnitPlan;
use crate::plan::{Draft, Home, secret_names};
use crate::run::control::StackSnapshot;
use crate::run::instance::{Holder, Instance, InstanceLock, LockAttempt};
use crate::run::launch::{Child, Role, fork_roles};
use crate::run::logs::announce_reader;
use crate::run::supervisor::Options;
use crate::run::{Group, Watch, secrets};
use crate::support::name::{ServiceName, UnitId};

use prepare::socket_dirs;
pub(crate) use prepare::{choose_socket, owner, warn};

/// How long the winner of a race for the lock may take until it answers.
const WINNER_LIMIT: Duration = Duration::from_secs(5);

/// How often the lock is looked at meanwhile.
const WINNER_PAUSE: Duration = Duration::from_millis(10);

/// What `stack watch` does first: starts services in the background, like `stack up -d`. One that fails
/// may be mended by the next change.
pub fn up_in_background(invocation: &Invocation, services: &[ServiceName]) -> Result<(), Stop> {
    let args = UpArgs {
        services: services.to_vec(),
        detach: true,
        ..UpArgs::default()
    };
    up(invocation, &args).map(drop)
}

/// Nobody can wait for the end of a service that runs again and again.
fn check_has_end(draft: &Draft, exit_code_from: Option<&ServiceName>) -> Result<(), Stop> {
    let service = exit_code_from.and_then(|name| draft.spec().services.get(name));
    match service.filter(|service| service.schedule.is_some()) {
        Some(service) => Err(Stop::usage(
            format!(
                "`{}` has a `schedule`, so it has no exit code",
                service.name
            ),
            "name a service that ends",
        )),
        None => Ok(()),
    }
}

/// Runs the verb.
pub fn up(invocation: &Invocation, args: &UpArgs) -> Result<ExitCode, Stop> {
    let args = &UpArgs {
        // There is nothing to stay for.
        detach: args.detach || args.no_start,
        ..args.clone()
    };
    let mut ready = invocation
        .draft_with(&args.scale, &args.ports, &args.services)
        .map_err(|stop| without_file(invocation).unwrap_or(stop))?;
    for name in args.services.iter().chain(&args.exit_code_from) {
        check_service(&ready.draft, name)?;
    }
    check_has_end(&ready.draft, args.exit_code_from.as_ref())?;
    rights::check_rights(invocation, &ready, args)?;
    let instance = actual(invocation, invocation.instance(&ready.draft));
    if args.dry_run {
        // What was not made yet has something in its place.
        let seen = secrets::foresee(&instance.dir, secret_names(ready.draft.spec()));
        ready.draft = ready.draft.at_home(home(invocation, &instance, seen));
        return dry_run::dry_run(invocation, &ready, args);
    }
    if let Some(message) = foreign(&instance) {
        return Err(Stop::new(ExitCode::Busy, message, None));
    }
    instance.create()?;
    // Before anything is planned with them, here or by a supervisor that runs.
    let kept = secrets::keep(&instance.dir, secret_names(ready.draft.spec()));
    let kept = kept.map_err(|error| {
        let (message, hint) = words::secret_error(&error);
        Stop::new(ExitCode::Failed, message, hint)
    })?;
    ready.draft = ready.draft.at_home(home(invocation, &instance, kept));
    let lock = loop {
        match instance.lock()? {
            LockAttempt::Acquired(lock) => break lock,
            // Its supervisor was killed, and the guardian stops everything.
            LockAttempt::Hidden(holder) if holder.is_being_cleaned_up() => {
                std::thread::sleep(WINNER_PAUSE);
            }
            LockAttempt::Hidden(_) => {
                // It may have been killed in this moment.
                let is_lost = |holder: Holder| !holder.is_being_cleaned_up();
                if instance.call_home().is_some_and(is_lost) {
                    let message = hidden(&instance).unwrap_or_default();
                    return Err(Stop::new(ExitCode::Busy, message, None));
                }
            }
            LockAttempt::Busy(_) => {
                if let Some((client, stack)) = wait_for_winner(invocation, &instance)?
                    && let Some(arrival) =
                        join::join(invocation, &ready, &instance, &client, &stack, args)?
                {
                    return attend(invocation, args, arrival, ready.draft);
                }
            }
        }
    };
    start(invocation, &ready, instance, lock, args)
}

/// That a stack runs whose file is gone, if so.
fn without_file(invocation: &Invocation) -> Option<Stop> {
    let error = invocation.find().err()?;
    let running = invocation.running();
    let project = &running.first()?.project;
    let message = format!("{}, but stack `{project}` runs here", error.message);
    let hint = "`stack down` stops it; with the file back in its place, `stack up` joins it";
    Some(Stop::usage(message, hint))
}

/// Somebody else holds the lock: a client for it with the state of its stack, once it answers;
/// nothing if it let go. Without a runtime, as it may be on us to fork in the end.
fn wait_for_winner(
    invocation: &Invocation,
    instance: &Instance,
) -> Result<Option<(BlockingClient, StackSnapshot)>, Stop> {
    let begun = Instant::now();
    let mut is_told = false;
    while instance.is_locked() {
        let holder = instance.holder();
        // The path does not depend on what the holder has written so far.
        let path = match &holder {
            Some(holder) => holder.socket.clone(),
            None => choose_socket(invocation, instance)?,
        };
        let client = BlockingClient::new(path);
        let error = match client.stack() {
            Ok(stack) => return Ok(Some((client, stack))),
            Err(error @ (ClientError::Version { .. } | ClientError::ForeignServer { .. })) => {
                return Err(error.into());
            }
            Err(error) => error,
        };
        // Its supervisor was killed and its guardian stops everything, every service with its own
        // grace period; then it is our turn.
        let cleaning = holder
            .as_ref()
            .filter(|holder| holder.is_being_cleaned_up());
        if let Some(holder) = cleaning {
            if holder.is_guardian_suspended() {
                return Err(suspended(holder));
            }
            if !is_told && begun.elapsed() >= TOLD_AFTER {
                is_told = true;
                printer::say(&waiting_for_guardian(holder));
            }
        } else if begun.elapsed() >= WINNER_LIMIT {
            let pid = words::pid(holder.map(|holder| holder.supervisor_pid));
            return Err(Stop::new(
                ExitCode::NotAnswering,
                format!("the supervisor of this stack{pid} does not answer: {error}"),
                Some("if it hangs, end its process; the next `stack up` cleans up after it"),
            ));
        }
        std::thread::sleep(WINNER_PAUSE);
    }
    Ok(None)
}

/// A stack that runs, as the client comes to it.
struct Arrival {
    place: Place,
    units: Vec<UnitId>,
    /// What to say first.
    messages: Vec<String>,
    /// Who is waited for, if not everything that the start has wanted.
    asked: Option<Asked>,
    /// What ends it, where it was joined.
    abort: Option<Abort>,
    /// What it has started itself.
    child: Option<Child>,
    /// What keeps the logs of its run until they are shown.
    logs: Option<File>,
}

/// Attends to a stack that runs, until the goal of the arguments is reached.
fn attend(
    invocation: &Invocation,
    args: &UpArgs,
    arrival: Arrival,
    draft: Draft,
) -> Result<ExitCode, Stop> {
    let mut options = invocation.printer_options(&arrival.units);
    options.log_prefix = !args.no_log_prefix;
    options.timestamps = args.timestamps;
    options.has_the_stack = !(args.detach || args.wait);
    options.log_dir = Some(arrival.place.instance.log_dir());
    let printer = Printer::new(options)?;
    for message in &arrival.messages {
        printer.page().line_err(message);
    }
    let goal = Goal::of(args, arrival.asked);
    let _logs = arrival.logs;
    super::runtime()?.block_on(printer.run(async {
        if goal.is_nothing() {
            return Ok(ExitCode::Done);
        }
        let lead = arrival.child.map(Lead::new).transpose()?;
        let client = Client::new(&arrival.place.socket);
        let instance = arrival.place.instance.clone();
        let watching = async {
            if args.watch {
                let place = (invocation, &instance);
                watching::beside(place, draft, client, &printer, &args.services).await;
            }
            std::future::pending().await
        };
        let ways = (lead, arrival.abort);
        tokio::select! {
            biased;
            code = client::watch(arrival.place, &printer, goal, ways, args.timeout) => code,
            never = watching => never,
        }
    }))
}

/// Where an instance keeps what is its own, its secrets among it.
pub(crate) fn home(
    invocation: &Invocation,
    instance: &Instance,
    secrets: BTreeMap<String, String>,
) -> Home {
    Home {
        dir: instance.dir.clone(),
        sockets: socket_dirs(invocation),
        secrets,
    }
}

/// The services whose output is not shown.
fn unattached(draft: &Draft) -> HashSet<ServiceName> {
    let services = draft.spec().services.values();
    let services = services.filter(|service| !service.is_attached);
    services.map(|service| service.name.clone()).collect()
}

/// Starts the stack whose lock is held.
fn start(
    invocation: &Invocation,
    ready: &Ready,
    instance: Instance,
    lock: InstanceLock,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    let prepared = prepare::prepare(invocation, ready, instance, lock, args)?;
    if args.no_start {
        return Ok(prepared.put_away());
    }
    let own_log = OwnLog::new(prepared.instance.supervisor_log_path());
    let log = own_log.open()?;
    // A pipe, a log and an index each for two streams, and some for everything else.
    let count = prepared.plan.units.len();
    let limit = crate::ports::ensure_descriptors(count * 6 + 64);
    // Without its two pipes, its log with its index and its holds a service cannot be; that some of them
    // start and the rest is tried in vain for a minute helps nobody.
    let least = count * 4 + prepared.allocation.holds.len() + 40;
    if u64::try_from(least).is_ok_and(|least| least > limit) {
        drop(crate::run::socket::remove(&prepared.socket));
        return Err(Stop::new(
            ExitCode::Failed,
            format!("{count} services need at least {least} open files, and the limit is {limit}"),
            Some("raise it, for example with `ulimit -n 4096`"),
        ));
    }
    let options = Options {
        is_detached: args.detach || args.wait,
        services: args.services.clone(),
        no_deps: args.no_deps,
        grace: args.timeout,
        abort_on_failure: args.abort_on_failure,
        size: printer::terminal_size().unwrap_or_default(),
        stop_with: args.exit_code_from.clone(),
    };
    // Before anything can be printed.
    let logs = (!options.is_detached)
        .then(|| announce_reader(&prepared.instance.log_dir()))
        .flatten();
    let group = Group::place(&prepared.instance.id, &prepared.run_id());
    let role = fork_roles(&log, options.is_detached).map_err(|error| {
        Stop::new(
            ExitCode::Failed,
            format!("no process could be made: {error}"),
            None,
        )
    })?;
    match role {
        Role::Client(child, copies) => {
            let units = prepared.plan.units.iter().map(UnitPlan::id).collect();
            // The holds and the lock live on in the two processes that keep the stack.
            drop((prepared.plan, prepared.allocation));
            drop((prepared.lock, prepared.listener));
            drop(copies);
            child.await_begun();
            let arrival = Arrival {
                place: Place {
                    instance: prepared.instance,
                    registry: prepared.registry,
                    socket: prepared.socket,
                    run: prepared.run,
                    unattached: unattached(&ready.draft),
                },
                units,
                messages: prepared.messages,
                asked: None,
                abort: None,
                child: Some(child),
                logs,
            };
            attend(invocation, args, arrival, ready.draft.clone())
        }
        Role::Guardian(guardian, copies) => {
            // The guardian keeps the lock, which is let go when the last of the two is gone, and
            // nothing else: with a copy of the listener nobody would learn that the supervisor is
            // dead, with copies of the holds no port could ever be given up.
            drop((prepared.listener, prepared.allocation.holds));
            drop((copies, logs));
            // Whoever looks for this stack finds the directory by it; nothing else depends on that.
            drop(std::env::set_current_dir(&prepared.instance.project_dir));
            let watch = guardian.watch(group.as_deref(), &|signal| {
                printer::say(&format!(
                    "error: the supervisor was killed by signal {signal}; stopping all services"
                ));
            });
            drop(prepared.lock);
            end(match watch {
                Watch::Ended(code) => ExitCode::Own(u8::try_from(code).unwrap_or(1)),
                Watch::Lost { is_anything_left } => ExitCode::Own(u8::from(is_anything_left)),
            })
        }
        Role::Supervisor(seat) => {
            drop(logs);
            end(supervise::supervise(
                prepared,
                seat,
                options,
                invocation.global.verbose,
            )?)
        }
    }
}

/// Ends a process that was forked, at once: to free what it has from before would only copy it, page by
/// page, and whoever waits for its end waits for that as well.
#[expect(clippy::exit, reason = "the end of a process that nothing comes after")]
fn end(code: ExitCode) -> ! {
    std::process::exit(code.number().into())
}
