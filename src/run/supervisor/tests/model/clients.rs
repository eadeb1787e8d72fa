//! Clients. Each follows the events, sends one command and waits for what that has set, as `stack start`
//! does. One can vanish at any moment.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::sync::broadcast::error::RecvError;
use tokio::task::unconstrained;

use crate::run::control::Controller;
use crate::run::control::{Command, CommandError, UnitTarget};
use crate::run::news::Event;
use crate::run::snapshot::ServiceSnapshot;
use crate::run::waits::{Goal, Verdict, verdict};
use crate::support::name::UnitId;

/// How far a client is.
#[derive(Debug)]
pub(super) enum Progress {
    /// It has not sent its command yet.
    Coming,
    /// It has no reply yet.
    Asking,
    /// It waits for these.
    Waiting(Vec<UnitTarget>),
    /// It was told no.
    Refused(CommandError),
    /// Everything that it has waited for is decided.
    Decided(Vec<(UnitTarget, Verdict)>),
}

/// A client that is there.
pub(super) struct Client {
    pub(super) goal: Goal,
    progress: Rc<RefCell<Progress>>,
    life: Pin<Box<dyn Future<Output = ()>>>,
    is_gone: bool,
}

impl Client {
    pub(super) fn new(controller: Controller, command: Command, goal: Goal) -> Self {
        let progress = Rc::new(RefCell::new(Progress::Coming));
        let life = live(controller, command, goal, Rc::clone(&progress));
        Self {
            goal,
            progress,
            // It goes on until it has nothing more to do.
            life: Box::pin(unconstrained(life)),
            is_gone: false,
        }
    }

    pub(super) fn progress(&self) -> Ref<'_, Progress> {
        self.progress.borrow()
    }

    /// Lets it go on as far as it can. Returns how far it is then.
    pub(super) fn go_on(&mut self) -> Ref<'_, Progress> {
        if !self.is_gone {
            let mut context = Context::from_waker(Waker::noop());
            self.is_gone = self.life.as_mut().poll(&mut context).is_ready();
        }
        self.progress()
    }
}

async fn live(
    controller: Controller,
    command: Command,
    goal: Goal,
    progress: Rc<RefCell<Progress>>,
) {
    let end = match wait(&controller, command, goal, &progress).await {
        Ok(decided) => Progress::Decided(decided),
        Err(refusal) => Progress::Refused(refusal),
    };
    *progress.borrow_mut() = end;
}

async fn wait(
    controller: &Controller,
    command: Command,
    goal: Goal,
    progress: &RefCell<Progress>,
) -> Result<Vec<(UnitTarget, Verdict)>, CommandError> {
    let (snapshot, mut events, older) = controller.events().await?;
    let rows = snapshot.services.into_iter();
    let mut latest: HashMap<UnitId, ServiceSnapshot> = rows.map(|row| (row.unit(), row)).collect();
    // It is asked after each turn, so that these are older indeed.
    for _ in 0..older {
        drop(events.recv().await);
    }
    *progress.borrow_mut() = Progress::Asking;
    let targets = controller.command(command).await?.units;
    *progress.borrow_mut() = Progress::Waiting(targets.clone());
    loop {
        let verdict_of = |target: &UnitTarget| {
            let row = &latest[&target.unit()];
            (target.clone(), verdict(goal, target.generation, row))
        };
        // What is queued is taken in first.
        if events.is_empty() {
            let verdicts: Vec<_> = targets.iter().map(verdict_of).collect();
            if !verdicts.iter().any(|(_, it)| *it == Verdict::Pending) {
                return Ok(verdicts);
            }
        }
        match events.recv().await {
            Ok(Event::Service(row)) => {
                latest.insert(row.unit(), *row);
            }
            Ok(Event::Notice(_) | Event::Ended { .. }) => {}
            Err(RecvError::Closed) => return Err(CommandError::Gone),
            Err(RecvError::Lagged(missed)) => panic!("{missed} events are too many for one turn"),
        }
    }
}
