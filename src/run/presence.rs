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

use super::instance::{Holder, Instance};
use crate::support::name::ProjectName;
use crate::support::proc::for_each_pid;

/// Says that somebody runs a stack in `directory`, as long as the file is open in any process. A
/// file system that cannot do this has no such sign.
pub(super) fn announce(directory: &Path) -> Option<File> {
    let file = File::open(directory).ok()?;
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK))).ok()?;
    Some(file)
}

/// Whether anybody runs a stack in `directory`, under any name.
fn is_announced(directory: &Path) -> bool {
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

impl Instance {
    /// Who runs this very stack although the lock at its path is free: its files were removed or
    /// moved away.
    pub fn hidden_holder(&self) -> Option<Holder> {
        if !is_announced(&self.project_dir) {
            return None;
        }
        let mut found = None;
        for_each_pid(|pid| {
            if found.is_none() {
                let is_ours = |it: &Holder| it.instance == self.id && it.is_alive();
                found = open_locks(pid).find(is_ours);
            }
        });
        found
    }

    /// The stacks that run in the same directory under other names.
    pub fn others(&self) -> Vec<Self> {
        let siblings = self
            .dir
            .parent()
            .filter(|parent| parent.starts_with(&self.project_dir))
            .and_then(|parent| fs_err::read_dir(parent).ok());
        siblings
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| ProjectName::new(entry.file_name().to_str()?).ok())
            .filter(|name| *name != self.project)
            .map(|name| self.sibling(name))
            .filter(Self::is_locked)
            .collect()
    }
}

/// What the lock files that a process has open say, wherever they are now.
fn open_locks(pid: i32) -> impl Iterator<Item = Holder> {
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
            serde_json::from_str(&text).ok()
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
