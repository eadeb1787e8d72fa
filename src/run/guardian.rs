//! The guardian: the parent of the supervisor, and the last line of defence.
//!
//! Single-threaded, without a runtime, with no fatal path: it waits for signals and for the
//! supervisor's end. Should the supervisor be killed, every process of the stack becomes the
//! guardian's child (both are subreapers), and it stops them all by the table that the two share.

use std::time::{Duration, Instant};

use nix::libc::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use nix::sys::signal::{SigSet, Signal};

use super::process::{
    LOOK_AGAIN, Received, Row, Sender, SharedTable, everything_below, group_of, is_anything_below,
    reap_all, signal_group, signal_process, wait_for_signal,
};
use super::snapshot::Exit;

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

/// How long what was killed may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// How the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The supervisor ended by itself, with this exit code.
    Ended(i32),
    /// The supervisor was killed by a signal; everything that it had started has been stopped.
    Lost {
        /// The signal that killed it.
        signal: i32,
        /// Whether anything is left all the same.
        is_anything_left: bool,
    },
}

/// Watches over a supervisor until it ends. `on_loss` is told when it was killed, before the
/// stopping begins.
pub(crate) fn watch(
    supervisor: i32,
    signals: &SigSet,
    table: &SharedTable,
    ignores_hangup: bool,
    on_loss: &dyn Fn(i32),
) -> Watch {
    let mut strokes = Strokes::default();
    loop {
        let Some(Received { signal, sender }) = wait_for_signal(signals, None) else {
            continue;
        };
        match signal {
            SIGCHLD => {
                let end = reap_all()
                    .into_iter()
                    .find(|reaped| reaped.pid == supervisor);
                match end.map(|reaped| reaped.exit) {
                    Some(Exit::Code(code)) => {
                        // Nothing can be left here, unless the supervisor's own sweep was beaten.
                        if is_anything_left(table) {
                            stop_tree(signals, table, Duration::ZERO);
                        }
                        return Watch::Ended(code);
                    }
                    Some(Exit::Signal(signal)) => {
                        on_loss(signal);
                        // Whoever pressed three times has waited long enough.
                        let longest = if strokes.count >= LAST_STROKE {
                            Duration::ZERO
                        } else {
                            Duration::MAX
                        };
                        let is_anything_left = stop_tree(signals, table, longest);
                        return Watch::Lost {
                            signal,
                            is_anything_left,
                        };
                    }
                    None => {}
                }
            }
            SIGHUP if ignores_hangup => {}
            // The end of a terminal is told to the leader of its session alone, which we are where
            // no shell stands between. Twice is as good as once.
            SIGHUP => {
                signal_process(supervisor, SIGHUP);
            }
            signal => {
                if matches!(signal, SIGINT | SIGTERM) && strokes.count() >= LAST_STROKE {
                    // The supervisor has had its chance.
                    signal_process(supervisor, SIGKILL);
                }
                match sender {
                    // What the terminal sent has reached the supervisor too.
                    Sender::Kernel => {}
                    // What a process sent to our pid has not.
                    Sender::Process(pid) if pid == supervisor => {}
                    Sender::Process(_) => {
                        signal_process(supervisor, signal);
                    }
                }
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

/// Stops everything below this process. Every service gets its stop signal and its own grace
/// period, none longer than `longest`; then everything is killed. Returns whether anything is left.
fn stop_tree(signals: &SigSet, table: &SharedTable, longest: Duration) -> bool {
    let begun = Instant::now();
    let rows = ask_to_stop(table);
    let mut deadlines: Vec<(i32, Duration)> = rows
        .iter()
        .map(|row| (row.pid, row.grace.min(longest)))
        .collect();
    deadlines.sort_by_key(|&(_, after)| after);
    let mut deadlines = deadlines.into_iter().peekable();
    let last = rows
        .iter()
        .map(|row| row.grace)
        .max()
        .unwrap_or(Duration::from_secs(2));
    let last = last.min(longest);
    loop {
        reap_all();
        if !is_anything_left(table) {
            return false;
        }
        let waited = begun.elapsed();
        while let Some((pid, _)) = deadlines.next_if(|&(_, after)| after <= waited) {
            if below(table).any(|(_, group)| group == Some(pid)) {
                signal_group(pid, SIGKILL);
            }
        }
        if waited >= last {
            break;
        }
        let next = deadlines
            .peek()
            .map_or(last, |&(_, after)| after)
            .saturating_sub(waited)
            .min(LOOK_AGAIN);
        // A stroke now means: do not wait.
        if wait_for_signal(signals, Some(next))
            .is_some_and(|received| matches!(received.signal, SIGINT | SIGTERM))
        {
            break;
        }
    }
    kill_tree(signals, table)
}

/// Asks everything below this process to end, everybody once: a service's group by the service's
/// own stop signal, what has left its group (and every check that was running) by SIGTERM. Returns
/// the services of which something is there.
fn ask_to_stop(table: &SharedTable) -> Vec<Row> {
    let below: Vec<(i32, Option<i32>)> = below(table).collect();
    let mut rows = table.rows();
    // A leader that has ended may have given its number to a stranger: only a group with somebody
    // in it who hangs below us is the one that was meant.
    rows.retain(|row| below.iter().any(|&(_, group)| group == Some(row.pid)));
    for row in &rows {
        signal_group(row.pid, row.stop_signal);
        signal_group(row.pid, SIGCONT);
    }
    for (pid, group) in below {
        if !rows.iter().any(|row| group == Some(row.pid)) {
            signal_process(pid, SIGTERM);
            signal_process(pid, SIGCONT);
        }
    }
    rows
}

/// Kills everything below this process until nothing is left. Returns whether anything is.
fn kill_tree(signals: &SigSet, table: &SharedTable) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < KILL_LIMIT {
        for (pid, _) in below(table) {
            signal_process(pid, SIGKILL);
        }
        reap_all();
        if !is_anything_left(table) {
            return false;
        }
        wait_for_signal(signals, Some(Duration::from_millis(20)));
    }
    true
}

/// Everything below this process: pid and group.
fn below(table: &SharedTable) -> impl Iterator<Item = (i32, Option<i32>)> {
    everything_below(&sessions(table))
        .into_iter()
        .map(|pid| (pid, group_of(pid)))
}

fn is_anything_left(table: &SharedTable) -> bool {
    is_anything_below(&sessions(table))
}

/// The sessions that the services lead.
fn sessions(table: &SharedTable) -> Vec<i32> {
    table.rows().into_iter().map(|row| row.pid).collect()
}
