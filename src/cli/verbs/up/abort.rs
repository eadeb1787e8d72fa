//! `--exit-code-from` and `--abort-on-failure` of an `up` that has joined a stack which runs already: here
//! it is the client that has everything stopped. A supervisor that was started with them does so itself.

use std::collections::HashSet;

use super::super::readiness::{Aim, Asked};
use crate::api::messages::Update;
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::run::news::News;
use crate::run::snapshot::{Phase, ServiceSnapshot, Wanted};
use crate::support::name::{ServiceName, UnitId};

/// What ends a stack that was joined.
pub(super) struct Abort {
    exit_code_from: Option<ServiceName>,
    on_failure: bool,
    /// What this `up` has started: it may have ended before anybody looked.
    asked: Asked,
    /// What had failed before this `up` looked first, and is nobody's reason.
    failed_before: Option<HashSet<UnitId>>,
    is_over: bool,
    /// The code of the service that has ended everything.
    pub(super) code: Option<ExitCode>,
}

impl Abort {
    /// What the arguments ask for, where they do.
    pub(super) fn of(args: &UpArgs, asked: &Asked) -> Option<Self> {
        (args.exit_code_from.is_some() || args.abort_on_failure).then(|| Self {
            exit_code_from: args.exit_code_from.clone(),
            on_failure: args.abort_on_failure,
            asked: asked.clone(),
            failed_before: None,
            is_over: false,
            code: None,
        })
    }

    /// Takes in what has happened: why everything is to be stopped, if it is.
    pub(super) fn hear(&mut self, update: &Update) -> Option<News> {
        if self.is_over {
            return None;
        }
        let why = match update {
            Update::Snapshot { stack } => {
                let is_old_failure = |it: &&ServiceSnapshot| {
                    it.phase == Phase::Failed && !self.asked.contains_key(&it.unit())
                };
                let failed = stack.services.iter().filter(is_old_failure);
                // A later one tells what was missed.
                if self.failed_before.is_none() {
                    self.failed_before = Some(failed.map(ServiceSnapshot::unit).collect());
                }
                stack.services.iter().find_map(|service| self.see(service))
            }
            Update::Service(service) => self.see(service),
            Update::Notice(_) | Update::Lagged { .. } | Update::Ended { .. } => None,
        };
        self.is_over = why.is_some();
        why
    }

    fn see(&mut self, service: &ServiceSnapshot) -> Option<News> {
        let unit = service.unit();
        let failed_before = self.failed_before.get_or_insert_default();
        if service.phase != Phase::Failed {
            failed_before.remove(&unit);
        }
        let is_failure = service.phase == Phase::Failed && !failed_before.contains(&unit);
        let is_to_come = service.desired.wanted == Wanted::Running
            && service.generation < service.desired.generation;
        let is_before = |aim: &Aim| service.generation < aim.generation;
        if is_to_come || self.asked.get(&unit).is_some_and(is_before) {
            return None;
        }
        let has_ended = match service.phase {
            Phase::Completed | Phase::Failed | Phase::Stopped => true,
            Phase::Pending
            | Phase::Scheduled
            | Phase::Waiting
            | Phase::Starting
            | Phase::Running
            | Phase::Healthy
            | Phase::Unhealthy
            | Phase::Stopping
            | Phase::Backoff => false,
        };
        if has_ended && self.exit_code_from.as_ref() == Some(&service.service) {
            self.code = Some(match service.exit.map(ExitCode::from) {
                // It was not executed, or somebody else has its port.
                None | Some(ExitCode::Own(0)) if service.phase == Phase::Failed => ExitCode::Failed,
                None => ExitCode::Done,
                Some(code) => code,
            });
            let is_removed = false;
            let unit = service.unit_ref();
            return Some(News::StoppingAfterEnd { unit, is_removed });
        }
        (self.on_failure && is_failure).then(|| News::StoppingAfterFailure {
            unit: service.unit_ref(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::control::StackSnapshot;

    #[test]
    fn a_failure_that_was_missed_is_one_and_an_old_failure_is_none() {
        let stack = include_bytes!("../../../../tests/fixtures/api/stack.json");
        let stack: StackSnapshot = serde_json::from_slice(stack).unwrap();
        let with = |phase| {
            let mut stack = stack.clone();
            for service in &mut stack.services {
                service.phase = phase;
            }
            Update::Snapshot {
                stack: Box::new(stack),
            }
        };
        let abort = || Abort {
            exit_code_from: None,
            on_failure: true,
            asked: Asked::new(),
            failed_before: None,
            is_over: false,
            code: None,
        };
        let mut hears_of_it = abort();
        assert_eq!(hears_of_it.hear(&with(Phase::Running)), None);
        assert_eq!(hears_of_it.hear(&Update::Lagged { missed: 9 }), None);
        let why = hears_of_it.hear(&with(Phase::Failed));
        assert!(matches!(why, Some(News::StoppingAfterFailure { .. })));
        let mut comes_later = abort();
        assert_eq!(comes_later.hear(&with(Phase::Failed)), None);
        assert_eq!(comes_later.hear(&with(Phase::Failed)), None);
    }
}
