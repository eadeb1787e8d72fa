//! Follows a stack after a command, until what was asked for has happened.

use std::collections::HashMap;

use super::Context;
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::messages::Update;
use crate::cli::exit::{ExitCode, Stop};
use crate::run::control::{Command, StackSnapshot};
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::name::UnitId;
use crate::support::text;

/// When a service has done what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// No process, and none to come.
    Stopped,
    /// Executed after the command.
    Started,
}

/// How far a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pending,
    Reached,
    Failed,
}

/// A stream of events with what it has said so far.
pub(super) struct Watch {
    stream: EventStream,
    before: HashMap<UnitId, ServiceSnapshot>,
    now: HashMap<UnitId, ServiceSnapshot>,
}

impl Watch {
    /// Begins to watch. Whatever is commanded afterwards is seen.
    pub(super) async fn open(client: &Client) -> Result<Self, ClientError> {
        let mut stream = client.outcome().await?;
        let before = match stream.next().await? {
            Some(Update::Snapshot { stack }) => by_unit(&stack),
            Some(
                Update::Service(_)
                | Update::Notice(_)
                | Update::Ended { .. }
                | Update::Lagged { .. },
            )
            | None => {
                return Err(ClientError::Protocol(
                    "the events do not begin with a snapshot".to_owned(),
                ));
            }
        };
        Ok(Self {
            stream,
            now: before.clone(),
            before,
        })
    }

    /// The next event, which is on the record then; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            match self.stream.next().await? {
                None => return Ok(None),
                // Another snapshot comes after a lag: it says all that matters of what was missed.
                Some(Update::Snapshot { stack }) => self.now = by_unit(&stack),
                Some(Update::Lagged { .. }) => {}
                Some(Update::Service(snapshot)) => {
                    self.now.insert(snapshot.unit(), (*snapshot).clone());
                    return Ok(Some(Event::Service(snapshot)));
                }
                Some(Update::Notice(notice)) => return Ok(Some(Event::Notice(notice))),
                Some(Update::Ended { failed }) => return Ok(Some(Event::Ended { failed })),
            }
        }
    }

    /// Why a unit failed, in words.
    fn reason(&self, unit: &UnitId) -> String {
        self.now
            .get(unit)
            .and_then(|now| now.reason.clone())
            .unwrap_or_else(|| "it did not start".to_owned())
    }

    /// The name under which a unit is shown.
    fn label(&self, unit: &UnitId) -> String {
        unit.label(self.now.get(unit).map_or(1, |now| now.replicas))
    }

    /// Whether one of `units` reads as stopped.
    fn has_stopped(&self, units: &[UnitId]) -> bool {
        units.iter().any(|unit| {
            self.now
                .get(unit)
                .is_some_and(|now| now.phase == Phase::Stopped)
        })
    }

    /// How far a unit is. One that was never heard of has nothing to wait for.
    fn verdict(&self, goal: Goal, unit: &UnitId) -> Verdict {
        self.now.get(unit).map_or(Verdict::Reached, |now| {
            verdict(goal, self.before.get(unit), now)
        })
    }
}

fn by_unit(stack: &StackSnapshot) -> HashMap<UnitId, ServiceSnapshot> {
    stack
        .services
        .iter()
        .map(|service| (service.unit(), service.clone()))
        .collect()
}

/// How far a service is, by its state before the command and its state now.
pub(super) fn verdict(
    goal: Goal,
    before: Option<&ServiceSnapshot>,
    now: &ServiceSnapshot,
) -> Verdict {
    match goal {
        Goal::Stopped if now.phase.is_at_rest() => Verdict::Reached,
        Goal::Stopped => Verdict::Pending,
        Goal::Started => {
            let was_executed = before.is_none_or(|before| {
                (before.attempt, before.started_at) != (now.attempt, now.started_at)
            });
            let has_moved = before.is_none_or(|before| before.since != now.since);
            match now.phase {
                Phase::Starting
                | Phase::Running
                | Phase::Healthy
                | Phase::Unhealthy
                | Phase::Backoff
                | Phase::Completed => {
                    if was_executed {
                        Verdict::Reached
                    } else {
                        Verdict::Pending
                    }
                }
                // It failed, or somebody else stopped it meanwhile. The same phase since the same
                // time is the one of before the command.
                Phase::Failed | Phase::Stopped => {
                    if was_executed || has_moved {
                        Verdict::Failed
                    } else {
                        Verdict::Pending
                    }
                }
                Phase::Pending | Phase::Waiting | Phase::Stopping => Verdict::Pending,
            }
        }
    }
}

/// Sends a command and follows what comes of it; says at the end what was done, by `done`
/// (`stopped`).
pub(super) async fn carry_out(
    context: &mut Context<'_>,
    command: &Command,
    goal: Goal,
    done: &str,
) -> Result<ExitCode, Stop> {
    let client = context.supervisor().await?;
    let mut watch = Watch::open(&client).await?;
    let reply = client.command(command).await?;
    let affected = if reply.units.is_empty() {
        // A supervisor of before replicas.
        reply.affected.into_iter().map(UnitId::first).collect()
    } else {
        reply.units
    };
    if affected.is_empty() {
        context.output.message("nothing to do");
        return Ok(ExitCode::Done);
    }
    let is_pending = |watch: &Watch| {
        let verdicts = affected.iter().map(|unit| watch.verdict(goal, unit));
        verdicts
            .into_iter()
            .any(|verdict| verdict == Verdict::Pending)
    };
    loop {
        while is_pending(&watch) {
            match watch.next().await {
                Ok(Some(event)) => context.output.event(&event),
                // A supervisor in the foreground ends with its last service.
                Ok(None) | Err(ClientError::Closed) if goal == Goal::Stopped => break,
                Ok(None) => return Err(ClientError::Closed.into()),
                Err(error) => return Err(error.into()),
            }
        }
        if goal == Goal::Stopped || !watch.has_stopped(&affected) {
            break;
        }
        // Services that restart together are stopped until the last of them is down, and their
        // starts are told one by one. Only a snapshot, which shows whole steps, can say that one of
        // them was stopped for good.
        watch.now = by_unit(&client.stack().await?);
        if !is_pending(&watch) {
            break;
        }
    }
    let (failed, reached): (Vec<_>, Vec<_>) = affected
        .iter()
        .partition(|unit| watch.verdict(goal, unit) == Verdict::Failed);
    if !reached.is_empty() {
        let names = text::list(reached.into_iter().map(|unit| watch.label(unit)));
        context.output.message(&format!("{done} {names}"));
    }
    if failed.is_empty() {
        return Ok(ExitCode::Done);
    }
    for unit in failed {
        let (name, reason) = (watch.label(unit), watch.reason(unit));
        context.output.message(&format!("error: {name}: {reason}"));
    }
    Ok(ExitCode::Failed)
}
