//! The unit in which output travels, and where it lies.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::run::snapshot::LogStream;
use crate::support::name::UnitId;

/// Some output of one stream of one unit, in the order in which it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBlock {
    /// Whose output it is.
    pub unit: UnitId,
    /// Which of the two streams.
    pub stream: LogStream,
    /// When it was read, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Which attempt printed it, from 1; 0 where that is not known, because the index was lost.
    pub attempt: u32,
    /// The bytes as they came, line ends included. In JSON each is the character with its number.
    #[serde(with = "one_character_a_byte")]
    pub bytes: Bytes,
    /// Whether it goes on with the line that the block before it of the same stream and attempt has
    /// left without an end, as that waited too long or grew too long.
    pub continues: bool,
}

/// A place in the output of a unit. Later output has a greater one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// How many bytes the unit had logged before the file in which it lies.
    pub segment: u64,
    /// The byte in that file, from 0.
    pub offset: u64,
}

impl Position {
    /// A place in the first segment.
    #[cfg(test)]
    pub(super) fn at(offset: u64) -> Self {
        Self { segment: 0, offset }
    }

    /// How many bytes the unit has logged before it, whatever has become of them.
    pub fn absolute(self) -> u64 {
        self.segment.saturating_add(self.offset)
    }
}

/// Bytes as a text that a person can read where they are ASCII, and that loses nothing elsewhere.
pub(crate) mod one_character_a_byte {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        to.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Bytes::from).map_err(de::Error::custom)
    }
}
