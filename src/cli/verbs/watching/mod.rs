//! `watch`: acts when files change, beside whatever else the client does (`docs/design/watch.md`).
//!
//! `eyes` sees, `rules` knows what concerns whom, `burst` when it is time, `act` does it, `rebuild` runs a
//! command.

mod act;
mod burst;
mod eyes;
mod in_force;
mod rebuild;
mod renew;
mod rules;
mod subject;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eyes::{Eyes, Sight};
use in_force::InForce;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rebuild::Progress;
use rules::Rules;
use subject::{Subject, Watched};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::Context;
use super::running_plan::plan_of;
use crate::api::client::{Client, EventStream};
use crate::api::messages::Update;
use crate::cli::args::WatchArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::{Invocation, Ready, check_service};
use crate::cli::printer::Printer;
use crate::cli::words;
use crate::plan::{Draft, Sources};
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::launch::{Signals, unblock_all};
use crate::run::snapshot::ServiceSnapshot;
use crate::run::waits::{Goal, Verdict, verdict};
use crate::spec::model::ServiceSpec;
use crate::support::escape::plain_line;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// How long a supervisor may take that has just begun.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Carries out `stack watch`: until Ctrl-C, or until the stack has ended.
pub(super) async fn run(
    context: &mut Context<'_>,
    invocation: &Invocation,
    printer: &Printer,
    args: &WatchArgs,
) -> Result<ExitCode, Stop> {
    let mut signals = Signals::install(&[Signal::SIGINT, Signal::SIGTERM])?;
    unblock_all().map_err(std::io::Error::from)?;
    let draft = check(invocation, &args.services)?.draft;
    let client = context.supervisor().await?;
    let stack = client.stack().await?;
    let events = client.clone().for_command().events().await?;
    let contact = (client, events, &stack);
    let watching = async {
        let place = (invocation, context.instance);
        let mut watching = Watching::open(place, draft, contact, printer, &args.services)?;
        watching.is_alone = true;
        watching.until_end().await;
        printer.page().line_err("the stack has ended");
        Ok(ExitCode::Done)
    };
    tokio::select! {
        outcome = watching => outcome,
        signal = signals.next() => Ok(match signal {
            Signal::SIGINT => ExitCode::Interrupted,
            _ => ExitCode::Terminated,
        }),
    }
}

/// The file, if it says what to watch of these services, or of any where none is named: looked at before
/// anything is started.
pub fn check(invocation: &Invocation, services: &[ServiceName]) -> Result<Ready, Stop> {
    let ready = invocation.draft_with(&[], &[], services)?;
    for name in services {
        check_service(&ready.draft, name)?;
    }
    let spec = ready.draft.spec();
    let watches = |service: &ServiceSpec| !service.watch.is_empty();
    let is_silent = |name: &&ServiceName| spec.services.get(*name).is_some_and(|it| !watches(it));
    let silent: Vec<&ServiceName> = services.iter().filter(is_silent).collect();
    if silent.is_empty() && (!services.is_empty() || spec.services.values().any(watches)) {
        return Ok(ready);
    }
    let (message, hint) = nothing_of(&silent);
    Err(Stop::usage(message, hint))
}

/// That nothing is to be watched of these services, or of any.
fn nothing_of(services: &[&ServiceName]) -> (String, String) {
    let hint = |place| format!("write `watch: [{{path: src, action: restart}}]` into {place}");
    if services.is_empty() {
        return (
            "no service says what to watch".to_owned(),
            hint("a service"),
        );
    }
    let names = text::list(services.iter().map(|name| format!("`{name}`")));
    let have = if services.len() == 1 { "has" } else { "have" };
    (format!("{names} {have} no `watch`"), hint("it"))
}

/// Watches beside a foreground `up`. Never returns: whoever waits for something else ends it.
pub(super) async fn beside(
    place: (&Invocation, &Instance),
    draft: Draft,
    client: Client,
    printer: &Printer,
    services: &[ServiceName],
) {
    // The events from the very beginning are for the client that has started the stack: it asks first.
    let stack = client.clone().with_deadline(START_LIMIT).stack().await;
    let events = client.clone().for_command().events().await;
    // Without a stack there is nothing to watch for, and others say so.
    let (Ok(stack), Ok(events)) = (stack, events) else {
        return pending().await;
    };
    let contact = (client, events, &stack);
    match Watching::open(place, draft, contact, printer, services) {
        Ok(mut watching) => watching.until_end().await,
        Err(stop) => printer.page().line_err(&stop.message),
    }
    pending::<()>().await;
}

struct Watching<'a> {
    place: (&'a Invocation, &'a Instance),
    /// The services that were named; all of them where none was.
    services: &'a [ServiceName],
    client: Client,
    printer: &'a Printer,
    project_dir: PathBuf,
    subjects: Vec<Subject>,
    /// What the file is made of, and what else was read for it.
    sources: Arc<Sources>,
    /// Which files the stack runs by, as far as was heard.
    in_force: InForce,
    /// The last that was heard of each unit.
    units: HashMap<UnitId, ServiceSnapshot>,
    events: EventStream,
    eyes: Option<Eyes>,
    progress_tx: UnboundedSender<Progress>,
    progress_rx: UnboundedReceiver<Progress>,
    /// Whether nobody else says what becomes of the services.
    is_alone: bool,
}

impl<'a> Watching<'a> {
    /// Begins to watch for these services, for all of them where none is named.
    fn open(
        place: (&'a Invocation, &'a Instance),
        draft: Draft,
        (client, events, stack): (Client, EventStream, &StackSnapshot),
        printer: &'a Printer,
        services: &'a [ServiceName],
    ) -> Result<Self, Stop> {
        let (progress_tx, progress_rx) = unbounded_channel();
        let mut watching = Self {
            place,
            services,
            client,
            printer,
            project_dir: draft.project_dir().to_path_buf(),
            subjects: Vec::new(),
            sources: Arc::clone(draft.sources()),
            in_force: InForce::of(stack),
            units: units_of(stack),
            events,
            eyes: None,
            progress_tx,
            progress_rx,
            is_alone: false,
        };
        watching.settle(draft, stack)?;
        Ok(watching)
    }

    /// Watches what a draft says, and no more what another one has said before.
    fn settle(&mut self, draft: Draft, stack: &StackSnapshot) -> Result<(), Stop> {
        let (invocation, instance) = self.place;
        self.sources = Arc::clone(draft.sources());
        let plan = plan_of(invocation, instance, draft, stack)?;
        let watched = Watched::of(&plan, self.services, &mut self.subjects);
        for problem in &watched.problems {
            self.say(&format!("warning: {problem}"));
        }
        let is_nothing = watched.rules.items.is_empty();
        if is_nothing && (watched.is_other || self.subjects.is_empty()) {
            let (message, hint) = nothing_of(&self.services.iter().collect::<Vec<_>>());
            self.say(&format!("warning: {message}\nhint: {hint}"));
        }
        match &mut self.eyes {
            Some(eyes) if watched.is_other => eyes.look_by(watched.rules),
            Some(_) => {}
            None if is_nothing => {}
            None => self.eyes = Some(self.open_eyes(watched.rules)?),
        }
        Ok(())
    }

    fn open_eyes(&self, rules: Rules) -> Result<Eyes, Stop> {
        Eyes::open(rules, self.project_dir.clone()).map_err(|error| {
            let hint = eyes::advice(Errno::from_raw(error.raw_os_error().unwrap_or_default()));
            let reason = text::io_reason(&error);
            let message = format!(
                "error: files cannot be watched: {reason}\n{}",
                hint.unwrap_or_default()
            );
            Stop {
                code: ExitCode::Failed,
                message: message.trim_end().to_owned(),
            }
        })
    }

    /// Another `up` has had the stack take over a file that has changed: so does what is watched.
    async fn follow_file(&mut self) {
        let Ok(stack) = self.client.stack().await else {
            return;
        };
        self.in_force = InForce::of(&stack);
        let ready = self.place.0.draft_of(&stack);
        if let Err(stop) = ready.and_then(|ready| self.settle(ready.draft, &stack)) {
            self.say(&format!(
                "{}\nwarning: still watching as the previous file said; run `stack watch` again to use the \
                 new one",
                stop.message
            ));
        }
    }

    /// Returns when the stack has ended.
    async fn until_end(&mut self) {
        loop {
            let due = self.subjects.iter().filter_map(|it| it.burst.due()).min();
            tokio::select! {
                biased;
                update = self.events.next() => match update {
                    Ok(Some(update)) => {
                        let are_others = self.in_force.are_others_by(&update);
                        self.hear(update);
                        if are_others {
                            self.follow_file().await;
                        }
                    }
                    Ok(None) | Err(_) => return,
                },
                Some(sight) = async { self.eyes.as_mut()?.next().await } => self.see(sight),
                Some(progress) = self.progress_rx.recv() => self.progressed(progress).await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.act(Instant::now()).await;
                }
            }
        }
    }

    fn say(&self, message: &str) {
        self.printer.page().line_err(message);
    }

    /// Something has happened in the stack.
    fn hear(&mut self, update: Update) {
        match update {
            Update::Snapshot { stack } => self.units = units_of(&stack),
            Update::Service(snapshot) => {
                self.units.insert(snapshot.unit(), *snapshot);
            }
            Update::Notice(_) | Update::Ended { .. } | Update::Lagged { .. } => return,
        }
        let now = Instant::now();
        let mut failures = Vec::new();
        for subject in &mut self.subjects {
            if subject.targets.is_empty() {
                continue;
            }
            subject.targets.retain(|target| {
                let unit = self.units.get(&target.unit());
                let verdict =
                    unit.map(|unit| (unit, verdict(Goal::Executed, target.generation, unit)));
                match verdict {
                    Some((_, Verdict::Pending)) => true,
                    Some((unit, Verdict::Failed)) => {
                        failures.push(unit.clone());
                        false
                    }
                    Some((_, Verdict::Reached | Verdict::Superseded(_))) | None => false,
                }
            });
            if subject.targets.is_empty() {
                subject.burst.acted(now);
            }
        }
        for unit in failures.iter().filter(|_| self.is_alone) {
            let why = unit.reason.as_ref().map(words::reason);
            let why = why.unwrap_or_else(|| "it did not start".to_owned());
            self.say(&format!("error: {}: {why}", unit.label()));
        }
    }

    /// Files have changed, or cannot be watched.
    fn see(&mut self, sight: Sight) {
        match sight {
            Sight::Ready => {
                let watching = self.subjects.iter().filter(|it| !it.plan.watch.is_empty());
                let names = text::list(watching.map(|it| it.plan.service.as_str()));
                if !names.is_empty() {
                    self.say(&format!("watching files for {names}"));
                }
            }
            Sight::Closed(path) => {
                let shown = self.shown(&path);
                self.say(&format!(
                    "warning: `{shown}` is not watched: permission denied"
                ));
            }
            Sight::Blind(message) => self.say(&format!("warning: {message}")),
            Sight::Changed(changed) => {
                let now = Instant::now();
                for ((at, item), path) in changed {
                    let shown = self.shown(&path);
                    let subject = &mut self.subjects[at];
                    // It may have been seen by the rules of before.
                    if item >= subject.plan.watch.len() {
                        continue;
                    }
                    subject.is_given |= self.sources.has_read(&path);
                    subject.changes.entry(item).or_default().insert(path);
                    if subject.burst.change(now) {
                        let name = &self.subjects[at].plan.service;
                        self.say(&format!(
                            "{name}: `{shown}` keeps changing; waiting for a second without \
                             changes\nhint: if the service writes this \
                             file itself, leave it out with `ignore`"
                        ));
                    }
                }
            }
        }
    }

    fn shown(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.project_dir).unwrap_or(path);
        plain_line(path.to_string_lossy().into_owned())
    }

    /// `src/app.py` and how many more have changed.
    fn changed(&self, changes: &BTreeMap<usize, BTreeSet<PathBuf>>) -> String {
        let paths: BTreeSet<&PathBuf> = changes.values().flatten().collect();
        let first = paths
            .first()
            .map_or_else(String::new, |path| self.shown(path));
        match paths.len() {
            0 | 1 => format!("`{first}` changed"),
            several => format!("`{first}` and {} more changed", several - 1),
        }
    }
}

fn units_of(stack: &StackSnapshot) -> HashMap<UnitId, ServiceSnapshot> {
    let units = stack.services.iter();
    units.map(|unit| (unit.unit(), unit.clone())).collect()
}
