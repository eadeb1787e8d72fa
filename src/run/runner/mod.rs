//! What runs a unit: the supervisor's one way to the world outside.
//!
//! [`Processes`] runs units as processes of this machine. The tests have a runner of their own
//! ([`testing`]), under which nothing takes time but the clock that they move. A further kind of unit is
//! a further implementation.
//!
//! A runner does what it is told and says what happened. It decides nothing: when a unit starts, how
//! long it may take to stop and what its end means is the business of `run::state`.

mod apart;
mod processes;
mod refusals;
mod rest;
#[cfg(test)]
pub(crate) mod testing;
mod trees;
mod wires;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::pin::Pin;

use tokio::net::unix::pipe::Receiver;

pub(crate) use apart::begin_apart;
pub(crate) use processes::Processes;
pub(crate) use refusals::spawn_error;

use super::control::{InputReply, TerminalSize};
use super::reason::StartError;
use super::snapshot::{Exit, Usage};
use crate::plan::model::{Execution, UnitPlan};
use crate::support::name::UnitId;

/// A command that runs beside a unit, in its environment: a health check, or a hook.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CommandId {
    /// Whose.
    pub(crate) unit: UnitId,
    /// Its number; no two commands of a unit have the same.
    pub(crate) number: u64,
}

/// What came of a request to execute a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// Its program runs: "executed" means that `exec` succeeded.
    Executed,
    /// It does not, and why; whether trying again may help.
    Failed {
        error: StartError,
        is_temporary: bool,
    },
    /// It takes time. [`Happened::Started`] says what came of it.
    #[cfg_attr(not(test), expect(dead_code, reason = "a process starts at once"))]
    Underway,
}

/// Who of a unit's processes is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Everybody.
    All,
    /// Who has not been sent the unit's stop signal with the main process's group.
    OutsideGroup,
}

/// Something that happened to what a runner runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A start that took time is over.
    #[cfg_attr(not(test), expect(dead_code, reason = "a process starts at once"))]
    Started { unit: UnitId, start: Start },
    /// A start that takes time has got further.
    #[cfg_attr(not(test), expect(dead_code, reason = "a process starts at once"))]
    Progressed {
        unit: UnitId,
        step: String,
        percent: Option<u8>,
    },
    /// The main process of a unit has ended. What it printed may not be in the files yet.
    MainEnded { unit: UnitId, pid: i32, exit: Exit },
    /// A command has ended.
    CommandEnded { command: CommandId, exit: Exit },
    /// Something of a unit besides its main process has ended.
    TreeChanged { unit: UnitId },
}

/// Runs units. See the module's documentation.
pub(crate) trait Runner {
    /// Notes which signals are handled here, now that the handlers stand: a child must not have them.
    fn note_signals(&mut self);

    /// Executes a unit's program for the given attempt, with these listening sockets passed to it.
    fn execute(
        &mut self,
        plan: &UnitPlan,
        attempt: u32,
        passed: &[(BorrowedFd<'_>, &str)],
    ) -> Start;

    /// The plan of a unit is another one from now on, also for what runs of it already.
    fn adopt(&mut self, plan: &UnitPlan);

    /// A unit of which nothing is left is not part of the stack any more.
    fn forget(&mut self, unit: &UnitId);

    /// Gives up a start that is under way. Its outcome is told all the same.
    fn cancel(&mut self, unit: &UnitId);

    /// Sends a signal to the main process and its group, and continues them: what is stopped acts on
    /// nothing.
    fn signal(&mut self, unit: &UnitId, signal: i32);

    /// Writes to the standard input of a unit what it takes now, and sets the size of its terminal.
    /// `None` where its input is closed, or nothing of it runs.
    fn put(
        &mut self,
        unit: &UnitId,
        bytes: &[u8],
        size: Option<TerminalSize>,
    ) -> Option<InputReply>;

    /// Gives terminals a size, those of units that are meant and all that begin later.
    fn resize(&mut self, size: TerminalSize, is_meant: &dyn Fn(&UnitId) -> bool);

    /// Asks what is left of a unit to end, each process once.
    fn ask_rest(&mut self, unit: &UnitId, whom: Whom);

    /// Kills everything that descends from these units.
    fn kill(&mut self, units: &[UnitId]);

    /// Whether nothing of a unit is left. Where that is so, nothing is kept of its last attempt.
    fn is_empty(&mut self, unit: &UnitId) -> bool;

    /// Stops the processes of all units where they are, or lets them go on.
    fn freeze(&self, is_frozen: bool);

    /// The main process of a unit, while it has not been reaped.
    fn main_process(&self, unit: &UnitId) -> Option<i32>;

    /// All processes of a unit that can be found now.
    fn processes(&mut self, unit: &UnitId) -> Vec<i32>;

    /// Whether a process belongs to this stack, and to no other unit of it that runs.
    fn is_of_no_other(&self, pid: i32, unit: &UnitId) -> bool;

    /// Begins a command in a unit's environment and directory; what it prints comes back on the pipe.
    fn begin_command(
        &mut self,
        command: CommandId,
        plan: &UnitPlan,
        execution: &Execution,
    ) -> Result<Receiver, StartError>;

    /// Begins a command that belongs to an attempt of a unit, to whose log it prints. It is given as what
    /// the unit's plan would execute, and may be the first of the attempt.
    fn begin_hook(&mut self, command: CommandId, plan: &UnitPlan, of: (u32, bool)) -> Start;

    /// Asks a command and its group to end.
    fn ask_command(&mut self, command: &CommandId);

    /// Kills a command with everything in its group. Nothing is told of its end any more.
    fn kill_command(&mut self, command: &CommandId);

    /// What has happened since the last call, after a child has ended.
    fn take_news(&mut self) -> Vec<Happened>;

    /// Returns once everything that an attempt has printed is in the log files.
    fn drained(&self, unit: &UnitId, attempt: u32) -> Pin<Box<dyn Future<Output = ()>>>;

    /// Writes anew, at this path, what the next supervisor needs to find what runs, where it was removed.
    fn put_back(&mut self, leases: &Path);

    /// What everything has used, if that is counted.
    fn usage(&self) -> Option<Usage>;

    /// Removes what these units have logged, of all of them where none is named.
    fn clear_logs(&self, units: Vec<UnitId>) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;

    /// Ends what is left after everything has ended, whoever it belongs to. Returns whether anything
    /// is left all the same.
    fn finish(&mut self) -> Pin<Box<dyn Future<Output = bool> + '_>>;
}
