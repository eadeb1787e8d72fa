//! A service that says how it is, as `sd_notify(3)` has it.
//!
//! ```text
//! notify FILE   sends FILE whenever it is there as one message, and removes it; for ever
//! ```

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use fs_err as fs;

use crate::Outcome;
use crate::words::Words;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    (mode == "notify").then(|| notify(&words.text("FILE")?))
}

fn notify(file: &str) -> Outcome {
    let path = std::env::var("NOTIFY_SOCKET")?;
    let socket = UnixDatagram::unbound()?;
    loop {
        if let Ok(message) = fs::read(file) {
            fs::remove_file(file)?;
            socket.send_to(&message, &path)?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
