//! A few words without a printer's thread: before there is one, or where there must be none.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Writes a message to stderr, with an end of line. What cannot be written is not.
pub fn say(text: &str) {
    if !text.is_empty() {
        drop(writeln!(io::stderr(), "{text}"));
    }
}

/// The same where that takes no time: a reader that does not read gets nothing. For a process that
/// has better things to do than to wait for one.
pub fn say_if_there_is_room(text: &str) {
    let stderr = io::stderr();
    let mut looks = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut looks, PollTimeout::ZERO) == Ok(1) {
        say(text);
    }
}

/// Writes data to stdout, with an end of line unless it has one.
pub fn say_out(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    drop(write!(io::stdout(), "{text}{end}"));
    drop(io::stdout().flush());
}

/// The columns of the terminal behind stderr; 100 for anything else.
pub fn stderr_columns() -> usize {
    terminal_size::terminal_size_of(io::stderr())
        .map_or(100, |(width, _)| usize::from(width.0).clamp(40, 120))
}
