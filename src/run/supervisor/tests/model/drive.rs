//! Drives the supervisor's own loop message by message, and compares it with the ideal after each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::super::{Stage, World};
use super::clients::{Client, Progress};
use super::ensure;
use super::ideal::Ideal;
use crate::plan::model::UnitPlan;
use crate::run::control::{Command, CommandError, CommandReply, Controller, Request};
use crate::run::home::Wanted;
use crate::run::news::Event;
use crate::run::runner::Happened;
use crate::run::runner::testing::Deed;
use crate::run::snapshot::{Exit, ServiceSnapshot};
use crate::run::supervisor::messages::Message;
use crate::run::waits::{Goal, Verdict};
use crate::support::name::UnitId;

/// More messages than one step can lead to.
const ENDLESS: usize = 20_000;

/// What has happened how often.
pub(super) type Tally = BTreeMap<String, usize>;

type Reply = Result<CommandReply, CommandError>;

/// A reply on its way: the one that has to come, the one that comes, and who waits for it.
type OnItsWay = (Reply, oneshot::Receiver<Reply>, oneshot::Sender<Reply>);

/// A stack with its clients, and what must be so.
pub(super) struct Drive {
    /// Nothing once the supervisor has gone.
    pub(super) stage: Option<Stage>,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) ideal: Ideal,
    pub(super) clients: Vec<Client>,
    /// How clients have ended, and how often.
    pub(super) tally: Tally,
    controller: Controller,
    replies: Vec<OnItsWay>,
    event_rx: broadcast::Receiver<Event>,
    /// The last that was told of each unit.
    told: HashMap<UnitId, ServiceSnapshot>,
    /// Takes those who want files to be written, for which each `up` waits.
    wanted_rx: mpsc::UnboundedReceiver<Wanted>,
}

impl Drive {
    /// A stack of which nothing is wanted yet.
    pub(super) fn new(units: Vec<UnitPlan>) -> Self {
        let ideal = Ideal::new(&units);
        let mut stage = Stage::new(units);
        let (wanted_tx, wanted_rx) = mpsc::unbounded_channel();
        stage.supervisor.wanted_tx = Some(wanted_tx);
        let controller = stage.controller.clone();
        let rows = stage.supervisor.snapshot().services.into_iter();
        Self {
            told: rows.map(|row| (row.unit(), row)).collect(),
            world: Rc::clone(&stage.world),
            ideal,
            clients: Vec::new(),
            tally: Tally::new(),
            event_rx: controller.event_tx.subscribe(),
            controller,
            replies: Vec::new(),
            wanted_rx,
            stage: Some(stage),
        }
    }

    /// What the start of the stack wants.
    pub(super) fn begin(&mut self, command: &Command) -> Result<(), String> {
        let Some(stage) = &mut self.stage else {
            return Ok(());
        };
        let reply = stage.supervisor.command(command);
        let ideal = self.ideal.command(command, Instant::now());
        ensure!(reply == ideal, "{reply:?} instead of {ideal:?}");
        self.settle()
    }

    pub(super) fn send(&mut self, command: Command, goal: Goal) {
        let controller = self.controller.clone();
        self.clients.push(Client::new(controller, command, goal));
    }

    /// A client vanishes, if there is one.
    pub(super) fn vanish(&mut self, which: usize) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.clients.remove(which % self.clients.len());
        let moment = match *client.progress() {
            Progress::Coming => "before its command",
            Progress::Asking => "before its reply",
            Progress::Waiting(_) => "after its reply",
            Progress::Refused(_) | Progress::Decided(_) => "after all",
        };
        note(&mut self.tally, format!("vanished {moment}"));
    }

    /// Lets time pass, and everything happen that happens meanwhile.
    pub(super) async fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        loop {
            while let Ok(done_tx) = self.wanted_rx.try_recv() {
                drop(done_tx);
            }
            self.come_to_rest().await?;
            let supervisor = self.stage.as_ref().map(|stage| &stage.supervisor);
            let deadline = supervisor.and_then(super::super::Supervisor::deadline);
            let death = self.world.borrow().next_end();
            let next = deadline.into_iter().chain(death).min();
            let until = next.map_or(end, |next| next.min(end));
            tokio::time::advance(until.saturating_duration_since(Instant::now())).await;
            self.world.borrow_mut().bury();
            if next.is_none_or(|next| next > end) {
                // What nobody was woken for has not fallen due either.
                return self.settle();
            }
        }
    }

    async fn come_to_rest(&mut self) -> Result<(), String> {
        for _ in 0..ENDLESS {
            if !self.turn(false).await? {
                return Ok(());
            }
        }
        Err("it does not come to rest".to_owned())
    }

    /// One turn of the loop: one message, or the ends of children, which come first unless the signal
    /// is late. Returns whether there was anything.
    pub(super) async fn turn(&mut self, is_signal_late: bool) -> Result<bool, String> {
        // Tasks of the supervisor: whose output is in the files, whose check has an answer.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.pass_replies()?;
        self.clients_go_on()?;
        let Some(stage) = &mut self.stage else {
            return Ok(false);
        };
        let now = Instant::now();
        let is_due = stage.supervisor.deadline().is_some_and(|due| due <= now);
        let has_news = !self.world.borrow().news.is_empty();
        let message = if has_news && !is_due && !is_signal_late {
            None
        } else {
            tokio::select! {
                biased;
                message = unconstrained(stage.supervisor.next_message()) => Some(message),
                () = std::future::ready(()) => None,
            }
        };
        match message {
            Some(message) => self.receive(message, now),
            None if has_news => self.reap(now),
            None => return Ok(false),
        }
        self.settle()?;
        Ok(true)
    }

    /// Children have ended: SIGCHLD.
    fn reap(&mut self, now: Instant) {
        self.hear_news(now);
        if let Some(stage) = &mut self.stage {
            stage.supervisor.children_ended();
        }
    }

    /// The supervisor is about to take in what the runner has to tell.
    fn hear_news(&mut self, now: Instant) {
        for news in &self.world.borrow().news {
            match news {
                Happened::Started { unit, start } => self.ideal.started(unit, start, now),
                Happened::CommandEnded { command, .. } => {
                    self.ideal.hook_exited(&command.unit, command.number);
                }
                Happened::MainEnded { .. }
                | Happened::TreeChanged { .. }
                | Happened::Progressed { .. } => {}
            }
        }
    }

    fn receive(&mut self, message: Message, now: Instant) {
        let Some(stage) = &mut self.stage else {
            return;
        };
        let message = match message {
            Message::Ended(first) => {
                // It takes in all that are there.
                let supervisor = &mut stage.supervisor;
                let mut all = vec![first.clone()];
                while let Ok(more) = supervisor.ended_rx.try_recv() {
                    all.push(more);
                }
                for ended in &all {
                    self.ideal.ended(&ended.unit, ended.exit, now);
                }
                for more in all.drain(1..) {
                    drop(supervisor.ended_tx.send(more));
                }
                Message::Ended(first)
            }
            Message::Answer(answer) => {
                if answer.outcome.is_ok() {
                    self.ideal.passed(&answer.unit);
                    self.hear_news(now);
                }
                Message::Answer(answer)
            }
            Message::Request(Request::Command(command, client_tx)) => {
                let ideal = self.ideal.command(&command, now);
                let (reply_tx, reply_rx) = oneshot::channel();
                self.replies.push((ideal, reply_rx, client_tx));
                Message::Request(Request::Command(command, reply_tx))
            }
            Message::Hook(ended) => {
                let (unit, number) = (&ended.command.unit, ended.command.number);
                if let Some(time) = self.ideal.hook_ended(unit, number, ended.exit, now) {
                    let what = match ended.exit {
                        Some(Exit::Code(0)) => "passed",
                        Some(_) => "failed",
                        None => "was too late",
                    };
                    note(&mut self.tally, format!("{time:?} {what}"));
                }
                Message::Hook(ended)
            }
            Message::Due => {
                for _ in 0..self.ideal.time_came(now) {
                    note(&mut self.tally, "a run was due".to_owned());
                }
                Message::Due
            }
            other @ (Message::Request(_)
            | Message::Prepared(_)
            | Message::Happened(_)
            | Message::Heard(_)
            | Message::Finding(_)) => other,
        };
        if let Some(stage) = &mut self.stage {
            stage.supervisor.receive(message);
        }
    }

    /// Does what the loop does before it waits, and compares.
    fn settle(&mut self) -> Result<(), String> {
        let Some(stage) = &mut self.stage else {
            return Ok(());
        };
        let supervisor = &mut stage.supervisor;
        let now = Instant::now();
        supervisor.tables.begin_turn();
        supervisor.settle();
        let rows = supervisor.snapshot().services;
        for row in &rows {
            self.ideal.hear_health(&row.unit(), row.phase)?;
        }
        let deeds = std::mem::take(&mut self.world.borrow_mut().deeds);
        for (unit, deed) in deeds {
            if let Deed::HookAsked { .. } = deed {
                note(&mut self.tally, "a hook was asked to end".to_owned());
            }
            self.ideal.done(&unit, deed, now)?;
        }
        self.ideal.settle(now);
        for row in &rows {
            let hook = self
                .world
                .borrow()
                .hooks
                .get(&row.unit())
                .map(|it| it.number);
            self.ideal.check(row, hook, now)?;
        }
        let is_over = supervisor.is_over();
        ensure!(
            is_over == self.ideal.is_over(),
            "is it over? {is_over}: {:?}",
            self.ideal
        );
        self.hear_events(&rows)?;
        if is_over {
            // The loop ends. Whoever has asked too late is told so.
            self.stage = None;
        }
        self.pass_replies()?;
        self.clients_go_on()
    }

    /// Whoever listens has heard all of it, and of nothing going backwards.
    fn hear_events(&mut self, rows: &[ServiceSnapshot]) -> Result<(), String> {
        loop {
            match self.event_rx.try_recv() {
                Ok(Event::Service(row)) => {
                    let numbers = |row: &ServiceSnapshot| {
                        (row.desired.generation, row.generation, row.attempt)
                    };
                    if let Some(before) = self.told.get(&row.unit()) {
                        let (old, new) = (numbers(before), numbers(&row));
                        let is_so = old.0 <= new.0 && old.1 <= new.1 && old.2 <= new.2;
                        ensure!(is_so, "{row:?} was told after {before:?}");
                    }
                    self.told.insert(row.unit(), *row);
                }
                Ok(Event::Notice(_) | Event::Ended { .. }) => {}
                Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                    return Err(format!("{missed} events are too many for one turn"));
                }
                Err(_) => break,
            }
        }
        for row in rows {
            let told = &self.told[&row.unit()];
            ensure!(told == row, "nobody was told of {row:?}, only of {told:?}");
        }
        Ok(())
    }

    /// Hands replies on to those who wait for them, if they are what they have to be.
    fn pass_replies(&mut self) -> Result<(), String> {
        for (ideal, mut reply_rx, client_tx) in std::mem::take(&mut self.replies) {
            match reply_rx.try_recv() {
                Ok(reply) => {
                    let reply = without_suggestion(reply);
                    ensure!(
                        reply == ideal,
                        "the reply is {reply:?} instead of {ideal:?}"
                    );
                    drop(client_tx.send(reply));
                }
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.replies.push((ideal, reply_rx, client_tx));
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    ensure!(self.stage.is_none(), "nobody replies, instead of {ideal:?}");
                }
            }
        }
        Ok(())
    }

    /// Lets every client go on. Each waits as long as it has to, and hears what is so.
    fn clients_go_on(&mut self) -> Result<(), String> {
        let (ideal, is_gone) = (&self.ideal, self.stage.is_none());
        let tally = &mut self.tally;
        let mut problem = Ok(());
        self.clients.retain_mut(|client| {
            let goal = client.goal;
            let verdict = |target: &crate::run::control::UnitTarget| {
                ideal.verdict(goal, target.generation, &target.unit())
            };
            let mut judge = |is_so: bool, what: String| {
                if !is_so {
                    problem = Err(format!("{what}: {ideal:?}"));
                }
            };
            match &*client.go_on() {
                Progress::Coming | Progress::Asking => true,
                Progress::Waiting(targets) => {
                    let is_so = targets
                        .iter()
                        .any(|target| verdict(target) == Verdict::Pending);
                    judge(
                        is_so,
                        format!("somebody waits in vain for {goal:?} {targets:?}"),
                    );
                    true
                }
                Progress::Refused(CommandError::Gone) => {
                    note(tally, "refused Gone".to_owned());
                    judge(is_gone, "somebody is told that nobody is there".to_owned());
                    false
                }
                // The reply was looked at when it came.
                Progress::Refused(error) => {
                    let name = format!("{error:?}");
                    let name = name.split(' ').next().unwrap_or_default();
                    note(tally, format!("refused {name}"));
                    false
                }
                Progress::Decided(verdicts) => {
                    for (target, told) in verdicts {
                        let ideal = verdict(target);
                        let what = format!("{goal:?} {target:?} is {told:?} and not {ideal:?}");
                        judge(*told == ideal, what);
                        note(tally, format!("{goal:?} {told:?}"));
                    }
                    false
                }
            }
        });
        problem
    }
}

fn note(tally: &mut Tally, what: String) {
    *tally.entry(what).or_default() += 1;
}

/// What comes near the name is not what this is about.
fn without_suggestion(reply: Reply) -> Reply {
    reply.map_err(|error| match error {
        CommandError::UnknownService { name, .. } => CommandError::UnknownService {
            name,
            suggestion: None,
        },
        other => other,
    })
}
