//! Who has which port, over all stacks of a user: one file of rows, and a lock that says of each whether
//! it runs.
//!
//! The sockets decide who has a port. The ledger makes that fast (numbers that others hold are not
//! tried), sticky (what a stack had last), and explainable (a held port shows in no other tool).
//! So it is never worth a failure: what goes wrong with it is a [`LedgerWarning`], and the
//! allocation goes on without.
//!
//! The directory `ports` has the rows of all stacks, `stacks`; the numbers that were printed for
//! somebody, `grants`; and `lock`, which orders choice and grants as a whole, and by one byte for each
//! stack says which of them run. Nothing is synced to the disk: a power cut may cost the last entries,
//! and each start of a stack would wait for the disk.

mod kept;
mod lock;
mod place;
mod port_row;
mod row;
mod rows;
mod running;
mod session;
mod stack_port;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

pub(crate) use kept::Kept;
use place::Here;
pub(crate) use port_row::PortRow;
pub use row::Bad;
pub(crate) use row::Row;
pub use running::Noted;
pub(crate) use session::Session;
pub use stack_port::StackPort;

/// How long a transaction waits for the lock. Others hold it for a fraction of a millisecond.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The ledger of one state directory. Cheap to make; nothing is opened before it is used.
#[derive(Debug, Clone)]
pub struct Ledger {
    directory: PathBuf,
    lock_wait: Duration,
}

/// All that the ledger says, from one reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerOverview {
    /// What running stacks of this network namespace hold.
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
    /// A part of it is not what it should be; the next write leaves that out.
    #[error("the port ledger `{}` is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// It could not be written.
    #[error("the port ledger was not updated: {reason}")]
    Unwritten {
        /// The system's words, with the path.
        reason: String,
    },
}

impl LedgerWarning {
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

/// What turns out about a port while its service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lesson {
    /// Somebody else took it. The second time within a week makes it useless; the first may have been
    /// bad luck.
    Stolen,
    /// It is of no use, as its service can never bind it: it is neither preferred nor handed out early
    /// to that stack for a week.
    Useless,
    /// The server never sets `SO_REUSEADDR`, so that the hold must be released before it is executed.
    /// `--fresh-ports` does not forget this: it is about the server, not about the number.
    Release,
    /// It does, after all: it is another one now.
    Reuse,
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

    /// The directory in which its files are.
    pub fn path(&self) -> PathBuf {
        self.directory.join("ports")
    }

    fn lock_path(&self) -> PathBuf {
        self.path().join("lock")
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything at once, so that the parts fit together. Where the lock is not free soon, or the
    /// directory not be written, a warning says so, as stacks may run that could not be noted.
    pub fn overview(&self) -> LedgerOverview {
        let session = Session::look(self);
        let (sticky, is_damaged) = session.sticky_ports();
        let mut overview = LedgerOverview {
            live: session.live_ports(),
            sticky,
            granted: session.granted().collect(),
            warnings: session.into_warnings(),
        };
        if is_damaged && overview.warnings.is_empty() {
            overview.warnings.push(self.damaged());
        }
        overview
    }

    /// Every stack that is known, each with whether its directory is still there.
    pub fn stacks(&self) -> (Vec<(Owner, bool)>, Vec<LedgerWarning>) {
        let session = Session::look(self);
        let (owners, is_damaged) = session.owners();
        let mut warnings = session.into_warnings();
        if is_damaged && warnings.is_empty() {
            warnings.push(self.damaged());
        }
        (owners, warnings)
    }

    /// Leaves out what is damaged, and stacks whose directories are gone. Returns why that was not
    /// possible.
    pub fn clean(&self) -> Vec<LedgerWarning> {
        let mut session = Session::begin(self, None);
        session.clean();
        session.commit();
        let warnings = session.into_warnings().into_iter();
        let is_mended = |warning: &LedgerWarning| matches!(warning, LedgerWarning::Damaged { .. });
        warnings.filter(|warning| !is_mended(warning)).collect()
    }

    fn damaged(&self) -> LedgerWarning {
        LedgerWarning::Damaged {
            path: self.path(),
            reason: "a line is not what it should be".to_owned(),
        }
    }

    /// Notes that this process holds `ports` for `owner`, which could not be noted when they were
    /// allocated. What is given back is to be kept for as long as the stack runs.
    pub fn note(
        &self,
        owner: &Owner,
        ports: &[(PortKey, Protocol, u16)],
    ) -> Result<Noted, Vec<LedgerWarning>> {
        let ports = ports.iter().map(|(key, protocol, port)| PortRow {
            key: key.clone(),
            protocol: *protocol,
            port: *port,
        });
        let mut session = Session::begin(self, Some(&owner.instance));
        let noted = session.start(owner, &ports.collect::<Vec<_>>(), false);
        let is_written = session.commit();
        let noted = noted.filter(|_| is_written);
        noted.ok_or_else(|| session.into_warnings())
    }

    /// Notes what `owner` has learned of its `port`, which is that of `key`.
    pub fn learn(
        &self,
        owner: &Owner,
        key: &PortKey,
        port: u16,
        lesson: Lesson,
    ) -> Vec<LedgerWarning> {
        self.update(owner, |row, here| match lesson {
            Lesson::Stolen => row.blame(port, false, here),
            Lesson::Useless => row.blame(port, true, here),
            Lesson::Release if row.release.contains(key) => {}
            Lesson::Release => row.release.push(key.clone()),
            Lesson::Reuse => row.release.retain(|known| known != key),
        })
    }

    fn update(&self, owner: &Owner, change: impl FnOnce(&mut Row, &Here)) -> Vec<LedgerWarning> {
        let mut session = Session::begin(self, Some(&owner.instance));
        let mut row = session.own_row(owner);
        change(&mut row, &session.here);
        session.update(&row);
        session.commit();
        session.into_warnings()
    }
}
