//! Looking after the units' health.
//!
//! When to look is decided in `run::state`; whose an answer is, and so whether anybody is asked at all,
//! in `answers`.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use crate::plan::model::{Execution, HealthPlan, ProbePlan};
use crate::run::auxiliary::{self, Outcome};
use crate::run::news::{News, NoticeLevel};
use crate::run::notify::Notified;
use crate::run::probe::{Answer, check_http, check_tcp};
use crate::run::reason::CheckFailure;
use crate::run::runner::CommandId;
use crate::run::snapshot::{Exit, Phase};
use crate::run::state::{CheckStep, Health, HealthTiming, Occurrence, Verdict};
use crate::run::unit::RunningCheck;
use crate::support::name::UnitId;

/// How slow the look for a listening port becomes while a service starts. It costs some 100 µs, so
/// it need not wait as long as a check of the user's.
const LISTEN_PAUSE: Duration = Duration::from_millis(400);

/// For how long after the start what passes may have been there before, and for how long a server that
/// serves from another session may be one whose starter is about to end.
const DOUBT: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(super) fn begin_checks(&mut self, id: &UnitId) {
        let doubt = if self.is_answer_its_own(id) {
            Duration::ZERO
        } else {
            DOUBT
        };
        let unit = &mut self.units[id];
        let (timing, is_counted) = match &unit.plan.health {
            Some(health) => (timing(health, doubt), true),
            None => (
                HealthTiming {
                    interval: LISTEN_PAUSE,
                    timeout: Duration::from_secs(30),
                    retries: u32::MAX,
                    start_period: Duration::ZERO,
                    start_interval: LISTEN_PAUSE,
                    doubt,
                },
                false,
            ),
        };
        unit.health = Some(Health::new(
            timing,
            is_counted,
            Instant::now(),
            unit.last_check,
        ));
    }

    pub(super) fn end_checks(&mut self, id: &UnitId) {
        let unit = &mut self.units[id];
        if let Some(health) = unit.health.take() {
            unit.last_check = health.last_id();
        }
        let running: Vec<u64> = unit.checks.keys().copied().collect();
        for number in running {
            self.cancel_check(id, number);
        }
    }

    /// Does what a unit's schedule wants done by `now`.
    pub(super) fn health_due(&mut self, id: &UnitId, now: Instant) {
        let Some(health) = &mut self.units[id].health else {
            return;
        };
        if health.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let (steps, verdict) = health.due(now);
        for step in steps {
            match step {
                CheckStep::Begin { id: number } => self.begin_check(id, number),
                CheckStep::Cancel { id: number } => {
                    self.units[id].last_answer = Some(CheckFailure::TimedOut);
                    self.cancel_check(id, number);
                }
            }
        }
        self.judge_health(id, verdict);
    }

    fn judge_health(&mut self, id: &UnitId, verdict: Verdict) {
        match verdict {
            Verdict::Unchanged => {}
            Verdict::Healthy => self.happen(id, Occurrence::Passed),
            Verdict::Unhealthy => self.find_unhealthy(id),
        }
    }

    /// A unit is not well, for the reason that its last answer gives. Where it is restarted for it,
    /// people learn why.
    pub(super) fn find_unhealthy(&mut self, id: &UnitId) {
        let last = self.units[id].last_answer.clone();
        self.happen(id, Occurrence::FailedChecks);
        let unit = &mut self.units[id];
        if unit.phase() == Phase::Stopping {
            unit.restarted_for.clone_from(&last);
            let news = News::RestartingUnhealthy { last };
            self.notice(Some(id), NoticeLevel::Warning, news);
        }
    }

    /// Begins a check. One that can be answered at once is.
    fn begin_check(&mut self, id: &UnitId, number: u64) {
        let unit = &self.units[id];
        let probe = unit.plan.health.as_ref().map(|health| health.probe.clone());
        if !unit.ports.is_empty() {
            self.observe(id, Instant::now());
            let unit = &self.units[id];
            if unit.health.is_none() {
                // What was seen has ended the attempt, and its checks with it.
                return;
            }
            if let Some(trouble) = unit.ports.trouble() {
                return self.answer(id, number, Err(CheckFailure::Port { trouble }));
            }
        }
        match probe {
            None => {
                let outcome = self.all_ports_listen(id);
                self.answer(id, number, outcome);
            }
            Some(ProbePlan::Log { pattern }) => {
                let unit = &self.units[id];
                let has_printed = unit.printed == Some(unit.machine.attempt());
                let outcome = has_printed.then_some(());
                self.answer(
                    id,
                    number,
                    outcome.ok_or(CheckFailure::NotPrinted { pattern }),
                );
            }
            Some(ProbePlan::Notify { .. }) => {
                let notified = self.units[id].notified.as_ref();
                let outcome = notified.map_or(Err(CheckFailure::NotReady), Notified::outcome);
                self.answer(id, number, outcome);
            }
            Some(ProbePlan::Command(execution)) => self.begin_command(id, number, &execution),
            Some(ProbePlan::Http(http)) => match self.where_to_ask(id, &http.host, http.port) {
                Ok(host) => {
                    self.begin_task(id, number, async move { check_http(&http, &host).await });
                }
                Err(failure) => self.answer(id, number, Err(failure)),
            },
            Some(ProbePlan::Tcp { host, port }) => match self.where_to_ask(id, &host, port) {
                Ok(host) => {
                    self.begin_task(id, number, async move { check_tcp(&host, port).await });
                }
                Err(failure) => self.answer(id, number, Err(failure)),
            },
        }
    }

    fn answer(&mut self, id: &UnitId, number: u64, outcome: Result<(), CheckFailure>) {
        self.answered(Answer {
            unit: id.clone(),
            id: number,
            outcome,
        });
    }

    fn begin_task(
        &mut self,
        id: &UnitId,
        number: u64,
        check: impl Future<Output = Result<(), CheckFailure>> + 'static,
    ) {
        let answer_tx = self.answer_tx.clone();
        let unit = id.clone();
        let task = tokio::task::spawn_local(async move {
            let outcome = check.await;
            drop(answer_tx.send(Answer {
                unit,
                id: number,
                outcome,
            }));
        });
        self.units[id]
            .checks
            .insert(number, RunningCheck::Task(task.abort_handle()));
    }

    /// Takes in a check's answer.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer {
            unit: id,
            id: number,
            outcome,
        } = answer;
        if outcome.is_ok() && self.has_main_ended(&id) {
            return;
        }
        let is_from_elsewhere = self.is_served_from_elsewhere(&id);
        let Some(unit) = self.units.get_mut(&id) else {
            return;
        };
        unit.checks.remove(&number);
        let Some(health) = &mut unit.health else {
            return;
        };
        // While it was asked, somebody may have taken the port: the answer may be his.
        let trouble = || {
            let trouble = unit.ports.trouble()?;
            Some(CheckFailure::Port { trouble })
        };
        let failure = outcome.err().or_else(trouble);
        let now = Instant::now();
        let passed = failure.is_none();
        if passed && is_from_elsewhere && !std::mem::replace(&mut unit.is_doubted, true) {
            health.doubt(now + DOUBT);
        }
        let verdict = health.finished(number, passed, now);
        unit.last_answer = failure;
        self.mark(&id);
        self.judge_health(&id, verdict);
    }

    /// Whether the main process of a unit has ended, be it this moment: somebody else has answered then.
    fn has_main_ended(&mut self, id: &UnitId) -> bool {
        self.children_ended();
        self.runner.main_process(id).is_none()
    }

    fn cancel_check(&mut self, id: &UnitId, number: u64) {
        match self.units[id].checks.remove(&number) {
            Some(RunningCheck::Task(task)) => task.abort(),
            Some(RunningCheck::Command) => {
                let command = CommandId {
                    unit: id.clone(),
                    number,
                };
                self.command_ends.remove(&command);
                self.runner.kill_command(&command);
            }
            None => {}
        }
    }

    /// Begins a check's command, its output kept for the message.
    fn begin_command(&mut self, unit: &UnitId, number: u64, execution: &Execution) {
        let command = CommandId {
            unit: unit.clone(),
            number,
        };
        let plan = &self.units[unit].plan;
        let output = match self.runner.begin_command(command.clone(), plan, execution) {
            Ok(output) => output,
            Err(error) => {
                return self.answered(Answer {
                    unit: unit.clone(),
                    id: number,
                    outcome: Err(CheckFailure::NotExecuted { error }),
                });
            }
        };
        let (exit_tx, exit_rx) = oneshot::channel();
        self.command_ends.insert(command, exit_tx);
        self.units[unit]
            .checks
            .insert(number, RunningCheck::Command);
        let answer_tx = self.answer_tx.clone();
        let unit = unit.clone();
        tokio::task::spawn_local(async move {
            let Some(Outcome { exit, last_line }) = auxiliary::watch(output, exit_rx).await else {
                return;
            };
            let outcome = match exit {
                Exit::Code(0) => Ok(()),
                exit => Err(CheckFailure::Exited { exit, last_line }),
            };
            // Without a supervisor nobody wants to know.
            let _ = answer_tx.send(Answer {
                unit,
                id: number,
                outcome,
            });
        });
    }
}

fn timing(health: &HealthPlan, doubt: Duration) -> HealthTiming {
    HealthTiming {
        interval: health.interval,
        timeout: health.timeout,
        retries: health.retries,
        start_period: health.start_period,
        start_interval: health.start_interval,
        doubt,
    }
}
