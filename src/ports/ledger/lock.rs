//! The lock of the ledger, with a time limit and a queue.
//!
//! The lock itself is `flock` on a file, which the kernel gives back when its holder dies. Waiting
//! for it with a limit means to try it again and again, and fifty waiters that sleep and try take
//! the processor from the one who has it. So there is a bell beside it: whoever unlocks puts a byte
//! into a named pipe, and the kernel wakes one of those who wait there. The bell decides nothing; a
//! byte too many costs a vain try, and one too few a pause.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::fs::create_private_dir;

use super::{Ledger, LedgerWarning};

/// How long a waiter waits at most before it tries again: a holder that was killed rings no bell.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

/// How long a waiter lets others run and tries again, before it lies down. Others have the lock for
/// about 0.2 ms, and to be woken can take as long (measured in a virtual machine), which of fifty
/// stacks in a row was half of the time.
const AWAKE: Duration = Duration::from_millis(10);

/// The lock, had. Dropping it gives it back, as does any end of this process.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    bell: Option<File>,
    /// Whether it was waited for. Then others wait as well.
    contended: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the bell; closing the file would do it as well, but later.
        drop(self.file.unlock());
        if let Some(bell) = &mut self.bell {
            // A pipe that is full wakes somebody without this byte.
            drop(bell.write(&[0]));
        }
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
            open(&path)
        }
        other => other,
    }
    .map_err(|error| LedgerWarning::Unusable {
        reason: format!("failed to open `{}`: {error}", path.display()),
    })?;
    let bell = open_bell(&ledger.bell_path());

    let started = Instant::now();
    let mut waiter = None;
    let mut contended = false;
    loop {
        match file.try_lock() {
            Ok(()) => {
                return Ok(Lock {
                    file,
                    bell,
                    contended,
                });
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
            Err(TryLockError::WouldBlock) => waiter
                .get_or_insert_with(|| Waiter::new(bell.as_ref()))
                .wait(),
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

/// The named pipe at `path`, made if there is none; `None` where that cannot be had.
fn open_bell(path: &Path) -> Option<File> {
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
    };
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Somebody else may have made it just now.
            let _ = mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR);
            open()
        }
        other => other,
    }
    .ok()?;
    let is_pipe = file.metadata().ok()?.file_type().is_fifo();
    is_pipe.then_some(file)
}

/// Waits for the bell, or for a while where there is none.
struct Waiter<'a> {
    bell: Option<Ear<'a>>,
    pause: Duration,
}

impl<'a> Waiter<'a> {
    fn new(bell: Option<&'a File>) -> Self {
        Self {
            bell: bell.and_then(Ear::new),
            pause: Duration::from_micros(100),
        }
    }

    fn wait(&mut self) {
        if let Some(bell) = &mut self.bell {
            return bell.wait();
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// One of those who wait for the bell.
#[cfg(target_os = "linux")]
struct Ear<'a> {
    bell: &'a File,
    epoll: nix::sys::epoll::Epoll,
}

#[cfg(target_os = "linux")]
impl<'a> Ear<'a> {
    fn new(bell: &'a File) -> Option<Self> {
        use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok()?;
        // Exclusive: a byte wakes one of those who wait, and not all of them.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        epoll.add(bell, EpollEvent::new(flags, 0)).ok()?;
        Some(Self { bell, epoll })
    }

    fn wait(&mut self) {
        use nix::sys::epoll::{EpollEvent, EpollTimeout};
        let longest = EpollTimeout::try_from(LONGEST_PAUSE).unwrap_or(EpollTimeout::ZERO);
        let heard = self.epoll.wait(&mut [EpollEvent::empty()], longest);
        if heard != Ok(0) {
            // Somebody else may have been quicker; then the lock is not to be had either.
            drop(self.bell.read(&mut [0]));
        }
    }
}

/// Elsewhere the kernel cannot wake one of many.
#[cfg(not(target_os = "linux"))]
struct Ear<'a>(std::marker::PhantomData<&'a File>);

#[cfg(not(target_os = "linux"))]
impl<'a> Ear<'a> {
    fn new(_bell: &'a File) -> Option<Self> {
        None
    }

    fn wait(&mut self) {}
}
