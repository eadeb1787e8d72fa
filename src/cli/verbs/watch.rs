//! Follows a stack after a command, until what the command has set is reached, failed, or overtaken by
//! another command.

use std::collections::HashMap;

use super::Context;
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::messages::Update;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::words;
use crate::run::control::{Command, StackSnapshot, UnitTarget};
use crate::run::snapshot::{Cause, Event, ServiceSnapshot};
use crate::run::waits::{Goal, Verdict, verdict};
use crate::support::name::UnitId;
use crate::support::text;

/// A stream of events with what it has said so far.
pub(super) struct Watch {
    stream: EventStream,
    now: HashMap<UnitId, ServiceSnapshot>,
    /// Whether the last event shows something that was not to be seen before.
    is_news: bool,
}

impl Watch {
    /// Begins to watch. Whatever is commanded afterwards is seen.
    pub(super) async fn open(client: &Client) -> Result<Self, ClientError> {
        let mut stream = client.outcome().await?;
        match stream.next().await? {
            Some(Update::Snapshot { stack }) => Ok(Self {
                stream,
                now: by_unit(&stack),
                is_news: true,
            }),
            Some(
                Update::Service(_)
                | Update::Notice(_)
                | Update::Ended { .. }
                | Update::Lagged { .. },
            )
            | None => Err(ClientError::Protocol(
                "the events do not begin with a snapshot".to_owned(),
            )),
        }
    }

    /// The next event, which is on the record then; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        self.is_news = true;
        loop {
            match self.stream.next().await? {
                None => return Ok(None),
                // Another snapshot comes after a lag: it says all that matters of what was missed.
                Some(Update::Snapshot { stack }) => self.now = by_unit(&stack),
                Some(Update::Lagged { .. }) => {}
                Some(Update::Service(snapshot)) => {
                    let before = self.now.insert(snapshot.unit(), (*snapshot).clone());
                    self.is_news = before.is_none_or(|before| !looks_like(&before, &snapshot));
                    return Ok(Some(Event::Service(snapshot)));
                }
                Some(Update::Notice(notice)) => return Ok(Some(Event::Notice(notice))),
                Some(Update::Ended { failed }) => return Ok(Some(Event::Ended { failed })),
            }
        }
    }

    /// Whether the last event shows something that was not to be seen before.
    pub(super) fn is_news(&self) -> bool {
        self.is_news
    }

    /// The name under which a unit is shown.
    fn label(&self, target: &UnitTarget) -> String {
        let unit = target.unit();
        unit.label(self.now.get(&unit).map_or(1, |now| now.replicas))
    }

    /// How far a unit is. One that was never heard of has nothing to wait for.
    fn verdict(&self, goal: Goal, target: &UnitTarget) -> Verdict {
        let now = self.now.get(&target.unit());
        now.map_or(Verdict::Reached, |now| {
            verdict(goal, target.generation, now)
        })
    }

    /// What there is to say of a unit that did not get there.
    fn failure(&self, target: &UnitTarget) -> String {
        let now = self.now.get(&target.unit());
        let reason = now.and_then(|now| now.reason.as_ref());
        reason.map_or_else(|| "it did not start".to_owned(), words::reason)
    }
}

/// Whether nobody could tell one state from the other: what is wanted aside, which is for waits.
fn looks_like(one: &ServiceSnapshot, other: &ServiceSnapshot) -> bool {
    let one = ServiceSnapshot {
        desired: other.desired,
        generation: other.generation,
        is_executed: other.is_executed,
        ..one.clone()
    };
    one == *other
}

fn by_unit(stack: &StackSnapshot) -> HashMap<UnitId, ServiceSnapshot> {
    stack
        .services
        .iter()
        .map(|service| (service.unit(), service.clone()))
        .collect()
}

/// The command that overtook another one, as it is typed.
pub(super) fn command_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Up => "stack up",
        Cause::Start => "stack start",
        Cause::Stop => "stack stop",
        Cause::Restart => "stack restart",
        Cause::Down => "stack down",
        Cause::Kill => "stack kill",
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
    let targets = client.command(command).await?.units;
    if targets.is_empty() {
        context.output.message("nothing to do");
        return Ok(ExitCode::Done);
    }
    let is_pending = |watch: &Watch| {
        let mut verdicts = targets.iter().map(|target| watch.verdict(goal, target));
        verdicts.any(|verdict| verdict == Verdict::Pending)
    };
    while is_pending(&watch) {
        match watch.next().await {
            Ok(Some(event)) if watch.is_news => context.output.event(&event),
            Ok(Some(_)) => {}
            // A supervisor in the foreground ends with its last service.
            Ok(None) | Err(ClientError::Closed) if goal == Goal::Stopped => break,
            Ok(None) => return Err(ClientError::Closed.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let mut reached = Vec::new();
    let mut code = ExitCode::Done;
    let mut complaints = Vec::new();
    for target in &targets {
        let name = watch.label(target);
        match watch.verdict(goal, target) {
            // Pending is what a supervisor that has ended left: nothing of it runs.
            Verdict::Reached | Verdict::Pending => reached.push(name),
            Verdict::Failed => {
                code = ExitCode::Failed;
                complaints.push(format!("error: {name}: {}", watch.failure(target)));
            }
            Verdict::Superseded(cause) => {
                if code == ExitCode::Done {
                    code = ExitCode::Busy;
                }
                complaints.push(format!(
                    "error: {name} was not {done}: a later `{}` took over",
                    command_name(cause)
                ));
            }
        }
    }
    if !reached.is_empty() {
        context
            .output
            .message(&format!("{done} {}", text::list(reached)));
    }
    for complaint in complaints {
        context.output.message(&complaint);
    }
    Ok(code)
}
