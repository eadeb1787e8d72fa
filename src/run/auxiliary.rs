//! Commands that run beside a unit: health checks. What one prints is kept, as far as it matters for
//! a message, and its outcome is told when it has ended.

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::snapshot::Exit;

/// The most that is kept of what a command prints, in bytes, as the container engine does.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) exit: Exit,
    /// The last line of the beginning of what it printed, as it came.
    pub(crate) last_line: Option<String>,
}

/// Keeps the beginning of what a command prints until it has ended. `None` when nobody will tell of
/// its end any more: it was cancelled.
pub(crate) async fn watch(
    mut output: Receiver,
    mut exit_rx: oneshot::Receiver<Exit>,
) -> Option<Outcome> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    let keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    let mut is_open = true;
    let exit = loop {
        tokio::select! {
            biased;
            exit = &mut exit_rx => break exit.ok()?,
            read = output.read(&mut buffer), if is_open => match read {
                Ok(0) | Err(_) => is_open = false,
                Ok(length) => keep(&mut kept, &buffer[..length]),
            },
        }
    };
    // Only as much as is kept: somebody who still has the pipe may fill it faster than it is read.
    while kept.len() < OUTPUT_LIMIT
        && let Ok(length @ 1..) = output.try_read(&mut buffer)
    {
        keep(&mut kept, &buffer[..length]);
    }
    let text = String::from_utf8_lossy(&kept);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    Some(Outcome {
        exit,
        last_line: last.map(str::to_owned),
    })
}
