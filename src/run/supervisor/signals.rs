//! What each signal does to the supervisor (the table is in `docs/design/supervision.md`).

use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Supervisor;
use crate::run::guardian::Strokes;
use crate::run::launch::Seat;
use crate::run::process::{has_job_control, stop_self};
use crate::run::reason::News;
use crate::run::snapshot::{Cause, NoticeLevel};
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
    pub(super) fn signalled(&mut self, signal: i32, seat: &Seat, strokes: &mut Strokes) {
        match signal {
            libc::SIGINT | libc::SIGTERM => {
                if self.signal.is_none() {
                    self.signal = Some(signal);
                }
                match strokes.count() {
                    0 | 1 => self.end_everything(Cause::Down, self.options.grace),
                    _ => {
                        if self.ending != Some(Cause::Kill) {
                            self.notice(None, NoticeLevel::Warning, News::KillingEverything);
                        }
                        self.end_everything(Cause::Kill, None);
                    }
                }
            }
            libc::SIGHUP if seat.ignores_hangup => {}
            libc::SIGHUP => self.end_everything(Cause::Down, self.options.grace),
            libc::SIGQUIT => {
                self.tell_state();
                self.signal.get_or_insert(libc::SIGTERM);
                self.end_everything(Cause::Down, self.options.grace);
            }
            libc::SIGUSR1 => self.tell_state(),
            libc::SIGTSTP => self.suspend(seat),
            _ => {}
        }
    }

    /// Ctrl-Z: everything stands still, clocks of ours included, until somebody continues it.
    fn suspend(&mut self, seat: &Seat) {
        if self.options.is_detached {
            return;
        }
        if !has_job_control(seat.guardian_pid) {
            self.notice(None, NoticeLevel::Info, News::CannotSuspend);
            return;
        }
        self.runner.freeze(true);
        let before = monotonic();
        if let Err(error) = stop_self() {
            tracing::warn!(%error, "could not stop");
        }
        let gap = monotonic().saturating_sub(before);
        for unit in self.units.values_mut() {
            unit.shift(gap);
        }
        let ids: Vec<UnitId> = self.units.keys().cloned().collect();
        for id in &ids {
            self.mark(id);
        }
        self.runner.freeze(false);
    }

    /// Says where every unit is, for whoever asked with a signal.
    fn tell_state(&self) {
        for snapshot in self.snapshot().services {
            let unit = snapshot.unit();
            let state = Box::new(snapshot);
            self.notice(Some(&unit), NoticeLevel::Info, News::State { state });
        }
    }
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}
