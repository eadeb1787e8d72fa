//! What the supervisor writes of itself: `supervisor.log`, and what goes into it with `-v`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing_subscriber::fmt::MakeWriter;

use crate::support::fs::{open_private, open_private_append};

/// How long the log may become before it is begun anew, in bytes.
const LIMIT: u64 = 10 * 1024 * 1024;

/// The supervisor's log. Guardian and supervisor have it as their stderr.
#[derive(Debug, Clone)]
pub(super) struct OwnLog {
    path: PathBuf,
}

impl OwnLog {
    /// The log at `path`, whether it exists or not.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Opens it for those who are going to write it.
    pub(super) fn open(&self) -> io::Result<File> {
        let file = open_private_append(&self.path)?;
        self.keep_small(LIMIT);
        Ok(file)
    }

    /// Sends what the supervisor decides to it. Without `-v` there is nothing.
    pub(super) fn trace(&self, is_verbose: bool) {
        if !is_verbose {
            return;
        }
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Bounded {
                // What it has as its stderr is this log.
                stderr: io::stderr.make_writer(),
                log: log.clone(),
            })
            .with_ansi(false)
            .with_target(false)
            .with_max_level(tracing::Level::DEBUG)
            .without_time()
            .finish();
        // A second one in a process is a mistake of ours, and no reason to end.
        drop(tracing::subscriber::set_global_default(subscriber));
    }

    /// To be called when something was written: keeps what is there aside, as `supervisor.log.1`, and
    /// begins anew, should it be too much.
    ///
    /// Copied, not renamed: others have it open as well. All of them append, so their next line stands
    /// at the new beginning.
    pub(super) fn was_written(&self) {
        self.keep_small(LIMIT);
    }

    fn keep_small(&self, limit: u64) {
        // What cannot be done now is tried again with the next line.
        drop(set_aside(&self.path, limit));
    }
}

fn set_aside(path: &Path, limit: u64) -> io::Result<()> {
    if path.symlink_metadata()?.len() <= limit {
        return Ok(());
    }
    let mut log = open_private(path, OpenOptions::new().read(true).write(true))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    let mut aside = open_private(&path.with_extension("log.1"), &mut options)?;
    // Not while it is opened: it may be somebody else's, which is seen only then.
    aside.set_len(0)?;
    io::copy(&mut log, &mut aside)?;
    log.set_len(0)
}

/// The log while one thing is written to it.
struct Bounded {
    stderr: io::Stderr,
    log: OwnLog,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stderr.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.log.was_written();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_log_that_is_too_long_is_set_aside_and_its_writers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("supervisor.log");
        let log = OwnLog::new(path.clone());
        let mut guardian = log.open().unwrap();
        let mut supervisor = log.open().unwrap();
        let text = |path: &Path| fs_err::read_to_string(path).unwrap();
        for (number, expected) in [(0, "0\n"), (1, "0\n1\n"), (2, ""), (3, "3\n")] {
            writeln!(supervisor, "{number}").unwrap();
            log.keep_small(5);
            assert_eq!(text(&path), expected);
        }
        writeln!(guardian, "killed").unwrap();
        assert_eq!(text(&path), "3\nkilled\n");
        let aside = directory.path().join("supervisor.log.1");
        assert_eq!(text(&aside), "0\n1\n2\n");
        let mode = fs_err::metadata(&aside).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        log.keep_small(5);
        assert_eq!(text(&aside), "3\nkilled\n");
        assert_eq!(text(&path), "");
    }

    #[test]
    fn a_log_is_never_set_aside_into_what_somebody_else_has_put_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("supervisor.log");
        let precious = directory.path().join("precious");
        fs_err::write(&precious, "precious").unwrap();
        let aside = directory.path().join("supervisor.log.1");
        fs_err::write(&path, "long enough").unwrap();
        let mut log = OwnLog::new(path.clone()).open().unwrap();
        std::os::unix::fs::symlink(&precious, &aside).unwrap();
        set_aside(&path, 5).unwrap_err();
        fs_err::remove_file(&aside).unwrap();
        fs_err::hard_link(&precious, &aside).unwrap();
        set_aside(&path, 5).unwrap_err();
        assert_eq!(fs_err::read_to_string(&precious).unwrap(), "precious");
        writeln!(log, "more").unwrap();
    }
}
