//! `schedule:` as it was written.

use std::time::Duration;

use super::Setting;
use crate::spec::problem::Span;
use crate::support::cron::Cron;

/// `schedule:`, in one of its two ways.
#[derive(Debug, Clone)]
pub struct ScheduleSpec {
    /// Where the key stands.
    pub span: Span,
    /// `every:`, from the beginning of one run to that of the next.
    pub every: Option<Setting<Duration>>,
    /// `cron:`, or the schedule itself.
    pub cron: Option<Setting<Cron>>,
}
