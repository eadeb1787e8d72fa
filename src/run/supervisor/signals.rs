//! What each signal does to the supervisor (the table is in `docs/design/supervision.md`).

use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Supervisor;
use crate::run::guardian::Strokes;
use crate::run::process::{has_job_control, signal_group, stop_self};
use crate::run::snapshot::NoticeLevel;
use crate::support::name::UnitId;

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// At least one child has ended.
    ChildEnded,
    /// Somebody wants something: the signal's number.
    Other(i32),
}

/// The signals that the supervisor handles.
pub(super) struct Signals {
    child: Signal,
    others: Vec<(i32, Signal)>,
}

impl Signals {
    /// Installs the handlers. From then on the signals may be unblocked.
    pub(super) fn install() -> io::Result<Self> {
        let numbers = [
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGTSTP,
        ];
        let others = numbers
            .into_iter()
            .map(|number| Ok((number, signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            child: signal(SignalKind::child())?,
            others,
        })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Arrived {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.others {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(Arrived::Other(*number));
                }
            }
            self.child.poll_recv(context).map(|_| Arrived::ChildEnded)
        })
        .await
    }
}

impl Supervisor {
    pub(super) fn signalled(&mut self, signal: i32, strokes: &mut Strokes) {
        match signal {
            libc::SIGINT | libc::SIGTERM => {
                if self.signal.is_none() {
                    self.signal = Some(signal);
                }
                match strokes.count() {
                    0 | 1 => self.begin_drain(self.options.grace),
                    _ => {
                        if !self.drain.is_some_and(|drain| drain.is_killed) {
                            self.notice(None, NoticeLevel::Warning, "killing everything now");
                        }
                        self.kill_everything();
                    }
                }
            }
            libc::SIGHUP if self.seat.ignores_hangup => {}
            libc::SIGHUP => self.begin_drain(self.options.grace),
            libc::SIGQUIT => {
                self.dump();
                self.signal.get_or_insert(libc::SIGTERM);
                self.begin_drain(self.options.grace);
            }
            libc::SIGUSR1 => self.dump(),
            libc::SIGTSTP => self.suspend(),
            _ => {}
        }
    }

    /// Ctrl-Z: everything stands still, clocks of ours included, until somebody continues it.
    fn suspend(&mut self) {
        if self.options.is_detached {
            return;
        }
        if !has_job_control(self.seat.guardian_pid) {
            self.notice(
                None,
                NoticeLevel::Info,
                "Ctrl-Z is ignored: no shell is here that could continue the stack",
            );
            return;
        }
        let groups: Vec<i32> = self.units.iter().filter_map(|unit| unit.pid).collect();
        for &pid in &groups {
            signal_group(pid, libc::SIGSTOP);
        }
        let before = monotonic();
        if let Err(error) = stop_self() {
            tracing::warn!(%error, "could not stop");
        }
        let gap = monotonic().saturating_sub(before);
        for unit in &mut self.units {
            unit.shift(gap);
        }
        for &pid in &groups {
            signal_group(pid, libc::SIGCONT);
        }
    }

    /// Says where everything is, for whoever asked with a signal.
    fn dump(&self) {
        for service in self.snapshot().services {
            let pid = service
                .pid
                .map_or_else(String::new, |pid| format!(", pid {pid}"));
            let reason = service
                .reason
                .map_or_else(String::new, |reason| format!(": {reason}"));
            self.notice(
                self.index_of(&UnitId {
                    service: service.service.clone(),
                    replica: service.replica,
                }),
                NoticeLevel::Info,
                format!(
                    "{}{pid}, attempt {}{reason}",
                    service.phase.word(),
                    service.attempt
                ),
            );
        }
    }
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}
