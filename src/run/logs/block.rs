//! The unit in which output travels.

use bytes::Bytes;

use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// Some whole lines of one stream of one unit, in the order in which they arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBlock {
    /// Whose output it is.
    pub unit: UnitId,
    /// Which of the two streams.
    pub stream: LogStream,
    /// When it was read, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Which attempt printed it, from 1.
    pub attempt: u32,
    /// Where the block begins in the unit's log file. What [`history`](super::history) returned
    /// ends before or at the offset of every block that it did not contain.
    pub offset: u64,
    /// The bytes as they came, line ends included.
    pub bytes: Bytes,
    /// Whether the last line has no end yet: it waited too long, grew too long, or was the last
    /// before the stream ended. The next block of the same stream goes on with it.
    pub is_partial: bool,
}
