//! Wall time for display and records. Deadlines use [`tokio::time::Instant`] instead: a wall
//! clock may jump.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall time in nanoseconds since the Unix epoch; 0 for a clock set before it.
pub fn unix_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}

/// The wall time in milliseconds since the Unix epoch.
pub fn unix_millis() -> u64 {
    unix_nanos() / 1_000_000
}
