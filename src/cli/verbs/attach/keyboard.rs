//! The own keyboard: what is typed, and what the terminal does with it meanwhile.

use std::io::stdin;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::termios::{
    InputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How much is read from the keyboard at once.
const READ_LENGTH: usize = 4096;

/// Reads what is typed, on a thread of its own: a terminal that others have as well must not be set to
/// answer at once. The thread ends with the process.
pub(super) fn read_keyboard() -> Receiver<Vec<u8>> {
    let (typed_tx, typed_rx): (Sender<Vec<u8>>, _) = channel(1);
    let reading = move || {
        let mut buffer = [0; READ_LENGTH];
        loop {
            match nix::unistd::read(stdin().as_fd(), &mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if typed_tx.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    };
    // Without a thread nothing is typed, and everything is seen.
    drop(std::thread::Builder::new().spawn(reading));
    typed_rx
}

/// What the own terminal does with keys.
pub(super) enum Way {
    /// Each goes through as it is.
    Keys,
    /// Lines do, as ever; so does what ends with this key, the last one of those that detach.
    Lines(u8),
}

/// The own terminal as it was. Dropped, it is so again.
pub(super) struct Terminal(Termios);

impl Terminal {
    pub(super) fn set(way: &Way) -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut settings = before.clone();
        match way {
            Way::Keys => cfmakeraw(&mut settings),
            Way::Lines(last) => {
                // Ctrl-Q would be kept to let output go on.
                settings.input_flags.remove(InputFlags::IXON);
                settings.control_chars[SpecialCharacterIndices::VEOL as usize] = *last;
            }
        }
        tcsetattr(stdin(), SetArg::TCSADRAIN, &settings).ok()?;
        Some(Self(before))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has gone needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
