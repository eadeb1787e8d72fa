//! Until when the client of an `up` stays.

use std::time::Duration;

use super::super::readiness::{Asked, Target};
use crate::cli::args::UpArgs;

/// How long `--wait` waits when nothing else is said.
const WAIT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Until when the client stays: to the end, showing what services print, or until units have reached a
/// target.
pub(super) struct Goal {
    pub(super) target: Target,
    pub(super) limit: Option<Duration>,
    /// These units, or everything that the start has wanted.
    pub(super) asked: Option<Asked>,
}

impl Goal {
    /// What the arguments ask for, of these units or of everything that the start has wanted.
    pub(super) fn of(args: &UpArgs, asked: Option<Asked>) -> Self {
        let limit = args.wait_timeout.unwrap_or(WAIT_LIMIT);
        let target = match (args.wait, args.detach) {
            (true, _) => Target::Ready,
            (false, true) => Target::Executed,
            (false, false) => Target::Told,
        };
        Self {
            target,
            limit: (args.wait && !limit.is_zero()).then_some(limit),
            asked: asked.filter(|_| target != Target::Told),
        }
    }

    /// Whether there is nobody to wait for.
    pub(super) fn is_nothing(&self) -> bool {
        self.asked.as_ref().is_some_and(Asked::is_empty)
    }
}
