//! Follows a stack after a command, until what the command has set is reached, failed, or overtaken by
//! another command.

use super::Context;
use super::readiness::{Readiness, Target, asked};
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::messages::Update;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::words;
use crate::run::control::Command;
use crate::run::snapshot::Cause;
use crate::run::waits::{Goal, Verdict};
use crate::support::name::ServiceName;
use crate::support::text;

/// Events, with what they have said so far.
pub(super) struct Watch {
    stream: EventStream,
    pub(super) readiness: Readiness,
}

impl Watch {
    /// Begins to watch. Whatever is commanded afterwards is seen.
    pub(super) async fn open(client: &Client, goal: Goal) -> Result<Self, ClientError> {
        let mut watch = Self {
            stream: client.outcome().await?,
            readiness: Readiness::new(Target::Of(goal), None),
        };
        if let Some((Update::Snapshot { .. }, _)) = watch.next().await? {
            return Ok(watch);
        }
        let reason = "the events do not begin with a snapshot";
        Err(ClientError::Protocol(reason.to_owned()))
    }

    /// The next update, which is on the record then, and whether it is worth a word; `None` at the end
    /// of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<(Update, bool)>, ClientError> {
        let next = self.stream.next().await?;
        Ok(next.map(|update| {
            let is_news = self.readiness.hear(&update);
            (update, is_news)
        }))
    }
}

/// What came instead of what a command has asked for. A signal, or the failure of another service, stops
/// the whole stack as `stack down` does.
pub(super) fn overtaken(cause: Cause) -> &'static str {
    match cause {
        Cause::Up => "a later `stack up` took over",
        Cause::Start => "a later `stack start` took over",
        Cause::Stop => "a later `stack stop` took over",
        Cause::Restart => "a later `stack restart` took over",
        Cause::Down => "the whole stack was stopped",
        Cause::Kill => "the whole stack was killed",
    }
}

/// Why a command was refused: of a service that the stack does not know, the file may know more.
fn unknown(context: &Context<'_>, watch: &Watch, command: &Command, error: ClientError) -> Stop {
    let services = match command {
        Command::Start { services }
        | Command::Stop { services, .. }
        | Command::Restart { services, .. } => services.as_slice(),
        Command::Up { .. }
        | Command::Signal { .. }
        | Command::Input { .. }
        | Command::Resize { .. }
        | Command::Apply { .. }
        | Command::ClearLogs { .. }
        | Command::Down { .. }
        | Command::Kill {} => &[],
    };
    let known: Vec<&ServiceName> = watch.readiness.services().map(|it| &it.service).collect();
    let is_unknown = |name: &&ServiceName| !known.contains(name);
    match services.iter().find(is_unknown) {
        Some(name) if context.in_file.contains_key(name) => {
            context.unknown_service(name, known.iter().copied())
        }
        _ => error.into(),
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
    let mut watch = Watch::open(&client, goal).await?;
    if goal != Goal::Stopped {
        context.tell_of_changes(&client.stack().await?);
    }
    let targets = match client.command(command).await {
        Ok(reply) => reply.units,
        Err(error) => return Err(unknown(context, &watch, command, error)),
    };
    if targets.is_empty() {
        context.output.message("nothing to do");
        return Ok(ExitCode::Done);
    }
    watch.readiness.ask(asked(&targets));
    while !watch.readiness.is_settled() {
        match watch.next().await {
            Ok(Some((update, true))) => context.output.update(&update),
            Ok(Some((_, false))) => {}
            // A supervisor in the foreground ends with its last service.
            Ok(None) | Err(ClientError::Closed) if goal == Goal::Stopped => break,
            Ok(None) => return Err(ClientError::Closed.into()),
            Err(error) => return Err(error.into()),
        }
    }
    let mut reached = Vec::new();
    let mut code = ExitCode::Done;
    let mut complaints = Vec::new();
    for (service, verdict) in watch.readiness.standings() {
        let name = service.label();
        match verdict {
            // Pending is what a supervisor that has ended left: nothing of it runs.
            Verdict::Reached | Verdict::Pending => reached.push(name),
            Verdict::Failed => {
                code = ExitCode::Failed;
                let why = service.reason.as_ref();
                let why = why.map_or_else(|| "it did not start".to_owned(), words::reason);
                complaints.push(format!("error: {name}: {why}"));
            }
            Verdict::Superseded(cause) => {
                if code == ExitCode::Done {
                    code = ExitCode::Busy;
                }
                let why = overtaken(cause);
                complaints.push(format!("error: {name} was not {done}: {why}"));
            }
        }
    }
    if !reached.is_empty() {
        let message = format!("{done} {}", text::list(reached));
        context.output.message(&message);
    }
    for complaint in complaints {
        context.output.message(&complaint);
    }
    Ok(code)
}
