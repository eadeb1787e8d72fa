//! `up -d` and `up --wait`: the client's part, from the fork until the target is reached.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::prepare::Prepared;
use super::show::Failures;
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::messages::{Update, code};
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Stop};
use crate::cli::printer::{Printer, words};
use crate::cli::readiness::{Progress, Readiness, Target};
use crate::plan::model::UnitPlan;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::{Event, Phase};
use crate::support::duration;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// How long `--wait` waits when nothing else is said.
const WAIT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Waits until the stack that was just started has reached its target.
pub(super) fn wait(
    invocation: &Invocation,
    prepared: Prepared,
    args: &UpArgs,
) -> Result<ExitCode, Stop> {
    // The holds and the lock live on in the two processes that keep the stack.
    let Prepared {
        plan,
        holds,
        instance,
        lock,
        listener,
        socket,
        run,
        owner: _,
        released: _,
        ledger: _,
        is_noted: _,
        messages,
    } = prepared;
    drop((holds, lock, listener));
    let units: Vec<UnitId> = plan.units.iter().map(UnitPlan::id).collect();
    let mut printing = invocation.printer_options(&units);
    printing.log_dir = Some(instance.log_dir());
    let printer = Printer::start(printing)?;
    for message in &messages {
        printer.message(message);
    }
    let failures = Failures::new(instance.log_dir(), run);
    let runtime = crate::cli::verbs::runtime()?;
    let client = Client::new(socket);
    let waiting = Waiting {
        printer: &printer,
        last_path: &instance.last_path(),
        run: &format!("{run:016x}"),
        failures,
    };
    let code = runtime.block_on(follow(&client, waiting, target(args), None));
    printer.finish();
    code
}

/// The target of the arguments, with the time limit.
pub(super) fn target(args: &UpArgs) -> (Target, Option<Duration>) {
    if args.wait {
        let limit = args.wait_timeout.unwrap_or(WAIT_LIMIT);
        (Target::Ready, (!limit.is_zero()).then_some(limit))
    } else {
        (Target::Executed, None)
    }
}

/// A service that listens elsewhere, or whose port was stolen, is waited for this much longer.
const ASTRAY_LIMIT: Duration = Duration::from_secs(10);

/// What a wait needs besides the supervisor.
pub(super) struct Waiting<'a> {
    pub(super) printer: &'a Printer,
    /// Where the supervisor leaves its last word.
    pub(super) last_path: &'a Path,
    /// The random id of that supervisor, by which the word of an earlier one is told apart.
    pub(super) run: &'a str,
    pub(super) failures: Failures,
}

/// Follows a stack until `asked` (or everything wanted) has reached the target.
pub(super) async fn follow(
    client: &Client,
    mut waiting: Waiting<'_>,
    (target, limit): (Target, Option<Duration>),
    asked: Option<Vec<ServiceName>>,
) -> Result<ExitCode, Stop> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let is_joined = asked.is_some();
    let mut readiness = Readiness::new(target, asked);
    let outcome = match client.outcome().await {
        Ok(mut events) => {
            until_settled(&mut events, &mut readiness, waiting.printer, deadline).await
        }
        // It has ended before we could ask: everything in it was short.
        Err(ClientError::NotRunning | ClientError::Closed) => End::Gone,
        Err(ClientError::Refused(body)) if body.code == code::GONE => End::Gone,
        Err(error) => return Err(error.into()),
    };
    let stack = match outcome {
        End::Settled => client
            .stack()
            .await
            .ok()
            .or_else(|| last_word(waiting.last_path, waiting.run)),
        End::Gone => last_word(waiting.last_path, waiting.run),
        End::TimedOut | End::Astray => client.stack().await.ok(),
    };
    if let Some(stack) = &stack {
        readiness.see_all(&stack.services);
    }
    if matches!(outcome, End::Gone) && stack.is_none() {
        return Err(Stop::new(
            ExitCode::Failed,
            "the supervisor ended before the stack was up",
            Some("see supervisor.log beside the logs in `.stack`"),
        ));
    }
    let failed = match readiness.progress() {
        Progress::Settled { failed } => failed,
        Progress::Pending => Vec::new(),
    };
    let is_draining = stack.as_ref().is_some_and(|stack| stack.is_draining);
    if let Some(mut stack) = stack {
        if is_joined {
            // How long this took says nothing about the stack, and the other way round.
            stack.started_at = 0;
        }
        waiting.printer.summary(&stack);
    }
    waiting
        .failures
        .show_all(waiting.printer, readiness.services());
    // Where everything was stopped because of a failure, the rest is no news.
    let is_aborted = matches!(outcome, End::Gone) || is_draining;
    for unit in &failed {
        if let Some(service) = readiness.latest(unit)
            && service.phase != Phase::Failed
            && !(is_aborted && service.phase == Phase::Stopped)
        {
            let reason = service.reason.as_ref().map(crate::cli::words::reason);
            let (name, word) = (service.label(), service.phase.word());
            waiting.printer.line_err(match reason {
                None => format!("error: {name} is {word}"),
                Some(reason) => format!("error: {name} is {word}: {reason}"),
            });
        }
    }
    if matches!(outcome, End::Astray) {
        for service in readiness.astray() {
            let name = service.label();
            waiting.printer.line_err(format!(
                "error: {name} is not ready: {}",
                words::why(service)
                    .unwrap_or_else(|| "it does not listen where it was told to".to_owned())
            ));
        }
        return Ok(ExitCode::Failed);
    }
    if matches!(outcome, End::TimedOut) {
        let limit = duration::human(limit.unwrap_or_default());
        let late = text::list(readiness.pending());
        waiting.printer.line_err(format!(
            "error: not everything was ready within {limit}: {late}\nhint: what runs keeps running; \
             `stack logs` shows it, `--wait-timeout` changes the limit"
        ));
        return Ok(ExitCode::Failed);
    }
    Ok(if failed.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

enum End {
    Settled,
    Gone,
    TimedOut,
    /// Somebody listens on the wrong port, or on somebody else's, and keeps doing so.
    Astray,
}

async fn until_settled(
    events: &mut EventStream,
    readiness: &mut Readiness,
    printer: &Printer,
    deadline: Option<Instant>,
) -> End {
    let mut astray_until: Option<Instant> = None;
    loop {
        let limit = [deadline, astray_until].into_iter().flatten().min();
        let next = async {
            match limit {
                Some(limit) => timeout_at(limit, events.next()).await,
                None => Ok(events.next().await),
            }
        };
        match next.await {
            Err(_) if limit == deadline => return End::TimedOut,
            Err(_) => return End::Astray,
            Ok(Ok(Some(update))) => {
                take_in(update, readiness, printer);
                if let Progress::Settled { .. } = readiness.progress() {
                    return End::Settled;
                }
                // Restarts and retries may bring it back, so the clock starts anew with each case.
                astray_until = match (readiness.astray().is_empty(), astray_until) {
                    (true, _) => None,
                    (false, None) => Some(Instant::now() + ASTRAY_LIMIT),
                    (false, since) => since,
                };
            }
            Ok(Ok(None) | Err(_)) => return End::Gone,
        }
    }
}

/// Shows an update and notes it.
fn take_in(update: Update, readiness: &mut Readiness, printer: &Printer) {
    let mut see = |event: Event| {
        printer.event(&event);
        readiness.see_event(&event);
    };
    match update {
        Update::Snapshot { stack } => {
            for service in stack.services {
                see(Event::Service(Box::new(service)));
            }
        }
        Update::Service(service) => see(Event::Service(service)),
        Update::Notice(notice) => see(Event::Notice(notice)),
        Update::Ended { .. } | Update::Lagged { .. } => {}
    }
}

/// What the supervisor of `run` left behind when it ended. What an earlier one left says nothing of
/// it, and one that was killed could not say how its services ended.
fn last_word(path: &Path, run: &str) -> Option<StackSnapshot> {
    let stack: StackSnapshot = serde_json::from_slice(&fs_err::read(path).ok()?).ok()?;
    let has_ended = stack
        .services
        .iter()
        .all(|service| service.phase.is_at_rest());
    (stack.run == run && has_ended).then_some(stack)
}
