//! Directories that tell when something in them is removed or moved away (fcntl(2), `F_NOTIFY`).
//!
//! They do it by a signal, without saying what it was. An inotify instance would say it, and its end
//! waits for the kernel (10 to 20 ms with 6.18, measured): at every end of a stack. Of instances a
//! user has 128 besides, which editors and development servers use up.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Tells that something was removed from one of several directories.
#[derive(Debug)]
pub(crate) struct Removals {
    signal: Signal,
    /// Watched as long as they are open.
    directories: Vec<File>,
}

impl Removals {
    /// Watches nothing yet. Must be called within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        // Before any directory is watched: who does not handle the signal is ended by it.
        Ok(Self {
            signal: signal(SignalKind::io())?,
            directories: Vec::new(),
        })
    }

    /// Watches the directories that are at these paths now, and no other ones any more.
    pub(crate) fn watch<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) {
        let opened = paths.into_iter().filter_map(|path| File::open(path).ok());
        self.directories = opened.filter(|it| ask(it).is_ok()).collect();
    }

    /// What comes when something was removed since the last time, from any of them.
    pub(crate) fn signal(&mut self) -> &mut Signal {
        &mut self.signal
    }
}

/// Something was removed, or moved into another directory (`linux/fcntl.h`; `libc` does not have these).
const DN_DELETE: libc::c_ulong = 0x8;
/// Something got another name.
const DN_RENAME: libc::c_ulong = 0x10;
/// Not only once.
const DN_MULTISHOT: libc::c_ulong = 0x8000_0000;

#[expect(unsafe_code, reason = "fcntl(2): nix does not know F_NOTIFY")]
fn ask(directory: &File) -> nix::Result<()> {
    let what = DN_DELETE | DN_RENAME | DN_MULTISHOT;
    // SAFETY: the descriptor is open, and the argument is a number.
    Errno::result(unsafe { libc::fcntl(directory.as_raw_fd(), libc::F_NOTIFY, what) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::testing::alone_async;

    #[test]
    fn what_is_removed_or_moved_away_is_told_and_what_is_made_is_not() {
        alone_async(async {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name);
            let mut removals = Removals::new().unwrap();
            removals.watch([directory.path(), Path::new("/nonexistent")]);
            let is_told = async |removals: &mut Removals| {
                let limit = std::time::Duration::from_millis(50);
                tokio::time::timeout(limit, removals.signal().recv())
                    .await
                    .is_ok()
            };
            fs_err::write(path("file"), "x").unwrap();
            fs_err::create_dir(path("sub")).unwrap();
            assert!(!is_told(&mut removals).await);
            fs_err::rename(path("file"), path("sub/file")).unwrap();
            assert!(is_told(&mut removals).await);
            fs_err::remove_file(path("sub/file")).unwrap();
            assert!(!is_told(&mut removals).await, "not below");
            fs_err::remove_dir(path("sub")).unwrap();
            assert!(is_told(&mut removals).await);
            removals.watch([]);
            fs_err::create_dir(path("sub")).unwrap();
            fs_err::remove_dir(path("sub")).unwrap();
            assert!(!is_told(&mut removals).await);
        });
    }
}
