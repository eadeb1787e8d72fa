//! Noting in the ledger which ports this process holds, where that was not possible when they were
//! allocated.
//!
//! The ledger may be locked, or its directory read-only, while a stack starts. The stack runs all the
//! same, and once the ledger can be written again others should learn whose its ports are.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use crate::plan::Plan;
use crate::ports::request::{Owner, PortKey};
use crate::ports::{Ledger, Noted};
use crate::support::protocol::Protocol;

/// After how long it is tried again the first time: what kept the lock has mostly let go by then.
const SOON: Duration = Duration::from_secs(3);

/// How long the pauses become, each twice the one before.
const LATER: Duration = Duration::from_secs(60);

/// What is to be noted.
#[derive(Debug)]
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
                let key = PortKey::new(&unit.service, unit.replica, &port.name);
                (key, port.protocol, port.port)
            })
        });
        Self {
            ledger: ledger.clone(),
            owner: owner.clone(),
            ports: ports.collect(),
        }
    }

    /// Writes it. What went wrong was said when the ports were allocated. Blocks.
    fn write(&self) -> Option<Noted> {
        self.ledger.note(&self.owner, &self.ports).ok()
    }

    /// Tries it now and then until it has been written, and keeps the mark.
    pub(super) async fn write_later(self) -> Infallible {
        let mut pause = SOON;
        let note = Self {
            // Everything else would wait with it.
            ledger: self.ledger.with_lock_wait(Duration::ZERO),
            ..self
        };
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LATER);
            if let Some(_noted) = note.write() {
                return std::future::pending().await;
            }
        }
    }
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
        let path = note.ledger.path();
        fs_err::create_dir(&path).unwrap();
        let lock = std::fs::File::create(path.join("lock")).unwrap();
        lock.lock().unwrap();
        assert!(note.write().is_none());
        let ledger = note.ledger.clone();
        let writing = tokio::spawn(note.write_later());
        sleep(SOON + LATER + LATER).await;
        assert_eq!(ledger.overview().live, []);
        lock.unlock().unwrap();
        let noted = async {
            loop {
                sleep(SOON).await;
                if let Some(port) = ledger.overview().live.pop() {
                    return port;
                }
            }
        };
        assert_eq!(noted.await.port, 8000);
        assert!(!writing.is_finished(), "it keeps the mark");
        writing.abort();
    }
}
