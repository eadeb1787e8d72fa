//! Doing what a unit's machine asks for.

use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::ports::ProcessName;
use crate::run::news::News;
use crate::run::news::NoticeLevel;
use crate::run::reason::{LeftBehind, StartError};
use crate::run::runner::{Start, Whom};
use crate::run::snapshot::{Cause, Exit, Phase};
use crate::run::state::{Action, Occurrence, Rest, State};
use crate::support::name::UnitId;

/// What watches something and ends by itself after a longer time has another reason for it.
const SOON: Duration = Duration::from_secs(10);

/// How many of the processes that a service left behind are named.
const NAMED: usize = 3;

impl Supervisor {
    pub(super) fn act(&mut self, id: &UnitId, action: Action) {
        match action {
            Action::Execute => {
                let start = self.execute(id);
                self.started(id, start);
            }
            Action::CancelExecute if self.ask_hook(id) => {}
            Action::CancelExecute => self.runner.cancel(id),
            Action::BeginChecks => self.begin_checks(id),
            Action::EndChecks => {
                self.end_checks(id);
                self.end_hook(id);
            }
            Action::BeginHooks(time) => self.begin_hooks(id, time),
            Action::HardenPorts => self.units[id].ports.keep(),
            Action::SignalStop => {
                let unit = &mut self.units[id];
                // A server that closes its listener first and ends later leaves the port to nobody.
                unit.ports.shut();
                self.runner.signal(id, unit.plan.stop_signal);
            }
            Action::SignalRest => {
                // They are named while they are there.
                let mut left = self.left_behind(id);
                if left.processes == 0 {
                    left = self.units[id].left.take().unwrap_or(left);
                }
                self.runner.ask_rest(id, Whom::All);
                self.units[id].left = Some(left.clone());
                self.notice(Some(id), NoticeLevel::Warning, News::LeftBehind(left));
            }
            Action::SignalStrays => self.runner.ask_rest(id, Whom::OutsideGroup),
            Action::KillTree => self.doomed.push(id.clone()),
            Action::CheckTree => self.check_tree(id),
        }
    }

    /// What runs of a unit, for people.
    pub(super) fn left_behind(&mut self, id: &UnitId) -> LeftBehind {
        let pids = self.runner.processes(id);
        let named = pids.iter().take(NAMED);
        LeftBehind {
            processes: pids.len(),
            named: named.map(|&pid| ProcessName::of(pid)).collect(),
        }
    }

    fn execute(&mut self, id: &UnitId) -> Start {
        let port_failed = |trouble| Start::Failed {
            error: StartError::Port { trouble },
            is_temporary: true,
        };
        if let Some(trouble) = self.look_before_start(id) {
            return port_failed(trouble);
        }
        self.note_strangers(id);
        let unit = &mut self.units[id];
        // The one window in which somebody else could take a port opens here.
        if let Err(trouble) = unit.ports.open() {
            return port_failed(trouble);
        }
        let attempt = unit.machine.attempt() + 1;
        let listening = match self.listen(id, attempt) {
            Ok(listening) => listening,
            Err(start) => return start,
        };
        let unit = &self.units[id];
        let plan = listening.as_ref().unwrap_or(&unit.plan);
        let passed = unit.ports.passed();
        self.runner.execute(plan, attempt, &passed)
    }

    /// Whether a unit that has just ended with success did so since its standard input is closed: many
    /// programs that watch files take that for the end of whoever has started them.
    pub(super) fn may_have_missed_input(&self, id: &UnitId) -> bool {
        let unit = &self.units[id];
        let process = &unit.plan.process;
        let seems_to_watch = || {
            let mut words = unit.plan.execution.argv.iter();
            words.any(|word| word.to_ascii_lowercase().contains("watch"))
        };
        let is_soon = || {
            let begun = unit.first_executed;
            begun.is_some_and(|begun| begun.elapsed() < SOON)
        };
        let is_closed = !process.tty && !process.stdin_open;
        let is_by_itself = unit.phase().is_alive() && unit.phase() != Phase::Stopping;
        is_closed && is_by_itself && is_soon() && !self.is_one_shot(id) && seems_to_watch()
    }

    /// Takes in what came of an execution, now or later.
    pub(super) fn started(&mut self, id: &UnitId, start: Start) {
        let occurrence = match start {
            Start::Underway => return,
            Start::Executed => {
                let pid = self.runner.main_process(id);
                self.units[id].note_executed(pid, Instant::now());
                Occurrence::Executed
            }
            Start::Failed {
                error,
                is_temporary,
            } => Occurrence::NotExecuted {
                error,
                is_temporary,
            },
        };
        self.happen(id, occurrence);
    }

    /// Tells a unit whose main process has ended whether anything of it is left.
    pub(super) fn check_tree(&mut self, id: &UnitId) {
        let is_empty = self.runner.is_empty(id);
        let left = self.units[id].left_at_end.take();
        if left.is_some() || !is_empty {
            self.units[id].left = left;
            let is_awaited = self.is_one_shot(id);
            self.happen(id, Occurrence::TreeLeft { is_awaited });
        }
        if is_empty {
            self.happen(id, Occurrence::TreeEmpty);
        }
    }

    /// What follows from a unit's new state for the stack.
    pub(super) fn after_change(&mut self, id: &UnitId) {
        match self.units[id].machine.state() {
            State::Resting(Rest::Failed(_)) => {
                self.blame_ports(id);
                if self.options.abort_on_failure && self.ending.is_none() {
                    let unit = self.units[id].unit_ref();
                    self.notice(
                        None,
                        NoticeLevel::Error,
                        News::StoppingAfterFailure { unit },
                    );
                    self.end_everything(Cause::Down, self.options.grace);
                }
                self.note_stop_with(id);
            }
            State::Resting(Rest::Completed | Rest::Stopped) => self.note_stop_with(id),
            State::Resting(Rest::Pending)
            | State::Scheduled(_)
            | State::Waiting
            | State::Executing { .. }
            | State::Up { .. }
            | State::Stopping { .. }
            | State::Backoff { .. } => {}
        }
    }

    /// The service of `--exit-code-from` has ended: so does everything.
    fn note_stop_with(&mut self, id: &UnitId) {
        let unit = &self.units[id];
        if self.options.stop_with.as_ref() != Some(&id.service) || self.stop_exit.is_some() {
            return;
        }
        // It is on its way up again.
        if unit.seen().is_old() {
            return;
        }
        // What a signal to us ended has not ended by itself: the code tells of the signal.
        if self.signal.is_none() {
            self.stop_exit = unit.machine.last_exit().map(|exit| {
                // One that ended with 0 beside somebody who has its port has failed all the same.
                let is_failed_success =
                    unit.phase() == Phase::Failed && unit.machine.is_success(exit);
                if is_failed_success {
                    Exit::Code(1)
                } else {
                    exit
                }
            });
        }
        if self.ending.is_none() {
            let (unit, is_removed) = (unit.unit_ref(), unit.is_leaving());
            let news = News::StoppingAfterEnd { unit, is_removed };
            self.notice(None, NoticeLevel::Info, news);
            self.end_everything(Cause::Down, self.options.grace);
        }
    }
}
