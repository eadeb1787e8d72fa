//! The guardian: the parent of the supervisor, and the last line of defence.
//!
//! Single-threaded, without a runtime, with no fatal path: it waits for signals and for the
//! supervisor's end. Should the supervisor be killed, every process of the stack becomes the
//! guardian's child (both are subreapers), and it stops them all by the table that the two share.

mod stop;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use nix::sys::signal::{SigSet, Signal};

use super::process::{Group, SharedTable, has_children, reap_all, signal_process, wait_for_signal};
use super::snapshot::Exit;
use stop::{KILL_LIMIT, SHORT_LIMIT, Stopper};

/// The signals that the guardian waits for; blocked before the supervisor is forked.
pub(crate) const SIGNALS: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
];

/// Two strokes nearer than this are one: a wrapper passes on what the terminal sent already.
pub const STROKE: Duration = Duration::from_millis(500);

/// The stroke at which the supervisor is not asked any more.
const LAST_STROKE: u32 = 3;

/// How the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The supervisor ended by itself, with this exit code.
    Ended(i32),
    /// The supervisor was killed by a signal; everything that it had started has been stopped.
    Lost {
        /// Whether anything is left all the same.
        is_anything_left: bool,
    },
}

/// Watches over a supervisor until it ends. What the table names is to be stopped then, and what is in
/// the group, which may not be there. `on_loss` is told when it was killed, before the stopping begins.
pub(crate) fn watch(
    supervisor: i32,
    signals: &SigSet,
    (table, group): (&SharedTable, Option<&Path>),
    ignores_hangup: bool,
    on_loss: &dyn Fn(i32),
) -> Watch {
    let mut strokes = Strokes::default();
    let mut stopper = Stopper::new();
    loop {
        let Some(signal) = wait_for_signal(signals, None) else {
            continue;
        };
        match signal {
            SIGCHLD => {
                let stop = |stopper: &mut Stopper, limit, kill_limit| {
                    // The supervisor has made it, if anybody has.
                    let group = group.and_then(Group::open);
                    stopper.stop(signals, (table, group.as_ref()), limit, kill_limit)
                };
                let end = reap_all().find(|reaped| reaped.pid == supervisor);
                match end.map(|reaped| reaped.exit) {
                    Some(Exit::Code(code)) => {
                        // Nothing can be left here, unless the supervisor's own sweep was beaten.
                        if has_children() {
                            stop(&mut stopper, Duration::ZERO, SHORT_LIMIT);
                        }
                        return Watch::Ended(code);
                    }
                    Some(Exit::Signal(signal)) => {
                        on_loss(signal);
                        // Whoever pressed three times has waited long enough.
                        let limit = if strokes.count >= LAST_STROKE {
                            Duration::ZERO
                        } else {
                            Duration::MAX
                        };
                        let is_anything_left = stop(&mut stopper, limit, KILL_LIMIT);
                        return Watch::Lost { is_anything_left };
                    }
                    None => {}
                }
            }
            SIGHUP if ignores_hangup => {}
            signal => {
                if matches!(signal, SIGINT | SIGTERM) && strokes.count() >= LAST_STROKE {
                    // The supervisor has had its chance.
                    signal_process(supervisor, SIGKILL);
                }
                signal_process(supervisor, signal);
            }
        }
    }
}

/// Counts strokes of Ctrl-C.
#[derive(Debug, Default)]
pub(crate) struct Strokes {
    count: u32,
    last: Option<Instant>,
}

impl Strokes {
    /// Notes a stroke and returns how many there were, echoes left out.
    pub(crate) fn count(&mut self) -> u32 {
        let now = Instant::now();
        if self
            .last
            .is_none_or(|last| now.duration_since(last) >= STROKE)
        {
            self.count += 1;
            self.last = Some(now);
        }
        self.count
    }
}
