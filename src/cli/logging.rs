//! `-v`: what `stack` itself decides, through `tracing`.

use std::io;

/// Sends what the supervisor decides to stderr, which is its log. Without `-v` there is nothing.
pub(super) fn to_stderr(is_verbose: bool) {
    if !is_verbose {
        return;
    }
    let subscriber = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::DEBUG)
        .without_time()
        .finish();
    // A second one in a process is a mistake of ours, and no reason to end.
    drop(tracing::subscriber::set_global_default(subscriber));
}
