//! The client: what `up` shows and does from the fork on, or from joining a stack that runs, until
//! it leaves.
//!
//! It stays to the end and shows the output of services, or leaves once its target is reached (`-d`,
//! `--wait`). Everything that it shows comes from the control socket and the log files, so that a
//! slow terminal costs nobody but the client. The stack that it has started itself it also leads:
//! signals are passed on, and its exit code is that of the supervisor (`docs/design/supervision.md`).

use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until, timeout};

use super::failures::Failures;
use super::lead::Lead;
use crate::api::client::{
    Client, ClientError, EventStream, FollowError, Followed, LogFollower, Start,
};
use crate::api::messages::{Update, code};
use crate::cli::args::UpArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer::{Printer, words};
use crate::cli::readiness::{Progress, Readiness, Target};
use crate::run::STROKE;
use crate::run::control::{Command, StackSnapshot};
use crate::run::instance::Instance;
use crate::run::launch::{Signals, can_be_continued, is_ignored, stop_self, unblock_all};
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::duration;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// How long `--wait` waits when nothing else is said.
const WAIT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// A service that listens elsewhere, or whose port was stolen, is waited for this much longer.
const MISPLACED_LIMIT: Duration = Duration::from_secs(10);

/// A service that has failed and runs again may fail once more; the summary waits this long.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// How long a supervisor may take until it has started what it can.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a supervisor that has closed its streams may take to end.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(1);

/// How many changes are taken in at once.
const BATCH: usize = 256;

/// Until when the client stays.
pub(super) enum Goal {
    /// To the end; it shows what services print.
    End,
    /// Until services have reached a target: those of these names, or everything wanted.
    Reached {
        target: Target,
        limit: Option<Duration>,
        asked: Option<Vec<ServiceName>>,
    },
}

impl Goal {
    /// What the arguments ask for, of services of these names or of everything.
    pub(super) fn of(args: &UpArgs, asked: Option<Vec<ServiceName>>) -> Self {
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
}

impl Goal {
    /// Whether there is nobody to wait for.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Reached { asked: Some(asked), .. } if asked.is_empty())
    }
}

/// Where the stack is that is watched.
pub(super) struct Place<'a> {
    pub(super) instance: &'a Instance,
    pub(super) socket: PathBuf,
    /// The random id of its supervisor.
    pub(super) run: u64,
}

/// Watches a stack until the goal is reached. With `lead` it is the client that has started it.
pub(super) async fn watch(
    place: Place<'_>,
    printer: &Printer,
    goal: Goal,
    lead: Option<Lead>,
    grace: Option<Duration>,
) -> Result<ExitCode, Stop> {
    let stays = matches!(goal, Goal::End);
    let mut signals = Signals::install(&signals(stays, lead.is_some()))?;
    unblock_all().map_err(std::io::Error::from)?;
    let (target, limit, asked) = match goal {
        Goal::End => (Target::Told, None, None),
        Goal::Reached {
            target,
            limit,
            asked,
        } => (target, limit, asked),
    };
    let client = Client::new(place.socket);
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
                return watch.verdict(end, place.instance, place.run).await;
            }
        }
    };
    let end = watch.until_end(&mut feed, &mut signals).await?;
    if stays {
        watch.farewell()
    } else {
        watch.verdict(end, place.instance, place.run).await
    }
}

/// The signals that mean something to the client. The others do what they do to any program.
fn signals(stays: bool, leads: bool) -> Vec<Signal> {
    let mut signals = vec![Signal::SIGINT, Signal::SIGTERM];
    if stays && leads {
        signals.extend([Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGTSTP]);
        // As `nohup` has it.
        if !is_ignored(Signal::SIGHUP) {
            signals.push(Signal::SIGHUP);
        }
    }
    signals
}

/// Why the watch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
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

/// A question after the state of everything.
type Question = Pin<Box<dyn Future<Output = Result<StackSnapshot, ClientError>>>>;

/// What comes in.
struct Feed {
    /// Changes; none once there will be no more.
    events: Option<EventStream>,
    /// Output; none once all has been shown, or where none is.
    logs: Option<LogFollower>,
    /// Changes that wait for the output before them.
    held: Vec<Update>,
    /// A question to the supervisor that is under way.
    question: Option<Question>,
}

/// Something has come in.
enum Heard {
    Signal(Signal),
    End(Option<&'static str>),
    Room,
    Answer(Result<StackSnapshot, ClientError>),
    Held,
    Updates(Result<Vec<Update>, ClientError>),
    Output(Option<Followed>),
    Due,
}

impl Feed {
    /// Begins to listen, to output from `start` on, if at all.
    async fn open(client: Client, log_dir: PathBuf, start: Option<Start>) -> Result<Self, Stop> {
        // Who leaves at its target keeps nobody out meanwhile.
        let events = match start {
            Some(_) => client.events().await,
            None => client.outcome().await,
        };
        let events = match events {
            Ok(events) => Some(events),
            // It has ended before we could ask: everything in it was short.
            Err(error) if has_gone(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let logs = match start {
            None => None,
            Some(start) => {
                let opened = LogFollower::open(&client, log_dir.clone(), &[], start).await;
                Some(match opened {
                    Err(FollowError::Client(error)) if has_gone(&error) => {
                        LogFollower::past(log_dir, &[], start)?
                    }
                    opened => opened?,
                })
            }
        };
        Ok(Self {
            events,
            logs,
            held: Vec::new(),
            question: None,
        })
    }

    fn is_over(&self) -> bool {
        self.events.is_none() && self.logs.is_none() && self.held.is_empty()
    }

    /// The next thing of any kind. While the printer is full only what needs no room is heard.
    async fn next(&mut self, watch: &mut Watch<'_>, signals: &mut Signals) -> Heard {
        let Self {
            events,
            logs,
            held,
            question,
        } = self;
        let has_room = watch.printer.has_room();
        let is_free = has_room && held.is_empty() && question.is_none();
        let due = watch.due;
        let printer = watch.printer;
        let lead = watch.lead.as_mut().filter(|lead| !lead.is_over());
        tokio::select! {
            biased;
            signal = signals.next() => Heard::Signal(signal),
            Some(said) = async { Some(lead?.next_end().await) } => Heard::End(said),
            () = printer.room(), if !has_room => Heard::Room,
            Some(answer) = async { Some(question.as_mut()?.await) } => Heard::Answer(answer),
            () = std::future::ready(()), if has_room && !held.is_empty() => Heard::Held,
            Some(updates) = next_updates(events), if is_free => Heard::Updates(updates),
            Some(piece) = async { Some(logs.as_mut()?.next().await) }, if has_room => {
                // What cannot be read any more is over.
                Heard::Output(piece.ok().flatten())
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Heard::Due,
        }
    }
}

/// The next updates, as many as are there; none of them at the end. `None` where there is no stream.
async fn next_updates(
    events: &mut Option<EventStream>,
) -> Option<Result<Vec<Update>, ClientError>> {
    let events = events.as_mut()?;
    let mut updates = match events.next().await {
        Ok(Some(first)) => vec![first],
        Err(error @ ClientError::NotAnswering { .. }) => return Some(Err(error)),
        // However it ended, there is no more.
        Ok(None) | Err(_) => return Some(Ok(Vec::new())),
    };
    while updates.len() < BATCH {
        tokio::select! {
            biased;
            Ok(Some(update)) = events.next() => updates.push(update),
            () = std::future::ready(()) => break,
        }
    }
    Some(Ok(updates))
}

/// Whether a supervisor is no more.
fn has_gone(error: &ClientError) -> bool {
    match error {
        ClientError::NotRunning | ClientError::Closed => true,
        ClientError::Refused(body) => body.code == code::GONE,
        ClientError::NotAnswering { .. }
        | ClientError::Version { .. }
        | ClientError::ForeignServer { .. }
        | ClientError::Protocol(_)
        | ClientError::Io(_) => false,
    }
}

/// What is known, and what has been said.
struct Watch<'a> {
    client: Client,
    printer: &'a Printer,
    /// Whether it stays to the end and shows what services print.
    stays: bool,
    /// The stack that this client has started.
    lead: Option<Lead>,
    grace: Option<Duration>,
    limit: Option<Duration>,
    deadline: Option<Instant>,
    misplaced_until: Option<Instant>,
    /// When something must be done without anything coming in.
    due: Option<Instant>,
    readiness: Readiness,
    failures: Failures,
    /// The stroke that stops the stack.
    ended_by: Option<Signal>,
    last_stroke: Option<Instant>,
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
                Heard::End(said) => self.printer.line_err(said.unwrap_or_default()),
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

    fn is_settled(&self) -> bool {
        matches!(self.readiness.progress(), Progress::Settled { .. })
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
        let is_settled = self.is_settled();
        if !self.stays {
            // Restarts and retries may bring it back, so the clock starts anew with each case.
            self.misplaced_until =
                match (self.readiness.misplaced().is_empty(), self.misplaced_until) {
                    (true, _) => None,
                    (false, None) => Some(Instant::now() + MISPLACED_LIMIT),
                    (false, since) => since,
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
            Followed::Block(block) => self.printer.logs(block),
            Followed::Lost { unit, bytes } => self.printer.line_err(format!(
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
                self.readiness.see_all(&stack.services);
                stack.started_at = 0;
                self.printer.summary(&stack);
                self.failures.show_all(self.printer, &stack.services);
            }
            Update::Snapshot { stack } => stack.services.into_iter().for_each(|s| self.see(s)),
            Update::Service(service) => self.see(*service),
            Update::Notice(notice) => self.printer.notice(notice),
            Update::Ended { failed } => {
                let event = Event::Ended {
                    failed: failed.clone(),
                };
                self.printer.event(&event);
                self.ended = Some(failed);
            }
            Update::Lagged { .. } => {}
        }
    }

    fn see(&mut self, service: ServiceSnapshot) {
        self.readiness.see(&service);
        let event = Event::Service(Box::new(service));
        self.printer.event(&event);
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
        if self.is_summed_up || !(self.is_settled() || self.readiness.is_only_retrying()) {
            return;
        }
        self.is_summed_up = true;
        if let Some(stack) = stack.filter(|stack| !stack.is_draining) {
            self.printer.summary(&stack);
        }
        self.failures
            .show_all(self.printer, self.readiness.services());
    }

    fn drain(&mut self, is_by_stroke: bool) {
        self.is_draining = true;
        self.printer.draining(is_by_stroke);
    }

    /// What a signal to the client means (`docs/design/supervision.md`).
    async fn signalled(&mut self, signal: Signal) -> Option<End> {
        if !self.stays {
            return Some(End::Left(signal));
        }
        match signal {
            Signal::SIGTSTP => self.pause().await,
            Signal::SIGUSR1 => {
                self.pass_on(signal);
            }
            _ => {
                let now = Instant::now();
                // A wrapper passes on what the terminal sent already.
                let is_echo = self.last_stroke.is_some_and(|last| now - last < STROKE);
                self.last_stroke = Some(self.last_stroke.filter(|_| is_echo).unwrap_or(now));
                self.drain(signal == Signal::SIGINT);
                if !self.pass_on(signal) && !is_echo {
                    self.command(self.ended_by.is_some());
                }
                self.ended_by.get_or_insert(signal);
            }
        }
        None
    }

    /// Gives a signal to the guardian of the own stack.
    fn pass_on(&mut self, signal: Signal) -> bool {
        self.lead.as_mut().is_some_and(|lead| lead.signal(signal))
    }

    /// Has everything stopped, or killed. One that cannot be reached has ended, as the streams tell.
    fn command(&self, is_again: bool) {
        let client = self.client.clone();
        let grace = self.grace;
        tokio::spawn(async move {
            let command = if is_again {
                Command::Kill {}
            } else {
                Command::Down { grace }
            };
            drop(client.command(&command).await);
        });
    }

    /// Ctrl-Z: services and timers stand still, and so does this process, until somebody continues
    /// it. The supervisor goes on answering.
    async fn pause(&mut self) {
        if !can_be_continued() {
            self.printer
                .line_err("Ctrl-Z is ignored: no shell is here that could continue the stack");
        } else if let Some(lead) = &mut self.lead {
            // A failure leaves everything running.
            lead.freeze_while(|| stop_self().unwrap_or_default()).await;
        }
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

impl Watch<'_> {
    /// The end of a client that has waited for a target: what it has come to, and the exit code.
    async fn verdict(mut self, end: End, instance: &Instance, run: u64) -> Result<ExitCode, Stop> {
        if let End::Left(signal) = end {
            self.printer.line_err(
                "not waiting any longer; the stack goes on in the background (`stack ps` shows it, \
                 `stack down` stops it)",
            );
            return Ok(match signal {
                Signal::SIGINT => ExitCode::Interrupted,
                _ => ExitCode::Terminated,
            });
        }
        let last = || last_word(&instance.last_path(), &format!("{run:016x}"));
        let stack = match end {
            End::Over => last(),
            End::Settled => self.client.stack().await.ok().or_else(last),
            End::TimedOut | End::Misplaced | End::Left(_) => self.client.stack().await.ok(),
        };
        if let Some(stack) = &stack {
            stack
                .services
                .iter()
                .for_each(|service| self.readiness.see(service));
        }
        if end == End::Over && stack.is_none() {
            return Err(self.lost().await);
        }
        let failed = match self.readiness.progress() {
            Progress::Settled { failed } => failed,
            Progress::Pending => Vec::new(),
        };
        // Where everything was stopped because of a failure, the rest is no news.
        let is_aborted = end == End::Over || stack.as_ref().is_some_and(|stack| stack.is_draining);
        if let Some(mut stack) = stack {
            if self.lead.is_none() {
                // How long this took says nothing about the stack, and the other way round.
                stack.started_at = 0;
            }
            self.printer.summary(&stack);
        }
        self.failures
            .show_all(self.printer, self.readiness.services());
        for service in failed.iter().filter_map(|unit| self.readiness.latest(unit)) {
            let phase = service.phase;
            if phase != Phase::Failed && !(is_aborted && phase == Phase::Stopped) {
                let why = service.reason.as_ref();
                let why = why.map(|reason| format!(": {}", crate::cli::words::reason(reason)));
                let (name, word, why) = (service.label(), phase.word(), why.unwrap_or_default());
                self.printer
                    .line_err(format!("error: {name} is {word}{why}"));
            }
        }
        if end == End::Misplaced {
            for service in self.readiness.misplaced() {
                let why = words::why(service)
                    .unwrap_or_else(|| "it does not listen where it was told to".to_owned());
                let name = service.label();
                self.printer
                    .line_err(format!("error: {name} is not ready: {why}"));
            }
        }
        if end == End::TimedOut {
            let limit = duration::human(self.limit.unwrap_or_default());
            let late = text::list(self.readiness.pending());
            self.printer.line_err(format!(
                "error: not everything was ready within {limit}: {late}\nhint: what runs keeps \
                 running; `stack logs` shows it, `--wait-timeout` changes the limit"
            ));
        }
        let is_late = matches!(end, End::TimedOut | End::Misplaced);
        Ok(if failed.is_empty() && !is_late {
            ExitCode::Done
        } else {
            ExitCode::Failed
        })
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
        Stop::new(
            ExitCode::Failed,
            "the supervisor ended before the stack was up",
            Some("see supervisor.log beside the logs in `.stack`"),
        )
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
