//! Noting in the ledger which ports this process holds, until that has been written.
//!
//! The ledger may be locked, or its directory read-only, while a stack starts. The stack runs all the
//! same, and once the ledger can be written again others should learn whose its ports are.

use std::time::Duration;

use tokio::time::sleep;

use crate::plan::Plan;
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Ledger, LedgerWarning};
use crate::support::protocol::Protocol;

/// After how long it is tried again the first time: what kept the lock has mostly let go by then.
const SOON: Duration = Duration::from_secs(3);

/// How long the pauses become, each twice the one before.
const LATER: Duration = Duration::from_secs(60);

/// How long the lock is waited for when it is tried again. It is in nobody's way, but the end of the
/// process waits for it.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// What is to be noted.
#[derive(Debug, Clone)]
pub(super) struct Note {
    ledger: Ledger,
    owner: Owner,
    ports: Vec<(PortKey, Protocol, u16)>,
}

impl Note {
    /// That the stack `owner` holds the ports of `plan`.
    pub(super) fn new(ledger: &Ledger, owner: &Owner, plan: &Plan) -> Self {
        let ports = plan.units.iter().flat_map(|unit| {
            unit.ports.iter().map(|port| {
                let key = PortKey {
                    service: unit.service.clone(),
                    replica: unit.replica,
                    name: port.name.clone(),
                };
                (key, port.protocol, port.port)
            })
        });
        Self {
            ledger: ledger.clone(),
            owner: owner.clone(),
            ports: ports.collect(),
        }
    }

    /// Writes it, waiting for the lock as every start of a stack does. Whether there is nothing to
    /// write any more; what went wrong was said when the ports were allocated. Blocks.
    pub(super) fn write(&self) -> bool {
        self.ports.is_empty() || is_written(&self.ledger.hold(&self.owner, &self.ports))
    }

    /// Tries it now and then until it has been written, beside everything else.
    pub(super) async fn write_later(self) {
        let mut pause = SOON;
        let note = Self {
            ledger: self.ledger.with_lock_wait(LOCK_WAIT),
            ..self
        };
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LATER);
            let note = note.clone();
            // One that panicked has not been written.
            if tokio::task::spawn_blocking(move || note.write())
                .await
                .unwrap_or(false)
            {
                return;
            }
        }
    }
}

/// Whether a transaction with these warnings has changed the ledger.
pub(super) fn is_written<'a>(warnings: impl IntoIterator<Item = &'a LedgerWarning>) -> bool {
    warnings.into_iter().all(|warning| match warning {
        // Writing it was what mended it.
        LedgerWarning::Damaged { .. } => true,
        LedgerWarning::Unusable { .. }
        | LedgerWarning::Locked { .. }
        | LedgerWarning::Unreadable { .. }
        | LedgerWarning::Newer { .. }
        | LedgerWarning::Unwritten { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::name::{PortName, ServiceName};

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_noted_at_the_start_is_noted_later() {
        let directory = tempfile::tempdir().unwrap();
        let note = Note {
            ledger: Ledger::at(directory.path()).with_lock_wait(Duration::ZERO),
            owner: Owner {
                instance: "shop-1".to_owned(),
                project: "shop".to_owned(),
                project_dir: directory.path().to_path_buf(),
            },
            ports: vec![(
                PortKey {
                    service: ServiceName::new("api").unwrap(),
                    replica: 1,
                    name: PortName::new("PORT").unwrap(),
                },
                Protocol::Tcp,
                8000,
            )],
        };
        let lock = std::fs::File::create(directory.path().join("ports.lock")).unwrap();
        lock.lock().unwrap();
        assert!(!note.write());
        assert_eq!(note.ledger.live(), []);
        let ledger = note.ledger.clone();
        let writing = tokio::spawn(note.write_later());
        sleep(SOON + LATER + LATER).await;
        assert!(!writing.is_finished());
        lock.unlock().unwrap();
        writing.await.unwrap();
        assert_eq!(ledger.live()[0].port, 8000);
        assert_eq!(
            ledger.live()[0].supervisor,
            i32::try_from(std::process::id()).ok()
        );
    }
}
