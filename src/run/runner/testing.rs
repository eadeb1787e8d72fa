//! A runner for tests: nothing runs, and nothing takes time but the clock that the test moves.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use super::{CommandId, Happened, Runner, Start, Whom};
use crate::plan::model::{Execution, UnitPlan};
use crate::run::control::{InputReply, TerminalSize};
use crate::run::logs::pipe_pair;
use crate::run::reason::{StartError, StartStep};
use crate::run::snapshot::{Exit, Usage};
use crate::support::name::UnitId;

/// The most that a runner is asked for in one turn. More is a supervisor that goes round in circles.
const MANY: usize = 1000;

/// What was asked of the runner, and what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The program runs.
    Executed,
    /// It could not be executed; whether trying again may help.
    Refused { is_temporary: bool },
    /// Its start takes time.
    Underway,
    /// A start that takes time was given up.
    Cancelled,
    /// It was told to stop.
    Signalled,
    /// It was killed.
    Killed,
    /// A hook was begun, by its place in the plan; the number of its command.
    HookBegun { place: usize, number: u64 },
    /// A hook was asked to end.
    HookAsked { number: u64 },
    /// A hook was killed, or a check.
    CommandKilled { number: u64 },
}

/// What the units of a test do.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Main processes by unit.
    pub(crate) running: HashMap<UnitId, i32>,
    /// Units that do not end on a stop signal.
    pub(crate) stubborn: HashSet<UnitId>,
    /// Units that not even SIGKILL ends.
    pub(crate) unkillable: HashSet<UnitId>,
    /// Those of them that were sent SIGKILL, with their processes.
    condemned: HashMap<UnitId, i32>,
    /// Units whose start takes time, until the test says what came of it.
    pub(crate) slow: HashSet<UnitId>,
    /// Units whose start is under way.
    pub(crate) underway: HashSet<UnitId>,
    /// Units that cannot be executed; whether trying again may help.
    pub(crate) refused: HashMap<UnitId, bool>,
    /// Units that take this long to end, whoever ends them.
    pub(crate) lingering: HashMap<UnitId, Duration>,
    /// Processes that end at this time.
    pub(crate) dying: Vec<(Instant, UnitId, i32, Exit)>,
    /// Units whose checks end at once, with this code.
    pub(crate) checks: HashMap<UnitId, i32>,
    /// Units whose hooks end at once, with this code. The others' take until the test says so.
    pub(crate) hook_codes: HashMap<UnitId, i32>,
    /// Hooks under way, by unit.
    pub(crate) hooks: HashMap<UnitId, CommandId>,
    /// Commands under way, hooks among them.
    pub(crate) commands: Vec<CommandId>,
    /// What was executed, signalled and killed, in order: `execute web`.
    pub(crate) said: Vec<String>,
    /// The same as deeds, until somebody takes them.
    pub(crate) deeds: Vec<(UnitId, Deed)>,
    /// What the runner has not told yet.
    pub(crate) news: Vec<Happened>,
    last_pid: i32,
}

impl World {
    fn note(&mut self, unit: &UnitId, deed: Deed) {
        let verb = match deed {
            Deed::Executed | Deed::Refused { .. } | Deed::Underway => "execute",
            Deed::Cancelled => "cancel",
            Deed::Signalled => "signal",
            Deed::Killed => "kill",
            Deed::HookBegun { .. } | Deed::HookAsked { .. } | Deed::CommandKilled { .. } => {
                return self.deeds.push((unit.clone(), deed));
            }
        };
        self.said.push(format!("{verb} {}", unit.label(1)));
        self.deeds.push((unit.clone(), deed));
        assert!(
            self.deeds.len() < MANY,
            "no end of it: {:?}",
            &self.deeds[MANY - 10..]
        );
    }

    /// Lets a unit's main process run from now on.
    pub(crate) fn start(&mut self, unit: &UnitId) {
        assert!(
            !self.running.contains_key(unit),
            "a second copy of {unit:?}"
        );
        self.last_pid += 1;
        self.running.insert(unit.clone(), self.last_pid);
    }

    /// What came of a start that takes time, if one is under way.
    pub(crate) fn finish_start(&mut self, unit: &UnitId, start: Start) {
        if !self.underway.remove(unit) {
            return;
        }
        if start == Start::Executed {
            self.start(unit);
        }
        let unit = unit.clone();
        self.news.push(Happened::Started { unit, start });
    }

    /// Somebody ends a unit's main process.
    fn die(&mut self, unit: &UnitId, exit: Exit) {
        match (self.lingering.get(unit), self.running.get(unit)) {
            (Some(&time), Some(&pid)) => {
                let end = (Instant::now() + time, unit.clone(), pid, exit);
                self.dying.push(end);
            }
            (None, _) | (_, None) => self.end(unit, exit),
        }
    }

    /// SIGKILL ends a unit from now on, also one that it was sent before.
    pub(crate) fn relent(&mut self, unit: &UnitId) {
        self.unkillable.remove(unit);
        let condemned = self.condemned.remove(unit);
        if condemned.is_some() && condemned.as_ref() == self.running.get(unit) {
            self.end(unit, Exit::Signal(9));
        }
    }

    /// When the next process ends of those that somebody has ended.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.dying.iter().map(|(at, ..)| *at).min()
    }

    /// Ends the processes whose time has come.
    pub(crate) fn bury(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.dying)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.dying = later;
        let due: Vec<(Instant, UnitId, i32, Exit)> = due;
        for (_, unit, pid, exit) in due {
            // It may have ended by itself, and another one be in its place.
            if self.running.get(&unit) == Some(&pid) {
                self.end(&unit, exit);
            }
        }
    }

    /// Ends a unit's main process, if it runs.
    pub(crate) fn end(&mut self, unit: &UnitId, exit: Exit) {
        if let Some(pid) = self.running.remove(unit) {
            let unit = unit.clone();
            self.news.push(Happened::MainEnded { unit, pid, exit });
        }
    }

    /// Ends the command that was begun first.
    pub(crate) fn end_command(&mut self, exit: Exit) {
        if !self.commands.is_empty() {
            let command = self.commands.remove(0);
            self.forget(&command);
            self.news.push(Happened::CommandEnded { command, exit });
        }
    }

    /// Ends a unit's hook, if one is under way.
    pub(crate) fn end_hook(&mut self, unit: &UnitId, exit: Exit) {
        if let Some(command) = self.hooks.get(unit).cloned() {
            self.forget(&command);
            self.news.push(Happened::CommandEnded { command, exit });
        }
    }

    /// A command is not under way any more.
    fn forget(&mut self, command: &CommandId) {
        self.commands.retain(|other| other != command);
        if self.hooks.get(&command.unit) == Some(command) {
            self.hooks.remove(&command.unit);
        }
    }
}

/// A start that has failed.
pub(crate) fn refusal(is_temporary: bool) -> Start {
    Start::Failed {
        error: StartError::Refused {
            step: StartStep::Process,
            path: String::new(),
            error: "refused".to_owned(),
        },
        is_temporary,
    }
}

/// The runner of a [`World`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<World>>);

impl Runner for Fake {
    fn note_signals(&mut self) {}

    fn adopt(&mut self, _plan: &UnitPlan) {}

    fn forget(&mut self, unit: &UnitId) {
        let world = self.0.borrow();
        assert!(!world.running.contains_key(unit), "{unit:?} runs");
    }

    fn execute(
        &mut self,
        plan: &UnitPlan,
        _attempt: u32,
        _passed: &[(BorrowedFd<'_>, &str)],
    ) -> Start {
        let mut world = self.0.borrow_mut();
        let id = plan.id();
        if let Some(&is_temporary) = world.refused.get(&id) {
            world.note(&id, Deed::Refused { is_temporary });
            return refusal(is_temporary);
        }
        if world.slow.contains(&id) {
            world.note(&id, Deed::Underway);
            world.underway.insert(id);
            return Start::Underway;
        }
        world.note(&id, Deed::Executed);
        world.start(&id);
        Start::Executed
    }

    fn cancel(&mut self, unit: &UnitId) {
        let mut world = self.0.borrow_mut();
        world.note(unit, Deed::Cancelled);
        // Its outcome may be on its way already.
        world.finish_start(unit, refusal(false));
    }

    fn signal(&mut self, unit: &UnitId, signal: i32) {
        let mut world = self.0.borrow_mut();
        world.note(unit, Deed::Signalled);
        if !world.stubborn.contains(unit) {
            world.die(unit, Exit::Signal(signal));
        }
    }

    fn put(
        &mut self,
        _unit: &UnitId,
        _bytes: &[u8],
        _size: Option<TerminalSize>,
    ) -> Option<InputReply> {
        None
    }

    fn resize(&mut self, _size: TerminalSize, _is_meant: &dyn Fn(&UnitId) -> bool) {}

    fn ask_rest(&mut self, _unit: &UnitId, _whom: Whom) {}

    fn kill(&mut self, units: &[UnitId]) {
        let mut world = self.0.borrow_mut();
        for unit in units {
            world.note(unit, Deed::Killed);
            if !world.unkillable.contains(unit) {
                world.die(unit, Exit::Signal(9));
            } else if let Some(pid) = world.running.get(unit).copied() {
                world.condemned.insert(unit.clone(), pid);
            }
        }
    }

    fn is_empty(&mut self, unit: &UnitId) -> bool {
        !self.0.borrow().running.contains_key(unit)
    }

    fn freeze(&self, _is_frozen: bool) {}

    fn put_back(&mut self, _leases: &Path) {}

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn main_process(&self, unit: &UnitId) -> Option<i32> {
        self.0.borrow().running.get(unit).copied()
    }

    fn processes(&mut self, unit: &UnitId) -> Vec<i32> {
        self.main_process(unit).into_iter().collect()
    }

    fn is_of_no_other(&self, _pid: i32, _unit: &UnitId) -> bool {
        true
    }

    fn begin_command(
        &mut self,
        command: CommandId,
        _plan: &UnitPlan,
        _execution: &Execution,
    ) -> Result<Receiver, StartError> {
        let mut world = self.0.borrow_mut();
        match world.checks.get(&command.unit) {
            Some(&code) => world.news.push(Happened::CommandEnded {
                command,
                exit: Exit::Code(code),
            }),
            None => world.commands.push(command),
        }
        let (reader, _) = pipe_pair(1).unwrap();
        Ok(Receiver::from_owned_fd(reader).unwrap())
    }

    fn begin_hook(&mut self, command: CommandId, plan: &UnitPlan, _of: (u32, bool)) -> Start {
        let mut world = self.0.borrow_mut();
        let unit = plan.id();
        let mut hooks = plan.hooks.iter();
        let place = hooks.position(|hook| hook.execution == plan.execution);
        let deed = Deed::HookBegun {
            place: place.unwrap_or_default(),
            number: command.number,
        };
        world.note(&unit, deed);
        world.commands.push(command.clone());
        let before = world.hooks.insert(unit.clone(), command);
        assert!(before.is_none(), "a second hook beside {before:?}");
        if let Some(&code) = world.hook_codes.get(&unit) {
            world.end_hook(&unit, Exit::Code(code));
        }
        Start::Executed
    }

    fn ask_command(&mut self, command: &CommandId) {
        let mut world = self.0.borrow_mut();
        let (unit, number) = (&command.unit, command.number);
        world.note(unit, Deed::HookAsked { number });
        if world.hooks.get(unit) == Some(command) && !world.stubborn.contains(unit) {
            world.end_hook(unit, Exit::Signal(15));
        }
    }

    fn kill_command(&mut self, command: &CommandId) {
        let mut world = self.0.borrow_mut();
        let number = command.number;
        world.note(&command.unit, Deed::CommandKilled { number });
        world.forget(command);
    }

    fn take_news(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.0.borrow_mut().news)
    }

    fn drained(&self, _unit: &UnitId, _attempt: u32) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async {})
    }

    fn clear_logs(
        &self,
        _units: Vec<UnitId>,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<()>>>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(&mut self) -> Pin<Box<dyn Future<Output = bool> + '_>> {
        let is_anything_left = !self.0.borrow().running.is_empty();
        Box::pin(async move { is_anything_left })
    }
}
