//! `stack down`: stops everything, and ends when the supervisor has gone and its lock is free.
//!
//! Works on a supervisor of another version, on one that has just died, and on what a supervisor
//! and a guardian left that were killed together.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ground::{
    TOLD_AFTER, foreign, others, suspended, waiting_for_guardian, waiting_for_leftovers,
};
use super::watch::Watch;
use super::{Context, Output};
use crate::api::client::{Client, ClientError};
use crate::api::messages::{Update, code};
use crate::cli::args::DownArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::words;
use crate::run::control::Command;
use crate::run::instance::{Holder, Instance, LockAttempt};
use crate::run::leftovers::{self, Leftovers, Reaper};
use crate::run::registry::{Registration, Stray, strays};
use crate::run::waits::Goal;
use crate::support::text;

/// How long supervisor and guardian may take to go once they said that all has ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// The same where that was not seen: every grace period may still have to pass.
const BLIND_WAIT: Duration = Duration::from_secs(300);

/// Why no file leads to a stack whose directory is there.
pub(super) const FILES_REMOVED: &str = "the files in `.stack` had been removed while it ran";

/// How often the lock is looked at. Waiting in the kernel for it would keep an `up` from it that
/// comes at the same moment.
const PAUSE: Duration = Duration::from_millis(10);

/// Carries out `stack down`. Exits 0 even if nothing runs, and 1 when something is left. The
/// `registrations` lead to runs of this stack whose files do not.
pub async fn run(
    context: &mut Context<'_>,
    arguments: &DownArgs,
    registrations: Vec<Registration>,
) -> Result<ExitCode, Stop> {
    if !context.instance.is_locked()
        && let Some(holder) = context.instance.hidden_holder()
    {
        return stop_hidden(context, &holder, FILES_REMOVED).await;
    }
    if let Some(message) = foreign(context.instance) {
        return Err(Stop::new(ExitCode::Failed, message, None));
    }
    // What runs here has ended its own before.
    let strays = if context.instance.is_locked() {
        Vec::new()
    } else {
        strays(registrations)
    };
    let mut killed = Vec::new();
    for stray in strays {
        match stray {
            Stray::Homeless(holder) => {
                let removed = "the directory in which it ran had been removed";
                return stop_hidden(context, &holder, removed).await;
            }
            Stray::Killed(registration) => killed.push(registration),
        }
    }
    let holder = context.instance.holder();
    let (mut has_ended, mut was_cleaned_up) = (false, false);
    let was_running = match context.supervisor().await {
        Ok(client) => {
            let run = context.instance.holder().map(|holder| holder.run);
            has_ended = drain(context, &client, arguments).await?;
            let patience = if has_ended { FAREWELL } else { BLIND_WAIT };
            let is_alive = || holder.as_ref().is_some_and(Holder::is_alive);
            if !has_gone_within(context.instance, run.as_deref(), is_alive, patience).await {
                return Err(does_not_end(holder.as_ref()));
            }
            true
        }
        // A guardian may be at work: what it cannot end is looked for when it has gone.
        Err(ClientError::NotRunning) => {
            was_cleaned_up = await_guardian(context, arguments.timeout).await?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    let found = end_killed(context, killed, arguments.timeout).await;
    let found = found.and(look_for_leftovers(context, has_ended, arguments.timeout).await?);
    if found.ended > 0 {
        let count = text::count_of(found.ended, "process", "processes");
        context
            .output
            .message(&format!("ended {count} that a killed supervisor had left"));
    }
    if !found.remaining.is_empty() {
        return Err(Stop::new(
            ExitCode::Failed,
            not_ended(&found.remaining),
            Some("end what is left by hand; it may belong to another user"),
        ));
    }
    context.output.message(if was_running {
        "stopped everything"
    } else if was_cleaned_up {
        "the guardian has stopped everything, as the supervisor had been killed"
    } else if found.ended == 0 {
        "nothing is running here"
    } else {
        "nothing is running here any more"
    });
    if let Some(others) = others(&context.instance.others()) {
        context.output.message(&others);
    }
    Ok(ExitCode::Done)
}

/// Which processes could not be ended.
pub(super) fn not_ended(pids: &[i32]) -> String {
    let count = text::count_of(pids.len(), "process", "processes");
    format!("{count} could not be ended: pid {}", text::list(pids))
}

/// Stops a stack whose socket is gone with its other files, by a signal; `why` it is gone.
pub(super) async fn stop_hidden(
    context: &mut Context<'_>,
    holder: &Holder,
    why: &str,
) -> Result<ExitCode, Stop> {
    holder.ask_to_stop();
    if !is_over_within(BLIND_WAIT, || !holder.is_alive()).await {
        return Err(does_not_end(Some(holder)));
    }
    let message = format!("stopped everything; {why}");
    context.output.message(&message);
    Ok(ExitCode::Done)
}

fn does_not_end(holder: Option<&Holder>) -> Stop {
    let pid = words::pid(holder.map(|holder| holder.supervisor_pid));
    let message = format!("the supervisor{pid} does not end");
    Stop::new(ExitCode::NotAnswering, message, None)
}

/// Waits for a guardian that is at work, should there be one: whether there was. Once services have had
/// the `grace` that they are given here, they are killed.
async fn await_guardian(context: &mut Context<'_>, grace: Option<Duration>) -> Result<bool, Stop> {
    let begun = Instant::now();
    let (mut is_told, mut is_hurried) = (false, false);
    // Not for anybody who starts it anew.
    while let Some(holder) = context.instance.holder()
        && holder.is_being_cleaned_up()
    {
        // One that does nothing is not waited for either.
        if holder.is_guardian_suspended() {
            return Err(suspended(&holder));
        }
        let waited = begun.elapsed();
        if waited >= BLIND_WAIT {
            return Err(does_not_end(Some(&holder)));
        }
        if waited >= TOLD_AFTER && !std::mem::replace(&mut is_told, true) {
            context.output.message(&waiting_for_guardian(&holder));
        }
        if grace.is_some_and(|grace| waited >= grace) && !std::mem::replace(&mut is_hurried, true) {
            holder.ask_to_stop();
        }
        sleep(PAUSE).await;
    }
    Ok(begun.elapsed() >= PAUSE)
}

/// Has everything stopped; whether its end was seen.
async fn drain(
    context: &mut Context<'_>,
    client: &Client,
    arguments: &DownArgs,
) -> Result<bool, Stop> {
    let watch = match Watch::open(client, Goal::Stopped).await {
        Ok(watch) => Some(watch),
        // Another version: the command works, its events cannot be told. Or no place is free.
        Err(ClientError::Version { .. } | ClientError::Protocol(_) | ClientError::Refused(_)) => {
            None
        }
        // It has just gone.
        Err(ClientError::Closed | ClientError::NotRunning) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let command = Command::Down {
        grace: arguments.timeout,
    };
    match client.command(&command).await {
        Ok(_) => {}
        // Somebody else was first; the end is the same.
        Err(ClientError::Refused(body))
            if body.code == code::DRAINING || body.code == code::GONE =>
        {
            context.output.message("it is being stopped already");
        }
        Err(ClientError::Closed | ClientError::NotRunning) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let Some(mut watch) = watch else {
        return Ok(false);
    };
    loop {
        match watch.next().await {
            // That all has ended is said at the end, when it is true of the supervisor as well.
            Ok(Some((Update::Ended { .. }, _))) => return Ok(true),
            Ok(Some((update, true))) => context.output.update(&update),
            Ok(Some((_, false))) => {}
            Ok(None) | Err(ClientError::Closed) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the supervisor of `run` and its guardian have let go of the lock. An `up` that took
/// it at once has nothing to do with us.
async fn has_gone_within(
    instance: &Instance,
    run: Option<&str>,
    is_alive: impl Fn() -> bool,
    patience: Duration,
) -> bool {
    is_over_within(patience, || {
        let holder = instance.holder().filter(|_| instance.is_locked());
        // Of files that were put back the supervisor alone has the lock.
        !is_alive() && holder.is_none_or(|holder| run.is_some_and(|run| holder.run != run))
    })
    .await
}

/// Looks now and then; whether it `is_over` in time.
async fn is_over_within(patience: Duration, is_over: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !is_over() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PAUSE).await;
    }
    true
}

/// What is left of an instance without a supervisor. One that `has_ended` in good order has tried what
/// can be tried; what another one left is ended.
async fn look_for_leftovers(
    context: &mut Context<'_>,
    has_ended: bool,
    grace: Option<Duration>,
) -> Result<Leftovers, Stop> {
    let instance = context.instance;
    if !instance.lock_path().exists() {
        return Ok(orphans(context).await);
    }
    match instance.lock()? {
        // Somebody has just started it anew: what is there now is theirs.
        LockAttempt::Busy(_) | LockAttempt::Hidden(_) => Ok(Leftovers::default()),
        LockAttempt::Acquired(lock) => {
            let (id, leases) = (instance.id.clone(), instance.lease_path());
            let found = if has_ended {
                Leftovers {
                    ended: 0,
                    remaining: leftovers::left(&leases),
                }
            } else {
                let found = match Reaper::new(&id, &leases, grace) {
                    Some(reaper) => reap(context.output, reaper).await,
                    None => orphans(context).await,
                };
                if found.remaining.is_empty() {
                    // Nobody shall take this for a stack that was killed.
                    drop(fs_err::remove_file(&leases));
                    // Secrets above all.
                    instance.clear_out();
                }
                found
            };
            drop(lock);
            Ok(found)
        }
    }
}

/// Ends what killed runs have left to which their files do not lead.
async fn end_killed(
    context: &mut Context<'_>,
    killed: Vec<Registration>,
    grace: Option<Duration>,
) -> Leftovers {
    let mut found = Leftovers::default();
    for registration in killed {
        let reaper = Reaper::of_registration(&registration, grace);
        let left = reap(context.output, reaper).await;
        if left.remaining.is_empty() {
            registration.forget();
        }
        found = found.and(left);
    }
    found
}

/// Ends what has the marks of this instance although its leases are gone.
async fn orphans(context: &mut Context<'_>) -> Leftovers {
    let mut found = Leftovers::default();
    for orphans in leftovers::orphans() {
        if orphans.instance == context.instance.id {
            found = found.and(reap(context.output, Reaper::of(&orphans)).await);
        }
    }
    found
}

/// Ends what a killed supervisor has left.
pub(super) async fn reap(output: &mut dyn Output, mut reaper: Reaper) -> Leftovers {
    loop {
        if let Some(leftovers) = reaper.step() {
            return leftovers;
        }
        if let Some(waiting) = reaper.wait_to_tell() {
            output.message(&waiting_for_leftovers(waiting));
        }
        sleep(leftovers::PAUSE).await;
    }
}
