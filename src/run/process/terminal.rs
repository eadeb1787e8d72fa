//! The size of a terminal.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::pty::Winsize;

/// Gives a terminal a size; whoever is in its foreground gets a `SIGWINCH` if it is another one
/// (`ioctl_tty(2)`). One that has gone needs none.
#[expect(unsafe_code, reason = "TIOCSWINSZ: nix has no function for it")]
pub(crate) fn resize_terminal(terminal: BorrowedFd<'_>, size: Winsize) {
    // SAFETY: the call only reads the structure, which outlives it.
    unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
    }
}
