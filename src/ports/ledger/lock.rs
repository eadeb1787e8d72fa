//! The lock of the ledger, with a time limit.
//!
//! The lock itself is `flock` on a file, which the kernel gives back when its holder dies. Waiting
//! for it with a limit means to try it again and again.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::support::fs::create_private_dir;

use super::{Ledger, LedgerWarning};

/// How long a waiter waits at most before it tries again.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// How long a waiter lets others run and tries again, before it sleeps in between. Others have the
/// lock for about 0.2 ms, and to be woken can take as long (measured in a virtual machine), which of
/// fifty stacks in a row was half of the time.
const AWAKE: Duration = Duration::from_millis(10);

/// The lock, had. Dropping it gives it back, as does any end of this process.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Whether it was waited for. Then others wait as well.
    contended: bool,
}

impl Lock {
    /// The lock file, which has a byte for each stack as well.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do it as well, but later.
        drop(self.file.unlock());
        if self.contended {
            // What is left to do here can wait until the next one has the lock.
            thread::yield_now();
        }
    }
}

/// Locks `ledger`, making its directory where there is none.
pub(crate) fn lock(ledger: &Ledger) -> Result<Lock, LedgerWarning> {
    let unusable = |error: io::Error| LedgerWarning::Unusable {
        reason: error.to_string(),
    };
    let path = ledger.lock_path();
    let file = match open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_private_dir(ledger.directory()).map_err(unusable)?;
            create_private_dir(&ledger.path()).map_err(unusable)?;
            open(&path)
        }
        other => other,
    }
    .map_err(|error| LedgerWarning::Unusable {
        reason: format!("failed to open `{}`: {error}", path.display()),
    })?;

    let started = Instant::now();
    let mut pause = Duration::from_micros(100);
    let mut contended = false;
    loop {
        match file.try_lock() {
            Ok(()) => {
                return Ok(Lock { file, contended });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
            Err(TryLockError::WouldBlock) if started.elapsed() >= ledger.lock_wait => {
                return Err(LedgerWarning::Locked {
                    path,
                    waited: ledger.lock_wait,
                });
            }
            Err(TryLockError::WouldBlock) if started.elapsed() < AWAKE => {
                contended = true;
                thread::yield_now();
            }
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // A pipe of that name would wait for ever otherwise.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}
