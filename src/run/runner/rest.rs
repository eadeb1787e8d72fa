//! What is left below the supervisor once every unit has ended.

use std::time::Duration;

use nix::libc;
use tokio::time::Instant;

use crate::run::process::{
    Group, ProcessId, ProcessTree, has_children, own_children, reap_all, signal_process,
};

/// Ends whatever is left below this process within `limit`. What that is had no mark and no parent of
/// ours, or SIGKILL did not end it. Returns what is left all the same.
pub(super) async fn end_everything_below(limit: Duration, group: Option<&Group>) -> Vec<ProcessId> {
    let begun = Instant::now();
    reap_all().for_each(drop);
    if has_children() {
        // A command that was killed with its unit, mostly; it needs a moment to be gone.
        tokio::time::sleep(Duration::from_millis(2)).await;
        reap_all().for_each(drop);
    }
    let mut signal = libc::SIGTERM;
    while has_children() && begun.elapsed() < limit {
        for process in ProcessTree::read().with_descendants(own_children()) {
            signal_process(process.pid, signal);
            signal_process(process.pid, libc::SIGCONT);
        }
        if signal == libc::SIGKILL {
            group.inspect(|group| group.kill());
        }
        // The ends of these are nobody's news, so they are waited for here.
        let pause = if signal == libc::SIGTERM { 100 } else { 20 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        reap_all().for_each(drop);
        signal = libc::SIGKILL;
    }
    if !has_children() {
        return Vec::new();
    }
    let below = ProcessTree::read().with_descendants(own_children());
    let living = below.iter().filter(|process| !process.has_ended());
    living.map(ProcessId::from).collect()
}
