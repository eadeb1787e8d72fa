//! What is to be done about one unit now: the one place that compares what is wanted with what is.
//!
//! Pure. The table is in `docs/design/desired-state.md`. It is asked for units that something happened
//! to and for their neighbours, until nothing is to be done any more. Every step moves a unit towards
//! what is wanted of it, so that this ends.

use std::time::Duration;

use tokio::time::Instant;

use super::desired::Seen;
use crate::run::snapshot::{Phase, Wanted};
use crate::spec::model::Condition;

/// A wait for `service_healthy` ends this long after the dependency was executed.
pub(crate) const HEALTHY_LIMIT: Duration = Duration::from_secs(5 * 60);

/// It ends this long after the dependency was seen on a wrong port, or its port was taken.
pub(crate) const WRONG_PORT_LIMIT: Duration = Duration::from_secs(10);

/// What is to be done about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<K> {
    /// Nothing; but look again at this time, if there is one.
    Nothing { until: Option<Instant> },
    /// It begins anew, for the desired generation.
    Begin,
    /// Its dependencies have met their conditions, but for optional ones that cannot any more.
    Execute { without: Vec<K> },
    /// This dependency cannot meet its condition any more.
    Fail { because: K },
    /// It is told to stop.
    Stop { grace: Option<Duration> },
    /// It is killed.
    Kill,
    /// What runs of it stays, as this dependency of what was to come cannot meet its condition.
    Spare { because: K },
}

impl<K> Step<K> {
    const NOTHING: Self = Self::Nothing { until: None };
}

/// One edge to a dependency, as it stands now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dependency<K> {
    pub(crate) id: K,
    pub(crate) condition: Condition,
    pub(crate) is_required: bool,
    pub(crate) seen: Seen,
}

/// How a dependency stands to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It has met it.
    Met,
    /// It may meet it yet, until this time if there is a limit.
    Unmet { until: Option<Instant> },
    /// It cannot meet it any more.
    Hopeless,
}

/// Whether a dependency meets a condition at `now`.
pub(crate) fn judge(condition: Condition, seen: &Seen, now: Instant) -> Judgement {
    let observed = &seen.observed;
    // Nobody has asked for it: whoever wants its dependents without it has them without it.
    if seen.desired.wanted == Wanted::Nothing {
        return Judgement::Met;
    }
    if observed.is_uncertain {
        return Judgement::Unmet { until: None };
    }
    // What there is of it says nothing of the generation that is to come.
    if seen.is_old() {
        // Nothing comes beside what SIGKILL could not end.
        return if observed.is_unkillable {
            Judgement::Hopeless
        } else {
            Judgement::Unmet { until: None }
        };
    }
    let is_met = match condition {
        // One that has a schedule may have its first run long after.
        Condition::Started => observed.is_executed || observed.phase == Phase::Scheduled,
        Condition::Healthy => observed.phase == Phase::Healthy,
        Condition::CompletedSuccessfully => observed.has_completed,
    };
    let is_gone = match observed.phase {
        Phase::Failed | Phase::Stopped => true,
        // One that completed is not going to be healthy. Unhealthy ends a wait, as in Compose; a later
        // recovery is for a later start.
        Phase::Completed | Phase::Unhealthy => condition == Condition::Healthy,
        // What runs again and again never ends; no file has anybody wait for that.
        Phase::Scheduled => true,
        Phase::Pending
        | Phase::Waiting
        | Phase::Starting
        | Phase::Running
        | Phase::Healthy
        | Phase::Stopping
        | Phase::Backoff => false,
    };
    let until = match condition {
        Condition::Healthy => observed.healthy_until,
        Condition::Started | Condition::CompletedSuccessfully => None,
    };
    if is_met {
        Judgement::Met
    } else if is_gone || until.is_some_and(|until| until <= now) {
        Judgement::Hopeless
    } else {
        Judgement::Unmet { until }
    }
}

/// What is to be done about a unit, by what is wanted and observed of it, of what it depends on and
/// of what depends on it.
pub(crate) fn reconcile<K>(
    unit: &Seen,
    dependencies: impl IntoIterator<Item = Dependency<K>>,
    dependents: impl IntoIterator<Item = Seen>,
    now: Instant,
) -> Step<K> {
    let (desired, observed) = (&unit.desired, &unit.observed);
    let is_any = |is_so: fn(&Seen) -> bool| dependents.into_iter().any(|it| is_so(&it));
    let is_told = observed.told >= desired.generation;
    match (desired.wanted, observed.phase) {
        (Wanted::Nothing, _) => Step::NOTHING,
        (Wanted::Killed | Wanted::Stopped, phase) if phase.is_at_rest() || is_told => Step::NOTHING,
        (Wanted::Killed, _) => Step::Kill,
        (Wanted::Running, Phase::Starting | Phase::Running | Phase::Healthy | Phase::Unhealthy)
            if unit.is_old() && desired.is_rolling && !is_told =>
        {
            match go_up(dependencies, desired.ignores_dependencies, now) {
                Step::Fail { because } => Step::Spare { because },
                Step::Nothing { until } => Step::Nothing { until },
                // Who depends on it and is on its way down goes first. Who is still to go is not waited
                // for, as that may wait for what this one becomes.
                Step::Execute { .. } if is_any(|it| it.observed.phase == Phase::Stopping) => {
                    Step::NOTHING
                }
                // Everything is there for what comes.
                Step::Execute { .. }
                | Step::Begin
                | Step::Stop { .. }
                | Step::Kill
                | Step::Spare { .. } => Step::Stop {
                    grace: desired.grace,
                },
            }
        }
        (
            Wanted::Stopped | Wanted::Running,
            Phase::Starting | Phase::Running | Phase::Healthy | Phase::Unhealthy,
        ) if desired.wanted == Wanted::Stopped || unit.is_old() => {
            // A start that is given up is still there until its runner says what came of it.
            if is_told || is_any(Seen::holds_up) {
                Step::NOTHING
            } else {
                Step::Stop {
                    grace: desired.grace,
                }
            }
        }
        (Wanted::Stopped, _) => Step::Stop {
            grace: desired.grace,
        },
        (Wanted::Running, Phase::Stopping) if unit.is_old() && !is_told => Step::Stop {
            grace: desired.grace,
        },
        (
            Wanted::Running,
            Phase::Pending
            | Phase::Waiting
            | Phase::Backoff
            | Phase::Scheduled
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped,
        ) if unit.is_old() => {
            if observed.is_unkillable {
                Step::NOTHING
            } else {
                Step::Begin
            }
        }
        (Wanted::Running, Phase::Waiting) => go_up(dependencies, desired.ignores_dependencies, now),
        (
            Wanted::Running,
            Phase::Pending
            | Phase::Starting
            | Phase::Running
            | Phase::Healthy
            | Phase::Unhealthy
            | Phase::Stopping
            | Phase::Backoff
            | Phase::Scheduled
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped,
        ) => Step::NOTHING,
    }
}

/// What is to be done about a unit that waits.
fn go_up<K>(
    dependencies: impl IntoIterator<Item = Dependency<K>>,
    ignores_dependencies: bool,
    now: Instant,
) -> Step<K> {
    let mut without = Vec::new();
    if ignores_dependencies {
        return Step::Execute { without };
    }
    let mut is_unmet = false;
    let mut next = None;
    for dependency in dependencies {
        match judge(dependency.condition, &dependency.seen, now) {
            Judgement::Met => {}
            Judgement::Hopeless if dependency.is_required => {
                return Step::Fail {
                    because: dependency.id,
                };
            }
            // An optional dependency that failed is as good as none.
            Judgement::Hopeless => without.push(dependency.id),
            Judgement::Unmet { until } => {
                is_unmet = true;
                next = [next, until].into_iter().flatten().min();
            }
        }
    }
    if is_unmet {
        Step::Nothing { until: next }
    } else {
        Step::Execute { without }
    }
}

#[cfg(test)]
mod tests;
