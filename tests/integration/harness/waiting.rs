//! Waiting for what is expected, with a limit that only a failure reaches.

use std::time::{Duration, Instant};

/// How long anything may take that a loaded machine has no reason to refuse.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How long to leave the processor to others between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` sees something.
///
/// # Panics
///
/// After [`LIMIT`], with `what` was waited for.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait_at_most(LIMIT, &mut look)
        .unwrap_or_else(|| panic!("waited {} s in vain for {what}", LIMIT.as_secs()))
}

/// Looks until `look` sees something, or `limit` has passed.
pub(crate) fn wait_at_most<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
