//! That a stack runs in a directory, whatever has become of its files and its name.
//!
//! Beside the lock at its path, whoever runs a stack keeps a read lock on the project directory
//! itself (fcntl(2), `F_OFD_SETLK`). It is still there when `.stack` was removed or renamed, it
//! keeps nobody out, and to ask for it takes two system calls. Who holds it is found by what
//! processes have open, the directory and their lock files: only where somebody does.

use std::fs::{File, Metadata, read_link};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::support::proc::for_each_pid;

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

/// What the lock files say that processes have open, wherever these are now; with a `directory` only
/// of processes that have this one open as well. Another user's are not seen.
pub(super) fn open_locks(directory: Option<&Path>) -> Vec<String> {
    let there = directory.map(|directory| std::fs::metadata(directory).ok());
    let mut texts = Vec::new();
    for_each_pid(|pid| {
        let paths = descriptors(pid);
        if !paths.iter().any(|path| is_lock(path)) {
            return;
        }
        let is_there = there.as_ref().is_none_or(|there| {
            let mut opened = paths.iter().filter_map(|path| std::fs::metadata(path).ok());
            opened.any(|file| there.as_ref().is_some_and(|there| is_same(there, &file)))
        });
        if is_there {
            texts.extend(lock_texts(&paths));
        }
    });
    texts
}

/// What the lock files say that one process has open.
pub(super) fn open_locks_of(pid: i32) -> Vec<String> {
    lock_texts(&descriptors(pid)).collect()
}

/// The open files of a process, as far as this user may see them.
fn descriptors(pid: i32) -> Vec<PathBuf> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let files = files.into_iter().flatten().flatten();
    files.map(|file| file.path()).collect()
}

fn lock_texts(descriptors: &[PathBuf]) -> impl Iterator<Item = String> {
    let locks = descriptors.iter().filter(|path| is_lock(path));
    locks.filter_map(|path| {
        let mut text = String::new();
        File::open(path).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// Whether an open file is a lock file, as far as its name tells.
fn is_lock(descriptor: &Path) -> bool {
    read_link(descriptor).is_ok_and(|target| {
        let target = target.to_string_lossy();
        target.trim_end_matches(" (deleted)").ends_with("/lock")
    })
}

/// Whether two are the same file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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

    #[test]
    fn a_lock_file_is_found_by_who_has_it_open_though_it_was_removed() {
        alone(|| {
            let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let path = here.path().join("lock");
            let text = format!("held by {}", std::process::id());
            fs_err::write(&path, &text).unwrap();
            let (lock, directory) = (File::open(&path).unwrap(), File::open(here.path()).unwrap());
            fs_err::remove_file(&path).unwrap();
            assert!(open_locks(Some(here.path())).contains(&text));
            assert!(open_locks(None).contains(&text));
            assert!(!open_locks(Some(elsewhere.path())).contains(&text));
            drop((lock, directory));
            assert!(!open_locks(None).contains(&text));
        });
    }
}
