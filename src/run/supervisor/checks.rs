//! Looking after the units' health.
//!
//! Whether a port is its service's own is settled first, by the owner of the listening socket, and
//! only then is anybody asked anything: an answer from a stranger's server counts for nothing.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::execute::find;
use super::{Child, Supervisor};
use crate::plan::model::{Execution, HealthPlan, ProbePlan};
use crate::run::probe::{Answer, OUTPUT_LIMIT, addresses, check_http, check_tcp};
use crate::run::process::{Reaped, Stdio, Target, signal_group};
use crate::run::snapshot::{Exit, PortState};
use crate::run::state::{Health, HealthTiming, Occurrence, Step, Verdict};
use crate::run::unit::{RunningProbe, exit_words};

/// How slow the look for a listening port becomes while a service starts. It costs some 100 µs, so
/// it need not wait as long as a check of the user's.
const LISTEN_PAUSE: Duration = Duration::from_millis(400);

impl Supervisor {
    pub(super) fn begin_checks(&mut self, index: usize) {
        let unit = &mut self.units[index];
        let (timing, is_counted) = match &unit.plan.health {
            Some(health) => (timing(health), true),
            None => (
                HealthTiming {
                    interval: LISTEN_PAUSE,
                    timeout: Duration::from_secs(30),
                    retries: u32::MAX,
                    start_period: Duration::ZERO,
                    start_interval: LISTEN_PAUSE,
                },
                false,
            ),
        };
        unit.health = Some(Health::new(
            timing,
            is_counted,
            Instant::now(),
            unit.last_probe,
        ));
    }

    pub(super) fn end_checks(&mut self, index: usize) {
        let unit = &mut self.units[index];
        if let Some(health) = unit.health.take() {
            unit.last_probe = health.last_id();
        }
        let running: Vec<u64> = unit.probes.keys().copied().collect();
        for id in running {
            self.cancel_probe(index, id);
        }
    }

    /// Does what a unit's schedule wants done by `now`.
    pub(super) fn health_due(&mut self, index: usize, now: Instant) {
        let Some(health) = &mut self.units[index].health else {
            return;
        };
        if health.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let (steps, verdict) = health.due(now);
        for step in steps {
            match step {
                Step::Begin { id } => self.begin_probe(index, id),
                Step::Cancel { id } => {
                    let unit = &mut self.units[index];
                    unit.last_answer = Some("the check took too long".to_owned());
                    self.cancel_probe(index, id);
                }
            }
        }
        self.judge_health(index, verdict);
    }

    fn judge_health(&mut self, index: usize, verdict: Verdict) {
        match verdict {
            Verdict::Unchanged => {}
            Verdict::Healthy => self.happen(index, Occurrence::Passed),
            Verdict::Unhealthy => self.happen(index, Occurrence::FailedChecks),
        }
    }

    /// Begins a check. One that can be answered at once is.
    fn begin_probe(&mut self, index: usize, id: u64) {
        let now = Instant::now();
        let unit = &self.units[index];
        let has_ports = !unit.ports.is_empty();
        let probe = unit.plan.health.as_ref().map(|health| health.probe.clone());
        if has_ports {
            self.observe(index, now);
            if self.units[index].health.is_none() {
                // What was seen has ended the attempt, and its checks with it.
                return;
            }
            if let Some(trouble) = self.units[index].ports.trouble() {
                self.answered(Answer {
                    unit: index,
                    id,
                    outcome: Err(trouble),
                });
                return;
            }
        }
        match probe {
            None => {
                let outcome = self.all_ports_listen(index);
                self.answered(Answer {
                    unit: index,
                    id,
                    outcome,
                });
            }
            Some(ProbePlan::Command(execution)) => self.begin_command(index, id, &execution),
            Some(ProbePlan::Http(http)) => match self.where_to_ask(index, &http.host, http.port) {
                Ok(host) => {
                    self.begin_task(index, id, async move { check_http(&http, &host).await });
                }
                Err(message) => {
                    self.answered(Answer {
                        unit: index,
                        id,
                        outcome: Err(message),
                    });
                }
            },
            Some(ProbePlan::Tcp { host, port }) => match self.where_to_ask(index, &host, port) {
                Ok(host) => {
                    self.begin_task(index, id, async move { check_tcp(&host, port).await });
                }
                Err(message) => {
                    self.answered(Answer {
                        unit: index,
                        id,
                        outcome: Err(message),
                    });
                }
            },
        }
    }

    fn begin_task(
        &mut self,
        index: usize,
        id: u64,
        check: impl Future<Output = Result<(), String>> + 'static,
    ) {
        let answer_tx = self.answer_tx.clone();
        let task = tokio::task::spawn_local(async move {
            let outcome = check.await;
            drop(answer_tx.send(Answer {
                unit: index,
                id,
                outcome,
            }));
        });
        self.units[index]
            .probes
            .insert(id, RunningProbe::Task(task.abort_handle()));
    }

    /// Where to ask for a port. One of the stack's own ports is asked only where the service that
    /// it was given to listens.
    fn where_to_ask(&mut self, index: usize, host: &str, port: u16) -> Result<String, String> {
        let Some(&(owner, place)) = self.port_owners.get(&port) else {
            return Ok(host.to_owned());
        };
        if !addresses(host).iter().all(|address| is_loopback(address)) {
            return Ok(host.to_owned());
        }
        if owner != index {
            self.observe(owner, Instant::now());
        }
        match &self.units[owner]
            .ports
            .get(place)
            .map_or(PortState::Held, |port| port.state.clone())
        {
            PortState::Listening { bound_to, .. } => Ok(match (host, bound_to.as_str()) {
                // A host that the user named is asked as named.
                ("localhost" | "", "0.0.0.0" | "127.0.0.1") => "127.0.0.1".to_owned(),
                ("localhost" | "", "::") => "localhost".to_owned(),
                ("localhost" | "", listening) => listening.to_owned(),
                (named, _) => named.to_owned(),
            }),
            PortState::Held
            | PortState::NotListening
            | PortState::Stolen { .. }
            | PortState::WrongPort { .. } => {
                let name = self.units[owner].label();
                Err(format!("{name} does not listen on port {port} yet"))
            }
        }
    }

    /// Takes in a check's answer.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer {
            unit: index,
            id,
            outcome,
        } = answer;
        let now = Instant::now();
        let unit = &mut self.units[index];
        unit.probes.remove(&id);
        let Some(health) = &mut unit.health else {
            return;
        };
        // While it was asked, a thief may have been seen: the answer may be his, and the port is not
        // the service's alone.
        let answer = outcome.err().or_else(|| unit.ports.trouble());
        let verdict = health.finished(id, answer.is_none(), now);
        if unit.last_answer != answer {
            unit.last_answer = answer;
            unit.is_dirty = true;
        }
        self.judge_health(index, verdict);
    }

    fn cancel_probe(&mut self, index: usize, id: u64) {
        match self.units[index].probes.remove(&id) {
            Some(RunningProbe::Task(task)) => task.abort(),
            Some(RunningProbe::Process { pid, .. }) => {
                signal_group(pid, nix::libc::SIGKILL);
            }
            None => {}
        }
    }

    /// Starts a check's command, in a session of its own, its output kept for the message.
    fn begin_command(&mut self, index: usize, id: u64, execution: &Execution) {
        match self.spawn_command(index, execution) {
            Ok((pid, output)) => {
                self.children.insert(pid, Child::Probe { unit: index, id });
                let (exit_tx, exit_rx) = oneshot::channel();
                self.units[index]
                    .probes
                    .insert(id, RunningProbe::Process { pid, exit_tx });
                let answer_tx = self.answer_tx.clone();
                tokio::task::spawn_local(async move {
                    if let Some(outcome) = watch_command(output, exit_rx).await {
                        drop(answer_tx.send(Answer {
                            unit: index,
                            id,
                            outcome,
                        }));
                    }
                });
            }
            Err(message) => self.answered(Answer {
                unit: index,
                id,
                outcome: Err(message),
            }),
        }
    }

    fn spawn_command(
        &mut self,
        index: usize,
        execution: &Execution,
    ) -> Result<(i32, Receiver), String> {
        use std::os::fd::AsFd;
        let unit = &self.units[index];
        let program = find(&unit.plan, execution)?;
        let (reader, writer) =
            crate::run::logs::pipe_pair(usize::MAX).map_err(|error| error.to_string())?;
        let reader = Receiver::from_owned_fd(reader).map_err(|error| error.to_string())?;
        let environment = unit.plan.environment.entries();
        let target = Target {
            program: &program,
            argv: &execution.argv,
            environment: &environment,
            directory: &unit.plan.directory,
        };
        let stdio = Stdio {
            stdout: writer.as_fd(),
            stderr: writer.as_fd(),
            passed: &[],
        };
        let pid = self
            .spawner
            .spawn(&target, stdio, None)
            .map_err(|error| format!("the check cannot be executed: {error}"))?;
        Ok((pid, reader))
    }

    /// A check's command has ended.
    pub(super) fn probe_ended(&mut self, index: usize, id: u64, reaped: Reaped) {
        // Whatever it left in its group is of no use to anybody.
        signal_group(reaped.pid, nix::libc::SIGKILL);
        if let Some(RunningProbe::Process { exit_tx, .. }) = self.units[index].probes.remove(&id) {
            let _ = exit_tx.send(reaped.exit);
        }
    }
}

/// Keeps the beginning of what a check prints until it has ended. `None` when it was cancelled.
async fn watch_command(
    mut output: Receiver,
    mut exit_rx: oneshot::Receiver<Exit>,
) -> Option<Result<(), String>> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    let keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    let mut is_open = true;
    let exit = loop {
        tokio::select! {
            biased;
            exit = &mut exit_rx => break exit.ok()?,
            read = output.read(&mut buffer), if is_open => match read {
                Ok(0) | Err(_) => is_open = false,
                Ok(length) => keep(&mut kept, &buffer[..length]),
            },
        }
    };
    // Only as much as is kept: somebody who still has the pipe may fill it faster than it is read.
    while kept.len() < OUTPUT_LIMIT
        && let Ok(length @ 1..) = output.try_read(&mut buffer)
    {
        keep(&mut kept, &buffer[..length]);
    }
    if exit == Exit::Code(0) {
        return Some(Ok(()));
    }
    let text = String::from_utf8_lossy(&kept);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let words = exit_words(exit);
    Some(Err(last.map_or_else(
        || format!("the check {words}"),
        |last| format!("the check {words}: {last}"),
    )))
}

fn timing(health: &HealthPlan) -> HealthTiming {
    HealthTiming {
        interval: health.interval,
        timeout: health.timeout,
        retries: health.retries,
        start_period: health.start_period,
        start_interval: health.start_interval,
    }
}

fn is_loopback(address: &str) -> bool {
    address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}
