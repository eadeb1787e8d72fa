//! A few words without a printer: before there is one, or where nothing else is going on.

use std::io::{self, IsTerminal, Write};

use console::Term;

use super::escape::push_text;
use super::frame::Size;
use crate::run::control::TerminalSize;
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

/// The columns of the terminal behind stderr; 100 for anything else.
pub fn stderr_columns() -> usize {
    size_of(&Term::stderr()).map_or(100, |size| size.columns.clamp(40, 120))
}

/// The columns of the terminal behind stdout, if it is one.
pub fn stdout_columns() -> Option<usize> {
    size_of(&Term::stdout()).map(|size| size.columns)
}

/// The size of the terminal on which somebody looks, if there is one.
pub fn terminal_size() -> Option<TerminalSize> {
    let terminals = [Term::stdout(), Term::stderr()];
    let (rows, columns) = terminals.iter().find_map(Term::size_checked)?;
    Some(TerminalSize { columns, rows })
}

/// What a service has printed before, for a reader who comes later: text and colours. What it once asked
/// its terminal would be answered by this one, into an input that does not wait for it any more. Fails
/// where nobody takes it.
pub fn replay_out(bytes: &[u8]) -> io::Result<()> {
    let mut shown = Vec::new();
    push_text(&String::from_utf8_lossy(bytes), &mut shown);
    raw_out(&shown)
}

/// Bytes of a service for its reader's terminal, as they are. Fails where nobody takes them.
pub fn raw_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// The size of a terminal, if it is one.
pub(super) fn size_of(terminal: &Term) -> Option<Size> {
    let (rows, columns) = terminal.size_checked()?;
    Some(Size {
        columns: columns.into(),
        rows: rows.into(),
    })
}
