//! Who hears of output while it goes through the pump.

use crate::run::news::Notice;
use crate::support::name::UnitId;

/// Looks at output on its way into the files. It runs inside the pump's task and must not block.
///
/// The supervisor implements it once, tests another time.
pub trait LogSink {
    /// Sees some output of an attempt of a unit, before anybody is told of it.
    fn look(&mut self, unit: &UnitId, attempt: u32, bytes: &[u8]);

    /// A unit has these ports from now on.
    fn expect(&mut self, unit: &UnitId, ports: Vec<u16>);

    /// Takes a warning, such as that of a full disk.
    fn notice(&mut self, notice: Notice);
}
