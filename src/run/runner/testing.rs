//! A runner for tests: nothing runs, and nothing takes time but the clock that the test moves.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use tokio::net::unix::pipe::Receiver;

use super::{CommandId, Happened, Runner, Start, Whom};
use crate::plan::model::{Execution, UnitPlan};
use crate::run::logs::pipe_pair;
use crate::run::reason::{StartError, StartStep};
use crate::run::snapshot::Exit;
use crate::support::name::UnitId;

/// What the units of a test do.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// Main processes by unit.
    pub(crate) running: HashMap<UnitId, i32>,
    /// Units that do not end on a stop signal.
    pub(crate) stubborn: HashSet<UnitId>,
    /// Units that not even SIGKILL ends.
    pub(crate) unkillable: HashSet<UnitId>,
    /// Units whose start takes time, until the test says what came of it.
    pub(crate) slow: HashSet<UnitId>,
    /// Commands under way.
    pub(crate) commands: Vec<CommandId>,
    /// What was executed, signalled and killed, in order: `execute web`.
    pub(crate) said: Vec<String>,
    /// What the runner has not told yet.
    pub(crate) news: Vec<Happened>,
    last_pid: i32,
}

impl World {
    fn say(&mut self, verb: &str, unit: &UnitId) {
        self.said.push(format!("{verb} {}", unit.label(1)));
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
            self.news.push(Happened::CommandEnded { command, exit });
        }
    }
}

/// The runner of a [`World`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<World>>);

impl Runner for Fake {
    fn note_signals(&mut self) {}

    fn execute(
        &mut self,
        plan: &UnitPlan,
        _attempt: u32,
        _passed: &[(BorrowedFd<'_>, &str)],
    ) -> Start {
        let mut world = self.0.borrow_mut();
        let id = plan.id();
        world.say("execute", &id);
        if world.slow.contains(&id) {
            return Start::Underway;
        }
        world.start(&id);
        Start::Executed
    }

    fn cancel(&mut self, unit: &UnitId) {
        let mut world = self.0.borrow_mut();
        world.say("cancel", unit);
        let start = Start::Failed {
            error: StartError::Refused {
                step: StartStep::Process,
                path: String::new(),
                error: "cancelled".to_owned(),
            },
            is_temporary: false,
        };
        let unit = unit.clone();
        world.news.push(Happened::Started { unit, start });
    }

    fn signal(&mut self, unit: &UnitId, signal: i32) {
        let mut world = self.0.borrow_mut();
        world.say("signal", unit);
        if !world.stubborn.contains(unit) {
            world.end(unit, Exit::Signal(signal));
        }
    }

    fn ask_rest(&mut self, _unit: &UnitId, _whom: Whom) {}

    fn kill(&mut self, units: &[UnitId]) {
        let mut world = self.0.borrow_mut();
        for unit in units {
            world.say("kill", unit);
            if !world.unkillable.contains(unit) {
                world.end(unit, Exit::Signal(9));
            }
        }
    }

    fn is_empty(&mut self, unit: &UnitId) -> bool {
        !self.0.borrow().running.contains_key(unit)
    }

    fn freeze(&self, _is_frozen: bool) {}

    fn put_back(&mut self, _leases: &Path) {}

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
        self.0.borrow_mut().commands.push(command);
        let (reader, _) = pipe_pair(1).unwrap();
        Ok(Receiver::from_owned_fd(reader).unwrap())
    }

    fn kill_command(&mut self, command: &CommandId) {
        self.0
            .borrow_mut()
            .commands
            .retain(|other| other != command);
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
