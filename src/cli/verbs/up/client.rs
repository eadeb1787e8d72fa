//! The client: what `up` shows and does from the fork on, or from joining a stack that runs, until
//! it leaves.
//!
//! It stays to the end and shows the output of services, or leaves once its target is reached (`-d`,
//! `--wait`). Everything that it shows comes from the control socket and the log files, so that a
//! slow terminal costs nobody but the client. The stack that it has started itself it also leads:
//! signals are passed on, and its exit code is that of the supervisor (`docs/design/supervision.md`).

use std::collections::HashSet;
use std::future::{pending, ready};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::super::readiness::{Readiness, Target};
use super::abort::Abort;
use super::alone::end_what_is_left;
use super::failures::Failures;
use super::feed::{Feed, ended_attempt, next_updates};
use super::goal::Goal;
use super::lead::Lead;
use super::strokes::meaningful;

use crate::api::client::{Client, ClientError, Followed, LogFollower, Start, Wanted};
use crate::api::messages::Update;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer::{PATIENCE, Printer};
use crate::cli::words;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::launch::{Signals, unblock_all};
use crate::run::logs::LogBlock;
use crate::run::registry::Registry;
use crate::run::snapshot::{Phase, ServiceSnapshot};
use crate::support::name::ServiceName;

/// A service that listens elsewhere, or whose port was stolen, is waited for this much longer.
const MISPLACED_LIMIT: Duration = Duration::from_secs(10);

/// A service that has failed and runs again may fail once more; the summary waits this long.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// For how long a reader that takes nothing is waited for once somebody wants an end.
const PATIENCE_AFTER_STROKE: Duration = Duration::from_secs(1);

/// How long a supervisor may take until it has started what it can.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Where the stack is that is watched.
pub(super) struct Place {
    pub(super) instance: Instance,
    pub(super) registry: Registry,
    pub(super) socket: PathBuf,
    /// The random id of its supervisor.
    pub(super) run: u64,
    /// Whose output is not shown (`attach: false`), as the file says it.
    pub(super) unattached: HashSet<ServiceName>,
}

/// Watches a stack until the goal is reached, and shows all there is to show, errors too. With `lead`
/// it is the client that has started it; `abort` ends it otherwise.
pub(super) async fn watch(
    place: Place,
    printer: &Printer,
    goal: Goal,
    (lead, abort): (Option<Lead>, Option<Abort>),
    grace: Option<Duration>,
) -> Result<ExitCode, Stop> {
    let stays = goal.target == Target::Told;
    let mut signals = Signals::install(&meaningful(stays, lead.is_some()))?;
    unblock_all().map_err(std::io::Error::from)?;
    let client = Client::new(&place.socket);
    // A supervisor that has just begun answers once everything that can be started has been.
    let (start, opener) = match (stays, &lead) {
        (true, Some(_)) => (
            Some(Start::Run(place.run)),
            client.clone().with_deadline(Duration::MAX),
        ),
        (true, None) => (Some(Start::Now), client.clone()),
        (false, Some(_)) => (None, client.clone().with_deadline(START_LIMIT)),
        (false, None) => (None, client.clone()),
    };
    let log_dir = place.instance.log_dir();
    let deadline = goal.limit.map(|limit| Instant::now() + limit);
    let mut watch = Watch {
        failures: Failures::new(log_dir.clone(), place.run),
        readiness: Readiness::new(goal.target, goal.asked),
        client,
        instance: place.instance.clone(),
        printer,
        stays,
        lead,
        abort,
        grace,
        limit: goal.limit,
        deadline,
        misplaced_until: None,
        due: deadline,
        ended_by: None,
        last_stroke: None,
        unattached: place.unattached,
        ended: None,
        over_since: None,
        is_summed_up: false,
        is_draining: false,
    };
    let opening = Feed::open(opener, (log_dir, Wanted::default()), start);
    let outcome = match watch.until_end(opening, &mut signals).await {
        Ok(_) if stays => watch.farewell(),
        Ok(end) => watch.verdict(end, place.run).await,
        Err(stop) => Err(stop),
    };
    let outcome = if watch.lead.as_ref().is_some_and(Lead::has_lost_both) {
        let place = (&place.instance, &place.registry);
        Err(end_what_is_left(place, printer, &mut signals, grace).await)
    } else {
        outcome
    };
    Ok(watch.show_rest(outcome, &mut signals).await)
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
    pub(super) instance: Instance,
    pub(super) printer: &'a Printer,
    /// Whether it stays to the end and shows what services print.
    pub(super) stays: bool,
    /// The stack that this client has started.
    pub(super) lead: Option<Lead>,
    abort: Option<Abort>,
    /// Whose output is not shown.
    pub(super) unattached: HashSet<ServiceName>,
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
    /// Since when nothing more happens, so that only what is not shown yet is waited for.
    over_since: Option<Instant>,
    is_summed_up: bool,
    is_draining: bool,
}

impl Watch<'_> {
    async fn until_end(
        &mut self,
        opening: impl Future<Output = Result<Feed, Stop>>,
        signals: &mut Signals,
    ) -> Result<End, Stop> {
        let mut opening = pin!(opening);
        let mut feed = loop {
            tokio::select! {
                feed = &mut opening => break feed?,
                signal = signals.next() => if let Some(end) = self.signalled(signal).await {
                    return Ok(end);
                }
            }
        };
        loop {
            let is_lead_over = self.lead.as_ref().is_none_or(Lead::is_over);
            if feed.is_over() && (is_lead_over || !self.stays) {
                return Ok(End::Over);
            }
            // A stack that is not its own the client leaves after a stroke.
            if self.has_ended() || self.lead.is_none() && self.ended_by.is_some() {
                self.over_since.get_or_insert_with(Instant::now);
            }
            // While the printer is full only what needs no room is heard.
            let has_room = self.printer.has_room();
            let has_room_for_news = self.printer.has_room_for_news();
            let is_full = !has_room || !has_room_for_news;
            let (over_since, patience) = (self.over_since, self.patience());
            let is_holding = !feed.held.is_empty();
            let lead = self.lead.as_mut().filter(|lead| !lead.is_over());
            let (printer, due) = (self.printer, self.due);
            tokio::select! {
                biased;
                signal = signals.next() => if let Some(end) = self.signalled(signal).await {
                    return Ok(end);
                },
                Some(said) = async { Some(lead?.next_end().await) } => {
                    printer.page().line_err(said.unwrap_or_default());
                }
                // Nothing is read any more: whoever has ended is not kept from it.
                () = give_up_stalled(printer, over_since, patience), if is_full => {}
                () = printer.room(), if !has_room => {}
                () = printer.room_for_news(), if !has_room_for_news => {}
                () = ready(()), if has_room_for_news && is_holding => {
                    if let Some(end) = self.show_held(&mut feed).await {
                        return Ok(end);
                    }
                }
                Some(updates) = next_updates(&mut feed.events), if has_room_for_news && !is_holding => {
                    let updates = updates?;
                    if updates.is_empty() {
                        feed.events = None;
                    }
                    // The last lines come before the news of the end.
                    if let Some(logs) = &mut feed.logs {
                        for unit in updates.iter().filter_map(ended_attempt) {
                            logs.catch_up(&unit)?;
                        }
                    }
                    feed.held = updates;
                }
                Some(piece) = async { Some(feed.logs.as_mut()?.next().await) }, if has_room => {
                    // What cannot be read any more is over.
                    match piece {
                        Ok(Some(piece)) if !printer.is_output_gone() => self.show_output(piece),
                        _ => feed.logs = None,
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if !self.stays {
                        let is_late = self.due == self.deadline;
                        return Ok(if is_late { End::TimedOut } else { End::Misplaced });
                    }
                    self.due = None;
                    self.look().await;
                }
            }
        }
    }

    /// Whether the stack has ended, as far as this client can know.
    pub(super) fn has_ended(&self) -> bool {
        match &self.lead {
            Some(lead) => lead.is_over(),
            None => self.ended.is_some(),
        }
    }

    /// For how long a reader that takes nothing is waited for in the end.
    fn patience(&self) -> Duration {
        if self.last_stroke.is_some() {
            PATIENCE_AFTER_STROKE
        } else {
            PATIENCE
        }
    }

    /// Shows what is left, and the error if there is one. A further stroke ends even that.
    async fn show_rest(
        &mut self,
        outcome: Result<ExitCode, Stop>,
        signals: &mut Signals,
    ) -> ExitCode {
        let code = outcome.unwrap_or_else(|stop| {
            self.printer.page().line_err(&stop.message);
            stop.code
        });
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => if self.signalled(signal).await.is_some() {
                    self.printer.give_up();
                },
                () = self.printer.finish(Some(self.patience())) => return code,
            }
        }
    }

    /// Shows a piece of what services have printed before the changes that are held back; once
    /// there is none, or nobody takes it, the changes.
    async fn show_held(&mut self, feed: &mut Feed) -> Option<End> {
        // Output that cannot be read keeps nobody from the news.
        if self.printer.has_room()
            && let Some(Ok(Some(piece))) = feed.logs.as_mut().map(LogFollower::next_ready)
        {
            self.show_output(piece);
            return None;
        }
        let updates = std::mem::take(&mut feed.held);
        if self.stays && !self.is_draining && updates.iter().any(is_stop) {
            self.look().await;
        }
        for update in updates {
            self.take_in(update);
        }
        let is_settled = self.readiness.is_settled();
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
                self.look().await;
            }
        }
        None
    }

    fn show_output(&self, piece: Followed) {
        let (Followed::Block(LogBlock { unit, .. }) | Followed::Lost { unit, .. }) = &piece;
        if self.unattached.contains(&unit.service) {
            return;
        }
        match piece {
            Followed::Block(block) => self.printer.page().logs(&block),
            Followed::Lost { unit, bytes } => self.printer.page().line_err(&format!(
                "warning: {bytes} bytes of {} are missing here",
                self.readiness
                    .latest(&unit)
                    .map_or_else(|| unit.label(1), ServiceSnapshot::label)
            )),
        }
    }

    fn take_in(&mut self, update: Update) {
        let why = self.abort.as_mut().and_then(|abort| abort.hear(&update));
        self.show(update);
        if let Some(why) = why {
            self.printer.page().line_err(&words::news(&why));
            self.drain(false);
            self.command(false);
        }
    }

    fn show(&mut self, update: Update) {
        match &update {
            Update::Snapshot { stack } => stack.services.iter().for_each(|it| self.attach(it)),
            Update::Service(service) => self.attach(service),
            Update::Notice(_) | Update::Lagged { .. } | Update::Ended { .. } => {}
        }
        match update {
            // It was not this client that brought it up.
            Update::Snapshot { mut stack }
                if self.lead.is_none() && self.stays && !self.is_summed_up =>
            {
                self.readiness.hear(&Update::Snapshot {
                    stack: stack.clone(),
                });
                stack.started_at = 0;
                self.sum_up(Some(&stack));
            }
            Update::Snapshot { stack } => {
                self.readiness.see_all(&stack.services);
                stack.services.iter().for_each(|it| self.see(it));
            }
            Update::Service(service) => self.see(&service),
            Update::Notice(_) | Update::Lagged { .. } => {
                self.readiness.hear(&update);
                self.printer.page().update(&update);
            }
            Update::Ended { ref failed } => {
                self.ended = Some(failed.clone());
                self.printer.page().update(&update);
            }
        }
    }

    /// Shows from now on what a service prints, or not.
    fn attach(&mut self, service: &ServiceSnapshot) {
        if service.is_attached {
            self.unattached.remove(&service.service);
        } else {
            self.unattached.insert(service.service.clone());
        }
    }

    fn see(&mut self, service: &ServiceSnapshot) {
        self.readiness.see(service);
        // Who waits for what a command does wants to know nothing of the others.
        let is_concerned = self.stays || self.lead.is_some();
        if is_concerned || self.readiness.is_asked(&service.unit()) {
            self.printer.page().service(service);
        }
        if self.is_summed_up {
            self.failures.show(self.printer, service);
        }
    }

    /// Says how all of it stands, if that is to be said, and why services have failed.
    pub(super) fn sum_up(&mut self, stack: Option<&StackSnapshot>) {
        self.is_summed_up = true;
        self.due = None;
        if let Some(stack) = stack {
            self.printer.page().summary(stack);
        }
        self.failures
            .show_all(self.printer, self.readiness.services());
    }

    /// Looks at everything, with its ports looked at afresh: whether it is being stopped, and whether it
    /// can be summed up.
    async fn look(&mut self) {
        let stack = match self.client.stack().await {
            // It is asked again after the next change.
            Err(ClientError::NotAnswering { .. }) => return,
            // There may be nobody left to tell it.
            stack => stack.ok(),
        };
        if stack.as_ref().is_none_or(|stack| stack.is_draining) {
            self.drain(false);
        }
        // Nothing is on its way any more, or it is hard to say.
        let is_told = self.readiness.is_settled() || self.readiness.is_only_retrying();
        if is_told && !self.is_summed_up {
            self.sum_up(stack.filter(|stack| !stack.is_draining).as_ref());
        }
    }

    pub(super) fn drain(&mut self, is_by_stroke: bool) {
        self.is_draining = true;
        self.printer.page().draining(is_by_stroke);
    }

    /// The end of a client that has stayed: its exit code.
    fn farewell(&mut self) -> Result<ExitCode, Stop> {
        // What failed last is the last thing on the screen.
        if self.is_summed_up || self.lead.is_some() {
            self.sum_up(None);
        }
        let code = self.abort.as_ref().and_then(|abort| abort.code);
        match (&self.lead, &self.ended, self.ended_by) {
            (None, Some(_), None) if code.is_some() => Ok(code.unwrap_or(ExitCode::Done)),
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

/// Gives up a reader that takes nothing any more, once it is over.
async fn give_up_stalled(printer: &Printer, over_since: Option<Instant>, patience: Duration) {
    match over_since {
        Some(since) => printer.give_up_stalled(since.into_std(), patience).await,
        None => pending().await,
    }
}

/// Whether a service is being stopped: alone, or with everything.
fn is_stop(update: &Update) -> bool {
    matches!(update, Update::Service(service) if service.phase == Phase::Stopping)
}
