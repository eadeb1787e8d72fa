//! What the foreground shows beside the logs: changes, the ready summary, failures.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::cli::printer::Printer;
use crate::cli::readiness::{Progress, Readiness, Target};
use crate::run::control::Controller;
use crate::run::logs::last_lines_of_attempt;
use crate::run::snapshot::{Event, Phase, ServiceSnapshot};
use crate::support::name::ServiceName;

/// How many of a failed service's last lines are shown.
pub(crate) const TAIL: usize = 20;

/// Tells which failures have not been shown yet, and shows them.
#[derive(Debug)]
pub(crate) struct Failures {
    log_dir: PathBuf,
    run: u64,
    shown: HashSet<(ServiceName, u32, u64)>,
}

impl Failures {
    pub(crate) fn new(log_dir: PathBuf, run: u64) -> Self {
        Self {
            log_dir,
            run,
            shown: HashSet::new(),
        }
    }

    /// Shows why a service failed, with the last lines that it printed, once.
    pub(crate) fn show(&mut self, printer: &Printer, service: &ServiceSnapshot) {
        let key = (service.service.clone(), service.attempt, service.since);
        if service.phase != Phase::Failed || !self.shown.insert(key) {
            return;
        }
        let tail = if service.attempt == 0 {
            Vec::new()
        } else {
            let (name, attempt) = (&service.service, service.attempt);
            last_lines_of_attempt(&self.log_dir, name, self.run, attempt, TAIL)
        };
        printer.failure(service, tail);
    }
}

/// Shows everything that happens until the supervisor has ended.
pub(super) async fn show(
    printer: Arc<Printer>,
    controller: Controller,
    mut event_rx: Receiver<Event>,
    log_dir: PathBuf,
    run: u64,
) {
    let mut readiness = Readiness::new(Target::Ready, None);
    let mut failures = Failures::new(log_dir, run);
    let mut is_summed_up = false;
    loop {
        match event_rx.recv().await {
            Ok(event) => {
                printer.event(&event);
                readiness.see_event(&event);
                match &event {
                    Event::Ended { .. } => break,
                    Event::Service(service) if is_summed_up => failures.show(&printer, service),
                    Event::Service(_) | Event::Notice(_) => {}
                }
            }
            // The printer has missed something: it is told what is.
            Err(RecvError::Lagged(_)) => {
                let Ok(stack) = controller.snapshot().await else {
                    break;
                };
                for service in stack.services {
                    let event = Event::Service(Box::new(service));
                    printer.event(&event);
                    readiness.see_event(&event);
                }
            }
            Err(RecvError::Closed) => break,
        }
        if is_summed_up || !event_rx.is_empty() {
            continue;
        }
        if let Progress::Settled { .. } = readiness.progress() {
            is_summed_up = true;
            if let Ok(stack) = controller.snapshot().await
                && !stack.is_draining
            {
                printer.summary(&stack);
            }
            for service in readiness.services() {
                failures.show(&printer, service);
            }
        }
    }
    // What failed last is the last thing on the screen.
    for service in readiness.services() {
        failures.show(&printer, service);
    }
}
