//! One transaction over the ledger: lock, read, change, write, unlock.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use serde::Deserialize;

use crate::support::fs::{create_private_dir, write_atomically_unsynced};

use super::book::{Book, StackPort, VERSION};
use super::place::Here;
use super::{Ledger, LedgerWarning};

/// The book, open. Dropping it without [`commit`](Self::commit) changes nothing.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) book: Book,
    pub(crate) here: Here,
    warnings: Vec<LedgerWarning>,
    path: PathBuf,
    /// Unlocked by the kernel when it is closed, also by a crash. Without it nothing is written:
    /// another one's entries would be lost.
    lock: Option<File>,
}

impl Session {
    /// Locks and reads. Whatever fails becomes a warning and an empty book.
    pub(crate) fn begin(ledger: &Ledger) -> Self {
        match lock(ledger) {
            Ok(lock) => Self::load(ledger, Some(lock)),
            Err(warning) => {
                let mut session = Self::load(ledger, None);
                if let LedgerWarning::Unusable { .. } = warning {
                    // That it cannot be read either says nothing more.
                    session.warnings.clear();
                }
                session.warnings.insert(0, warning);
                session
            }
        }
    }

    /// Reads without a lock, to look something up: the file is always whole.
    pub(crate) fn read(ledger: &Ledger) -> Self {
        Self::load(ledger, None)
    }

    fn load(ledger: &Ledger, mut lock: Option<File>) -> Self {
        let path = ledger.path();
        let here = Here::now();
        let mut warnings = Vec::new();
        let mut book = match parse(&path) {
            Ok(book) => book,
            Err(warning) => {
                match &warning {
                    // The next write is what mends it.
                    LedgerWarning::Damaged { .. } => {}
                    LedgerWarning::Newer { .. }
                    | LedgerWarning::Unreadable { .. }
                    | LedgerWarning::Unusable { .. }
                    | LedgerWarning::Locked { .. }
                    | LedgerWarning::Unwritten { .. } => lock = None,
                }
                warnings.push(warning);
                Book::default()
            }
        };
        book.prune(&here);
        Self {
            book,
            here,
            warnings,
            path,
            lock,
        }
    }

    /// Lets others go on; nothing will be written.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// What went wrong so far.
    pub(crate) fn warnings(&self) -> &[LedgerWarning] {
        &self.warnings
    }

    /// Whether a commit will be seen by others.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Whose `port` is, the stack `except` left out: that of the stack that holds it, else that of
    /// one that had it last.
    pub(crate) fn stack_of(&self, port: u16, except: Option<&str>) -> Option<StackPort> {
        self.book
            .live(&self.here, except)
            .chain(self.book.sticky(except))
            .find(|entry| entry.port == port)
            .map(StackPort::from)
    }

    /// Writes the book if the lock was had, and unlocks. Gives back what went wrong on the way.
    pub(crate) fn commit(mut self) -> Vec<LedgerWarning> {
        if self.lock.is_some() {
            self.book.version = VERSION;
            let written = serde_json::to_vec(&self.book)
                .map_err(io::Error::from)
                .and_then(|bytes| write_atomically_unsynced(&self.path, &bytes, 0o600));
            if let Err(error) = written {
                self.warnings.push(LedgerWarning::Unwritten {
                    reason: error.to_string(),
                });
            }
        }
        self.warnings
    }
}

fn lock(ledger: &Ledger) -> Result<File, LedgerWarning> {
    let unusable = |error: io::Error| LedgerWarning::Unusable {
        reason: error.to_string(),
    };
    let path = ledger.lock_path();
    let open = || {
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A pipe of that name would wait for ever otherwise.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
    };
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_private_dir(ledger.directory()).map_err(unusable)?;
            open()
        }
        other => other,
    }
    .map_err(|error| LedgerWarning::Unusable {
        reason: format!("failed to open `{}`: {error}", path.display()),
    })?;

    let started = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
            Err(TryLockError::WouldBlock) if started.elapsed() >= ledger.lock_wait => {
                return Err(LedgerWarning::Locked {
                    path,
                    waited: ledger.lock_wait,
                });
            }
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(4));
            }
        }
    }
}

/// A ledger of 50 stacks is about 100 KB. Whatever is larger than this is none.
const MAX_SIZE: u64 = 16 << 20;

/// Only as much as every version of the file has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

fn parse(path: &PathBuf) -> Result<Book, LedgerWarning> {
    let damaged = |reason: String| LedgerWarning::Damaged {
        path: path.clone(),
        reason,
    };
    match fs_err::metadata(path) {
        // Reading a pipe would wait for ever.
        Ok(file) if !file.is_file() => {
            return Err(LedgerWarning::Unreadable {
                reason: format!("`{}` is no file", path.display()),
            });
        }
        Ok(file) if file.len() > MAX_SIZE => return Err(damaged("it is too large".to_owned())),
        Ok(_) | Err(_) => {}
    }
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Book::default()),
        Err(error) => {
            return Err(LedgerWarning::Unreadable {
                reason: error.to_string(),
            });
        }
    };
    match serde_json::from_slice::<Book>(&bytes) {
        Ok(book) if book.version > VERSION => Err(LedgerWarning::Newer { path: path.clone() }),
        Ok(book) => Ok(book),
        // A newer file may well have another shape; its version says so.
        Err(error) => match serde_json::from_slice::<Head>(&bytes) {
            Ok(head) if head.version > VERSION => Err(LedgerWarning::Newer { path: path.clone() }),
            _ => Err(damaged(error.to_string())),
        },
    }
}
