//! A few words without a printer's thread: before there is one, or where there must be none.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;

use console::Term;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use super::escape::push_text;
use crate::support::text;

/// Writes a message to stderr, with an end of line. What cannot be written is not.
pub fn say(text: &str) {
    if !text.is_empty() {
        drop(write_shown(&mut io::stderr(), text));
    }
}

/// Writes data to stdout, with an end of line unless it has one. Fails where not all of it could be
/// written (a full disk), but not where the reader has seen enough.
pub fn say_out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    let written = if stdout.is_terminal() {
        write_shown(&mut stdout, text)
    } else {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        write!(stdout, "{text}{end}").and_then(|()| stdout.flush())
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let reason = text::io_reason(&error);
            Err(io::Error::other(format!(
                "cannot write to stdout: {reason}"
            )))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_shown(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut shown = Vec::with_capacity(text.len() + 1);
    push_text(text, &mut shown);
    if !text.ends_with('\n') {
        shown.push(b'\n');
    }
    stream.write_all(&shown)?;
    stream.flush()
}

/// Returns when nobody can read stdout any more: at once for a program at whose other end `head`
/// has seen enough, even while there is nothing to print. Never for a file, which has no reader.
///
/// A thread waits in the kernel: making stdout non-blocking for an event loop would do it to every
/// program that shares it. The thread ends with the process.
pub async fn stdout_is_closed() {
    let (closed_tx, closed_rx) = oneshot::channel();
    let waiter = move || {
        let stdout = io::stdout();
        // Nothing is asked for, so that only an error or the end of the other side is told.
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        if poll(&mut watched, PollTimeout::NONE).is_ok() {
            let _ = closed_tx.send(());
        }
    };
    let is_watched = thread::Builder::new()
        .name("reader".to_owned())
        .spawn(waiter)
        .is_ok();
    if !is_watched || closed_rx.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The columns of the terminal behind stderr; 100 for anything else.
pub fn stderr_columns() -> usize {
    size_of(&Term::stderr()).map_or(100, |(_, columns)| columns.clamp(40, 120))
}

/// The columns of the terminal behind stdout, if it is one.
pub fn stdout_columns() -> Option<usize> {
    size_of(&Term::stdout()).map(|(_, columns)| columns)
}

/// The rows and columns of a terminal, if it is one.
pub(super) fn size_of(terminal: &Term) -> Option<(usize, usize)> {
    let (rows, columns) = terminal.size_checked()?;
    Some((rows.into(), columns.into()))
}
