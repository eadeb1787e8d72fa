//! Ranges of port numbers, both ends inclusive.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of TCP ports, 1 to 65535, both ends inclusive, `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    start: u16,
    end: u16,
}

/// Where ports are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The ranges; the later ones are the fallback and are used with a warning.
    pub ranges: Vec<PortRange>,
    /// Ports that are never handed out by themselves.
    pub exclude: Vec<PortRange>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            ranges: vec![PortRange::DEFAULT],
            exclude: Vec::new(),
        }
    }
}

/// Which number a port is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PortWant {
    /// `auto`: any free port of the stack's ranges.
    Auto,
    /// `auto:5173`: that one, else any free port of the stack's ranges, with a warning.
    Prefer(u16),
    /// `auto:9100-9199`: any free port of this range.
    Within(PortRange),
    /// `8080`: exactly that one.
    Fixed(u16),
}

/// Why a text is not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortRangeError {
    /// One of the ends is not a number from 1 to 65535.
    #[error("`{0}` is not a port number (1 to 65535)")]
    Port(String),
    /// An end is missing.
    #[error("`{0}` is not a range of ports; write it as 8000-9000")]
    Unfinished(String),
    /// The ends are the wrong way round.
    #[error("the range ends ({end}) before it starts ({start})")]
    Backwards {
        /// The first number as written.
        start: u16,
        /// The second number as written.
        end: u16,
    },
}

impl PortRange {
    /// The range in which ports are allocated when nothing else is said: 8000-9000.
    pub const DEFAULT: Self = Self {
        start: 8000,
        end: 9000,
    };

    /// A range of `start` to `end`, both included.
    pub fn new(start: u16, end: u16) -> Result<Self, PortRangeError> {
        if start == 0 {
            return Err(PortRangeError::Port("0".to_owned()));
        }
        if end < start {
            return Err(PortRangeError::Backwards { start, end });
        }
        Ok(Self { start, end })
    }

    /// The first port.
    pub fn start(self) -> u16 {
        self.start
    }

    /// The last port.
    pub fn end(self) -> u16 {
        self.end
    }

    /// Whether `port` lies inside.
    pub fn contains(self, port: u16) -> bool {
        (self.start..=self.end).contains(&port)
    }

    /// Every port, lowest first.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.start..=self.end
    }

    /// How many ports there are.
    pub fn count(self) -> usize {
        usize::from(self.end - self.start) + 1
    }
}

/// Parses one port number, 1 to 65535, decimal digits only.
pub fn parse_port(text: &str) -> Result<u16, PortRangeError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(PortRangeError::Port(text.to_owned())),
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    /// Parses `8000-9000`, or a single port as the range of itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        let (start, end) = (start.trim(), end.trim());
        if start.is_empty() || end.is_empty() {
            return Err(PortRangeError::Unfinished(text.to_owned()));
        }
        Self::new(parse_port(start)?, parse_port(end)?)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end {
            write!(f, "{}", self.start)
        } else {
            write!(f, "{}-{}", self.start, self.end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_single_ports() {
        assert_eq!("8000-9000".parse(), Ok(PortRange::DEFAULT));
        assert_eq!("8080".parse::<PortRange>().map(PortRange::count), Ok(1));
        assert_eq!(PortRange::DEFAULT.count(), 1001);
    }

    #[test]
    fn refuses_what_is_no_range() {
        for bad in [
            "",
            "0",
            "0-1",
            "9-8",
            "65536",
            "-",
            "+80",
            "80-",
            "a-b",
            "8000–9000",
        ] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }
}
