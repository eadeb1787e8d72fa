//! Who has which port, over all stacks of a user: one file, one lock.
//!
//! The sockets decide who has a port. The ledger makes that fast (numbers that others hold are not
//! tried), sticky (what a stack had last), and explainable (a held port shows in no other tool).
//! So it is never worth a failure: what goes wrong with it is a [`LedgerWarning`], and the
//! allocation goes on without.
//!
//! `ports.json` is replaced whole, by a file that changes places with it, so it can be read without
//! the lock; the lock is on `ports.lock` beside it, because a lock on a file that is replaced protects
//! nothing. It is not synced to the disk: a power cut may cost the last entries, and each start of a stack would wait
//! for the disk.

mod book;
mod file;
mod lock;
mod place;
mod port_row;
mod row;
mod session;
mod stack_port;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

pub(crate) use book::GRANT_MILLIS;
pub(crate) use port_row::PortRow;
pub(crate) use row::GrantRow;
pub(crate) use session::Session;
pub use stack_port::StackPort;

/// How long a transaction waits for the lock. Others hold it for a fraction of a millisecond.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How long somebody who only looks waits for the lock, to learn whether others can have it.
const GLANCE_WAIT: Duration = Duration::from_millis(200);

/// The ledger of one state directory. Cheap to make; nothing is opened before it is used.
#[derive(Debug, Clone)]
pub struct Ledger {
    directory: PathBuf,
    lock_wait: Duration,
}

/// All that the ledger says, from one reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerOverview {
    /// What running stacks of this network namespace hold. Each supervisor was looked up: the rows
    /// of dead ones are left out.
    pub live: Vec<StackPort>,
    /// What every stack had last, whether it runs or not.
    pub sticky: Vec<StackPort>,
    /// The numbers that were printed for somebody within the last two minutes, and that nobody is
    /// known to hold yet.
    pub granted: Vec<u16>,
    /// Why there is less to see than there should be.
    pub warnings: Vec<LedgerWarning>,
}

/// What is wrong with the ledger. Never a reason to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerWarning {
    /// The state directory can be neither found nor made, or the lock in it not opened.
    #[error("the port ledger cannot be used: {reason}")]
    Unusable {
        /// The system's words, with the path.
        reason: String,
    },
    /// Somebody kept the lock.
    #[error("the port ledger `{}` was locked for more than {waited:?}", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// For how long it was tried.
        waited: Duration,
    },
    /// It exists and cannot be read.
    #[error("the port ledger cannot be read: {reason}")]
    Unreadable {
        /// The system's words, with the path.
        reason: String,
    },
    /// It is no ledger; the next write replaces it.
    #[error("the port ledger `{}` is damaged and starts anew: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// A later version of this program wrote it; it is left alone.
    #[error("the port ledger `{}` was written by a newer version of stack", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("the port ledger was not updated: {reason}")]
    Unwritten {
        /// The system's words, with the path.
        reason: String,
    },
}

impl LedgerWarning {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unusable { .. } => "stack::port::ledger_unusable",
            Self::Locked { .. } => "stack::port::ledger_locked",
            Self::Unreadable { .. } => "stack::port::ledger_unreadable",
            Self::Damaged { .. } => "stack::port::ledger_damaged",
            Self::Newer { .. } => "stack::port::ledger_newer",
            Self::Unwritten { .. } => "stack::port::ledger_unwritten",
        }
    }

    /// What to do about it, and what it means meanwhile.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unusable { .. } | Self::Unreadable { .. } | Self::Unwritten { .. } => {
                "ports are still given out safely, but this stack may get other ones next time; \
                 make the directory writable, or set XDG_STATE_HOME"
            }
            Self::Locked { .. } => {
                "ports are still given out safely, but this stack may get other ones next time; \
                 see which process has the file open"
            }
            Self::Damaged { .. } => "stacks may get other ports than before, once",
            Self::Newer { .. } => {
                "ports are still given out safely, but are not remembered; update this stack"
            }
        }
    }
}

/// Where the ledger is: `$XDG_STATE_HOME/stack`, else `$HOME/.local/state/stack`.
///
/// `lookup` reads the caller's environment. A relative path is ignored, as the XDG base directory
/// specification demands; without either variable there is none.
pub fn state_dir(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| {
        lookup(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|base| base.join("stack"))
}

impl Ledger {
    /// The ledger in `directory`, which is made (0700) on first use.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            lock_wait: LOCK_WAIT,
        }
    }

    /// The same ledger, waiting at most `wait` for its lock instead of 1 s.
    #[must_use]
    pub fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// The data file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("ports.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join("ports.lock")
    }

    fn spare_path(&self) -> PathBuf {
        self.directory.join("ports.json.spare")
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything at once, so that the parts fit together; read without the lock. That is tried
    /// afterwards, for a moment: where it cannot be had, or the directory not be written, a warning
    /// says so, as stacks may run that could not be noted.
    pub fn overview(&self) -> LedgerOverview {
        let session = Session::read(self);
        let (book, here) = (&session.book, &session.here);
        let mut overview = LedgerOverview {
            live: book.live_ports(here, None, None),
            sticky: book.sticky_ports(here, None, None),
            granted: book.granted(here).collect(),
            warnings: Vec::new(),
        };
        // Damage within a row shows when it is read.
        overview.warnings = session.warnings();
        if overview.warnings.is_empty() {
            overview.warnings.extend(self.doubt());
        }
        overview
    }

    /// What keeps stacks from writing it now: though it can be read, it may not name all of them.
    fn doubt(&self) -> Option<LedgerWarning> {
        if self.lock_path().exists() {
            let ledger = self.clone().with_lock_wait(self.lock_wait.min(GLANCE_WAIT));
            if let Err(warning) = lock::lock(&ledger) {
                return Some(warning);
            }
        }
        // Where there is none yet, it will be made below the first directory that there is.
        let place = self.directory.ancestors().find(|place| place.exists())?;
        let writable = access(place, AccessFlags::W_OK).err()?;
        Some(LedgerWarning::Unusable {
            reason: format!("`{}`: {}", place.display(), writable.desc()),
        })
    }

    /// Every port that a running stack of this network namespace holds.
    pub fn live(&self) -> Vec<StackPort> {
        let session = Session::read(self);
        session.book.live_ports(&session.here, None, None)
    }

    /// Every port that a stack of this network namespace had last, whether it runs or not.
    pub fn sticky(&self) -> Vec<StackPort> {
        let session = Session::read(self);
        session.book.sticky_ports(&session.here, None, None)
    }

    /// Whose `port` is: that of the stack that holds it, else that of one that had it last.
    pub fn stack_of(&self, port: u16) -> Option<StackPort> {
        Session::read(self).stack_of(port, None)
    }

    /// The ports of `owner` whose servers need the hold to be released before they are executed,
    /// as [`learn_release`](Self::learn_release) noted.
    pub fn needs_release(&self, owner: &Owner) -> Vec<PortKey> {
        Session::read(self).book.past(owner).release
    }

    /// Notes that this process holds `ports` for `owner`: after a fork it is not the one that
    /// allocated them.
    pub fn hold(&self, owner: &Owner, ports: &[(PortKey, Protocol, u16)]) -> Vec<LedgerWarning> {
        let rows: Vec<PortRow> = ports
            .iter()
            .map(|(key, protocol, port)| PortRow {
                key: key.clone(),
                protocol: *protocol,
                port: *port,
            })
            .collect();
        self.update(|session| session.book.record(owner, &rows, false, &session.here))
    }

    /// Notes that `owner` holds no port any more. Its sticky ports stay.
    pub fn release(&self, owner: &Owner) -> Vec<LedgerWarning> {
        self.update(|session| session.book.release(owner, &session.here))
    }

    /// Notes that `port` is of no use to `owner`, as its service can never bind it: it is neither
    /// preferred nor handed out early to that stack for a week.
    pub fn mark_bad(&self, owner: &Owner, port: u16) -> Vec<LedgerWarning> {
        self.update(|session| session.book.blame(owner, port, true, &session.here))
    }

    /// Notes that somebody else took `port` from `owner`. The second time within a week makes it as
    /// bad as [`mark_bad`](Self::mark_bad) does; the first may have been bad luck.
    pub fn note_stolen(&self, owner: &Owner, port: u16) -> Vec<LedgerWarning> {
        self.update(|session| session.book.blame(owner, port, false, &session.here))
    }

    /// Notes that the server behind `key` never sets `SO_REUSEADDR`, so that its hold must be
    /// released before it is executed. `--fresh-ports` does not forget it: it is about the server,
    /// not about the number.
    pub fn learn_release(&self, owner: &Owner, key: &PortKey) -> Vec<LedgerWarning> {
        self.update(|session| {
            session.book.change(owner, &session.here, |past| {
                if !past.release.contains(key) {
                    past.release.push(key.clone());
                }
            });
        })
    }

    /// Takes back what [`learn_release`](Self::learn_release) noted: the server behind `key` is
    /// another one now.
    pub fn unlearn_release(&self, owner: &Owner, key: &PortKey) -> Vec<LedgerWarning> {
        self.update(|session| {
            session.book.change(owner, &session.here, |past| {
                past.release.retain(|known| known != key);
            });
        })
    }

    fn update(&self, change: impl FnOnce(&mut Session)) -> Vec<LedgerWarning> {
        let mut session = Session::begin(self);
        change(&mut session);
        session.commit()
    }
}
