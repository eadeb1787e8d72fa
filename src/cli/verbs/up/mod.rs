//! `stack up`: start everything, in the foreground or in the background, or join what runs.

mod attach;
mod detached;
mod dry_run;
mod foreground;
mod note;
mod prepare;
mod show;

use std::time::{Duration, Instant};

use super::ground::elsewhere;
use crate::api::client::{BlockingClient, ClientError};
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Ready, Stop, check_service};
use crate::cli::printer;
use crate::run::Watch;
use crate::run::control::StackSnapshot;
use crate::run::instance::{Instance, LockAttempt};
use crate::run::launch::{Role, fork_roles};
use crate::run::supervisor::Options;
use crate::support::fs::open_private_append;

pub(crate) use prepare::{choose_socket, owner, warn};

/// How long the winner of a race for the lock may take until it answers.
const WINNER_LIMIT: Duration = Duration::from_secs(5);

/// How often the lock is looked at meanwhile.
const WINNER_PAUSE: Duration = Duration::from_millis(10);

/// After how long it is said that a guardian is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Runs the verb.
pub fn up(invocation: &Invocation, args: &UpArgs) -> Result<ExitCode, Stop> {
    let ready = invocation.draft_with(&args.scale, &args.ports)?;
    for name in args.services.iter().chain(&args.exit_code_from) {
        check_service(&ready.draft, name)?;
    }
    if args.dry_run {
        return dry_run::dry_run(invocation, &ready, args);
    }
    let instance = invocation.instance(&ready.draft);
    instance.create()?;
    let lock = loop {
        match instance.lock()? {
            LockAttempt::Acquired(lock) => break lock,
            LockAttempt::Hidden(_) => {
                let message = elsewhere(&instance).unwrap_or_default();
                return Err(Stop::new(ExitCode::Busy, message, None));
            }
            LockAttempt::Busy(_) => {
                if let Some((client, stack)) = wait_for_winner(invocation, &instance)?
                    && let Some(code) = attach::join(invocation, &ready, &client, &stack, args)?
                {
                    return Ok(code);
                }
            }
        }
    };
    start(invocation, &ready, instance, lock, args)
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
            let pid = holder.guardian_pid;
            if holder.is_guardian_suspended() {
                return Err(Stop::new(
                    ExitCode::NotAnswering,
                    format!(
                        "the guardian of this stack (pid {pid}) is suspended while it stops the \
                         services of a supervisor that was killed"
                    ),
                    Some(&format!("`kill -CONT {pid}` lets it go on")),
                ));
            }
            if !is_told && begun.elapsed() >= TOLD_AFTER {
                is_told = true;
                printer::say(&format!(
                    "waiting for the guardian of this stack (pid {pid}), which stops the services \
                     of a supervisor that was killed"
                ));
            }
        } else if begun.elapsed() >= WINNER_LIMIT {
            let holder = holder.map_or_else(String::new, |holder| {
                format!(" (pid {})", holder.supervisor_pid)
            });
            return Err(Stop::new(
                ExitCode::NotAnswering,
                format!("the supervisor of this stack{holder} does not answer: {error}"),
                Some("if it hangs, end its process; the next `stack up` cleans up after it"),
            ));
        }
        std::thread::sleep(WINNER_PAUSE);
    }
    Ok(None)
}

/// Starts the stack whose lock is held.
fn start(
    invocation: &Invocation,
    ready: &Ready,
    instance: Instance,
    lock: crate::run::instance::InstanceLock,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    let is_detached = args.detach || args.wait;
    let prepared = prepare::prepare(invocation, ready, instance, lock, args)?;
    let log = if is_detached {
        let path = prepared.instance.supervisor_log_path();
        Some(open_private_append(&path)?)
    } else {
        None
    };
    // A pipe, a log and an index each for two streams, and some for everything else.
    let units = prepared.plan.units.len();
    let limit = crate::ports::ensure_descriptors(units * 6 + 64);
    // Without its two pipes and its holds a service cannot be; that some of them start and the rest
    // is tried in vain for a minute helps nobody.
    let least = units * 2 + prepared.holds.len() + 32;
    if u64::try_from(least).is_ok_and(|least| least > limit) {
        drop(crate::api::socket::remove(&prepared.socket));
        return Err(Stop::new(
            ExitCode::Failed,
            format!("{units} services need at least {least} open files, and the limit is {limit}"),
            Some("raise it, for example with `ulimit -n 4096`"),
        ));
    }
    let options = Options {
        is_detached,
        services: args.services.clone(),
        no_deps: args.no_deps,
        grace: args.timeout,
        abort_on_failure: args.abort_on_failure,
        stop_with: args.exit_code_from.clone(),
    };
    let role = fork_roles(log.as_ref()).map_err(|error| {
        Stop::new(
            ExitCode::Failed,
            format!("no process could be made: {error}"),
            None,
        )
    })?;
    match role {
        Role::Client { .. } => detached::wait(invocation, prepared, args),
        Role::Guardian(guardian) => {
            // The guardian keeps the lock, which is let go when the last of the two is gone, and
            // nothing else: with a copy of the listener nobody would learn that the supervisor is
            // dead, with copies of the holds no port could ever be given up.
            let prepare::Prepared {
                lock,
                listener,
                holds,
                ..
            } = prepared;
            drop((listener, holds));
            let watch = guardian.watch(&|signal| {
                printer::say_if_there_is_room(&format!(
                    "error: the supervisor was killed by signal {signal}; stopping all services"
                ));
            });
            drop(lock);
            Ok(match watch {
                Watch::Ended(code) => ExitCode::Own(u8::try_from(code).unwrap_or(1)),
                Watch::Lost {
                    is_anything_left, ..
                } => {
                    printer::say_if_there_is_room(if is_anything_left {
                        "error: not every process could be stopped"
                    } else {
                        "error: all services have been stopped"
                    });
                    ExitCode::Failed
                }
            })
        }
        Role::Supervisor(seat) => foreground::supervise(invocation, prepared, seat, options, args),
    }
}
