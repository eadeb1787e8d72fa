//! What each signal does to the supervisor (the table is in `docs/design/supervision.md`).

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::Supervisor;
use crate::run::guardian::Strokes;
use crate::run::launch::Seat;
use crate::run::link::{SupervisorEnd, Wish};
use crate::run::news::News;
use crate::run::news::NoticeLevel;
use crate::run::snapshot::Cause;
use crate::support::name::UnitId;

/// The signals that the supervisor handles; what users want comes before the end of children.
pub(super) const SIGNALS: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGCHLD,
];

impl Supervisor {
    pub(super) fn signalled(&mut self, signal: Signal, seat: &Seat, strokes: &mut Strokes) {
        match signal {
            Signal::SIGCHLD => self.children_ended(),
            Signal::SIGINT | Signal::SIGTERM => {
                self.signal.get_or_insert(signal as i32);
                if strokes.count() <= 1 {
                    self.end_everything(Cause::Down, self.options.grace);
                    return;
                }
                if self.ending != Some(Cause::Kill) {
                    self.notice(None, NoticeLevel::Warning, News::KillingEverything);
                }
                self.end_everything(Cause::Kill, None);
            }
            Signal::SIGHUP if seat.ignores_hangup => {}
            Signal::SIGHUP => self.end_everything(Cause::Down, self.options.grace),
            Signal::SIGQUIT => {
                self.tell_state();
                self.signal.get_or_insert(Signal::SIGTERM as i32);
                self.end_everything(Cause::Down, self.options.grace);
            }
            Signal::SIGUSR1 => self.tell_state(),
            _ => {}
        }
    }

    /// The client that has started this stack wants something.
    pub(super) fn wished(&mut self, wish: Wish, link: &SupervisorEnd) {
        match wish {
            Wish::Freeze => {
                self.freeze();
                link.say_frozen();
            }
            Wish::Thaw => self.thaw(),
            Wish::Gone => {
                self.notice(None, NoticeLevel::Warning, News::ClientGone);
                self.end_everything(Cause::Down, self.options.grace);
            }
        }
    }

    /// Ctrl-Z: units and checks stand still, and no timer of theirs falls due.
    pub(super) fn freeze(&mut self) {
        if self.frozen_at.is_none() {
            self.frozen_at = Some(Instant::now());
            self.runner.freeze(true);
        }
    }

    /// What stands still goes on, as if no time had passed.
    pub(super) fn thaw(&mut self) {
        let Some(since) = self.frozen_at.take() else {
            return;
        };
        let gap = since.elapsed();
        let ids: Vec<UnitId> = self.units.keys().cloned().collect();
        for id in &ids {
            self.units[id].shift(gap);
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
