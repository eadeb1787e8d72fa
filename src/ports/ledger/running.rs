//! Which stacks run: each has a byte of the lock file locked.
//!
//! Such a lock (`F_OFD_SETLK`, `fcntl(2)`) belongs to the open file, which the processes of a stack
//! share by their forks. It ends with the last of them, however that happens, exactly as their holds do;
//! and whether it is there can be asked without taking it, so that a look is never in the way of a
//! start.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The mark that a stack runs. To be kept for as long as the stack runs, by whoever holds its ports.
#[derive(Debug)]
pub struct Noted {
    _file: File,
}

/// A lock on the byte of the stack with this number. Nothing is ever written there.
fn byte(slot: u32) -> libc::flock {
    let short = |constant| libc::c_short::try_from(constant).unwrap_or_default();
    libc::flock {
        l_type: short(libc::F_WRLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: libc::off_t::from(slot),
        l_len: 1,
        l_pid: 0,
    }
}

/// Whether the stack with this number runs. `file` is the lock file.
pub(super) fn is_running(file: impl AsFd, slot: u32) -> bool {
    let mut lock = byte(slot);
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

/// Takes the first number from 1 on that is not among `known` and that nobody has, for as long as what
/// is given back lives. `file` is the lock file.
pub(super) fn take_slot(file: &File, known: &[u32]) -> std::io::Result<(u32, Noted)> {
    let file = file.try_clone()?;
    for slot in (1..u32::MAX).filter(|slot| !known.contains(slot)) {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(slot))) {
            Ok(_) => return Ok((slot, Noted { _file: file })),
            // Somebody whose row was lost.
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(std::io::ErrorKind::StorageFull.into())
}
