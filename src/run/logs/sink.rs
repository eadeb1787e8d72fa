//! Where the pump hands on what it has written to the files.

use crate::run::snapshot::Notice;
use crate::support::name::UnitId;

use super::LogBlock;

/// Whether the receiver of blocks can take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There is room.
    Room,
    /// The block was taken, but nothing is read any more until [`LogSink::room`] returns.
    Full,
}

/// The receiver of blocks and notices. It runs inside the pump's task and must not block.
///
/// The supervisor implements it once, tests another time.
pub trait LogSink {
    /// Whether anybody listens to this attempt of the unit. Where nobody does, its bytes go to the
    /// file alone and are not copied.
    fn wants(&self, unit: &UnitId, attempt: u32) -> bool;

    /// Takes a block, which is in the file already. It is taken in any case: a process that has
    /// ended is drained even while the flow is [`Flow::Full`].
    fn send(&mut self, block: LogBlock) -> Flow;

    /// Waits for room after [`Flow::Full`]. May be dropped and called again at any time.
    fn room(&mut self) -> impl Future<Output = ()>;

    /// Takes a warning, such as that of a full disk.
    fn notice(&mut self, notice: Notice);
}
