//! The client: what `up` shows and does from the fork on, or from joining a stack that runs, until
//! it leaves.
//!
//! It stays to the end and shows the output of services, or leaves once its target is reached (`-d`,
//! `--wait`). Everything that it shows comes from the control socket and the log files, so that a
//! slow terminal costs nobody but the client. The stack that it has started itself it also leads:
//! signals are passed on, and its exit code is that of the supervisor (`docs/design/supervision.md`).

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::failures::Failures;
use super::feed::{Feed, Heard};
use super::lead::Lead;
use super::readiness::{Asked, Readiness, Target};
use super::strokes::meaningful;
use crate::api::client::{Client, ClientError, Followed, LogFollower, Start};
use crate::api::messages::Update;
use crate::cli::args::UpArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer::Printer;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::launch::{Signals, unblock_all};
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::name::{ServiceName, UnitId};

/// How long `--wait` waits when nothing else is said.
const WAIT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// A service that listens elsewhere, or whose port was stolen, is waited for this much longer.
const MISPLACED_LIMIT: Duration = Duration::from_secs(10);

/// A service that has failed and runs again may fail once more; the summary waits this long.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// How long a supervisor may take until it has started what it can.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Until when the client stays.
pub(super) enum Goal {
    /// To the end; it shows what services print.
    End,
    /// Until units have reached a target: these, or everything that the start has wanted.
    Reached {
        target: Target,
        limit: Option<Duration>,
        asked: Option<Asked>,
    },
}

impl Goal {
    /// What the arguments ask for, of these units or of everything that the start has wanted.
    pub(super) fn of(args: &UpArgs, asked: Option<Asked>) -> Self {
        if args.wait {
            let limit = args.wait_timeout.unwrap_or(WAIT_LIMIT);
            Self::Reached {
                target: Target::Ready,
                limit: (!limit.is_zero()).then_some(limit),
                asked,
            }
        } else if args.detach {
            Self::Reached {
                target: Target::Executed,
                limit: None,
                asked,
            }
        } else {
            Self::End
        }
    }

    /// Whether there is nobody to wait for.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Reached { asked: Some(asked), .. } if asked.is_empty())
    }
}

/// Where the stack is that is watched.
pub(super) struct Place {
    pub(super) instance: Instance,
    pub(super) socket: PathBuf,
    /// The random id of its supervisor.
    pub(super) run: u64,
}

/// Watches a stack until the goal is reached. With `lead` it is the client that has started it.
pub(super) async fn watch(
    place: Place,
    printer: &Printer,
    goal: Goal,
    lead: Option<Lead>,
    grace: Option<Duration>,
) -> Result<ExitCode, Stop> {
    let stays = matches!(goal, Goal::End);
    let mut signals = Signals::install(&meaningful(stays, lead.is_some()))?;
    unblock_all().map_err(std::io::Error::from)?;
    let (target, limit, asked) = match goal {
        Goal::End => (Target::Told, None, None),
        Goal::Reached {
            target,
            limit,
            asked,
        } => (target, limit, asked),
    };
    let client = Client::new(&place.socket);
    // A supervisor that has just begun answers once everything that can be started has been.
    let opener = match (&lead, stays) {
        (None, _) => client.clone(),
        (Some(_), false) => client.clone().with_deadline(START_LIMIT),
        (Some(_), true) => client.clone().with_deadline(Duration::MAX),
    };
    let log_dir = place.instance.log_dir();
    let mut watch = Watch {
        failures: Failures::new(log_dir.clone(), place.run),
        readiness: Readiness::new(target, asked),
        client,
        printer,
        stays,
        lead,
        grace,
        limit,
        deadline: limit.map(|limit| Instant::now() + limit),
        misplaced_until: None,
        due: limit.map(|limit| Instant::now() + limit),
        ended_by: None,
        last_stroke: None,
        ended: None,
        is_summed_up: false,
        is_draining: false,
    };
    let start = match (stays, &watch.lead) {
        (false, _) => None,
        (true, Some(_)) => Some(Start::Run(place.run)),
        (true, None) => Some(Start::Now),
    };
    let mut opening = pin!(Feed::open(opener, log_dir, start));
    let mut feed = loop {
        tokio::select! {
            feed = &mut opening => break feed?,
            signal = signals.next() => if let Some(end) = watch.signalled(signal).await {
                return watch.verdict(end, &place.instance, place.run).await;
            }
        }
    };
    let end = watch.until_end(&mut feed, &mut signals).await?;
    if stays {
        watch.farewell()
    } else {
        watch.verdict(end, &place.instance, place.run).await
    }
}

/// Why the watch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There is nothing more to see.
    Over,
    /// The target is reached, or cannot be any more.
    Settled,
    TimedOut,
    /// Somebody listens on the wrong port, or on somebody else's, and keeps doing so.
    Misplaced,
    /// Whoever waited has sent this signal.
    Left(Signal),
}

/// What is known, and what has been said.
pub(super) struct Watch<'a> {
    pub(super) client: Client,
    pub(super) printer: &'a Printer,
    /// Whether it stays to the end and shows what services print.
    pub(super) stays: bool,
    /// The stack that this client has started.
    pub(super) lead: Option<Lead>,
    pub(super) grace: Option<Duration>,
    pub(super) limit: Option<Duration>,
    deadline: Option<Instant>,
    misplaced_until: Option<Instant>,
    /// When something must be done without anything coming in.
    pub(super) due: Option<Instant>,
    pub(super) readiness: Readiness,
    pub(super) failures: Failures,
    /// The stroke that stops the stack.
    pub(super) ended_by: Option<Signal>,
    pub(super) last_stroke: Option<Instant>,
    /// The services that failed for good, once everything has ended.
    ended: Option<Vec<ServiceName>>,
    is_summed_up: bool,
    is_draining: bool,
}

impl Watch<'_> {
    async fn until_end(&mut self, feed: &mut Feed, signals: &mut Signals) -> Result<End, Stop> {
        loop {
            let is_lead_over = self.lead.as_ref().is_none_or(Lead::is_over);
            if feed.is_over() && (is_lead_over || !self.stays) {
                return Ok(End::Over);
            }
            match feed.next(self, signals).await {
                Heard::Signal(signal) => {
                    if let Some(end) = self.signalled(signal).await {
                        return Ok(end);
                    }
                }
                Heard::End(said) => self.printer.page().line_err(said.unwrap_or_default()),
                // Nothing is read any more: whoever has ended is not kept from it.
                Heard::Room if !self.printer.has_room() && self.is_over() => return Ok(End::Over),
                Heard::Room => {}
                Heard::Answer(stack) => {
                    feed.question = None;
                    self.answered(stack);
                }
                Heard::Held => {
                    if let Some(end) = self.show_held(feed) {
                        return Ok(end);
                    }
                }
                Heard::Updates(Err(error)) => return Err(error.into()),
                Heard::Updates(Ok(updates)) if updates.is_empty() => feed.events = None,
                Heard::Updates(Ok(updates)) => {
                    // The last lines come before the news of the end.
                    if let Some(logs) = &mut feed.logs {
                        for unit in updates.iter().filter_map(ended_attempt) {
                            logs.catch_up(&unit)?;
                        }
                    }
                    feed.held = updates;
                }
                Heard::Output(piece) => {
                    match piece {
                        Some(piece) => self.show_output(piece),
                        None => feed.logs = None,
                    }
                    if self.printer.is_output_gone() {
                        feed.logs = None;
                    }
                }
                Heard::Due if self.stays => {
                    self.due = None;
                    self.ask(feed);
                }
                Heard::Due if self.due == self.deadline => return Ok(End::TimedOut),
                Heard::Due => return Ok(End::Misplaced),
            }
        }
    }

    /// Whether the stack has ended, as far as this client can know.
    fn is_over(&self) -> bool {
        match &self.lead {
            Some(lead) => lead.is_over(),
            None => self.ended.is_some(),
        }
    }

    /// Asks for the state of everything, with its ports looked at afresh.
    fn ask(&self, feed: &mut Feed) {
        if feed.question.is_none() {
            let client = self.client.clone();
            feed.question = Some(Box::pin(async move { client.stack().await }));
        }
    }

    /// Shows a piece of what services have printed before the changes that are held back; once
    /// there is none, the changes.
    fn show_held(&mut self, feed: &mut Feed) -> Option<End> {
        // Output that cannot be read keeps nobody from the news.
        if let Some(Ok(Some(piece))) = feed.logs.as_mut().map(LogFollower::next_ready) {
            self.show_output(piece);
            return None;
        }
        let updates = std::mem::take(&mut feed.held);
        if self.stays && !self.is_draining && updates.iter().any(is_stop) {
            self.ask(feed);
        }
        for update in updates {
            self.take_in(update);
        }
        let is_settled = self.readiness.settled().is_some();
        if !self.stays {
            // Restarts and retries may bring it back, so the clock starts anew with each case.
            self.misplaced_until = match (self.readiness.misplaced().next(), self.misplaced_until) {
                (None, _) => None,
                (Some(_), None) => Some(Instant::now() + MISPLACED_LIMIT),
                (Some(_), since) => since,
            };
            self.due = [self.deadline, self.misplaced_until]
                .into_iter()
                .flatten()
                .min();
            return is_settled.then_some(End::Settled);
        }
        if !self.is_summed_up {
            let is_retrying = self.readiness.is_only_retrying();
            self.due = is_retrying.then(|| Instant::now() + RETRY_LIMIT);
            if is_settled {
                self.ask(feed);
            }
        }
        None
    }

    fn show_output(&self, piece: Followed) {
        match piece {
            Followed::Block(block) => self.printer.page().logs(&block),
            Followed::Lost { unit, bytes } => self.printer.page().line_err(&format!(
                "warning: {bytes} bytes of {} were not logged here",
                self.readiness
                    .latest(&unit)
                    .map_or_else(|| unit.label(1), ServiceSnapshot::label)
            )),
        }
    }

    fn take_in(&mut self, update: Update) {
        match update {
            // It was not this client that brought it up.
            Update::Snapshot { mut stack }
                if self.lead.is_none() && self.stays && !self.is_summed_up =>
            {
                self.is_summed_up = true;
                for service in &stack.services {
                    self.readiness.see(service);
                }
                stack.started_at = 0;
                self.printer.page().summary(&stack);
                self.failures.show_all(self.printer, &stack.services);
            }
            Update::Snapshot { stack } => stack.services.into_iter().for_each(|s| self.see(s)),
            Update::Service(service) => self.see(*service),
            Update::Notice(notice) => self.printer.page().notice(&notice),
            Update::Ended { failed } => {
                let event = Event::Ended {
                    failed: failed.clone(),
                };
                self.printer.page().event(&event);
                self.ended = Some(failed);
            }
            Update::Lagged { .. } => {}
        }
    }

    fn see(&mut self, service: ServiceSnapshot) {
        self.readiness.see(&service);
        let event = Event::Service(Box::new(service));
        self.printer.page().event(&event);
        if self.is_summed_up
            && let Event::Service(service) = &event
        {
            self.failures.show(self.printer, service);
        }
    }

    /// The state of everything has been told, or there is nobody left to tell it.
    fn answered(&mut self, stack: Result<StackSnapshot, ClientError>) {
        let stack = match stack {
            // It is asked again after the next change.
            Err(ClientError::NotAnswering { .. }) => return,
            stack => stack.ok(),
        };
        if stack.as_ref().is_none_or(|stack| stack.is_draining) {
            self.drain(false);
        }
        if self.is_summed_up || !self.can_be_summed_up() {
            return;
        }
        self.is_summed_up = true;
        self.due = None;
        if let Some(stack) = stack.filter(|stack| !stack.is_draining) {
            self.printer.page().summary(&stack);
        }
        self.failures
            .show_all(self.printer, self.readiness.services());
    }

    /// Whether nothing is on its way any more, or it is hard to say.
    fn can_be_summed_up(&self) -> bool {
        self.readiness.settled().is_some() || self.readiness.is_only_retrying()
    }

    pub(super) fn drain(&mut self, is_by_stroke: bool) {
        self.is_draining = true;
        self.printer.page().draining(is_by_stroke);
    }

    /// The end of a client that has stayed: its exit code.
    fn farewell(mut self) -> Result<ExitCode, Stop> {
        // What failed last is the last thing on the screen.
        if self.is_summed_up || self.lead.is_some() {
            self.failures
                .show_all(self.printer, self.readiness.services());
        }
        match (&self.lead, self.ended, self.ended_by) {
            (Some(lead), _, _) => lead.outcome(),
            (None, None, _) => Err(Stop::new(
                ExitCode::Failed,
                "the supervisor ended without a word",
                Some("`stack down` looks for what it may have left"),
            )),
            (None, _, Some(Signal::SIGINT)) => Ok(ExitCode::Interrupted),
            (None, _, Some(_)) => Ok(ExitCode::Terminated),
            (None, Some(failed), None) if failed.is_empty() => Ok(ExitCode::Done),
            (None, Some(_), None) => Ok(ExitCode::Failed),
        }
    }
}

/// The unit of which an update tells that a process has ended whose last lines matter.
fn ended_attempt(update: &Update) -> Option<UnitId> {
    match update {
        Update::Service(service) => match service.phase {
            Phase::Backoff | Phase::Completed | Phase::Failed => Some(service.unit()),
            Phase::Pending
            | Phase::Waiting
            | Phase::Starting
            | Phase::Running
            | Phase::Healthy
            | Phase::Unhealthy
            | Phase::Stopping
            | Phase::Stopped => None,
        },
        Update::Snapshot { .. }
        | Update::Notice(_)
        | Update::Ended { .. }
        | Update::Lagged { .. } => None,
    }
}

/// Whether a service is being stopped: alone, or with everything.
fn is_stop(update: &Update) -> bool {
    matches!(update, Update::Service(service) if service.phase == Phase::Stopping)
}
