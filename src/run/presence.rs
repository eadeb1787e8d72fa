//! That a stack runs in a directory, whatever has become of its files and its name.
//!
//! Beside the lock at its path, whoever runs a stack keeps a read lock on the project directory
//! itself (fcntl(2), `F_OFD_SETLK`). It is still there when `.stack` was removed or renamed, it
//! keeps nobody out, and to ask for it takes two system calls. Who holds it is found by the lock
//! files that processes have open: only where somebody does, and where no lock file says who.

use std::fs::{File, read_link};
use std::io::Read;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Says that somebody runs a stack in `directory`, as long as the file is open in any process. A
/// file system that cannot do this has no such sign.
pub(super) fn announce(directory: &Path) -> Option<File> {
    let file = File::open(directory).ok()?;
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK))).ok()?;
    Some(file)
}

/// Whether anybody runs a stack in `directory`, under any name.
pub(super) fn is_announced(directory: &Path) -> bool {
    // As if one wanted to write: that is what a read lock is in the way of.
    let mut asked = lock(libc::F_WRLCK);
    File::open(directory).is_ok_and(|file| {
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).is_ok()
            && i32::from(asked.l_type) != libc::F_UNLCK
    })
}

/// A lock of a whole file.
fn lock(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// What the lock files say that a process has open, wherever they are now.
pub(super) fn open_locks(pid: i32) -> impl Iterator<Item = String> {
    let directory = std::fs::read_dir(format!("/proc/{pid}/fd"));
    directory
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            read_link(entry.path()).is_ok_and(|target| {
                let target = target.to_string_lossy();
                target.trim_end_matches(" (deleted)").ends_with("/lock")
            })
        })
        .filter_map(|entry| {
            let mut text = String::new();
            File::open(entry.path())
                .ok()?
                .read_to_string(&mut text)
                .ok()?;
            Some(text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::testing::alone;

    #[test]
    fn a_directory_tells_that_somebody_is_there_and_lets_everybody_in() {
        alone(|| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path();
            assert!(!is_announced(path));
            let (one, two) = (announce(path).unwrap(), announce(path).unwrap());
            drop(one);
            assert!(is_announced(path));
            drop(two);
            assert!(!is_announced(path));
        });
    }
}
