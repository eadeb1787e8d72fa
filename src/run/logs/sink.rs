//! Who hears of output while it goes through the pump.

use crate::plan::model::{ProbePlan, UnitPlan};
use crate::run::news::Notice;
use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// What is looked for in the output of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Ports about which it may say something.
    pub ports: Vec<u16>,
    /// A regular expression for a line that says that it is ready.
    pub pattern: Option<String>,
}

impl Expected {
    /// What a unit's plan lets one expect.
    pub fn of(plan: &UnitPlan) -> Self {
        let pattern = match plan.probe() {
            Some(ProbePlan::Log { pattern }) => Some(pattern.clone()),
            Some(
                ProbePlan::Command(_)
                | ProbePlan::Http(_)
                | ProbePlan::Tcp { .. }
                | ProbePlan::Notify { .. },
            )
            | None => None,
        };
        Self {
            ports: plan.ports.iter().map(|port| port.port).collect(),
            pattern,
        }
    }
}

/// Looks at output on its way into the files. It runs inside the pump's task and must not block.
///
/// The supervisor implements it once, tests another time.
pub trait LogSink {
    /// Sees some output of an attempt of a unit, on one of its streams, before anybody is told of it.
    fn look(&mut self, unit: &UnitId, of: (u32, LogStream), bytes: &[u8]);

    /// This is looked for in a unit's output from now on.
    fn expect(&mut self, unit: &UnitId, expected: Expected);

    /// Takes a warning, such as that of a full disk.
    fn notice(&mut self, notice: Notice);
}
