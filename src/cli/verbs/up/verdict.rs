//! The end of a client that has waited for a target: what it has come to, and the exit code.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::timeout;

use super::client::{End, Watch};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer;
use crate::cli::verbs::ground::left_behind;
use crate::cli::verbs::readiness::has_failed;
use crate::cli::verbs::watch::overtaken;
use crate::cli::words;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::snapshot::{Cause, Wanted};
use crate::run::waits::Verdict;
use crate::support::duration;
use crate::support::text;

/// How long a supervisor that has closed its streams may take to end.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(1);

impl Watch<'_> {
    /// The end of a client that has waited for a target: what it has come to, and the exit code.
    pub(super) async fn verdict(&mut self, end: End, run: u64) -> Result<ExitCode, Stop> {
        if let End::Left(signal) = end {
            self.printer.page().line_err(
                "not waiting any longer; the stack goes on in the background (`stack ps` shows it, \
                 `stack down` stops it)",
            );
            return Ok(match signal {
                Signal::SIGINT => ExitCode::Interrupted,
                _ => ExitCode::Terminated,
            });
        }
        let last = || last_word(&self.instance, run);
        let stack = match end {
            End::Over => last(),
            End::Settled => self.client.stack().await.ok().or_else(last),
            End::TimedOut | End::Misplaced | End::Left(_) => self.client.stack().await.ok(),
        };
        for service in stack.iter().flat_map(|stack| &stack.services) {
            self.readiness.see(service);
        }
        if end == End::Over && stack.is_none() {
            return Err(self.lost().await);
        }
        // Where everything was stopped because of a failure, the rest is not news.
        let is_aborted = end == End::Over || stack.as_ref().is_some_and(|stack| stack.is_draining);
        let stack = stack.map(|stack| StackSnapshot {
            // How long it took to join says nothing about the stack, and the other way round.
            started_at: if self.lead.is_some() {
                stack.started_at
            } else {
                0
            },
            ..stack
        });
        self.sum_up(stack.as_ref());
        let mut lines = self.complaints(end, is_aborted);
        // What this client has changed was done, and then all of it was stopped.
        let undone = stack.iter().flat_map(|stack| &stack.services);
        let undone = undone.map(|service| service.desired).find(|desired| {
            matches!(desired.wanted, Wanted::Stopped | Wanted::Killed)
                && matches!(desired.cause, Cause::Down | Cause::Kill)
        });
        let undone = undone.filter(|_| self.readiness.failed().is_empty() && lines.is_empty());
        lines.extend(
            undone.map(|desired| format!("error: nothing is up: {}", overtaken(desired.cause))),
        );
        for line in lines {
            self.printer.page().line_err(&line);
        }
        let failed = self.readiness.failed();
        let has = |wanted: fn(Verdict) -> bool| failed.iter().any(|&(_, it)| wanted(it));
        let is_late = matches!(end, End::TimedOut | End::Misplaced);
        Ok(if is_late || has(|verdict| verdict == Verdict::Failed) {
            ExitCode::Failed
        } else if undone.is_some() || has(|verdict| matches!(verdict, Verdict::Superseded(_))) {
            ExitCode::Busy
        } else {
            ExitCode::Done
        })
    }

    /// What is to be said of those that have not got there, beside why services failed.
    fn complaints(&self, end: End, is_aborted: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let failed = self.readiness.failed();
        let is_any_lost = failed.iter().any(|(_, it)| *it == Verdict::Failed);
        for (service, verdict) in failed {
            let name = service.label();
            match verdict {
                Verdict::Failed if !has_failed(service) => {
                    let why = words::behind(": ", service.reason.as_ref().map(words::reason));
                    lines.push(format!("error: {name} is {}{why}", service.phase.word()));
                }
                Verdict::Superseded(cause) if !is_aborted => {
                    lines.push(format!("error: {name} did not start: {}", overtaken(cause)));
                }
                Verdict::Superseded(cause) if !is_any_lost && lines.is_empty() => {
                    lines.push(format!("error: not everything is up: {}", overtaken(cause)));
                }
                Verdict::Failed | Verdict::Superseded(_) | Verdict::Pending | Verdict::Reached => {}
            }
        }
        if end == End::Misplaced {
            lines.extend(self.readiness.misplaced().map(|service| {
                let why = printer::words::why(service)
                    .unwrap_or_else(|| "it does not listen where it was told to".to_owned());
                format!("error: {} is not ready: {why}", service.label())
            }));
        }
        if end == End::TimedOut {
            let limit = duration::human(self.limit.unwrap_or_default());
            let late = text::list(self.readiness.pending());
            lines.push(format!(
                "error: not everything was ready within {limit}: {late}\nhint: what runs keeps \
                 running; `stack logs` shows it, `--wait-timeout` changes the limit"
            ));
        }
        lines
    }

    /// Why there is no supervisor any more, and no word of it in the files.
    async fn lost(&mut self) -> Stop {
        if let Some(lead) = &mut self.lead {
            // It has closed its streams, so its end is near.
            drop(timeout(LAST_WORD_LIMIT, lead.next_end()).await);
            if let Some(stop) = lead.could_not_begin() {
                return stop;
            }
        }
        if self.lead.is_none() {
            let hint = match self.instance.holder() {
                Some(holder) if holder.is_being_cleaned_up() => "its guardian stops everything",
                _ => "`stack up` ends what it has left and starts everything, `stack down` ends it",
            };
            let message = "the supervisor was killed before everything was up";
            return Stop::new(ExitCode::Failed, message, Some(hint));
        }
        Stop::new(
            ExitCode::Failed,
            "the supervisor ended before the stack was up",
            Some("see supervisor.log beside the logs in `.stack`"),
        )
    }
}

/// What the supervisor of `run` left behind when it ended. What an earlier one left says nothing of
/// it, and one that was killed could not say how its services ended.
fn last_word(instance: &Instance, run: u64) -> Option<StackSnapshot> {
    let stack = left_behind(instance).ok()??;
    let has_ended = stack
        .services
        .iter()
        .all(|service| service.phase.is_at_rest());
    (stack.run == format!("{run:016x}") && has_ended).then_some(stack)
}
