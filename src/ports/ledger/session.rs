//! One transaction over the ledger: lock, read, change, write, unlock.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::book::{Book, Care};
use super::file::{self, NoBook};
use super::lock::{Lock, lock};
use super::place::Here;
use super::stack_port::StackPort;
use super::{Ledger, LedgerWarning};

/// The book, open. Dropping it without [`commit`](Self::commit) changes nothing.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) book: Book,
    pub(crate) here: Here,
    warnings: Vec<LedgerWarning>,
    path: PathBuf,
    /// Where the next version is put together.
    spare: PathBuf,
    /// Unlocked by the kernel when it is closed, also by a crash. Without it nothing is written:
    /// another one's entries would be lost.
    lock: Option<Lock>,
}

impl Session {
    /// Locks and reads. Whatever fails becomes a warning and an empty book.
    pub(crate) fn begin(ledger: &Ledger) -> Self {
        Self::begin_with(ledger, Care::Thorough)
    }

    /// As [`begin`](Self::begin), for who says later which rows matter, with
    /// [`judge`](Self::judge).
    pub(crate) fn begin_quick(ledger: &Ledger) -> Self {
        Self::begin_with(ledger, Care::Quick)
    }

    fn begin_with(ledger: &Ledger, care: Care) -> Self {
        let here = Here::now();
        let locked = lock(ledger);
        let here = here.later();
        match locked {
            Ok(lock) => Self::load(ledger, here, Some(lock), care),
            Err(warning) => {
                let mut session = Self::load(ledger, here, None, care);
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
        Self::load(ledger, Here::now(), None, Care::Thorough)
    }

    fn load(ledger: &Ledger, here: Here, mut lock: Option<Lock>, care: Care) -> Self {
        let path = ledger.path();
        let mut warnings = Vec::new();
        let mut book = match parse(&path, lock.is_some()) {
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
        book.prune(&here, care);
        Self {
            book,
            here,
            warnings,
            path,
            spare: ledger.spare_path(),
            lock,
        }
    }

    /// Looks thoroughly at the stacks that hold one of the `ports`, and drops the rows of dead ones.
    /// Says whether there were any.
    pub(crate) fn judge(&mut self, ports: impl Fn(u16) -> bool) -> bool {
        self.book.judge(&self.here, ports)
    }

    /// Lets others go on; nothing will be written.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// What went wrong so far.
    pub(crate) fn warnings(&self) -> Vec<LedgerWarning> {
        let damage = self.book.damage.borrow();
        let damaged = damage.iter().map(|reason| LedgerWarning::Damaged {
            path: self.path.clone(),
            reason: reason.clone(),
        });
        self.warnings.iter().cloned().chain(damaged).collect()
    }

    /// Whether a commit will be seen by others.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Every port that a running stack of this network namespace holds, the stack `except` left out.
    pub(crate) fn live_ports(&self, except: Option<&str>) -> Vec<StackPort> {
        self.book.live_ports(&self.here, except, None)
    }

    /// Whose `port` is, the stack `except` left out: that of the stack that holds it, else that of
    /// one that had it last.
    pub(crate) fn stack_of(&self, port: u16, except: Option<&str>) -> Option<StackPort> {
        let book = &self.book;
        let live = book.live_ports(&self.here, except, Some(port));
        let mut found = live.into_iter();
        found.next().or_else(|| {
            book.sticky_ports(&self.here, except, Some(port))
                .into_iter()
                .next()
        })
    }

    /// Writes the book if the lock was had, and unlocks; the book can still be looked at. Gives back
    /// what went wrong on the way.
    pub(crate) fn commit(&mut self) -> Vec<LedgerWarning> {
        if let Some(lock) = self.lock.take() {
            let written = file::to_pieces(&self.book)
                .map_err(io::Error::from)
                .and_then(|pieces| file::replace(&self.path, &self.spare, &pieces));
            drop(lock);
            if let Err(error) = written {
                self.warnings.push(LedgerWarning::Unwritten {
                    reason: error.to_string(),
                });
            }
        }
        self.warnings()
    }
}

/// A ledger of 50 stacks is about 100 KB. Whatever is larger than this is none.
const MAX_SIZE: u64 = 16 << 20;

/// Reads the file. Who has not `locked` the ledger keeps a writer from using it as the spare one
/// meanwhile.
fn parse(path: &PathBuf, locked: bool) -> Result<Book, LedgerWarning> {
    let damaged = |reason: String| LedgerWarning::Damaged {
        path: path.clone(),
        reason,
    };
    let unreadable = |error: io::Error| LedgerWarning::Unreadable {
        reason: format!("failed to read `{}`: {error}", path.display()),
    };
    let mut file = match open(path, locked) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Book::default()),
        Err(error) => return Err(unreadable(error)),
    };
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(LedgerWarning::Unreadable {
            reason: format!("`{}` is no file", path.display()),
        });
    }
    if about.len() > MAX_SIZE {
        return Err(damaged("it is too large".to_owned()));
    }
    let length = usize::try_from(about.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    match file::read(bytes) {
        Ok(book) => Ok(book),
        // After an update ports are found anew, once; there is nothing that anybody could do.
        Err(NoBook::Older) => Ok(Book::default()),
        Err(NoBook::Newer) => Err(LedgerWarning::Newer { path: path.clone() }),
        Err(NoBook::Damaged(reason)) => Err(damaged(reason)),
    }
}

/// How often a file is opened that turns out to be a spare one by now.
const TRIES: usize = 100;

fn open(path: &PathBuf, locked: bool) -> io::Result<File> {
    let open = || {
        File::options()
            .read(true)
            // Opening a pipe would wait for ever.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
    };
    let mut file = open()?;
    for _ in 0..TRIES {
        // A writer has it since it became the spare one; the path leads to another one then.
        if locked || file.try_lock_shared().is_ok() {
            break;
        }
        file = open()?;
    }
    Ok(file)
}
