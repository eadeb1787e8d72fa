//! What a client waits for after a command: a predicate over observed generations. Every wait ends.
//!
//! `docs/design/desired-state.md` has the table.

use super::reason::Reason;
use super::snapshot::{Cause, Phase, ServiceSnapshot, Wanted};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// No process, and none to come.
    Stopped,
    /// Executed for the generation that the command has set, or a later one.
    Executed,
    /// Ready for that generation or a later one: healthy, listening or, where others wait for that,
    /// completed.
    Ready,
}

/// How a unit stands to what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is on its way.
    Pending,
    /// It is there.
    Reached,
    /// It will not get there.
    Failed,
    /// Another command has asked for something else since.
    Superseded(Cause),
}

/// How a unit stands to `goal`, for a command that has set `generation`.
pub fn verdict(goal: Goal, generation: u64, now: &ServiceSnapshot) -> Verdict {
    let desired = now.desired;
    // The answer to the command may be here before what the command has changed.
    if desired.generation < generation {
        return Verdict::Pending;
    }
    let superseded = Verdict::Superseded(desired.cause);
    let is_unkillable = matches!(now.reason, Some(Reason::Unkillable { .. }));
    // What runs on as it was has not become what the command wanted.
    let is_spared = matches!(now.reason, Some(Reason::NotApplied { .. }));
    if is_spared && goal != Goal::Stopped && now.generation >= generation {
        return Verdict::Failed;
    }
    let is_failed = now.phase == Phase::Failed;
    match goal {
        Goal::Stopped => match desired.wanted {
            Wanted::Running => superseded,
            Wanted::Nothing | Wanted::Stopped | Wanted::Killed => {
                if is_failed && is_unkillable {
                    Verdict::Failed
                } else if now.phase.is_at_rest() {
                    Verdict::Reached
                } else {
                    Verdict::Pending
                }
            }
        },
        Goal::Executed => {
            let has_begun = now.generation >= generation;
            if has_begun && now.is_executed {
                return Verdict::Reached;
            }
            // The first run may come long after. Only who has asked for one by name is told of nothing
            // that came of it.
            if has_begun && now.phase == Phase::Scheduled {
                let is_asked = matches!(desired.cause, Cause::Start | Cause::Restart);
                return if is_asked && now.reason.is_some() {
                    Verdict::Failed
                } else {
                    Verdict::Reached
                };
            }
            match desired.wanted {
                Wanted::Nothing | Wanted::Stopped | Wanted::Killed => superseded,
                Wanted::Running if is_failed && (has_begun || is_unkillable) => Verdict::Failed,
                // It is begun again and again, and never gets as far as its program.
                Wanted::Running if has_begun && now.is_crash_looping() => Verdict::Failed,
                Wanted::Running => Verdict::Pending,
            }
        }
        Goal::Ready => match desired.wanted {
            Wanted::Nothing | Wanted::Stopped | Wanted::Killed => superseded,
            // Nothing is begun beside what may still run.
            Wanted::Running if is_failed && is_unkillable => Verdict::Failed,
            Wanted::Running if now.generation < generation => Verdict::Pending,
            // What runs again and again is never done.
            Wanted::Running if now.next_run.is_some() => Verdict::Reached,
            Wanted::Running => match now.phase {
                Phase::Healthy | Phase::Completed => Verdict::Reached,
                Phase::Running if !now.is_one_shot => Verdict::Reached,
                Phase::Failed | Phase::Unhealthy => Verdict::Failed,
                // Restarts are waited out as long as the policy allows any.
                Phase::Pending
                | Phase::Waiting
                | Phase::Starting
                | Phase::Running
                | Phase::Stopping
                | Phase::Backoff
                | Phase::Scheduled
                | Phase::Stopped => Verdict::Pending,
            },
        },
    }
}
